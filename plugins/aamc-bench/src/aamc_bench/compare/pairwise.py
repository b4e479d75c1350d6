"""Paired tests of every router against every other one on the same rows, with a correction for the number of tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from aamc_experiments.evaluation import Resampling, holm, known_interval, randomisation_test

from aamc_bench.samples import Sample

LEVEL = 0.05
"""The probability that any of a dataset's tests finds a difference where there is none."""
SEED = 0
"""The seed of the tests' randomness."""


def pairwise_tests(samples: Sequence[Sample], resamples: int) -> list[dict[str, Any]]:
    """Test each pair of routers on the rows of all seeds.

    The rewards of one question, or of one stream, change sign together, even if it is a test row with several seeds.

    Returns:
        For each pair: ``a``, ``b``, ``difference`` (mean reward of a minus that of b), ``ci95`` (None
        if unknown), two-sided ``p``, and ``p_holm``, corrected for the number of pairs.
    """
    rewards = np.concatenate([sample.rewards for sample in samples], axis=1)
    unit = np.unique(np.concatenate([sample.unit for sample in samples]), return_inverse=True)[1].ravel()
    names = samples[0].routers.tolist()
    pairs = list(combinations(range(len(names)), 2))
    if not pairs:
        return []
    differences = np.column_stack([rewards[a] - rewards[b] for a, b in pairs])
    p = randomisation_test(differences, unit, SEED)
    resampled = Resampling.bootstrap(unit, resamples, SEED).means(differences)
    columns = zip(pairs, differences.mean(axis=0).tolist(), resampled.T, p.tolist(), holm(p).tolist(), strict=True)
    return [
        {"a": names[a], "b": names[b], "difference": mean, "ci95": known_interval(means), "p": uncorrected, "p_holm": corrected}
        for (a, b), mean, means, uncorrected, corrected in columns
    ]


def win_counts(tests: Sequence[Mapping[str, Any]], routers: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return each router's ``wins``, ``ties`` and ``losses``; a difference that is not significant after the correction is a tie."""
    found = {router: {"wins": 0, "ties": 0, "losses": 0} for router in routers}
    for test in tests:
        a, b = (test["a"], test["b"]) if test["difference"] > 0 else (test["b"], test["a"])
        significant = test["p_holm"] < LEVEL
        found[a]["wins" if significant else "ties"] += 1
        found[b]["losses" if significant else "ties"] += 1
    return found
