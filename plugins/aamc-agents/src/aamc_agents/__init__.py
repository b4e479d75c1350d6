"""Agents that the puppeteer activates: tools that need no model, and roles that a language model plays."""
