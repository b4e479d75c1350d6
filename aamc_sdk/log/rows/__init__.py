"""Entries as rows, and the JSON of their contents."""
