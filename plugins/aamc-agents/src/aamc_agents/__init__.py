"""Agents for the AAMC SDK: tools that need no model, and roles played by a language model."""
