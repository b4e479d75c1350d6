"""Shared arithmetic and the type of float arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
"""An array of floating-point numbers."""
ROUNDING = 1e-9
"""Tolerance for equality of values of size 1, whose last digits depend on the order of summation."""


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Make an array read-only in place and return it, for memory that several objects share."""
    array.flags.writeable = False
    return array


def sigmoid(log_odds: Floats) -> Floats:
    """Return the probability of log-odds, 1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * log_odds)))
