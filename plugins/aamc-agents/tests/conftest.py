"""Fixtures of this package's tests."""

from aamc_agents.testing import make_agent, say, serve, serve_model, services

__all__ = ["make_agent", "say", "serve", "serve_model", "services"]
