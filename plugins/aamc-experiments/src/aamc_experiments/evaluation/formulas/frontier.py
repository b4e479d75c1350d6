"""The cost-quality frontier of a router: its hull, and figures of the hull.

A random mixture of two routers reaches every point between theirs, so the frontier is the concave, non-decreasing hull of the
reachable points. The cheapest candidate's point is always reachable, and belongs to every hull.

All functions take ``[..., K]`` points and work on many sets of points at once.

Paper: Hu et al. 2024, "RouterBench: A Benchmark for Multi-LLM Routing System" (AIQ, section 3).
"""

from __future__ import annotations

import numpy as np

from aamc_experiments.evaluation.bootstrap import ratio
from aamc_experiments.evaluation.comparison import Integers
from aamc_sdk.types import ROUNDING, Floats


def hull(cost: Floats, quality: Floats) -> tuple[Floats, Floats]:
    """Return the costs and qualities of the vertices of the concave, non-decreasing hull, ``[..., K]`` each, the cheapest first.

    The last vertex is repeated.
    """
    positions = hull_positions(cost, quality)
    return _at(cost, positions), _at(quality, positions)


def hull_positions(cost: Floats, quality: Floats) -> Integers:
    """Return the positions of the vertices of :func:`hull`, ``[..., K]``."""
    corner: Integers = np.lexsort((-quality, cost), axis=-1)[..., :1]
    corners = [corner]
    for _ in range(cost.shape[-1] - 1):
        corner = _next_corner(cost, quality, corner)
        corners.append(corner)
    return np.concatenate(corners, axis=-1)


def _next_corner(cost: Floats, quality: Floats, corner: Integers) -> Integers:
    """Return the next vertex by maximum slope, as in Jarvis's march; the same vertex if no point is better."""
    run, rise = cost - _at(cost, corner), quality - _at(quality, corner)
    ahead = (run > 0) & (rise > 0)
    slope = np.divide(rise, run, out=np.full(run.shape, -np.inf), where=ahead)
    steepest = slope.max(axis=-1, keepdims=True)
    farthest = np.where(ahead & (slope == steepest), run, -np.inf).argmax(axis=-1)[..., None]
    return np.where(ahead.any(axis=-1, keepdims=True), farthest, corner)


def _at(values: Floats, position: Integers) -> Floats:
    return np.take_along_axis(values, position, axis=-1)


def aiq(cost: Floats, quality: Floats, low: Floats, high: Floats) -> Floats:
    """Return the average quality of the hull over a range of costs (AIQ), ``[...]``.

    Args:
        cost: The costs of the points, ``[..., K]``; one must be at most ``low``.
        quality: Their qualities, ``[..., K]``.
        low: The lower end of the range, the cheapest candidate's mean cost, ``[...]``.
        high: The upper end, the most expensive candidate's mean cost, ``[...]``. The hull is level beyond its last vertex.

    Returns:
        NaN if the range is empty.
    """
    x, y = hull(cost, quality)
    last = np.maximum(x[..., -1:], high[..., None])
    x, y = np.concatenate((x, last), axis=-1), np.concatenate((y, y[..., -1:]), axis=-1)
    run = np.diff(x)
    slope = np.divide(np.diff(y), run, out=np.zeros_like(run), where=run > 0)
    inside = np.clip(x, low[..., None], high[..., None])
    start, end = inside[..., :-1], inside[..., 1:]
    middle = y[..., :-1] + slope * ((start + end) / 2 - x[..., :-1])
    return ratio((middle * (end - start)).sum(axis=-1), high - low)


def cost_at_quality(cost: Floats, quality: Floats, target: Floats | float) -> Floats:
    """Return the minimum cost on the hull with at least a target quality, ``[...]``; infinity if no point of the hull reaches it."""
    x, y = hull(cost, quality)
    reached = y[..., -1] >= target * (1 - ROUNDING)
    return np.asarray(np.where(reached, _read(y, x, target), np.inf))


def quality_at_cost(cost: Floats, quality: Floats, budget: Floats | float) -> Floats:
    """Return the maximum quality on the hull at most at a cost, ``[...]``; below the cheapest point, the quality is that point's."""
    return _read(*hull(cost, quality), budget)


def mixture_at_cost(cost: Floats, quality: Floats, budget: float) -> Floats:
    """Return the share of each of ``[K]`` points in the mixture that has the quality :func:`quality_at_cost`, ``[K]``."""
    positions = hull_positions(cost, quality)
    before, after, share = _between(cost[positions], budget)
    shares = np.zeros(len(cost))
    for vertex, part in ((before, 1 - share), (after, share)):
        shares[positions[vertex]] += part
    return shares


def _read(along: Floats, values: Floats, at: Floats | float) -> Floats:
    """Return the linear interpolation between rising points ``[..., K]``, ``[...]``; constant beyond both ends."""
    before, after, share = _between(along, at)
    start, end = _at(values, before), _at(values, after)
    return np.asarray((start + share * (end - start))[..., 0])


def _between(along: Floats, at: Floats | float) -> tuple[Integers, Integers, Floats]:
    """Return the points before and after a position on rising points ``[..., K]``, and the fraction between them, ``[..., 1]`` each."""
    at = np.clip(at, along[..., 0], along[..., -1])[..., None]
    after = (along >= at).argmax(axis=-1)[..., None]
    before = np.maximum(after - 1, 0)
    start, end = _at(along, before), _at(along, after)
    return before, after, np.divide(at - start, end - start, out=np.zeros_like(end), where=end > start)
