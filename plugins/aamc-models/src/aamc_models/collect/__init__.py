"""A first outcome dataset from a user's own models: every model answers every prompt, and a judge scores the answers."""
