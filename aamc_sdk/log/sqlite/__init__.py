"""The store ``sqlite``: a file."""
