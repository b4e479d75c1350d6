"""Hypervolume and sparsity: the part of the objective space that a router reaches, and how densely.

A router's points are its mean reward vectors under different preferences, D objectives each, larger is better.
All functions take ``[..., K, D]`` points and work on many sets of points at once.

Papers: Zitzler and Thiele 1999, "Multiobjective Evolutionary Algorithms: A Comparative Case Study and the Strength
Pareto Approach" (hypervolume); Xu et al. 2020, "Prediction-Guided Multi-Objective Reinforcement Learning for
Continuous Robot Control" (PGMORL; sparsity).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aamc_experiments.evaluation.bootstrap import ratio
from aamc_sdk.types import ROUNDING, Floats


def hypervolume(points: Floats) -> Floats:
    """Return the volume of all non-negative vectors that some point weakly dominates, ``[...]``.

    The volume is cut into slabs along the last objective. The base of the slab between two points' heights is the
    hypervolume, in the other objectives, of the points above it.
    """
    points = np.maximum(points, 0.0)
    if points.shape[-1] == 1:
        return np.asarray(points.max(axis=(-2, -1)))
    order = np.argsort(-points[..., -1], axis=-1)
    points = np.take_along_axis(points, order[..., None], axis=-2)
    thickness = -np.diff(points[..., -1], axis=-1, append=0.0)
    slabs = [thickness[..., k] * hypervolume(points[..., : k + 1, :-1]) for k in range(points.shape[-2])]
    return np.asarray(sum(slabs))


def non_dominated(points: Floats) -> NDArray[np.bool_]:
    """Return whether each point is dominated by no other, ``[..., K]``; of equal points the first."""
    difference = points[..., None, :, :] - points[..., :, None, :]  # [..., K, others, D]
    as_good, better = (difference >= -ROUNDING).all(axis=-1), (difference > ROUNDING).any(axis=-1)
    position = np.arange(points.shape[-2])
    earlier = position[None, :] < position[:, None]
    return np.asarray(~(as_good & (better | earlier)).any(axis=-1))


def sparsity(points: Floats) -> Floats:
    """Return the sum over objectives of the mean squared gap between neighbours among the non-dominated points, ``[...]``.

    Returns:
        Smaller values for denser points; NaN for fewer than two non-dominated known points.
    """
    kept = non_dominated(points) & ~np.isnan(points).any(axis=-1)
    along = np.sort(np.where(kept[..., None], points, np.nan), axis=-2)  # NaN comes last
    squares = np.nansum(np.diff(along, axis=-2) ** 2, axis=(-2, -1))
    return ratio(squares, kept.sum(axis=-1) - 1)
