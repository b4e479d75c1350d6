"""Fixtures of this package's tests."""

from agent_fixtures import make_agent, say, serve, serve_model, services

__all__ = ["make_agent", "say", "serve", "serve_model", "services"]
