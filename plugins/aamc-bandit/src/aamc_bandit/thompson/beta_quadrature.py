"""The probability that each candidate has the maximum utility, for Beta posteriors: Thompson sampling by quadrature.

A candidate's utility is U_m = shift_m + scale_m x theta_m, where the theta_m have independent Beta posteriors. Thompson
sampling draws every theta and takes the maximum utility, so it takes m with probability

    P(m is best) = integral of f_m(u) x product over j != m of F_j(u) du                                              (1)

for the utilities' densities f and distribution functions F. Drawing m from (1) is the same algorithm with a known
propensity (Russo et al. 2018, "A Tutorial on Thompson Sampling", section 3).

Composite quadrature by Fejér's first rule computes (1). Its error is that of Gauss-Legendre quadrature here, and its nodes have a closed
form. The range is divided wherever some candidate's mass begins or ends. Within an interval [a, b], nodes follow
u = a + (b - a) s(s(t)), s(t) = sin^2(pi t / 2), so that a density may be infinite at an end. The narrowest posterior determines the number of
cells. F is f integrated from its upper end at the same nodes. The error is below 1e-5 for alpha and beta from 0.5 to a million, as the tests
check. More than :data:`~aamc_bandit.best_of_many.MANY` candidates share one grid instead: each dividing the range, they take time and memory by
the square of their number.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from aamc_bandit.best_of_many import MANY, best_of_many
from aamc_sdk.types import Floats

_TINY = 1e-100
MIN_SCALE = 1e-9
"""Smaller scales are raised to this one, times a shift beyond 1, so that utilities within rounding of each other tie."""
_RADIUS, _RADIUS_AT_AN_END = 3.0, 4.5
"""Half the width of the integrated range in the angle arcsin(sqrt(theta)), in 1 / sqrt(alpha + beta); less than 1e-6 of the mass is outside."""
_CELL = 1.2
"""Maximum width of a cell, in the same unit."""
_ORDER = 20


def _fejer(order: int) -> tuple[Floats, Floats]:
    """Return the nodes of Fejér's first rule on [0, 1], and a matrix ``[order, 1 + order]``.

    The matrix maps values at the nodes to integrals: from 0 to 1, and from each node to 1. They are those of the Chebyshev series
    that interpolates the values. With x = cos(angle), T_k is cos(k angle), and its integral is T_(k+1) / (2 (k+1)) - T_(k-1) / (2 (k-1)).
    """
    degrees, angles = np.arange(order), (np.arange(order)[::-1] + 0.5) * math.pi / order
    starts = np.concatenate(([math.pi], angles))[:, None]
    below = np.where(degrees == 1, np.inf, degrees - 1)  # for T_1 the second term is constant
    to_end = (1 - np.cos((degrees + 1) * starts)) / (degrees + 1) - (1 - np.cos((degrees - 1) * starts)) / below
    coefficients = np.cos(degrees[:, None] * angles) * np.where(degrees == 0, 1, 2)[:, None] / order
    return (1 + np.cos(angles)) / 2, (to_end @ coefficients).T / 4


_NODES, _TO_END = _fejer(_ORDER)


def beta_best_probabilities(alpha: Floats, beta: Floats, scale: Floats, shift: Floats) -> Floats:
    """Return each candidate's probability of having the maximum utility, ``[M]``.

    Args:
        alpha: Alpha of the Beta posteriors, at least 0.5, ``[M]``.
        beta: Beta of the Beta posteriors, at least 0.5, ``[M]``.
        scale: The factor on theta, at least 0, ``[M]``.
        shift: The utility at theta 0, ``[M]``.
    """
    scale = np.maximum(scale, MIN_SCALE * np.maximum(np.abs(shift), 1.0))
    low, high = _angles(alpha, beta)
    lower, upper = shift + scale * np.sin(low) ** 2, shift + scale * np.sin(high) ** 2
    floor = lower.max()
    able = np.flatnonzero(upper >= floor)  # the others are certainly below some candidate
    alpha, beta, scale, shift, low, high = (array[able, None] for array in (alpha, beta, scale, shift, low, high))
    best = np.zeros(len(lower))
    if len(able) > MANY:
        from scipy.special import betainc  # type: ignore[import-untyped]  # takes 0.15 s and has no types

        def log_below(utility: Floats, rows: NDArray[np.intp]) -> Floats:
            theta = np.clip((utility - shift[rows]) / scale[rows], 0.0, 1.0)
            return np.asarray(np.log(np.maximum(betainc(alpha[rows], beta[rows], theta), 1e-30)))

        best[able] = best_of_many(log_below, floor, upper.max(), len(able))
        return best
    ends = np.sort(np.maximum(np.concatenate((lower[able], upper[able])), floor))
    angles = np.arcsin(np.sqrt(np.clip((ends - shift) / scale, 0.0, 1.0)))
    angles = np.clip(angles, low, high) * np.sqrt(alpha + beta)
    cells = np.ceil((angles[:, 1:] - angles[:, :-1]).max(axis=0) / _CELL).astype(np.intp)
    utility, step = _nodes(ends, cells)
    best[able] = _integrate(_density(utility, alpha, beta, scale, shift) * step)
    return np.asarray(best / best.sum())


def _angles(alpha: Floats, beta: Floats) -> tuple[Floats, Floats]:
    """Return the range of angles that holds the mass; as a function of the angle, the density falls like a Gaussian's."""
    total = alpha + beta
    centre, root = np.arcsin(np.sqrt(alpha / total)), np.sqrt(total)
    radius = np.where(np.minimum(centre, math.pi / 2 - centre) * root < _RADIUS, _RADIUS_AT_AN_END, _RADIUS) / root
    return np.maximum(centre - radius, 0.0), np.minimum(centre + radius, math.pi / 2)


def _nodes(ends: Floats, cells: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Return the nodes of all cells and du/dt there, ``[cells x order]``; ``cells`` gives the number of cells per interval."""
    positions, slopes = (np.concatenate(parts) for parts in zip(*map(_unit_interval, cells.tolist()), strict=True))
    start, length = np.repeat(ends[:-1], cells)[:, None], np.repeat(ends[1:] - ends[:-1], cells)[:, None]
    return (start + length * positions).ravel(), (length * slopes).ravel()


@cache
def _unit_interval(cells: int) -> tuple[Floats, Floats]:
    """Return the nodes of the interval from 0 to 1 in ``cells`` cells, and du/dt there, ``[cells, order]``."""
    inner = (np.arange(cells)[:, None] + _NODES) * (math.pi / 2) / max(cells, 1)
    outer = np.sin(inner) ** 2 * (math.pi / 2)
    return np.sin(outer) ** 2, np.sin(2 * outer) * np.sin(2 * inner) * (math.pi / 2) ** 2 / max(cells, 1)


def _density(utility: Floats, alpha: Floats, beta: Floats, scale: Floats, shift: Floats) -> Floats:
    """Return the utilities' densities ``[M, nodes]``; parameters are ``[M, 1]``."""
    theta, rest = (utility - shift) / scale, (shift + scale - utility) / scale
    constant = [math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) for a, b in zip(alpha[:, 0].tolist(), beta[:, 0].tolist(), strict=True)]
    inside = np.minimum(theta, rest) > 0
    logarithm = (alpha - 1) * np.log(np.clip(theta, _TINY, 1.0)) + (beta - 1) * np.log(np.clip(rest, _TINY, 1.0))
    return np.asarray(np.exp(logarithm + (np.array(constant)[:, None] - np.log(scale))) * inside)


def _integrate(density: Floats) -> Floats:
    """Return equation (1), given densities ``[M, nodes]`` times du/dt."""
    cells = density.reshape(len(density), -1, _ORDER)
    up = (density.reshape(-1, _ORDER) @ _TO_END).reshape(*cells.shape[:2], 1 + _ORDER)  # one matrix product is faster than many
    above = up[:, ::-1, 0].cumsum(axis=1)[:, ::-1] - up[:, :, 0]
    below = np.maximum(1 - above[:, :, None] - up[:, :, 1:], 1e-30)
    return np.asarray(((cells * (below.prod(axis=0) / below)) @ _TO_END[:, 0]).sum(axis=1))
