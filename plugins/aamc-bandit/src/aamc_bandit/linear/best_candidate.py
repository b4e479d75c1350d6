"""The probability that each of several independent normal utilities is the greatest, by one-dimensional quadrature.

    P(m is best) = integral of N(u; mean_m, sd_m) * product over j != m of Phi((u - mean_j) / sd_j) du

The range is cut where any of the curves bends, and each piece is integrated by Gauss and Legendre's rule: all the
pieces of a batch at once. The greatest of M utilities lies outside the range with a probability of at most (M + 1) x 1e-9.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr  # type: ignore[import-untyped]  # scipy ships no types

from aamc_sdk.types import Floats

ERROR = 1e-6
"""The greatest error of a probability."""
SMALLEST_SD = 1e-6
"""Utilities are of size one; of two that are nearer than this neither is known to be the better."""
_BENDS = np.array((-6.0, -2.5, 0.0, 2.5, 6.0))
"""Where a piece ends, in standard deviations from each candidate's mean."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)
_LEAST = 1e-150
"""Smaller probabilities of being below count as this one, by which one can divide."""
_BLOCK = 50_000
"""Numbers of an array that is computed at once: few enough for the processor's cache."""


def best_probabilities(mean: Floats, sd: Floats, mask: NDArray[np.bool_]) -> Floats:
    """Return the probability that each allowed candidate is the best, ``[B, M]``; rows sum to one.

    Args:
        mean: Of each utility, ``[B, M]``.
        sd: Its standard deviation, ``[B, M]``.
        mask: Which candidates are allowed, ``[B, M]``; at least one in each row.
    """
    rows, candidates = mean.shape
    if candidates == 1:
        return np.ones((rows, 1))
    mean, spread = np.where(mask, mean, 0.0), np.where(mask, np.maximum(sd, SMALLEST_SD), 1.0)  # what is masked may be unknown
    step = max(1, _BLOCK // (candidates**2 * len(_BENDS) * len(_NODES)))
    blocks = [slice(start, start + step) for start in range(0, rows, step)]
    return np.concatenate([_of_block(mean[block], spread[block], mask[block]) for block in blocks]) if blocks else np.empty((0, candidates))


def _of_block(mean: Floats, sd: Floats, mask: NDArray[np.bool_]) -> Floats:
    points, weights = _quadrature(mean, sd, mask)
    z = (points[:, :, None] - mean[:, None, :]) / sd[:, None, :]  # [B, K, M]
    below = np.where(mask[:, None, :], np.maximum(ndtr(z), _LEAST), 1.0)
    density = np.exp(-0.5 * z * z) / sd[:, None, :]
    everybody = weights * below.prod(axis=2)
    areas = np.matmul(everybody[:, None, :], density / below)[:, 0]
    allowed = np.where(mask, areas, 0.0)
    return np.asarray(allowed / allowed.sum(axis=1, keepdims=True))


def _quadrature(mean: Floats, sd: Floats, mask: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return points and their weights, ``[B, K]`` each, over the range in which the greatest utility lies."""
    ends = mean[:, :, None] + sd[:, :, None] * _BENDS
    least = np.where(mask, ends[:, :, 0], -np.inf).max(axis=1)[:, None]
    greatest = np.where(mask, ends[:, :, -1], -np.inf).max(axis=1)[:, None]
    cuts = np.clip(ends.reshape(len(mean), -1), least, greatest)
    cuts.sort(axis=1)
    half, middle = np.diff(cuts) / 2, (cuts[:, 1:] + cuts[:, :-1]) / 2
    wide = half.any(axis=0)  # a piece beyond the range has no width
    half, middle = half[:, wide], middle[:, wide]
    points = middle[:, :, None] + half[:, :, None] * _NODES
    return points.reshape(len(mean), -1), (half[:, :, None] * _WEIGHTS).reshape(len(mean), -1)
