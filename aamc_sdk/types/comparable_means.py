"""Means of candidates over tables with missing cells, comparable although each candidate has other known rows.

A candidate that was asked only hard questions has a low mean over its known cells, however good it is. So these means also count how
each row y_i came out with the other candidates. Quality has additive effects u of rows around the means m:

    y_ij = m_j + u_i + e_ij,   Var(u_i) = Var(e_ij) / PRIOR,

whose generalised least squares solution is one linear system. Costs and latencies have effects v that multiply, since a long question costs
more at every price: with k_i known cells in row i, all sums over known cells,

    y_ij = m_j v_i,   v_i = (PRIOR + sum_j y_ij / m_j) / (PRIOR + k_i),   m_j = sum_i y_ij / sum_i v_i,

which is iterated. Both are the plain means where all cells are known, and where no row has two of them.

Paper: Henderson 1975, "Best Linear Unbiased Estimation and Prediction under a Selection Model", Biometrics 31.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types.arithmetic import Floats

PRIOR = 1.0
"""Weight of a row's prior effect in known cells. 0 would compare candidates by shared rows alone, however few; infinity gives plain means."""
STEPS, TOLERANCE = 500, 1e-9
"""The limits of the iteration: its steps, and the relative change below which it ends."""


def mean_quality(values: Floats) -> Floats:
    """Return the comparable means of qualities ``[B, M]``, ``[M]``; NaN for a candidate without known cells."""
    known, means = np.isfinite(values), plain_means(values)
    if _is_comparable(known):
        return means
    seen = known.any(axis=0)
    cells, counts = known[:, seen].astype(np.float64), known.sum(axis=1)
    shares, qualities = 1 / (PRIOR + counts), np.where(known, values, 0.0)[:, seen]
    system = np.diag(cells.sum(axis=0)) - cells.T @ (cells * shares[:, None])
    means[seen] = np.linalg.solve(system, qualities.sum(axis=0) - cells.T @ (shares * qualities.sum(axis=1)))
    return np.clip(means, 0.0, 1.0)


def mean_amount(values: Floats) -> Floats:
    """Return the comparable means of costs or latencies ``[B, M]``, ``[M]``; NaN for a candidate without known cells."""
    known, means = np.isfinite(values), plain_means(values)
    if _is_comparable(known):
        return means
    charged = means > 0
    cells, amounts = known[:, charged], np.where(known, values, 0.0)[:, charged]
    totals, counts, found = amounts.sum(axis=0), cells.sum(axis=1), means[charged]
    for _ in range(STEPS):
        effects = (PRIOR + (amounts / found).sum(axis=1)) / (PRIOR + counts)
        before, found = found, totals / (effects @ cells)
        if np.allclose(found, before, rtol=TOLERANCE, atol=0.0):
            break
    means[charged] = found
    return means


def plain_means(values: Floats) -> Floats:
    """Return the means over known cells of ``[B, M]`` values, ``[M]``; NaN for a candidate without known cells."""
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0.0).sum(axis=0)
    return np.asarray(np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0))


def _is_comparable(known: NDArray[np.bool_]) -> bool:
    """Return whether plain means cannot be bettered: each row has all candidates that are known anywhere, or no row has two."""
    counts = known.sum(axis=1)
    whole = int(known.any(axis=0).sum())
    return bool(np.isin(counts, (0, whole)).all() or counts.max(initial=0) <= 1)
