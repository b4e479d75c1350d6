"""The scale of costs: their square roots between two quantiles of a rolling window, inverted."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from aamc_sdk.errors import CheckpointError, ConfigError

MIDDLE = 0.5
"""The value of a cost where the window has no range, or where the cost is unknown."""
_NO_RANGE = 1e-11
"""Smallest range in square roots of USD: 1e-8 in the published code's unit, the square root of a millionth of a USD."""


class CostNormalizer:
    """Scales costs to [0, 1], cheap is 1, as the published code does: each cost enters the window before it is scaled.

    Args:
        window: Number of costs in the window.
        low: Quantile that becomes 1.
        high: Quantile that becomes 0.

    Attributes:
        frozen: Whether the window stays as it is, as in evaluation.

    Raises:
        ConfigError: The window is empty, or the quantiles are not 0 <= low < high <= 1.
    """

    def __init__(self, window: int = 1000, low: float = 0.05, high: float = 0.95) -> None:
        if window < 1 or not 0 <= low < high <= 1:
            raise ConfigError(f"a cost normalizer needs a window of at least 1 and 0 <= low < high <= 1, not {window!r}, {low!r} and {high!r}")
        self._roots: deque[float] = deque(maxlen=window)
        self._low, self._high = low, high
        self.frozen = False

    def __call__(self, cost_usd: float) -> float:
        """Return a cost in USD on the scale; an unknown one (NaN) is 0.5 and does not enter the window.

        Raises:
            ValueError: The cost is negative or infinite.
        """
        if math.isnan(cost_usd):
            return MIDDLE
        if not 0 <= cost_usd < math.inf:
            raise ValueError(f"a cost must be at least 0 USD, not {cost_usd!r}")
        root = math.sqrt(cost_usd)
        if not self.frozen:
            self._roots.append(root)
        if not self._roots:
            return MIDDLE
        low, high = np.quantile(np.fromiter(self._roots, float), (self._low, self._high))
        if high - low < _NO_RANGE:
            return MIDDLE
        return float(1 - np.clip((root - low) / (high - low), 0, 1))

    def state(self) -> dict[str, Any]:
        """Return the window, its quantiles, and whether it is frozen, in plain JSON values."""
        return {"window": self._roots.maxlen, "low": self._low, "high": self._high, "frozen": self.frozen, "roots": list(self._roots)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> CostNormalizer:
        """Return the normalizer of a :meth:`state`.

        Raises:
            CheckpointError: The state is damaged.
        """
        try:
            made = cls(int(state["window"]), float(state["low"]), float(state["high"]))
            made._roots.extend(float(root) for root in state["roots"])
            made.frozen = bool(state["frozen"])
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            raise CheckpointError(f"the state of a cost normalizer is damaged: {error!r}") from error
        if not all(0 <= root < math.inf for root in made._roots):
            raise CheckpointError("the state of a cost normalizer is damaged: a root is negative or not finite")
        return made
