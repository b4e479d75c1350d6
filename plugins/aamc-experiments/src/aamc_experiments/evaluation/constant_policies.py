"""Constant policies: always choosing one candidate, which is what a router must be better than."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from aamc_experiments.evaluation.decisions.comparison import Comparison
from aamc_experiments.evaluation.decisions.preferences import HEADLINE
from aamc_sdk.interfaces import Reward, Router, Services
from aamc_sdk.types import Floats, Outcomes, RoutingRequest, Scores


class Constant(Router):
    """Always chooses one candidate; where that is not allowed, the first that is."""

    uses_preference = False

    def __init__(self, candidate: str, services: Services) -> None:
        super().__init__(None, services)
        self.candidate = candidate

    def score(self, request: RoutingRequest) -> Scores:
        """Return utility 1 for the candidate and 0 for the others."""
        wanted = np.arange(len(request.pool)) == request.pool.index(self.candidate)
        return Scores(np.tile(wanted.astype(np.float64), (len(request), 1)))


def constant_routers(services: Services) -> dict[str, Router]:
    """Return a router for each candidate of the pool that always chooses it, by the candidate's name."""
    return {name: Constant(name, services) for name in services.pool.names}


@attrs.frozen(eq=False)
class Constants:
    """What comes of always choosing each of M candidates, at the headline's preference.

    Attributes:
        names: The candidates.
        quality: ``[Q, M]``.
        cost_usd: ``[Q, M]``.
        reward: ``[Q, M]``.
    """

    names: Sequence[str]
    quality: Floats
    cost_usd: Floats
    reward: Floats

    @classmethod
    def of_table(cls, comparison: Comparison, reward: Reward) -> Constants:
        """Look it up in the table of a comparison."""
        outcomes = Outcomes(comparison.quality, comparison.cost_usd, comparison.latency_ms)
        return cls._of(comparison, outcomes, reward)

    @classmethod
    def of_streams(cls, played: Comparison, reward: Reward) -> Constants:
        """Take it from a comparison of :func:`constant_routers`, in streams that are the same for all."""
        met = [played.realised(router) for router in range(len(played.routers))]
        columns: list[Any] = [np.stack([getattr(one, name)[HEADLINE] for one in met], axis=1) for name in ("known_quality", "cost_usd", "latency_ms")]
        return cls._of(played, Outcomes(*columns), reward)

    @classmethod
    def _of(cls, comparison: Comparison, outcomes: Outcomes, reward: Reward) -> Constants:
        preferences = np.broadcast_to(comparison.preferences[HEADLINE], (len(outcomes.cost_usd), 3))
        return cls(comparison.candidates.tolist(), outcomes.known_quality, outcomes.cost_usd, reward.scalar(outcomes, preferences))
