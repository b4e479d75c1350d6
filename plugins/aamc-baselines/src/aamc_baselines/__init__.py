"""Routers that any new one must be shown beside."""
