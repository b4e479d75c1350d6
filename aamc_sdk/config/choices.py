"""Choices of components, as users name them, and the settings that every component shares."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import attrs

from aamc_sdk.errors import ConfigError

PRESETS = ("quick", "full", "paper")
"""The names of the presets."""
DEVICES = ("auto", "cpu", "cuda")
"""The devices that torch may compute on."""
MAX_SEED = 2**32 - 1
"""The maximum seed that every generator accepts: scikit-learn's seeds have 32 bits."""
NO_ESTIMATOR = "none"
"""The estimator's name that stands for no estimator."""


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

    def plain(self) -> dict[str, Any]:
        """Return the form that :meth:`of` reads."""
        return {"name": self.name, **self.options}


def check_seed(seed: int) -> None:
    """Check that every component can use a seed.

    Raises:
        ConfigError: The seed is below 0 or above :data:`MAX_SEED`.
    """
    if not isinstance(seed, Integral) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"seed must be a whole number from 0 to {MAX_SEED}, not {seed!r}")
