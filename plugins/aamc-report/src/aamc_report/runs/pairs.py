"""Paired differences between runs: their routers on the same questions, which removes most of the chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import attrs
import numpy as np
from aamc_experiments.evaluation import HEADLINE, holm, interval, randomisation_test

from aamc_report.results import Results
from aamc_sdk.types import Floats

METRICS = ("mean_quality", "mean_cost_usd")
"""The compared metrics: both are independent of a run's preference and scales."""


@attrs.frozen
class Difference:
    """The mean of one run's router minus that of another's, with its 95% interval and p values."""

    difference: float
    ci95: tuple[float, float]
    p: float
    p_holm: float


@attrs.frozen
class Pair:
    """A run and the first run, with which it is compared.

    Attributes:
        run: The run's name.
        other: The first run's name.
        differences: The differences by metric; empty if the runs cannot be paired.
        why_not: The reason why they cannot, or nothing.
    """

    run: str
    other: str
    differences: dict[str, Difference]
    why_not: str = ""


def pairs(runs: Mapping[str, Results]) -> Sequence[Pair]:
    """Compare each run's own router with that of the first run.

    Returns:
        A pair for each later run. The p values are corrected for all of them.
    """
    (name, first), *_ = runs.items()
    others = dict(islice(runs.items(), 1, None))
    reasons = {other: why_not_paired(first, results) for other, results in others.items()}
    compared = [other for other, why in reasons.items() if not why]
    found = dict(zip(compared, _compare(first, [others[other] for other in compared]), strict=True)) if compared else {}
    return [Pair(other, name, found.get(other, {}), why) for other, why in reasons.items()]


def questions_hash(results: Results) -> str | None:
    """Return the hash of a run's test questions, None if it is unknown."""
    split = (results.run.content.get("splits") or {}).get("test") or {}
    return split.get("sha256")


def why_not_paired(first: Results, other: Results) -> str:
    """Return the reason why two runs cannot be paired; empty if they can."""
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
    resampled = first.resampling.means(columns)
    p = randomisation_test(columns, first.decisions.stream, first.run.settings.seed)
    tests = [
        Difference(float(mean), (low, high), float(uncorrected), float(corrected))
        for mean, (low, high), uncorrected, corrected in zip(columns.mean(axis=0), map(interval, resampled.T), p, holm(p), strict=True)
    ]
    size = len(METRICS)
    return [dict(zip(METRICS, tests[start : start + size], strict=True)) for start in range(0, len(tests), size)]


def _means(results: Results) -> Floats:
    """Return the headline's quality and cost of each query, ``[Q, 2]``."""
    outcomes = results.decisions.realised(results.position)
    return np.column_stack((outcomes.known_quality[HEADLINE], outcomes.cost_usd[HEADLINE]))
