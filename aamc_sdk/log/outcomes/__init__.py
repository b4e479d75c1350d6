"""Logged outcomes: from the entries of a log to arrays."""
