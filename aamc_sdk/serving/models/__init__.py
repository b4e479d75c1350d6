"""Calling models: the client, completions of routed requests, the calls in flight, and the provider ``echo``."""
