"""Choices of components, as users name them, and the settings that serving needs."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import attrs

from aamc_sdk.errors import ConfigError
from aamc_sdk.messages import one_of, whole_number_hint
from aamc_sdk.types import Preference

PRESETS = ("quick", "full", "paper")
"""The names of the presets."""
DEVICES = ("auto", "cpu", "cuda")
"""The devices that torch may compute on."""
MAX_SEED = 2**32 - 1
"""The maximum seed that every generator accepts: scikit-learn's seeds have 32 bits."""
NO_ESTIMATOR = "none"
"""The name that selects no estimator."""


@attrs.frozen
class Choice:
    """A component's name and the options that the user set."""

    name: str
    options: Mapping[str, Any] = attrs.field(factory=dict)

    @classmethod
    def of(cls, value: Any, where: str) -> Choice:
        """Read ``ppo`` or ``{name: ppo, learning_rate: 1e-4}``.

        Raises:
            ConfigError: The value has neither form.
        """
        if isinstance(value, Choice):
            return value
        if isinstance(value, str) and value:
            return cls(value)
        if isinstance(value, Mapping) and isinstance(value.get("name"), str):
            return cls(value["name"], {key: option for key, option in value.items() if key != "name"})
        raise ConfigError(f"{where} must be a name, or options with a 'name', not {value!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return the form that :meth:`of` reads."""
        return {"name": self.name, **self.options}


def check_seed(seed: int) -> None:
    """Check that every component can use a seed.

    Raises:
        ConfigError: The seed is below 0 or above :data:`MAX_SEED`.
    """
    if not isinstance(seed, Integral) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"seed must be a whole number from 0 to {MAX_SEED}, not {seed!r}{whole_number_hint(seed)}")


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
        router: The router; an empty name where there is none, as in the run of an orchestrator.
        estimator: The estimator; None for none.
        reward: The reward.
        pool: A pool's name, YAML file or content; None for the default one.
        preference: The default preference of requests.
        preset: The preset that every component's options start from.
        seed: The seed of all randomness.
        device: The device that torch computes on.
    """

    router: Choice = attrs.field(default=Choice(""))
    estimator: Choice | None = None
    reward: Choice = attrs.field(default=Choice("linear"))
    pool: str | Mapping[str, Any] | None = None
    preference: Preference = attrs.field(factory=Preference)
    preset: str = "quick"
    seed: int = 0
    device: str = "auto"

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> ServingSettings:
        """Read the settings from the content of a configuration file; other keys are ignored.

        Raises:
            ConfigError: A value cannot be used.
            PreferenceError: The preference cannot be used.
        """
        estimator = content.get("estimator")
        given = {key: content[key] for key in ("reward", "pool", "preset", "seed", "device") if key in content}
        if "reward" in given:
            given["reward"] = Choice.of(given["reward"], "reward")
        settings = cls(
            router=Choice("") if content.get("orchestrator") else Choice.of(content.get("router"), "router"),
            estimator=None if estimator in (None, NO_ESTIMATOR) else Choice.of(estimator, "estimator"),
            preference=Preference.of(content.get("preference")),
            **given,
        )
        if settings.preset not in PRESETS:
            raise ConfigError(f"preset must be one of {one_of(PRESETS)}, not {settings.preset!r}")
        if settings.device not in DEVICES:
            raise ConfigError(f"device must be one of {one_of(DEVICES)}, not {settings.device!r}")
        check_seed(settings.seed)
        if settings.pool is not None and not (isinstance(settings.pool, str | Mapping) and settings.pool):
            raise ConfigError(f"pool must be the name or file of a pool, or its content, not {settings.pool!r}")
        return settings
