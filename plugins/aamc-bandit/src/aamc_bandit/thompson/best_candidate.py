"""Which candidate is the best, and how probably: Thompson sampling's choice by quadrature.

A candidate's utility is U_m = shift_m + scale_m x theta_m, where theta_m has a Beta posterior and the posteriors are
independent. Thompson sampling draws every theta and takes the greatest utility, so it takes m with probability

    P(m is best) = integral of f_m(u) x product over j != m of F_j(u) du                                              (1)

of the utilities' densities f and distribution functions F. Drawing m from (1) is the same algorithm, and its propensity
is known (Russo et al. 2018, "A Tutorial on Thompson Sampling", section 3).

Composite Gauss-Legendre quadrature gives (1). Cells are as narrow as the narrowest posterior there needs. In a stretch
between two points where some candidate's mass begins or ends, nodes follow u = a + (b - a) s(s(t)), s(t) = sin^2(pi t / 2),
so that a density that is infinite at an end does no harm. F is f integrated from its upper end at the same nodes. The
error is below 1e-5 for alpha and beta from 0.5 to a million, as the tests check.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from aamc_sdk.types import Floats

_TINY = 1e-100
NARROWEST = 1e-9
"""Smaller scales count as this one: utilities that are nearer than rounding tie."""
_REACH, _REACH_AT_AN_END = 3.0, 4.5
"""Mass lies within this many 1 / sqrt(alpha + beta) of its mean, in the angle arcsin(sqrt(theta)); less than 1e-6 beyond."""
_CELL = 0.8
"""The widest cell in the same unit."""
_ORDER = 14


def _gauss_legendre(order: int) -> tuple[Floats, Floats, Floats]:
    """Return nodes and weights on [0, 1], and the matrix ``[order, 1 + order]`` that takes values at the nodes to integrals up to 1.

    The first integral is the whole one, the others begin at each of the nodes.
    """
    nodes, weights = legendre.leggauss(order)
    polynomials = legendre.legvander(nodes, order)
    lower = np.column_stack((np.ones(order), polynomials[:, :-2]))
    to_end = (lower - polynomials[:, 1:]) / (2 * np.arange(order) + 1)  # the integral of P_k is (P_(k-1) - P_(k+1)) / (2 k + 1)
    to_end = to_end @ np.linalg.inv(polynomials[:, :-1])
    return (nodes + 1) / 2, weights / 2, np.vstack((weights, to_end)).T / 2


_NODES, _WEIGHTS, _TO_END = _gauss_legendre(_ORDER)


def probability_best(alpha: Floats, beta: Floats, scale: Floats, shift: Floats) -> Floats:
    """Return each candidate's probability of having the greatest utility, ``[M]``.

    Args:
        alpha: Of the Beta posteriors, at least 0.5, ``[M]``.
        beta: Likewise.
        scale: What multiplies theta, at least 0, ``[M]``.
        shift: What is added, ``[M]``.
    """
    scale = np.maximum(scale, NARROWEST)
    low, high = _reach(alpha, beta)
    lower, upper = shift + scale * np.sin(low) ** 2, shift + scale * np.sin(high) ** 2
    floor = lower.max()
    able = np.flatnonzero(upper >= floor)  # the others are certain to be below somebody
    alpha, beta, scale, shift, low, high = (array[able, None] for array in (alpha, beta, scale, shift, low, high))
    ends = np.sort(np.maximum(np.concatenate((lower[able], upper[able])), floor))
    angles = np.arcsin(np.sqrt(_between((ends - shift) / scale, 0.0, 1.0)))
    angles = _between(angles, low, high) * np.sqrt(alpha + beta)
    cells = np.ceil((angles[:, 1:] - angles[:, :-1]).max(axis=0) / _CELL).astype(np.intp)
    utility, step = _nodes(ends, cells)
    best = np.zeros(len(lower))
    best[able] = _integrate(_density(utility, alpha, beta, scale, shift) * step)
    return np.asarray(best / best.sum())


def _between(values: Floats, least: Floats | float, greatest: Floats | float) -> Floats:
    """Return the values, clipped; for small arrays this is quicker than ``clip``."""
    return np.minimum(np.maximum(values, least), greatest)


def _reach(alpha: Floats, beta: Floats) -> tuple[Floats, Floats]:
    """Return between which angles the mass lies; in the angle its density is log-concave and falls like a Gaussian's."""
    total = alpha + beta
    centre, root = np.arcsin(np.sqrt(alpha / total)), np.sqrt(total)
    reach = np.where(np.minimum(centre, math.pi / 2 - centre) * root < _REACH, _REACH_AT_AN_END, _REACH) / root
    return np.maximum(centre - reach, 0.0), np.minimum(centre + reach, math.pi / 2)


def _nodes(ends: Floats, cells: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Return the nodes of all cells and du/dt there, ``[cells x order]``, with so many cells in each stretch."""
    places, slopes = (np.concatenate(parts) for parts in zip(*map(_stretch, cells.tolist()), strict=True))
    start, length = np.repeat(ends[:-1], cells)[:, None], np.repeat(ends[1:] - ends[:-1], cells)[:, None]
    return (start + length * places).ravel(), (length * slopes).ravel()


@lru_cache(1024)
def _stretch(cells: int) -> tuple[Floats, Floats]:
    """Return the nodes of so many cells in a stretch from 0 to 1, and du/dt there, ``[cells, order]``."""
    inner = (np.arange(cells)[:, None] + _NODES) * (math.pi / 2) / max(cells, 1)
    outer = np.sin(inner) ** 2 * (math.pi / 2)
    return np.sin(outer) ** 2, np.sin(2 * outer) * np.sin(2 * inner) * (math.pi / 2) ** 2 / max(cells, 1)


def _density(utility: Floats, alpha: Floats, beta: Floats, scale: Floats, shift: Floats) -> Floats:
    """Return the utilities' densities ``[M, nodes]``; parameters are ``[M, 1]``."""
    theta, rest = (utility - shift) / scale, (shift + scale - utility) / scale
    constant = [math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) for a, b in zip(alpha[:, 0].tolist(), beta[:, 0].tolist(), strict=True)]
    inside = np.minimum(theta, rest) > 0
    logarithm = (alpha - 1) * np.log(_between(theta, _TINY, 1.0)) + (beta - 1) * np.log(_between(rest, _TINY, 1.0))
    return np.asarray(np.exp(logarithm + (np.array(constant)[:, None] - np.log(scale))) * inside)


def _integrate(density: Floats) -> Floats:
    """Return equation (1) of densities ``[M, nodes]`` that are multiplied by du/dt."""
    cells = density.reshape(len(density), -1, _ORDER)
    up = (density.reshape(-1, _ORDER) @ _TO_END).reshape(*cells.shape[:2], 1 + _ORDER)  # one product of matrices is quicker than many
    above = up[:, ::-1, 0].cumsum(axis=1)[:, ::-1] - up[:, :, 0]
    below = np.maximum(1 - above[:, :, None] - up[:, :, 1:], 1e-30)
    return np.asarray(((cells * (below.prod(axis=0) / below)) @ _WEIGHTS).sum(axis=1))
