"""The content of ``metrics.json``, computed from a comparison; a metric that does not apply is null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aamc_experiments.evaluation.bootstrap import Figures, Resampling, intervals, known_interval, open_interval, point_estimates, share_interval
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
"""Means of values from 0 to 1."""


def metrics(
    comparison: Comparison, reward: Reward, options: Evaluation | None = None, *, source: str = "", cost_note: str = "", seed: int = 0
) -> dict[str, Any]:
    """Return the content of ``metrics.json``.

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
    resampled = Resampling.bootstrap(comparison.stream, options.resamples, seed)
    references = References.of(comparison, resampled.with_data(), price_of_time, oracle)
    routers, rewards = {}, {}
    for position, name in enumerate(names):
        router = RealisedOutcomes.of(comparison, position, reward, options.success_threshold)  # one at a time: it is large
        routers[name] = _entry(comparison, statistics(comparison, position, router, references))
        rewards[name] = router.reward[HEADLINE].copy()  # a view would keep the whole array alive
    document: dict[str, Any] = plain(
        {
            "schema": SCHEMA,
            "data": _about(comparison, source, cost_note),
            "routers": routers,
            "zero_router": _zero_router(comparison, references.candidates),
            "comparisons": paired_comparisons(rewards, resampled, seed),
        }
    )
    return document


def _entry(comparison: Comparison, found: Statistics) -> Mapping[str, Any]:
    """Return the entry of one router."""
    sweep, units = zip(comparison.preferences[SWEEP], found.frontier, strict=True), len(np.unique(comparison.stream))
    return {
        **point_estimates(found.headline),
        "ci95": _intervals(found.headline, units),
        "per_category": _per_category(comparison, found) or None,
        "model_share": point_estimates(found.model_share),
        "model_share_ci95": {name: share_interval(share[1:], share[0], units) for name, share in found.model_share.items()},
        "missing": int(comparison.missing),
        "frontier": [{"preference": preference, **point_estimates(point), "ci95": _intervals(point, units)} for preference, point in sweep],
        "cost_at_quality": point_estimates(found.cost_at_quality),
        "cost_at_quality_ci95": {share: open_interval(figures[1:]) for share, figures in found.cost_at_quality.items()},
    }


def _per_category(comparison: Comparison, found: Statistics) -> Mapping[str, Any]:
    table = {}
    for category, figures in found.categories.items():
        rows = comparison.category == category
        ci95 = _intervals(figures, len(np.unique(comparison.stream[rows])))
        table[category] = {"n": int(rows.sum()), **point_estimates(figures), "ci95": ci95}
    return table


def _intervals(figures: Figures, units: int) -> dict[str, list[float] | None]:
    """Return the interval of each figure, that of shares by their number of units."""
    return intervals(figures) | {name: share_interval(figures[name][1:], figures[name][0], units) for name in SHARES if name in figures}


def _about(comparison: Comparison, source: str, cost_note: str) -> Mapping[str, Any]:
    return {
        "source": source,
        "queries": len(comparison.queries),
        "questions": comparison.questions,
        "models": comparison.candidates,
        "preference": comparison.preferences[HEADLINE],
        "cost_note": cost_note,
    }


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
    if np.isnan(comparison.latency_ms).any():
        return (1 / cost if cost > 0 else np.nan), 0.0
    return (0.5 / cost, 0.5 / latency) if cost > 0 and latency > 0 else (np.nan, np.nan)
