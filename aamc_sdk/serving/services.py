"""What parts are made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aamc_sdk.interfaces import Reward, Services
from aamc_sdk.plugins import Plugins
from aamc_sdk.settings import Settings
from aamc_sdk.types import Pool


def bare_services(pool: Pool, plugins: Plugins, settings: Settings) -> Services:
    """Return services for making the reward itself."""
    from aamc_sdk.rewards import LinearReward

    return services(pool, LinearReward(), plugins, settings)


def services(pool: Pool, reward: Reward, plugins: Plugins, settings: Settings) -> Services:
    """Return what parts are made with; the parts that they make start from the same preset."""

    def make(kind: str, name: str, options: Mapping[str, Any]) -> Any:
        return plugins.make(kind, name, lent, options, settings.preset)

    lent = Services(pool=pool, reward=reward, make=make, seed=settings.seed, device=settings.device)
    return lent
