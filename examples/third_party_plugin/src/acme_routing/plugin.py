"""The components that this package adds to the AAMC SDK."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_routers() -> list[Component]:
    """Announce the router."""
    return [Component("acme-length", "acme_routing.router:LengthRouter", "Long prompts to the most expensive candidate, short ones to the cheapest.")]


@hookimpl
def aamc_model_pools() -> list[Component]:
    """Announce the pool."""
    return [Component("acme-two-tier", "acme_routing.pool:two_tier", "A small and a large model.")]
