"""The components of aamc-ppo."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_routers() -> list[Component]:
    """Offer the router ``ppo``."""
    summary = "Preference-conditioned PPO: starts as the plug-in rule and learns corrections to it."
    return [Component("ppo", "aamc_ppo.router:PPORouter", summary)]
