"""The settings that serving needs, from a configuration file, a run or the arguments of a controller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from aamc_sdk.config.choices import DEVICES, NO_ESTIMATOR, PRESETS, Choice, check_seed
from aamc_sdk.errors import ConfigError, one_of
from aamc_sdk.types import Preference

SERVING_KEYS = ("router", "estimator", "pool", "reward", "preference", "preset", "seed", "device")
"""The keys of a configuration file that a controller uses."""
EXPERIMENT_KEYS = ("environment", "dataset", "test_dataset", "routers", "evaluation", "orchestrator", "continue_from", "budget_usd")
"""The keys of a configuration file that only experiments use."""

SERVER_KEYS = ("gateway",)
"""The keys of a configuration file that only ``aamc serve`` uses."""


@attrs.frozen(kw_only=True)
class ServingSettings:
    """The components of a controller, and their shared settings.

    Attributes:
        router: The router; an empty name in the run of an orchestrator.
        estimator: The estimator; None for none.
        reward: The reward.
        pool: A pool's name, YAML file or content; None for the default one.
        preference: The preference of requests that give none.
        preset: The preset that every component's options start from.
        seed: The seed of all randomness.
        device: The device that torch computes on.
    """

    router: Choice
    estimator: Choice | None
    reward: Choice
    pool: str | Mapping[str, Any] | None
    preference: Preference
    preset: str
    seed: int
    device: str

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> ServingSettings:
        """Read the settings from the content of a configuration file; other keys are ignored.

        Raises:
            ConfigError: A value cannot be used.
            PreferenceError: The preference cannot be used.
        """
        estimator = content.get("estimator")
        settings = cls(
            router=Choice("") if content.get("orchestrator") else Choice.of(content.get("router"), "router"),
            estimator=None if estimator in (None, NO_ESTIMATOR) else Choice.of(estimator, "estimator"),
            reward=Choice.of(content.get("reward", "linear"), "reward"),
            pool=content.get("pool"),
            preference=Preference.of(content.get("preference")),
            preset=content.get("preset", "quick"),
            seed=content.get("seed", 0),
            device=content.get("device", "auto"),
        )
        _check_shared(settings.preset, settings.seed, settings.device, settings.pool)
        return settings


def _check_shared(preset: Any, seed: Any, device: Any, pool: Any) -> None:
    """Check the settings that all components share."""
    if preset not in PRESETS:
        raise ConfigError(f"preset must be one of {one_of(PRESETS)}, not {preset!r}")
    if device not in DEVICES:
        raise ConfigError(f"device must be one of {one_of(DEVICES)}, not {device!r}")
    check_seed(seed)
    if pool is not None and not (isinstance(pool, str | Mapping) and pool):
        raise ConfigError(f"pool must be the name or file of a pool, or its content, not {pool!r}")
