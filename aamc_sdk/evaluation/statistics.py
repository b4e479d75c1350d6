"""Every figure that has an interval, computed on many resamples at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aamc_sdk.batch import Floats
from aamc_sdk.evaluation.arena import arena_score
from aamc_sdk.evaluation.bootstrap import Resampling
from aamc_sdk.evaluation.calibration import calibration
from aamc_sdk.evaluation.comparison import Comparison
from aamc_sdk.evaluation.frontier import aiq
from aamc_sdk.evaluation.multi_objective import hypervolume, sparsity
from aamc_sdk.evaluation.preferences import HEADLINE, LATTICE, SWEEP
from aamc_sdk.evaluation.realised import Candidates, Realised
from aamc_sdk.evaluation.strong_weak import strong_weak

YARDSTICK = "oracle"
"""The router that regret is measured against."""


def statistics(
    comparison: Comparison, realised: Mapping[str, Realised], resampling: Resampling, price_of_time: tuple[float, float]
) -> dict[str, dict[str, Floats]]:
    """Return each router's figures on each of B resamples, ``[B]``; NaN where one does not apply.

    Args:
        comparison: What the routers did.
        realised: What came of it, by router, in the comparison's order.
        resampling: The resamples.
        price_of_time: Efficiency's alpha per USD and beta per ms; NaN where efficiency does not apply.
    """
    candidates = Candidates.of(comparison, resampling)
    lattice_reward = {name: resampling.means(router.reward[LATTICE].T) for name, router in realised.items()}
    unknown = np.full((len(resampling.weights), 1), np.nan)
    best_reward = lattice_reward.get(YARDSTICK, unknown)
    figures = {}
    for position, (name, router) in enumerate(realised.items()):
        points = router.mean_objectives(resampling)
        figures[name] = {
            **_headline(router, resampling, price_of_time),
            "aiq": _aiq(router, candidates, resampling),
            "expected_utility": lattice_reward[name].mean(axis=1),
            "worst_regret": (best_reward - lattice_reward[name]).max(axis=1),
            "hypervolume": hypervolume(points),
            "sparsity": sparsity(points),
            **strong_weak(comparison, position, resampling),
            **calibration(comparison, position, resampling),
        }
    return figures


def _headline(router: Realised, resampling: Resampling, price_of_time: tuple[float, float]) -> dict[str, Floats]:
    outcomes = router.outcomes
    columns = (router.success, outcomes.known_quality[HEADLINE], outcomes.cost_usd[HEADLINE], router.reward[HEADLINE])
    success, quality, cost, reward = resampling.means(np.column_stack(columns)).T
    latency, p95 = _latency(outcomes.latency_ms[HEADLINE], resampling)
    alpha, beta = price_of_time
    effort = alpha * cost + (beta * latency if beta else 0.0)
    return {
        "success_rate": success,
        "mean_quality": quality,
        "mean_cost_usd": cost,
        "mean_latency_ms": latency,
        "p95_latency_ms": p95,
        "efficiency": np.divide(success, effort, out=np.full(len(effort), np.nan), where=effort > 0),
        "mean_reward": reward,
        "arena_score": arena_score(quality, cost),
    }


def _latency(latency_ms: Floats, resampling: Resampling) -> tuple[Floats, Floats]:
    if np.isnan(latency_ms).any():
        return (np.full(len(resampling.weights), np.nan),) * 2
    return resampling.means(latency_ms[:, None])[:, 0], resampling.percentile(latency_ms, 0.95)


def _aiq(router: Realised, candidates: Candidates, resampling: Resampling) -> Floats:
    cost, quality = (resampling.means(values[SWEEP].T) for values in (router.outcomes.cost_usd, router.outcomes.known_quality))
    return aiq(*candidates.with_cheapest(cost, quality), *candidates.cost_range)
