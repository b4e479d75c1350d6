"""The figures of one router that have an interval, computed on many resamples at once."""

from __future__ import annotations

import attrs
import numpy as np

from aamc_sdk.batch import Floats, Outcomes
from aamc_sdk.evaluation.bootstrap import Resampling
from aamc_sdk.evaluation.comparison import Comparison
from aamc_sdk.evaluation.frontier import aiq
from aamc_sdk.evaluation.preferences import HEADLINE, LATTICE, SWEEP
from aamc_sdk.interfaces import Reward


@attrs.frozen(eq=False)
class Realised:
    """What came of one router's decisions.

    Attributes:
        outcomes: ``[P, Q]``; cost includes that of deciding.
        reward: Under each preference, ``[P, Q]``.
        success: Whether the headline's answer was good enough, ``[Q]``.
    """

    outcomes: Outcomes
    reward: Floats
    success: Floats

    @classmethod
    def of(cls, comparison: Comparison, router: int, reward: Reward, success_threshold: float) -> Realised:
        """Look up what came of a router's decisions, and reward it."""
        outcomes = comparison.realised(router)
        success = (outcomes.known_quality[HEADLINE] >= success_threshold).astype(np.float64)
        return cls(outcomes, reward.scalar(outcomes, comparison.preferences), success)


@attrs.frozen(eq=False)
class Candidates:
    """Always choosing one candidate, on B resamples: cost and quality ``[B, M]``."""

    cost_usd: Floats
    quality: Floats

    @classmethod
    def of(cls, comparison: Comparison, resampling: Resampling) -> Candidates:
        """Return the evaluated rows' means; those of training where no table says what each candidate would have done."""
        if comparison.is_table:
            return cls(resampling.means(comparison.cost_usd), resampling.means(comparison.quality))
        shape = (len(resampling.weights), len(comparison.candidates))
        return cls(*(np.broadcast_to(comparison.candidate_means[:, column], shape) for column in (1, 0)))

    def with_cheapest(self, cost_usd: Floats, quality: Floats) -> tuple[Floats, Floats]:
        """Add the cheapest candidate to a router's ``[B, K]`` points; of two as cheap, the better."""
        cheapest = np.lexsort((-self.quality, self.cost_usd), axis=-1)[:, :1]
        return (
            np.concatenate((cost_usd, np.take_along_axis(self.cost_usd, cheapest, axis=1)), axis=1),
            np.concatenate((quality, np.take_along_axis(self.quality, cheapest, axis=1)), axis=1),
        )


def statistics(realised: Realised, candidates: Candidates, resampling: Resampling, price_of_time: tuple[float, float]) -> dict[str, Floats]:
    """Return each figure on each of B resamples, ``[B]``; NaN where it does not apply.

    Args:
        realised: What the router did.
        candidates: The single candidates on the same resamples.
        resampling: The resamples.
        price_of_time: Efficiency's alpha per USD and beta per ms; NaN where efficiency does not apply.
    """
    outcomes = realised.outcomes
    columns = np.column_stack(
        (
            realised.success,
            outcomes.known_quality[HEADLINE],
            outcomes.cost_usd[HEADLINE],
            realised.reward[HEADLINE],
            realised.reward[LATTICE].mean(axis=0),
        )
    )
    success, quality, cost, reward, utility = resampling.means(columns).T
    latency, p95 = _latency(outcomes.latency_ms[HEADLINE], resampling)
    frontier = [resampling.means(values[SWEEP].T) for values in (outcomes.cost_usd, outcomes.known_quality)]
    least, greatest = candidates.cost_usd.min(axis=1), candidates.cost_usd.max(axis=1)
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
        "aiq": aiq(*candidates.with_cheapest(*frontier), least, greatest),
        "expected_utility": utility,
    }


def _latency(latency_ms: Floats, resampling: Resampling) -> tuple[Floats, Floats]:
    if np.isnan(latency_ms).any():
        return (np.full(len(resampling.weights), np.nan),) * 2
    return resampling.means(latency_ms[:, None])[:, 0], resampling.percentile(latency_ms, 0.95)
