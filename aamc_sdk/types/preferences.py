"""The preference: weights of quality, cost and latency."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import PreferenceError
from aamc_sdk.messages import check_known, nearest, one_of
from aamc_sdk.types.arithmetic import Floats, read_only

_ROUNDING = 4 * sys.float_info.epsilon
"""Error of a sum of three rescaled weights: rescaling these again would change their last digits, and a logged preference with them."""


@attrs.frozen(init=False)
class Preference:
    """Weights of quality, cost and latency, rescaled to sum to 1.

    By default the full range of cost counts as much as nine percentage points of quality.

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
            raise PreferenceError(f"a preference must be three numbers (quality, cost, latency), not {given!r}") from None
        except OverflowError:  # a whole number beyond all floats
            weights = [math.inf]
        if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
            raise PreferenceError(f"the weights of a preference must be finite and at least 0, not {given!r:.200}")
        total = sum(weights)
        if total <= 0 or not math.isfinite(total):
            raise PreferenceError(f"the weights of a preference must have a positive, finite sum, not {given!r}")
        self.__attrs_init__(*(weights if abs(total - 1) <= _ROUNDING else [weight / total for weight in weights]))

    @classmethod
    def parse(cls, text: str, named: Mapping[str, Preference] | None = None) -> Preference:
        """Read weights of quality, cost and latency such as ``"0.7,0.2,0.1"``, or the name of a calibrated preference in ``named``.

        Raises:
            PreferenceError: The text is neither, or the weights cannot be used.
        """
        if named is not None and text in named:
            return named[text]
        parts = text.split(",")
        try:
            weights = [float(part) for part in parts]
        except ValueError:
            weights = []
        if len(weights) != 3:
            names = "" if named is None else f"{nearest(text, named)} (calibrated preferences: {one_of(named)})"
            raise PreferenceError(f"a preference must be three numbers such as 0.9,0.08,0.02, not {text!r}{names}")
        return cls(*weights)

    @classmethod
    def of(cls, value: Preference | str | Sequence[float] | Mapping[str, float] | None, named: Mapping[str, Preference] | None = None) -> Preference:
        """Return a preference from a :class:`Preference`, three numbers, weights by name (0 without one), or a text as for :meth:`parse`.

        None stands for the default one.

        Raises:
            PreferenceError: The value has none of these forms, or the weights cannot be used.
        """
        if value is None:
            return cls()
        if isinstance(value, Preference):
            return value
        if isinstance(value, str):
            return cls.parse(value, named)
        if isinstance(value, Mapping):
            weights = {"quality": 0.0, "cost": 0.0, "latency": 0.0}
            check_known(value, weights, "a preference has no weight", PreferenceError)
            return cls(**{**weights, **value})
        if not isinstance(value, Sequence | np.ndarray) or len(value) != 3:
            raise PreferenceError(f"a preference must be three numbers (quality, cost, latency), not {value!r}")
        return cls(*value)

    @property
    def array(self) -> NDArray[np.float64]:
        """The weights as ``[3]``, read-only."""
        return _weights(self.quality, self.cost, self.latency)

    def __str__(self) -> str:
        return f"{self.quality:g},{self.cost:g},{self.latency:g}"


@lru_cache(4096)  # most requests share few preferences
def _weights(*weights: float) -> NDArray[np.float64]:
    return read_only(np.array(weights))


def without_latency(preferences: Floats) -> Floats:
    """Return preferences ``[..., 3]`` for data without latency: its weight is 0, the others are rescaled.

    Raises:
        PreferenceError: A preference weighs only latency.
    """
    kept = preferences * np.array((1.0, 1.0, 0.0))
    total = kept.sum(axis=-1, keepdims=True)
    if (bad := total[..., 0] <= 0).any():
        weights = Preference(*preferences[bad][0])
        raise PreferenceError(f"the preference weighs only latency ({weights}), which this data does not have; give quality or cost a weight")
    return np.asarray(kept / total)
