"""Routers that learn the expected quality of each candidate."""
