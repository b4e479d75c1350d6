"""How much quality, cost and latency count."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import PreferenceError, nearest, one_of


@attrs.frozen(init=False)
class Preference:
    """Weights of quality, cost and latency, rescaled to sum to one.

    The default weighs the full range of cost as nine points of quality.

    Raises:
        PreferenceError: A weight is negative or not finite, or all are zero.
    """

    quality: float
    cost: float
    latency: float

    def __init__(self, quality: float = 0.9, cost: float = 0.08, latency: float = 0.02) -> None:
        given = (quality, cost, latency)
        try:
            weights = [float(weight) for weight in given]
        except (TypeError, ValueError):
            raise PreferenceError(f"a preference is three numbers (quality, cost, latency), not {given!r}") from None
        if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
            raise PreferenceError(f"a preference's weights must be finite and at least 0, not {given!r}")
        total = sum(weights)
        if total <= 0 or not math.isfinite(total):
            raise PreferenceError(f"a preference needs a positive, finite sum of weights, not {given!r}")
        self.__attrs_init__(*(weight / total for weight in weights))

    @classmethod
    def parse(cls, text: str, named: Mapping[str, Preference] | None = None) -> Preference:
        """Read ``"0.7,0.2,0.1"``: quality, cost, latency; or the name of one of those that are calibrated.

        Raises:
            PreferenceError: It is neither, or the weights are none.
        """
        if named is not None and text in named:
            return named[text]
        parts = text.split(",")
        try:
            weights = [float(part) for part in parts]
        except ValueError:
            weights = []
        if len(weights) != 3:
            names = "" if named is None else f"{nearest(text, named)} (calibrated, and known by their names: {one_of(named)})"
            raise PreferenceError(f"a preference is three numbers such as 0.9,0.08,0.02, not {text!r}{names}")
        return cls(*weights)

    @classmethod
    def of(cls, value: Preference | str | Sequence[float] | None) -> Preference:
        """Return the preference that a caller gave in any of the usual forms; None is the default."""
        if value is None:
            return cls()
        if isinstance(value, Preference):
            return value
        if isinstance(value, str):
            return cls.parse(value)
        if not isinstance(value, Sequence | np.ndarray) or len(value) != 3:
            raise PreferenceError(f"a preference is three numbers (quality, cost, latency), not {value!r}")
        return cls(*value)

    @property
    def array(self) -> NDArray[np.float64]:
        """The weights as ``[3]``."""
        return np.array((self.quality, self.cost, self.latency))

    def __str__(self) -> str:
        return f"{self.quality:g},{self.cost:g},{self.latency:g}"
