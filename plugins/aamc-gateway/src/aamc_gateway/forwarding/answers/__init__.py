"""Answers to clients: whole, as streams, and from the cache."""
