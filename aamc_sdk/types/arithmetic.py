"""Shared arithmetic, the type of float arrays, and the number in an answer."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
"""An array of floating-point numbers."""
_Z_95 = 1.959964
"""The normal distribution's 97.5% quantile."""
ROUNDING = 1e-9
"""Tolerance for equality of values of size 1, whose last digits depend on the order of summation."""
_NUMBER = re.compile(r"(?:(?<!\w)[-+])?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")


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
    spread = _Z_95 * _Z_95 / n
    centre = (mean + spread / 2) / (1 + spread)
    half = math.sqrt(mean * (1 - mean) * spread + spread * spread / 4) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def last_number(answer: str) -> float | None:
    """Return the last number in a model's answer, which may have thousands separators, or the one in its last box; None without a number."""
    boxed = _BOXED.findall(answer)
    found = _NUMBER.findall((boxed[-1] if boxed else answer).replace("\u2212", "-"))
    return float(found[-1].replace(",", "")) if found else None
