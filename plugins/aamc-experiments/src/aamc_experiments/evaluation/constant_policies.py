"""Constant policies, which always choose one candidate: the baselines that a router must beat."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from aamc_experiments.evaluation.bootstrap import Resampling
from aamc_experiments.evaluation.comparison import HEADLINE, Comparison
from aamc_sdk.interfaces import Reward, Router, Services
from aamc_sdk.types import Floats, Outcomes, RoutingRequest, Scores


class ConstantRouter(Router):
    """Always chooses one candidate, or the first allowed one if that candidate is not allowed."""

    uses_preference = False

    def __init__(self, candidate: str, services: Services) -> None:
        super().__init__(None, services)
        self.candidate = candidate

    def score(self, request: RoutingRequest) -> Scores:
        """Return utility 1 for the candidate and 0 for the others."""
        wanted = np.arange(len(request.pool)) == request.pool.index(self.candidate)
        return Scores(np.tile(wanted.astype(np.float64), (len(request), 1)))


def constant_routers(services: Services) -> dict[str, Router]:
    """Return a constant router for each candidate of the pool, by the candidate's name."""
    return {name: ConstantRouter(name, services) for name in services.pool.names}


@attrs.frozen(eq=False)
class ConstantOutcomes:
    """The outcomes of the M constant policies on Q queries, at the headline preference.

    Attributes:
        names: The names of the candidates.
        quality: ``[Q, M]``.
        cost_usd: ``[Q, M]``.
        reward: ``[Q, M]``.
    """

    names: Sequence[str]
    quality: Floats
    cost_usd: Floats
    reward: Floats

    @classmethod
    def of(cls, comparison: Comparison, reward: Reward) -> ConstantOutcomes:
        """Return the outcomes in the table of a comparison, or in streams those of :func:`constant_routers`, which played them."""
        columns = comparison.quality, comparison.cost_usd, comparison.latency_ms
        outcomes = Outcomes(*(values if comparison.is_table else values[:, HEADLINE].T for values in columns))
        preferences = np.broadcast_to(comparison.preferences[HEADLINE], (len(outcomes.cost_usd), 3))
        return cls(comparison.candidates.tolist(), outcomes.known_quality, outcomes.cost_usd, reward.scalar(outcomes, preferences))


@attrs.frozen(eq=False)
class CandidateMeans:
    """The mean cost and quality of the constant policies on B resamples, ``[B, M]`` each."""

    cost_usd: Floats
    quality: Floats

    @classmethod
    def of(cls, comparison: Comparison, resampling: Resampling) -> CandidateMeans:
        """Return the means over the evaluated rows of a table; those over training rows for streams."""
        if comparison.is_table:
            return cls(resampling.means(comparison.cost_usd), resampling.means(comparison.quality))
        shape = (len(resampling.weights), len(comparison.candidates))
        return cls(*(np.broadcast_to(comparison.candidate_means[:, column], shape) for column in (1, 0)))

    @property
    def cost_range(self) -> tuple[Floats, Floats]:
        """The mean costs of the cheapest and of the most expensive candidate, ``[B]`` each."""
        return self.cost_usd.min(axis=1), self.cost_usd.max(axis=1)

    def with_cheapest(self, cost_usd: Floats, quality: Floats) -> tuple[Floats, Floats]:
        """Append the cheapest candidate, the better one of a tie, to a router's ``[B, K]`` points; NaN if a point is NaN."""
        cheapest = np.lexsort((-self.quality, self.cost_usd), axis=-1)[:, :1]
        known = ~np.isnan(cost_usd + quality).any(axis=1, keepdims=True)
        its_cost, its_quality = (np.where(known, np.take_along_axis(own, cheapest, axis=1), np.nan) for own in (self.cost_usd, self.quality))
        return np.concatenate((cost_usd, its_cost), axis=1), np.concatenate((quality, its_quality), axis=1)
