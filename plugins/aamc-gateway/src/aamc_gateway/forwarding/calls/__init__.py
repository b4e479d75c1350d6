"""Calls of candidates: the requests that they get, their usage and cost."""
