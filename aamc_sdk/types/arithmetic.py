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
_PLAIN = r"\d{1,15}(?:\.\d{1,15})?"
_FRACTION = re.compile(
    rf"(?:(?<![\d.])(\d{{1,15}}) ?)?\\[cdt]?frac\s*(?:\{{\s*(-?{_PLAIN})\s*\}}|(\d))\s*(?:\{{\s*({_PLAIN})\s*\}}|(\d))"
    rf"|(?<![\d./])({_PLAIN}) ?/ ?({_PLAIN})(?![\d/])"
)
"""A fraction, also of one digit each (``\\frac12``) or after a whole number (``2\\frac{1}{2}``), in LaTeX or with a slash."""
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\}|\\,)(?=\d{3})")


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

    Numbers may have thousands separators, and be fractions: ``1/2``, or ``\frac{1}{2}`` as in LaTeX.
    """
    box = last_box(answer)
    text = _THOUSANDS.sub("", (answer if box is None else box).replace("\u2212", "-"))
    found = _NUMBER.findall(_FRACTION.sub(_decimal, text))
    number = float(found[-1].replace(",", "")) if found else math.nan
    return number if math.isfinite(number) else None


def last_box(answer: str) -> str | None:
    r"""Return what the last box of a model's answer holds, as in LaTeX: ``\boxed{42}``; None without a box."""
    boxed = _BOXED.findall(answer)
    return boxed[-1] if boxed else None


def _decimal(fraction: re.Match[str]) -> str:
    whole, *parts = fraction.groups()
    numerator, denominator = (float(part) for part in parts if part is not None)
    return repr(float(whole or 0) + numerator / denominator) if denominator else "none"
