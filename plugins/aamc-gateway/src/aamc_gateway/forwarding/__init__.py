"""Forwarding requests: ``exchange`` processes one; the packages hold the parts of its decision, its calls and its answer."""
