"""From a comparison to ``metrics.json``: every key, null where a metric does not apply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aamc_sdk.batch import Floats
from aamc_sdk.evaluation.bootstrap import Resampling, interval
from aamc_sdk.evaluation.comparison import Comparison
from aamc_sdk.evaluation.frontier import aiq, cost_at_quality
from aamc_sdk.evaluation.paired import paired_comparisons
from aamc_sdk.evaluation.preferences import HEADLINE, SWEEP
from aamc_sdk.evaluation.realised import Candidates, Realised
from aamc_sdk.evaluation.statistics import statistics
from aamc_sdk.files import plain
from aamc_sdk.interfaces import Reward

SCHEMA = 1
REFERENCE = "llm-only"
"""The router whose cost and latency are efficiency's units."""
QUALITY_SHARES = ("0.90", "0.95", "0.97", "0.99", "1.00")
"""The shares of the best candidate's quality whose cost is reported."""
APPLICABLE = 0.95
"""The least share of resamples to which a metric must apply for it to have an interval."""


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
    realised = {name: Realised.of(comparison, r, reward, success_threshold) for r, name in enumerate(names)}
    usual = _price_of_time(realised.get(REFERENCE))
    price_of_time = (usual[0] if alpha is None else alpha, usual[1] if beta is None else beta)
    data, resampled = Resampling.once(comparison.stream), Resampling.bootstrap(comparison.stream, resamples, seed)
    candidates = Candidates.of(comparison, data)
    figures = statistics(comparison, realised, data, price_of_time)
    spread = statistics(comparison, realised, resampled, price_of_time)
    routers = {}
    for r, (name, router) in enumerate(realised.items()):
        routers[name] = {
            **{metric: values[0] for metric, values in figures[name].items()},
            "decision_cost_usd": comparison.spent_usd[r, HEADLINE].mean(),
            "ci95": {metric: _interval(values) for metric, values in spread[name].items()},
            "per_category": _per_category(router, comparison),
            "model_share": _model_share(comparison, r),
            "missing": int(comparison.missing),
            "frontier": _frontier(router, comparison.preferences),
            "cost_at_quality": _cost_at_quality(router, candidates),
        }
    document: dict[str, Any] = plain(
        {
            "schema": SCHEMA,
            "data": _about(comparison, source, cost_note),
            "routers": routers,
            "zero_router": _zero_router(comparison, candidates, resampled),
            "comparisons": paired_comparisons({name: router.reward[HEADLINE] for name, router in realised.items()}, resampled, seed),
        }
    )
    return document


def _about(comparison: Comparison, source: str, cost_note: str) -> Mapping[str, Any]:
    return {
        "source": source,
        "queries": len(comparison.queries),
        "models": comparison.candidates,
        "preference": comparison.preferences[HEADLINE],
        "cost_note": cost_note,
    }


def _zero_router(comparison: Comparison, candidates: Candidates, resampled: Resampling) -> Mapping[str, Any]:
    """Return the AIQ of mixing single candidates by chance; without a table there is nothing to resample."""
    average = aiq(candidates.cost_usd, candidates.quality, *candidates.cost_range)[0]
    if not comparison.is_table:
        return {"aiq": average, "ci95": {"aiq": None}}
    spread = Candidates.of(comparison, resampled)
    return {"aiq": average, "ci95": {"aiq": _interval(aiq(spread.cost_usd, spread.quality, *spread.cost_range))}}


def _price_of_time(reference: Realised | None) -> tuple[float, float]:
    """Return efficiency's alpha per USD and beta per ms: cost and latency of the reference count half each."""
    if reference is None:
        return np.nan, np.nan
    cost, latency = (float(values[HEADLINE].mean()) for values in (reference.outcomes.cost_usd, reference.outcomes.latency_ms))
    if np.isnan(latency):
        return (1 / cost if cost > 0 else np.nan), 0.0
    return (0.5 / cost, 0.5 / latency) if cost > 0 and latency > 0 else (np.nan, np.nan)


def _interval(figures: Floats) -> list[float] | None:
    """Return the interval of the resamples to which a metric applies; None where these are too few."""
    applicable = figures[~np.isnan(figures)]
    return interval(applicable) if len(applicable) >= APPLICABLE * len(figures) else None


def _per_category(router: Realised, comparison: Comparison) -> Mapping[str, Any] | None:
    if not comparison.category.astype(bool).any():
        return None
    table = {}
    for category in np.unique(comparison.category).tolist():
        rows = comparison.category == category
        table[category] = {
            "n": int(rows.sum()),
            "success_rate": router.success[rows].mean(),
            "mean_quality": router.outcomes.known_quality[HEADLINE, rows].mean(),
            "mean_cost_usd": router.outcomes.cost_usd[HEADLINE, rows].mean(),
        }
    return table


def _model_share(comparison: Comparison, router: int) -> Mapping[str, float]:
    counts = np.bincount(comparison.chosen[router, HEADLINE], minlength=len(comparison.candidates))
    return dict(zip(comparison.candidates.tolist(), counts / counts.sum(), strict=True))


def _frontier(router: Realised, preferences: Floats) -> list[Mapping[str, Any]]:
    means = {
        "mean_quality": router.outcomes.known_quality,
        "mean_cost_usd": router.outcomes.cost_usd,
        "mean_latency_ms": router.outcomes.latency_ms,
    }
    columns = {name: values[SWEEP].mean(axis=1) for name, values in means.items()}
    return [
        {"preference": preference, **{name: column[point] for name, column in columns.items()}} for point, preference in enumerate(preferences[SWEEP])
    ]


def _cost_at_quality(router: Realised, candidates: Candidates) -> Mapping[str, float]:
    """Return the least cost on the hull that reaches each share of the best candidate's quality, as a share of its cost."""
    best = np.lexsort((candidates.cost_usd[0], -candidates.quality[0]))[0]
    best_cost, best_quality = candidates.cost_usd[0, best], candidates.quality[0, best]
    if best_cost <= 0:
        return dict.fromkeys(QUALITY_SHARES, np.nan)
    sweep = (values[SWEEP].mean(axis=1)[None] for values in (router.outcomes.cost_usd, router.outcomes.known_quality))
    cost, quality = candidates.with_cheapest(*sweep)
    return {share: cost_at_quality(cost[0], quality[0], float(share) * best_quality) / best_cost for share in QUALITY_SHARES}
