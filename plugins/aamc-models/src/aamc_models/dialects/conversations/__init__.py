"""What people say in a request, which is what is classified."""
