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
_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")
_FRACTION = re.compile(r"(\d{1,15})?\\[dt]?frac\{(\d{1,15})\}\{(\d{0,14}[1-9]\d{0,14})\}")


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
    r"""Return the last number in a model's answer, or in its last box; None without a number.

    Numbers may have thousands separators, and be fractions as in LaTeX: ``\frac{1}{2}``.
    """
    box = last_box(answer)
    found = _NUMBER.findall(_FRACTION.sub(_decimal, answer if box is None else box).replace("\u2212", "-"))
    return float(found[-1].replace(",", "")) if found else None


def last_box(answer: str) -> str | None:
    r"""Return what the last box of a model's answer holds, as in LaTeX: ``\boxed{42}``; None without a box."""
    boxed = _BOXED.findall(answer)
    return boxed[-1] if boxed else None


def _decimal(fraction: re.Match[str]) -> str:
    whole, numerator, denominator = fraction.groups()
    return repr(int(whole or 0) + int(numerator) / int(denominator))
