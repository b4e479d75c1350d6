"""Feedback on decisions: what clients send, and what the gateway infers from how they go on."""
