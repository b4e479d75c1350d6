"""The content of ``metrics.json``, computed from a comparison; a metric that does not apply is null."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from aamc_experiments.evaluation.bootstrap import (
    combined_intervals,
    known_interval,
    open_interval,
    point_estimates,
    two_way,
)
from aamc_experiments.evaluation.comparison import HEADLINE, SWEEP, Comparison
from aamc_experiments.evaluation.formulas.frontier import aiq
from aamc_experiments.evaluation.paired_tests import paired_comparisons
from aamc_experiments.evaluation.statistics import CandidateMeans, RealisedOutcomes, References, Statistics, statistics
from aamc_experiments.settings import Evaluation
from aamc_sdk.interfaces import Reward
from aamc_sdk.storage import plain

SCHEMA = 1
REFERENCE = "llm-only"
"""The router whose cost and latency are the units of efficiency."""
ORACLE = "oracle"
"""The router that regret is relative to."""
SHARES = ("success_rate", "mean_quality")
"""Means of values from 0 to 1, those of values of 0 and 1 alone first."""


def metrics(
    comparison: Comparison, reward: Reward, options: Evaluation | None = None, *, source: str = "", cost_note: str = "", seed: int = 0
) -> dict[str, Any]:
    """Return the content of ``metrics.json``. In streams, intervals count that both streams and questions are samples.

    Args:
        comparison: The decisions of the routers.
        reward: The reward that the routers were compared by.
        options: The options of the comparison; their defaults when None.
        source: The name of the data.
        cost_note: The origin of costs that were not measured.
        seed: The seed of the resamples.
    """
    options, names = options or Evaluation(), comparison.routers.tolist()

    def realised(name: str) -> RealisedOutcomes | None:
        return RealisedOutcomes.of(comparison, names.index(name), reward, options.success_threshold) if name in names else None

    usual, oracle = _price_of_time(comparison, realised(REFERENCE)), realised(ORACLE)
    price_of_time = (usual[0] if options.alpha is None else options.alpha, usual[1] if options.beta is None else options.beta)
    resamplings = comparison.resamplings(options.resamples, seed)
    references = [References.of(comparison, each.with_data(), price_of_time, oracle) for each in resamplings]
    routers, rewards = {}, {}
    for position, name in enumerate(names):
        router = RealisedOutcomes.of(comparison, position, reward, options.success_threshold)  # one at a time: it is large
        routers[name] = _entry(comparison, references, [statistics(comparison, position, router, each) for each in references])
        rewards[name] = router.reward[HEADLINE].copy()  # a view would keep the whole array alive
    document: dict[str, Any] = plain(
        {
            "schema": SCHEMA,
            "data": {
                "source": source,
                "queries": len(comparison.queries),
                "questions": comparison.questions,
                "models": comparison.candidates,
                "preference": comparison.preferences[HEADLINE],
                "cost_note": cost_note,
            },
            "routers": routers,
            "zero_router": _zero_router(comparison, references[0].candidates),
            "comparisons": paired_comparisons(rewards, resamplings, seed),
        }
    )
    return document


def _entry(comparison: Comparison, references: Sequence[References], over: Sequence[Statistics]) -> Mapping[str, Any]:
    """Return the entry of one router, from its statistics over each of the comparison's units."""
    resamplings, found = [each.resampling for each in references], over[0]
    binary = binary_shares(comparison.is_graded())
    points = [[each.frontier[n] for each in over] for n in range(len(found.frontier))]
    sweep = zip(comparison.preferences[SWEEP], points, strict=True)
    frontier = [
        {"preference": preference, **point_estimates(point[0]), "ci95": combined_intervals(resamplings, point, binary, SHARES)}
        for preference, point in sweep
    ]
    return {
        **point_estimates(found.headline),
        "ci95": combined_intervals(resamplings, [each.headline for each in over], binary, SHARES),
        "per_category": _per_category(comparison, references, over) or None,
        "model_share": point_estimates(found.model_share),
        "model_share_ci95": combined_intervals(resamplings, [each.model_share for each in over], found.model_share, found.model_share),
        "missing": int(comparison.missing),
        "frontier": frontier,
        "cost_at_quality": point_estimates(found.cost_at_quality),
        "cost_at_quality_ci95": {
            share: two_way([open_interval(each.cost_at_quality[share][1:]) for each in over]) for share in found.cost_at_quality
        },
    }


def _per_category(comparison: Comparison, references: Sequence[References], over: Sequence[Statistics]) -> Mapping[str, Any]:
    table = {}
    for category, figures in over[0].categories.items():
        rows, resamplings = comparison.category == category, [each.categories[category] for each in references]
        binary = binary_shares(comparison.is_graded(rows))
        ci95 = combined_intervals(resamplings, [each.categories[category] for each in over], binary, SHARES)
        table[category] = {"n": int(rows.sum()), **point_estimates(figures), "ci95": ci95}
    return table


def binary_shares(is_graded: bool) -> Collection[str]:
    """Return the figures that are means of values of 0 and 1."""
    return SHARES[:1] if is_graded else SHARES


def _zero_router(comparison: Comparison, candidates: CandidateMeans) -> Mapping[str, Any]:
    """Return the AIQ of random mixtures of single candidates; it has an interval only in a table."""
    found = aiq(candidates.cost_usd, candidates.quality, *candidates.cost_range)
    return {"aiq": found[0], "ci95": {"aiq": known_interval(found[1:]) if comparison.is_table else None}}


def _price_of_time(comparison: Comparison, reference: RealisedOutcomes | None) -> tuple[float, float]:
    """Return the alpha per USD and beta per ms of efficiency, with which cost and latency of the reference weigh half each.

    Latency counts only if it is known of every candidate, so that the same formula holds for all routers.
    """
    if reference is None:
        return np.nan, np.nan
    cost, latency = (float(values[HEADLINE].mean()) for values in (reference.outcomes.cost_usd, reference.outcomes.latency_ms))
    latency_ms = comparison.constant_outcomes.latency_ms if comparison.is_table else comparison.latency_ms
    if np.isnan(latency_ms).any():
        return (1 / cost if cost > 0 else np.nan), 0.0
    return (0.5 / cost, 0.5 / latency) if cost > 0 and latency > 0 else (np.nan, np.nan)
