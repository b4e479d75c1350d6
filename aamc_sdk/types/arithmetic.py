"""Arithmetic that several parts need, each in one place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
"""An array of floating-point numbers."""
ROUNDING = 1e-9
"""Sums of the same numbers differ in their last digits with the order: figures of size 1 that are nearer than this count as equal."""


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array that is from now on not to be written to, since several parts share its memory."""
    array.flags.writeable = False
    return array


def sigmoid(log_odds: Floats) -> Floats:
    """Return the probability of log-odds, 1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * log_odds)))
