"""Smooth functions from embeddings to each candidate's quality, fitted to outcomes with missing cells.

The experts of the estimators and the routers ``knn`` and ``ridge`` share them. N training rows, B queries, M candidates,
D features; a cell without an outcome is NaN.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types import Floats

Number = TypeVar("Number", bound=np.floating)
SHORTEST = 1e-12
"""A row of a smaller norm has no direction and is divided by this number."""
LARGEST_SHARE = 5
"""At most one training row in this many counts as near."""


def unit_rows(features: Floats) -> Floats:
    """Return rows ``[B, D]`` scaled to unit length."""
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), SHORTEST))


def near_count(wanted: int, rows: int) -> int:
    """Return the number of training rows, out of N, that count as near."""
    return max(1, min(wanted, rows // LARGEST_SHARE))


def mean_cosine(similarity: Floats, count: int) -> Floats:
    """Return each query's mean cosine to its ``count`` nearest training rows, or to all of fewer, ``[B]``, of cosines ``[B, N]``."""
    first = max(similarity.shape[1] - count, 0)
    return np.asarray(np.partition(similarity, first, axis=1)[:, first:].mean(axis=1))


def known_outcomes(quality: NDArray[Number]) -> NDArray[Number]:
    """Return the outcomes ``[N, M]``, zero where unknown, then 1 where known and 0 elsewhere: ``[N, 2 M]``."""
    return np.hstack((np.nan_to_num(quality), np.isfinite(quality).astype(quality.dtype)))


def nearest_rows(similarity: Floats, count: int, *, ties: bool) -> NDArray[np.bool_]:
    """Return whether each training row is among the nearest, ``[B, N]``.

    Args:
        similarity: Of each query to each training row, finite, ``[B, N]``.
        count: Number of near rows.
        ties: Whether rows as near as the last of them are near too, which makes the result independent of the rows' order.
    """
    if ties:
        place = similarity.shape[1] - count
        return np.asarray(similarity >= np.partition(similarity, place, axis=1)[:, place, None])
    near = np.zeros(similarity.shape, dtype=bool)
    np.put_along_axis(near, np.argpartition(similarity, -count, axis=1)[:, -count:], True, axis=1)
    return near


def shrunken_means(near: NDArray[np.bool_], outcomes: Floats, means: Floats, pseudo_count: float) -> Floats:
    """Return the mean outcome of the near rows, ``[B, M]``, with ``pseudo_count`` outcomes at the candidate's mean added.

    A candidate without near outcomes has its mean, of ``means`` ``[M]``. Near rows are ``[B, N]``; the outcomes are those of :func:`known_outcomes`.
    """
    sums, counts = np.split(near.astype(outcomes.dtype) @ outcomes, 2, axis=1)
    counts = counts + pseudo_count
    return np.asarray(np.divide(sums + pseudo_count * means, counts, out=np.tile(means, (len(near), 1)), where=counts > 0))


def ridge_coefficients(features: Floats, quality: Floats, means: Floats, penalty: float) -> Floats:
    r"""Return each candidate's coefficients ``[D, M]`` of a linear function with the candidate's mean as its intercept.

    .. math:: w_m = \arg\min_w \sum_i (y_{im} - \bar y_m - w^\top x_i)^2 + \alpha \lVert w \rVert^2

    Args:
        features: Centred, ``[N, D]``.
        quality: ``[N, M]``, NaN where unknown.
        means: The candidates' means, ``[M]``.
        penalty: The alpha of the formula; it is not divided by the number of rows.
    """
    return least_squares(features, quality - means, penalty * np.eye(features.shape[1]))


def least_squares(features: Floats, target: Floats, penalty: Floats) -> Floats:
    r"""Return each column's coefficients ``[D, M]``, fitted to its known rows.

    .. math:: w_m = \arg\min_w \sum_i (y_{im} - w^\top x_i)^2 + w^\top P w

    Args:
        features: ``[N, D]``.
        target: ``[N, M]``, NaN where unknown.
        penalty: P of the formula, ``[D, D]``.
    """
    known = np.isfinite(target)
    coefficients = np.empty((features.shape[1], target.shape[1]))
    for pattern in np.unique(known, axis=1).T:  # columns with the same known rows share one matrix
        columns = (known == pattern[:, None]).all(axis=0)
        rows = features[pattern]
        coefficients[:, columns] = np.linalg.solve(rows.T @ rows + penalty, rows.T @ target[pattern][:, columns])
    return coefficients
