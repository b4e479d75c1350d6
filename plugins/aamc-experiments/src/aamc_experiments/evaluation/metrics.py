"""The content of ``metrics.json``, computed from a comparison; a metric that does not apply is null."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np

from aamc_experiments.evaluation.bootstrap import (
    Figures,
    Resampling,
    intervals,
    known_interval,
    open_interval,
    point_estimates,
    share_interval,
    wider,
)
from aamc_experiments.evaluation.comparison import HEADLINE, SWEEP, Comparison, Integers
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
    """Return the content of ``metrics.json``. In streams an interval is the wider one of those over streams and over questions.

    Args:
        comparison: The decisions of the routers.
        reward: The reward that the routers were compared by.
        options: The options of the comparison; their defaults when None.
        source: The name of the data.
        cost_note: The origin of costs that were not measured.
        seed: The seed of the resamples.
    """
    how = options or Evaluation()
    resamplings = comparison.resamplings(how.resamples, seed)
    found = [_routers(comparison, reward, how, resampling) for resampling in resamplings]
    rewards = {
        name: _realised(comparison, name, reward, how).reward[HEADLINE].copy() for name in comparison.routers.tolist()
    }  # no views of large arrays
    document: dict[str, Any] = plain(
        {
            "schema": SCHEMA,
            "data": _about(comparison, source, cost_note),
            **reduce(wider, found),
            "comparisons": paired_comparisons(rewards, resamplings, seed),
        }
    )
    return document


def _routers(comparison: Comparison, reward: Reward, how: Evaluation, resampling: Resampling) -> Any:
    """Return the entries of the routers and of the zero router, with the resamples of one unit."""
    names = comparison.routers.tolist()
    usual, oracle = (_realised(comparison, name, reward, how) if name in names else None for name in (REFERENCE, ORACLE))
    price_of_time = _price_of_time(comparison, usual)
    price_of_time = (price_of_time[0] if how.alpha is None else how.alpha, price_of_time[1] if how.beta is None else how.beta)
    references = References.of(comparison, resampling.with_data(), price_of_time, oracle)
    entries = {}
    for position, name in enumerate(names):  # one at a time: it is large
        found = statistics(comparison, position, _realised(comparison, name, reward, how), references)
        entries[name] = _entry(comparison, resampling.unit, found)
    return plain({"routers": entries, "zero_router": _zero_router(comparison, references.candidates)})


def _realised(comparison: Comparison, name: str, reward: Reward, how: Evaluation) -> RealisedOutcomes:
    return RealisedOutcomes.of(comparison, comparison.routers.tolist().index(name), reward, how.success_threshold)


def _entry(comparison: Comparison, unit: Integers, found: Statistics) -> Mapping[str, Any]:
    """Return the entry of one router."""
    sweep, units = zip(comparison.preferences[SWEEP], found.frontier, strict=True), len(np.unique(unit))
    return {
        **point_estimates(found.headline),
        "ci95": _intervals(found.headline, units),
        "per_category": _per_category(comparison, unit, found) or None,
        "model_share": point_estimates(found.model_share),
        "model_share_ci95": {name: share_interval(share[1:], share[0], units) for name, share in found.model_share.items()},
        "missing": int(comparison.missing),
        "frontier": [{"preference": preference, **point_estimates(point), "ci95": _intervals(point, units)} for preference, point in sweep],
        "cost_at_quality": point_estimates(found.cost_at_quality),
        "cost_at_quality_ci95": {share: open_interval(figures[1:]) for share, figures in found.cost_at_quality.items()},
    }


def _per_category(comparison: Comparison, unit: Integers, found: Statistics) -> Mapping[str, Any]:
    table = {}
    for category, figures in found.categories.items():
        rows = comparison.category == category
        ci95 = _intervals(figures, len(np.unique(unit[rows])))
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
