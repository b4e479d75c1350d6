"""Every figure of one router, computed on many resamples at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from aamc_experiments.evaluation.arena import arena_score
from aamc_experiments.evaluation.bootstrap import Figures, Resampling
from aamc_experiments.evaluation.decisions.comparison import Comparison
from aamc_experiments.evaluation.frontier import aiq, cost_at_quality
from aamc_experiments.evaluation.multi_objective import hypervolume, sparsity
from aamc_experiments.evaluation.decisions.preferences import HEADLINE, LATTICE, SWEEP
from aamc_experiments.evaluation.realised import Candidates, Realised
from aamc_experiments.evaluation.reliability import calibration
from aamc_experiments.evaluation.strong_weak import strong_weak
from aamc_sdk.types import Floats

QUALITY_SHARES = ("0.90", "0.95", "0.97", "0.99", "1.00")
"""The shares of the best candidate's quality whose cost is reported."""
DIGITS = 12
"""Decimals of those costs: a router that only calls the best candidate has its cost, 1 and not 0.9999999999999996."""


@attrs.frozen(eq=False)
class Yardsticks:
    """What the figures of all routers are measured against.

    Attributes:
        resampling: B resamples.
        candidates: Always choosing one candidate, on each of them.
        price_of_time: Efficiency's alpha per USD and beta per ms; NaN where efficiency does not apply.
        best_reward: The oracle's mean reward at each of the lattice's L points, ``[B, L]``; NaN without an oracle.
    """

    resampling: Resampling
    candidates: Candidates
    price_of_time: tuple[float, float]
    best_reward: Floats


@attrs.frozen(eq=False)
class Statistics:
    """One router's figures on B resamples.

    Attributes:
        headline: Those that are one number each.
        frontier: Mean quality, cost and latency at each point of the sweep.
        cost_at_quality: By share of the best candidate's quality; infinite where it is not reached.
        model_share: By candidate.
        categories: By category, figures at the headline; none where queries have no category.
    """

    headline: Figures
    frontier: Sequence[Figures]
    cost_at_quality: Figures
    model_share: Figures
    categories: Mapping[str, Figures]


def statistics(comparison: Comparison, position: int, router: Realised, yardsticks: Yardsticks) -> Statistics:
    """Return the figures of the router at a position of the comparison.

    Args:
        comparison: What the routers did.
        position: The router's.
        router: What came of its decisions.
        yardsticks: What it is measured against, and the resamples.
    """
    resampling, candidates = yardsticks.resampling, yardsticks.candidates
    quality, cost, latency = (
        _means(values[SWEEP], resampling) for values in (router.outcomes.known_quality, router.outcomes.cost_usd, router.outcomes.latency_ms)
    )
    reachable = candidates.with_cheapest(cost, quality)
    lattice_reward = mean_lattice_reward(router, resampling)
    objectives = router.mean_objectives(resampling)
    headline = {
        **_headline(router, comparison.spent_usd[position, HEADLINE], yardsticks),
        "aiq": aiq(*reachable, *candidates.cost_range),
        "expected_utility": lattice_reward.mean(axis=1),
        "worst_regret": (yardsticks.best_reward - lattice_reward).max(axis=1),
        "hypervolume": hypervolume(objectives),
        "sparsity": sparsity(objectives),
        **strong_weak(comparison, position, resampling),
        **calibration(comparison, position, resampling),
    }
    columns = zip(quality.T, cost.T, latency.T, strict=True)
    return Statistics(
        headline=headline,
        frontier=[{"mean_quality": q, "mean_cost_usd": c, "mean_latency_ms": ms} for q, c, ms in columns],
        cost_at_quality=_cost_at_quality(reachable, candidates),
        model_share=_model_share(comparison, position, resampling),
        categories=_categories(comparison, router, resampling),
    )


def mean_lattice_reward(router: Realised, resampling: Resampling) -> Floats:
    """Return a router's mean reward at each of the lattice's L points, under that point's preference, ``[B, L]``."""
    return resampling.means(router.reward[LATTICE].T)


def _means(values: Floats, resampling: Resampling) -> Floats:
    """Return the means of ``[K, Q]`` values, ``[B, K]``; NaN where any value is."""
    if np.isnan(values).any():
        return np.full((len(resampling.weights), len(values)), np.nan)
    return resampling.means(values.T)


def _headline(router: Realised, spent_usd: Floats, yardsticks: Yardsticks) -> dict[str, Floats]:
    outcomes, resampling = router.outcomes, yardsticks.resampling
    quality, cost, latency = outcomes.known_quality[HEADLINE], outcomes.cost_usd[HEADLINE], outcomes.latency_ms[HEADLINE]
    columns = np.stack((router.success, quality, cost, router.reward[HEADLINE], spent_usd))
    success, mean_quality, mean_cost, reward, decision_cost = resampling.means(columns.T).T
    mean_latency = _means(latency[None], resampling)[:, 0]
    alpha, beta = yardsticks.price_of_time
    effort = alpha * mean_cost + (beta * mean_latency if beta else 0.0)
    return {
        "success_rate": success,
        "mean_quality": mean_quality,
        "mean_cost_usd": mean_cost,
        "mean_latency_ms": mean_latency,
        "p95_latency_ms": mean_latency if np.isnan(mean_latency).any() else resampling.percentile(latency, 0.95),
        "efficiency": np.divide(success, effort, out=np.full(len(effort), np.nan), where=effort > 0),
        "mean_reward": reward,
        "decision_cost_usd": decision_cost,
        "arena_score": arena_score(mean_quality, mean_cost),
    }


def _cost_at_quality(reachable: tuple[Floats, Floats], candidates: Candidates) -> Figures:
    """Return the least cost on the hull that reaches each share of the best candidate's quality, as a share of its cost."""
    best = np.lexsort((candidates.cost_usd, -candidates.quality), axis=-1)[:, :1]
    cost, quality = (np.take_along_axis(values, best, axis=1)[:, 0] for values in (candidates.cost_usd, candidates.quality))
    targets = np.array([float(share) for share in QUALITY_SHARES])[:, None] * quality  # [shares, B]
    least = cost_at_quality(reachable[0][None], reachable[1][None], targets)
    shares = np.divide(least, cost, out=np.full(least.shape, np.nan), where=cost > 0)
    return dict(zip(QUALITY_SHARES, shares.round(DIGITS), strict=True))


def _model_share(comparison: Comparison, position: int, resampling: Resampling) -> Figures:
    chosen = comparison.chosen[position, HEADLINE][:, None] == np.arange(len(comparison.candidates))
    return dict(zip(comparison.candidates.tolist(), resampling.means(chosen.astype(np.float64)).T, strict=True))


def _categories(comparison: Comparison, router: Realised, resampling: Resampling) -> Mapping[str, Figures]:
    """Return figures of each category's queries; NaN in a resample that has none of them."""
    if not (comparison.category != "").any():
        return {}
    outcomes = router.outcomes
    columns = np.column_stack((np.ones(len(router.success)), router.success, outcomes.known_quality[HEADLINE], outcomes.cost_usd[HEADLINE]))
    table = {}
    for category in np.unique(comparison.category).tolist():
        share, *sums = resampling.means(np.where((comparison.category == category)[:, None], columns, 0.0)).T
        means = (np.divide(part, share, out=np.full(len(share), np.nan), where=share > 0) for part in sums)
        table[category] = dict(zip(("success_rate", "mean_quality", "mean_cost_usd"), means, strict=True))
    return table
