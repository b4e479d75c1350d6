"""Paired differences between runs: their routers on the same questions, which takes most of the luck out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import attrs
import numpy as np

from aamc_report.data import Results
from aamc_report.several.runs import Runs, questions_hash
from aamc_sdk.batch import Floats
from aamc_sdk.evaluation.bootstrap import interval
from aamc_sdk.evaluation.paired import holm, randomisation_test
from aamc_sdk.evaluation.preferences import HEADLINE

METRICS = ("mean_quality", "mean_cost_usd")
"""What is compared: both mean the same whatever a run's preference and scales."""


@attrs.frozen
class Difference:
    """A mean of one run's router minus that of another's, with its interval, and how likely chance alone is."""

    difference: float
    ci95: tuple[float, float]
    p: float
    p_holm: float


@attrs.frozen
class Pair:
    """Two runs.

    Attributes:
        run: The later one.
        other: The first one, which it is compared with.
        differences: By metric; nothing where the runs cannot be paired.
        why_not: Why they cannot be.
    """

    run: str
    other: str
    differences: dict[str, Difference]
    why_not: str = ""


def pairs(runs: Runs) -> Sequence[Pair]:
    """Compare each run's own router with that of the first run.

    Returns:
        A pair for each later run. p values are corrected for all of them.
    """
    (name, first), *_ = runs.items()
    others = dict(islice(runs.items(), 1, None))
    reasons = {other: why_not_paired(first, results) for other, results in others.items()}
    compared = [other for other, why in reasons.items() if not why]
    found = dict(zip(compared, _compare(first, [others[other] for other in compared]), strict=True)) if compared else {}
    return [Pair(other, name, found.get(other, {}), why) for other, why in reasons.items()]


def why_not_paired(first: Results, other: Results) -> str:
    """Return why two runs cannot be paired; nothing where they can."""
    if questions_hash(first) is None or questions_hash(first) != questions_hash(other):
        return "their test questions are not the same: their splits have different hashes"
    a, b = first.decisions, other.decisions
    if a.is_table != b.is_table:
        return "one was measured on a table, the other in a simulation"
    if not (np.array_equal(a.queries, b.queries) and np.array_equal(a.stream, b.stream)):
        return "other questions of the same split were compared: rows were left out, or the simulations drew other streams"
    return ""


def _compare(first: Results, others: Sequence[Results]) -> list[dict[str, Difference]]:
    """Return each other run's differences to the first, by metric."""
    ours = _means(first)
    columns = np.column_stack([_means(other) - ours for other in others])
    spread = first.resampling.means(columns)
    p = randomisation_test(columns, first.decisions.stream, first.run.settings.seed)
    tests = [
        Difference(float(mean), (low, high), float(chance), float(corrected))
        for mean, (low, high), chance, corrected in zip(columns.mean(axis=0), map(interval, spread.T), p, holm(p), strict=True)
    ]
    size = len(METRICS)
    return [dict(zip(METRICS, tests[start : start + size], strict=True)) for start in range(0, len(tests), size)]


def _means(results: Results) -> Floats:
    """Return the headline's quality and cost of each query, ``[Q, 2]``."""
    outcomes = results.decisions.realised(results.position)
    return np.column_stack((outcomes.known_quality[HEADLINE], outcomes.cost_usd[HEADLINE]))
