"""Heads on an embedding: complexity, category, tool use and quality."""
