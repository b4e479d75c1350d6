"""Paired tests between routers that decided the same queries, with a correction for multiple comparisons.

Under the null hypothesis, the rewards of two routers are exchangeable for every unit. The randomisation test compares the
difference with the differences after random exchanges. A unit is a question with all its rows, or a whole stream of a
simulation, because the queries of one stream share a queue.

Papers: Fisher 1935, "The Design of Experiments", section 21 (the test); Phipson and Smyth 2010, "Permutation P-values
Should Never Be Zero"; Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aamc_experiments.evaluation.bootstrap import BLOCK, Resampling, known_interval, two_way
from aamc_experiments.evaluation.comparison import Integers
from aamc_sdk.types import ROUNDING, Floats

PERMUTATIONS = 9_999
"""The number of random exchanges; the minimum p is 1 / (PERMUTATIONS + 1)."""


def paired_comparisons(
    rewards: Mapping[str, Floats], resamplings: Sequence[Resampling], seed: int, pairs: Sequence[tuple[str, str]] | None = None
) -> list[dict[str, Any]]:
    """Compare pairs of routers.

    Args:
        rewards: The reward for each query by router, ``[Q]``.
        resamplings: The resamples of each unit, see :func:`two_way`; the p is the largest one of all units.
        seed: The seed of the random exchanges.
        pairs: The pairs; the first router with each other one when None.

    Returns:
        For each pair: ``a``, ``b``, ``difference`` (mean reward of a minus that of b), ``ci95`` (None if
        not known), the two-sided ``p``, and ``p_holm``, corrected for the number of pairs.
    """
    if pairs is None:
        first, *others = rewards
        pairs = [(first, other) for other in others]
    if not pairs:
        return []
    differences = np.column_stack([rewards[a] - rewards[b] for a, b in pairs])
    p = np.max([randomisation_test(differences, resampling.unit, seed) for resampling in resamplings], axis=0)
    resampled = zip(*(resampling.means(differences).T for resampling in resamplings), strict=True)
    bounds = [two_way([known_interval(means) for means in over]) for over in resampled]
    columns = zip(pairs, differences.mean(axis=0).tolist(), bounds, p.tolist(), holm(p).tolist(), strict=True)
    return [
        {"a": a, "b": b, "difference": mean, "ci95": ci95, "p": uncorrected, "p_holm": corrected}
        for (a, b), mean, ci95, uncorrected, corrected in columns
    ]


def randomisation_test(differences: Floats, unit: Integers, seed: int) -> Floats:
    """Return the two-sided p of each of K columns of paired differences ``[Q, K]``, ``[K]``; rows of one unit change sign together."""
    totals = np.column_stack([np.bincount(unit, column) for column in differences.T])
    observed = np.abs(totals.sum(axis=0)) * (1 - ROUNDING)
    rng = np.random.default_rng(seed)
    extreme = np.zeros(len(observed))
    for start in range(0, PERMUTATIONS, BLOCK):
        exchanged = rng.integers(2, size=(min(BLOCK, PERMUTATIONS - start), len(totals)), dtype=np.int8)
        signs = 2.0 * exchanged - 1.0
        extreme += (np.abs(signs @ totals) >= observed).sum(axis=0)
    return np.asarray((extreme + 1) / (PERMUTATIONS + 1))


def holm(p: Floats) -> Floats:
    """Return Holm-corrected p values, ``[K]``, which bound the probability of any false rejection."""
    order = p.argsort()
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return corrected
