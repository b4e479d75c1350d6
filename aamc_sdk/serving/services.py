"""The services that every component is made with."""

from __future__ import annotations

from aamc_sdk.config import ServingSettings
from aamc_sdk.interfaces import Reward, Services
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import LinearReward
from aamc_sdk.serving.models.model_client import ModelClient
from aamc_sdk.types import Pool


def make_services(pool: Pool, plugins: Plugins, settings: ServingSettings | None = None, reward: Reward | None = None) -> Services:
    """Return the services that components are made with. Components that these make in turn start from the preset of the same settings.

    Without settings the default ones count, and without a reward a linear one without scales, as when the reward itself is made.
    """
    chosen = settings or ServingSettings()
    services: Services = Services(
        pool=pool,
        reward=LinearReward() if reward is None else reward,
        make=lambda kind, name, options: plugins.make(kind, name, services, options, chosen.preset),
        models=ModelClient(lambda endpoint: plugins.make("provider", endpoint.provider, services, endpoint.options)),
        seed=chosen.seed,
        device=chosen.device,
    )
    return services


def services_with_reward(pool: Pool, plugins: Plugins, settings: ServingSettings) -> Services:
    """Return the services with the settings' reward, whose scales the caller fits or loads."""
    reward: Reward = plugins.make("reward", settings.reward.name, make_services(pool, plugins, settings), settings.reward.options)
    return make_services(pool, plugins, settings, reward)
