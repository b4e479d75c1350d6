"""The router ``supervised``: a classifier of the best candidate."""
