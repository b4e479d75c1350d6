"""The probability that each of several independent normal utilities is the maximum, by one-dimensional quadrature.

    P(m is best) = integral of N(u; mean_m, sd_m) * product over j != m of Phi((u - mean_j) / sd_j) du

The range is divided at fixed numbers of standard deviations from each mean, and each piece is integrated by the
Gauss-Legendre rule, all pieces of a batch at once. The maximum of M utilities lies outside the range with a probability of at
most (M + 1) x 1e-9. More than :data:`~aamc_bandit.best_of_many.MANY` candidates share one grid instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr  # type: ignore[import-untyped]  # scipy ships no types

from aamc_bandit.best_of_many import MANY, best_of_many
from aamc_sdk.types import Floats

ERROR = 1e-6
"""Maximum error of a probability."""
MIN_SD = 1e-6
"""Smaller standard deviations are raised to this one: utilities, which are near 1, tie where they differ by less."""
_DIVISIONS = np.array((-6.0, -2.5, 0.0, 2.5, 6.0))
"""Ends of the pieces, in standard deviations from each candidate's mean."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)
_MIN_BELOW = 1e-150
"""Minimum of the distribution functions, which are divided by."""
_BLOCK = 50_000
"""Numbers per array in one block; a block fits into the processor's cache."""


def normal_best_probabilities(mean: Floats, sd: Floats, mask: NDArray[np.bool_]) -> Floats:
    """Return the probability that each allowed candidate is the best, ``[B, M]``; rows sum to one.

    Means and standard deviations of the utilities and the mask are ``[B, M]``; at least one candidate of each row is allowed.
    """
    rows, candidates = mean.shape
    if candidates == 1:
        return np.ones((rows, 1))
    highest = np.where(mask, mean, -np.inf).max(axis=1, keepdims=True)
    mean = np.where(mask, mean - highest, 0.0)  # far from zero a standard deviation would be lost in rounding; masked values may be NaN
    sd = np.where(mask, np.maximum(sd, MIN_SD), 1.0)
    if candidates > MANY:
        return np.stack([_row_probabilities(*row) for row in zip(mean, sd, mask, strict=True)]) if rows else np.empty((0, candidates))
    step = max(1, _BLOCK // (candidates**2 * len(_DIVISIONS) * len(_NODES)))
    blocks = [slice(start, start + step) for start in range(0, rows, step)]
    return np.concatenate([_block_probabilities(mean[block], sd[block], mask[block]) for block in blocks]) if blocks else np.empty((0, candidates))


def _row_probabilities(mean: Floats, sd: Floats, mask: NDArray[np.bool_]) -> Floats:
    allowed, best = np.flatnonzero(mask), np.zeros(len(mask))
    mean, sd = mean[allowed, None], sd[allowed, None]

    def log_below(utility: Floats, rows: NDArray[np.intp]) -> Floats:
        return np.asarray(np.log(np.maximum(ndtr((utility - mean[rows]) / sd[rows]), _MIN_BELOW)))

    best[allowed] = best_of_many(log_below, (mean + sd * _DIVISIONS[0]).max(), (mean + sd * _DIVISIONS[-1]).max(), len(allowed))
    return best


def _block_probabilities(mean: Floats, sd: Floats, mask: NDArray[np.bool_]) -> Floats:
    points, weights = _quadrature(mean, sd, mask)
    z = (points[:, :, None] - mean[:, None, :]) / sd[:, None, :]  # [B, K, M]
    below = np.where(mask[:, None, :], np.maximum(ndtr(z), _MIN_BELOW), 1.0)
    density = np.exp(-0.5 * z * z) / sd[:, None, :]
    all_below = weights * below.prod(axis=2)
    areas = np.matmul(all_below[:, None, :], density / below)[:, 0]
    allowed = np.where(mask, areas, 0.0)
    return np.asarray(allowed / allowed.sum(axis=1, keepdims=True))


def _quadrature(mean: Floats, sd: Floats, mask: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return points and their weights, ``[B, K]`` each, over the range of the maximum utility."""
    ends = mean[:, :, None] + sd[:, :, None] * _DIVISIONS
    lower = np.where(mask, ends[:, :, 0], -np.inf).max(axis=1)[:, None]
    upper = np.where(mask, ends[:, :, -1], -np.inf).max(axis=1)[:, None]
    divisions = np.clip(ends.reshape(len(mean), -1), lower, upper)
    divisions.sort(axis=1)
    half, middle = np.diff(divisions) / 2, (divisions[:, 1:] + divisions[:, :-1]) / 2
    wide = half.any(axis=0)  # pieces outside the range have no width
    half, middle = half[:, wide], middle[:, wide]
    points = middle[:, :, None] + half[:, :, None] * _NODES
    return points.reshape(len(mean), -1), (half[:, :, None] * _WEIGHTS).reshape(len(mean), -1)
