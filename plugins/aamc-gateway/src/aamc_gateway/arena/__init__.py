"""The arena: several candidates answer one request, one answer is returned, and people vote on all of them."""
