"""Feedback on decisions: explicit from clients, and implicit from the continuation of their conversations."""
