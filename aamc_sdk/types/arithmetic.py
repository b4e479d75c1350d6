"""Shared arithmetic, and the type of float arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
"""An array of floating-point numbers."""
NORMAL_QUANTILE = 1.959964
"""The normal distribution's 97.5% quantile."""
ROUNDING = 1e-9
"""Tolerance for equality of values of size 1, whose last digits depend on the order of summation."""


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Make an array read-only in place and return it, for memory that several objects share."""
    array.setflags(write=False)
    return array


def sigmoid(log_odds: Floats) -> Floats:
    """Return the probability of log-odds, 1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * log_odds)))


def wilson_interval(mean: float, n: float) -> tuple[float, float]:
    """Return Wilson's 95% score interval of a mean of n values from 0 to 1; NaN without values; conservative if values lie in between."""
    if not n:
        return math.nan, math.nan
    spread = NORMAL_QUANTILE * NORMAL_QUANTILE / n
    centre = (mean + spread / 2) / (1 + spread)
    half = math.sqrt(mean * (1 - mean) * spread + spread * spread / 4) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)
