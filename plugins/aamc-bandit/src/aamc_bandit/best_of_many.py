"""The probability that each of many independent utilities is the maximum, from their distribution functions on one grid.

With G the product of all distribution functions F_m, the maximum lies in the cell (a, b] with probability G(b) - G(a). A candidate's
share of a cell is its share of the rise of log G, the sum of all log F_m:

    P(m is best) = sum over cells of (G(b) - G(a)) x (log F_m(b) - log F_m(a)) / (log G(b) - log G(a))

Cells are divided until arcsin(sqrt(G)) rises by at most pi / 2048 in each, which makes them narrow where G begins and ends. Time and memory
grow linearly with the number of candidates; quadrature that divides the range for each candidate grows with its square. The error is below
1e-6, as the tests check.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types import Floats

MANY = 150
"""With more candidates, this is faster than quadrature."""
_COARSE, _CELLS, _MAX_ROUNDS = 48, 1024, 8
_NEGLIGIBLE = 1e-10
"""The maximum is below a point with less than this probability; candidates that exceed the point with less than this probability are left out."""


def best_of_many(log_below: Callable[[Floats, NDArray[np.intp]], Floats], lower: float, upper: float, candidates: int) -> Floats:
    """Return each candidate's probability of having the maximum utility, ``[M]``.

    Args:
        log_below: Returns the finite log F_m at points ``[K]`` of the candidates with these indices, ``[indices, K]``.
        lower: The maximum utility is above it.
        upper: The maximum utility is below it.
        candidates: The number M.
    """
    able, points = np.arange(candidates), np.linspace(lower, upper, _COARSE + 1)
    logs = log_below(points, able)
    exceeded = int(np.searchsorted(logs.sum(axis=0), math.log(_NEGLIGIBLE), side="right")) - 1
    relevant = logs[:, max(exceeded, 0)] < -_NEGLIGIBLE
    able, logs = able[relevant], logs[relevant]
    for _ in range(_MAX_ROUNDS):
        rise = np.diff(np.arcsin(np.sqrt(np.exp(np.minimum(logs.sum(axis=0), 0.0)))))
        pieces = np.ceil(rise * (2 * _CELLS / math.pi)).astype(np.intp)
        wide = np.flatnonzero(pieces > 1)
        if not len(wide):
            break
        added = np.concatenate([np.linspace(points[cell], points[cell + 1], pieces[cell] + 1)[1:-1] for cell in wide])
        points, logs = np.concatenate((points, added)), np.concatenate((logs, log_below(added, able)), axis=1)
        order = np.argsort(points, kind="stable")
        points, logs = points[order], logs[:, order]
    rises = np.diff(logs, axis=1)
    best = np.zeros(candidates)
    best[able] = rises @ (np.diff(np.exp(logs.sum(axis=0))) / np.maximum(rises.sum(axis=0), 1e-300))
    return np.asarray(best / best.sum())
