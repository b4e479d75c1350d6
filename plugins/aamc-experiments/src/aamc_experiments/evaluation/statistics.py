"""All figures of one router, computed on the data and many resamples at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from aamc_experiments.evaluation.bootstrap import Figures, Resampling, ratio
from aamc_experiments.evaluation.comparison import HEADLINE, LATTICE, SWEEP, Comparison
from aamc_experiments.evaluation.formulas.arena_score import arena_score
from aamc_experiments.evaluation.formulas.frontier import aiq, cost_at_quality
from aamc_experiments.evaluation.formulas.multi_objective import hypervolume, sparsity
from aamc_experiments.evaluation.formulas.reliability import forecast_errors, forecasts
from aamc_experiments.evaluation.formulas.strong_weak import strong_weak
from aamc_sdk.interfaces import Reward
from aamc_sdk.types import Floats, Outcomes

QUALITY_SHARES = ("0.90", "0.95", "0.97", "0.99", "1.00")
"""The shares of the best candidate's quality at which costs are reported."""
DIGITS = 12
"""The decimals of those costs, so that always calling the best candidate costs 1 and not 0.9999999999999996."""


@attrs.frozen(eq=False)
class RealisedOutcomes:
    """The outcomes and rewards of one router's decisions.

    Attributes:
        outcomes: The outcomes, ``[P, Q]``; cost and latency include those of deciding.
        reward: The reward under each preference, ``[P, Q]``.
        success: 1 for a success at the headline preference, else 0, ``[Q]``.
        objectives: The reward vectors at the L points of the lattice, ``[L, Q, D]``: quality, cheapness and, where the
            lattice weighs it, quickness.
    """

    outcomes: Outcomes
    reward: Floats
    success: Floats
    objectives: Floats

    @classmethod
    def of(cls, comparison: Comparison, router: int, reward: Reward, success_threshold: float) -> RealisedOutcomes:
        """Return the outcomes and rewards of the router at a position of a comparison."""
        outcomes = comparison.realised(router)
        success = (outcomes.known_quality[HEADLINE] >= success_threshold).astype(np.float64)
        weighed = comparison.preferences[LATTICE].any(axis=0)
        objectives = reward.vector(outcomes.take(LATTICE))[..., weighed]
        return cls(outcomes, reward.scalar(outcomes, comparison.preferences), success, objectives)

    def mean_objectives(self, resampling: Resampling) -> Floats:
        """Return the mean reward vectors at the points of the lattice on B resamples, ``[B, L, D]``."""
        points, queries, objectives = self.objectives.shape
        columns = self.objectives.transpose(1, 0, 2).reshape(queries, -1)
        return resampling.means(columns).reshape(-1, points, objectives)


@attrs.frozen(eq=False)
class CandidateMeans:
    """The mean cost and quality of the constant policies on the data and its resamples, B in all, ``[B, M]`` each."""

    cost_usd: Floats
    quality: Floats

    @classmethod
    def of(cls, comparison: Comparison, resampling: Resampling) -> CandidateMeans:
        """Return the means over the evaluated rows of a table; those over training rows for streams."""
        if comparison.is_table:
            constant = comparison.constant_outcomes
            return cls(resampling.means(constant.cost_usd), resampling.means(constant.known_quality))
        shape = (len(resampling.weights), len(comparison.candidates))
        return cls(*(np.broadcast_to(comparison.candidate_means[:, column], shape) for column in (1, 0)))

    @property
    def cost_range(self) -> tuple[Floats, Floats]:
        """The mean costs of the cheapest and of the most expensive candidate, ``[B]`` each."""
        return self.cost_usd.min(axis=1), self.cost_usd.max(axis=1)

    @property
    def best(self) -> int:
        """The position of the best candidate on the data, the cheapest of a tie.

        It is the reference on every resample. The best one of each resample would often be another, by chance, so that its quality is too high.
        """
        return int(np.lexsort((self.cost_usd[0], -self.quality[0]))[0])

    def with_cheapest(self, cost_usd: Floats, quality: Floats) -> tuple[Floats, Floats]:
        """Append the cheapest candidate, the better one of a tie, to a router's ``[B, K]`` points; NaN if a point is NaN."""
        cheapest = np.lexsort((-self.quality, self.cost_usd), axis=-1)[:, :1]
        known = ~np.isnan(cost_usd + quality).any(axis=1, keepdims=True)
        its_cost, its_quality = (np.where(known, np.take_along_axis(own, cheapest, axis=1), np.nan) for own in (self.cost_usd, self.quality))
        return np.concatenate((cost_usd, its_cost), axis=1), np.concatenate((quality, its_quality), axis=1)


@attrs.frozen(eq=False)
class References:
    """The references that the figures of all routers are relative to.

    Attributes:
        resampling: The data itself, then its resamples, B in all.
        candidates: The means of constant policies on each resample.
        price_of_time: The alpha per USD and beta per ms of efficiency; NaN where efficiency does not apply.
        best_reward: The oracle's mean reward at the L points of the lattice, ``[B, L]``; NaN without an oracle.
        categories: The resamples of each category's own units; empty if queries have no category.
    """

    resampling: Resampling
    candidates: CandidateMeans
    price_of_time: tuple[float, float]
    best_reward: Floats
    categories: Mapping[str, Resampling]

    @classmethod
    def of(
        cls,
        comparison: Comparison,
        resampling: Resampling,
        price_of_time: tuple[float, float] = (np.nan, np.nan),
        oracle: RealisedOutcomes | None = None,
    ) -> References:
        """Return the references on resamples of a comparison."""
        unknown = np.full((len(resampling.weights), 1), np.nan)
        best_reward = unknown if oracle is None else mean_lattice_reward(oracle, resampling)
        names = np.unique(comparison.category).tolist() if (comparison.category != "").any() else []
        categories = {name: resampling.within(comparison.category == name) for name in names}
        return cls(resampling, CandidateMeans.of(comparison, resampling), price_of_time, best_reward, categories)


@attrs.frozen(eq=False)
class Statistics:
    """One router's figures on the resamples of its references.

    Attributes:
        headline: The single figures.
        frontier: Mean quality, cost and latency at each point of the sweep.
        cost_at_quality: The cost by share of the best candidate's quality; infinite where that is not reached.
        model_share: The share of queries by candidate.
        categories: Figures at the headline preference by category; empty if queries have no category.
    """

    headline: Figures
    frontier: Sequence[Figures]
    cost_at_quality: Figures
    model_share: Figures
    categories: Mapping[str, Figures]


def statistics(comparison: Comparison, position: int, router: RealisedOutcomes, references: References) -> Statistics:
    """Return the figures of the router at a position of the comparison, given the outcomes of its decisions."""
    resampling, candidates = references.resampling, references.candidates
    quality, cost, latency = (
        _means(values[SWEEP], resampling) for values in (router.outcomes.known_quality, router.outcomes.cost_usd, router.outcomes.latency_ms)
    )
    reachable = candidates.with_cheapest(cost, quality)
    lattice_reward = mean_lattice_reward(router, resampling)
    objectives = router.mean_objectives(resampling)
    headline = {
        **_headline(router, comparison.spent_usd[position, HEADLINE], references),
        "aiq": aiq(*reachable, *candidates.cost_range),
        "expected_utility": lattice_reward.mean(axis=1),
        "worst_regret": (references.best_reward - lattice_reward).max(axis=1),
        "hypervolume": hypervolume(objectives),
        "sparsity": sparsity(objectives),
        **strong_weak(comparison, position, resampling),
        **forecast_errors(*forecasts(comparison, position), resampling),
    }
    columns = zip(quality.T, cost.T, latency.T, strict=True)
    return Statistics(
        headline=headline,
        frontier=[{"mean_quality": q, "mean_cost_usd": c, "mean_latency_ms": ms} for q, c, ms in columns],
        cost_at_quality=_cost_at_quality(reachable, candidates),
        model_share=_model_share(comparison, position, resampling),
        categories=_categories(comparison, router, references),
    )


def mean_lattice_reward(router: RealisedOutcomes, resampling: Resampling) -> Floats:
    """Return a router's mean reward at the L points of the lattice, each under its own preference, ``[B, L]``."""
    return resampling.means(router.reward[LATTICE].T)


def _means(values: Floats, resampling: Resampling) -> Floats:
    """Return the means of ``[K, Q]`` values, ``[B, K]``; all NaN if any value is NaN."""
    if np.isnan(values).any():
        return np.full((len(resampling.weights), len(values)), np.nan)
    return resampling.means(values.T)


def _headline(router: RealisedOutcomes, spent_usd: Floats, references: References) -> dict[str, Floats]:
    outcomes, resampling = router.outcomes, references.resampling
    quality, cost, latency = outcomes.known_quality[HEADLINE], outcomes.cost_usd[HEADLINE], outcomes.latency_ms[HEADLINE]
    columns = np.stack((router.success, quality, cost, router.reward[HEADLINE], spent_usd))
    success, mean_quality, mean_cost, reward, decision_cost = resampling.means(columns.T).T
    mean_latency = _means(latency[None], resampling)[:, 0]
    alpha, beta = references.price_of_time
    effort = alpha * mean_cost + (beta * mean_latency if beta else 0.0)
    return {
        "success_rate": success,
        "mean_quality": mean_quality,
        "mean_cost_usd": mean_cost,
        "mean_latency_ms": mean_latency,
        "p95_latency_ms": mean_latency if np.isnan(latency).any() else resampling.percentile(latency, 0.95),
        "efficiency": ratio(success, effort),
        "mean_reward": reward,
        "decision_cost_usd": decision_cost,
        "arena_score": arena_score(mean_quality, mean_cost),
    }


def _cost_at_quality(reachable: tuple[Floats, Floats], candidates: CandidateMeans) -> Figures:
    """Return the minimum cost on the hull for each share of the best candidate's quality, relative to that candidate's cost."""
    cost, quality = (values[:, candidates.best] for values in (candidates.cost_usd, candidates.quality))
    targets = np.array([float(share) for share in QUALITY_SHARES])[:, None] * quality  # [shares, B]
    shares = ratio(cost_at_quality(reachable[0][None], reachable[1][None], targets), cost)
    return dict(zip(QUALITY_SHARES, shares.round(DIGITS), strict=True))


def _model_share(comparison: Comparison, position: int, resampling: Resampling) -> Figures:
    chosen = comparison.chosen[position, HEADLINE][:, None] == np.arange(len(comparison.candidates))
    return dict(zip(comparison.candidates.tolist(), resampling.means(chosen.astype(np.float64)).T, strict=True))


def _categories(comparison: Comparison, router: RealisedOutcomes, references: References) -> Mapping[str, Figures]:
    """Return the figures of each category."""
    outcomes = router.outcomes
    columns = np.column_stack((router.success, outcomes.known_quality[HEADLINE], outcomes.cost_usd[HEADLINE]))
    table = {}
    for category, resampling in references.categories.items():
        means = resampling.means(columns[comparison.category == category]).T
        table[category] = dict(zip(("success_rate", "mean_quality", "mean_cost_usd"), means, strict=True))
    return table
