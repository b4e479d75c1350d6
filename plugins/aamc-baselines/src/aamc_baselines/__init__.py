"""Routers that any new one must be shown beside: simple ones, and those that learn what quality to expect."""
