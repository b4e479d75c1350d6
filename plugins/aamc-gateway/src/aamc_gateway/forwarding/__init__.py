"""Forwarding requests: decision, calls with fallback, streams and the ledger."""
