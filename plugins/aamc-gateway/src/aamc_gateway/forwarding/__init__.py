"""Forwarding requests: decision, calls with fallback, streams and token usage."""
