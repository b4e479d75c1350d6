"""From a comparison to ``metrics.json``: every key, null where a metric does not apply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aamc_experiments.evaluation.bootstrap import Resampling, intervals, known_interval, open_interval, point_estimates
from aamc_experiments.evaluation.decisions.comparison import Comparison
from aamc_experiments.evaluation.frontier import aiq
from aamc_experiments.evaluation.paired_tests import paired_comparisons
from aamc_experiments.evaluation.decisions.preferences import HEADLINE, SWEEP
from aamc_experiments.evaluation.realised import Candidates, Realised
from aamc_experiments.evaluation.statistics import Statistics, Yardsticks, mean_lattice_reward, statistics
from aamc_sdk.interfaces import Reward
from aamc_sdk.storage import plain

SCHEMA = 1
REFERENCE = "llm-only"
"""The router whose cost and latency are efficiency's units."""
YARDSTICK = "oracle"
"""The router that regret is measured against."""


def metrics(
    comparison: Comparison,
    reward: Reward,
    *,
    source: str = "",
    cost_note: str = "",
    success_threshold: float = 0.5,
    alpha: float | None = None,
    beta: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the content of ``metrics.json``.

    Args:
        comparison: What the routers did.
        reward: The reward they were compared by.
        source: Where the queries come from.
        cost_note: How costs were come by, where they were not measured.
        success_threshold: The least quality that counts as success.
        alpha: What a USD counts in efficiency; by default half of ``llm-only``'s mean cost, inverted.
        beta: What a millisecond counts in efficiency; by default half of ``llm-only``'s mean latency, inverted.
        resamples: Bootstrap resamples behind each interval.
        seed: The resamples follow from it.
    """
    names = comparison.routers.tolist()

    def realised(name: str) -> Realised | None:
        return Realised.of(comparison, names.index(name), reward, success_threshold) if name in names else None

    usual, oracle = _price_of_time(realised(REFERENCE)), realised(YARDSTICK)
    price_of_time = (usual[0] if alpha is None else alpha, usual[1] if beta is None else beta)
    data, resampled = Resampling.once(comparison.stream), Resampling.bootstrap(comparison.stream, resamples, seed)
    yardsticks = [_yardsticks(comparison, resampling, price_of_time, oracle) for resampling in (data, resampled)]
    routers, rewards = {}, {}
    for position, name in enumerate(names):
        router = Realised.of(comparison, position, reward, success_threshold)  # one at a time: it is large
        routers[name] = _entry(comparison, *(statistics(comparison, position, router, each) for each in yardsticks))
        rewards[name] = router.reward[HEADLINE].copy()  # not a view, which would keep all of it
    document: dict[str, Any] = plain(
        {
            "schema": SCHEMA,
            "data": _about(comparison, source, cost_note),
            "routers": routers,
            "zero_router": _zero_router(comparison, *(each.candidates for each in yardsticks)),
            "comparisons": paired_comparisons(rewards, resampled, seed),
        }
    )
    return document


def _yardsticks(comparison: Comparison, resampling: Resampling, price_of_time: tuple[float, float], oracle: Realised | None) -> Yardsticks:
    best = np.full((len(resampling.weights), 1), np.nan) if oracle is None else mean_lattice_reward(oracle, resampling)
    return Yardsticks(resampling, Candidates.of(comparison, resampling), price_of_time, best)


def _entry(comparison: Comparison, data: Statistics, spread: Statistics) -> Mapping[str, Any]:
    """Return what is reported of one router, from its figures on the data and on the resamples."""
    sweep = zip(comparison.preferences[SWEEP], data.frontier, spread.frontier, strict=True)
    return {
        **point_estimates(data.headline),
        "ci95": intervals(spread.headline),
        "per_category": _per_category(comparison, data, spread) or None,
        "model_share": point_estimates(data.model_share),
        "model_share_ci95": intervals(spread.model_share),
        "missing": int(comparison.missing),
        "frontier": [{"preference": preference, **point_estimates(point), "ci95": intervals(around)} for preference, point, around in sweep],
        "cost_at_quality": point_estimates(data.cost_at_quality),
        "cost_at_quality_ci95": {share: open_interval(figures) for share, figures in spread.cost_at_quality.items()},
    }


def _per_category(comparison: Comparison, data: Statistics, spread: Statistics) -> Mapping[str, Any]:
    return {
        category: {"n": int((comparison.category == category).sum()), **point_estimates(figures), "ci95": intervals(spread.categories[category])}
        for category, figures in data.categories.items()
    }


def _about(comparison: Comparison, source: str, cost_note: str) -> Mapping[str, Any]:
    return {
        "source": source,
        "queries": len(comparison.queries),
        "models": comparison.candidates,
        "preference": comparison.preferences[HEADLINE],
        "cost_note": cost_note,
    }


def _zero_router(comparison: Comparison, candidates: Candidates, resampled: Candidates) -> Mapping[str, Any]:
    """Return the AIQ of mixing single candidates by chance; without a table there is nothing to resample."""
    average, spread = (aiq(points.cost_usd, points.quality, *points.cost_range) for points in (candidates, resampled))
    return {"aiq": average[0], "ci95": {"aiq": known_interval(spread) if comparison.is_table else None}}


def _price_of_time(reference: Realised | None) -> tuple[float, float]:
    """Return efficiency's alpha per USD and beta per ms: cost and latency of the reference count half each."""
    if reference is None:
        return np.nan, np.nan
    cost, latency = (float(values[HEADLINE].mean()) for values in (reference.outcomes.cost_usd, reference.outcomes.latency_ms))
    if np.isnan(latency):
        return (1 / cost if cost > 0 else np.nan), 0.0
    return (0.5 / cost, 0.5 / latency) if cost > 0 and latency > 0 else (np.nan, np.nan)
