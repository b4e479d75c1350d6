"""People's words in a request, the part that is classified."""
