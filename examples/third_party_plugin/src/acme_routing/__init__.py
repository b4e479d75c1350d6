"""Acme's plugin for the AAMC SDK."""
