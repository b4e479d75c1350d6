"""What came of a router's decisions, and what would come of always choosing one candidate."""

from __future__ import annotations

import attrs
import numpy as np

from aamc_experiments.evaluation.bootstrap import Resampling
from aamc_experiments.evaluation.decisions.comparison import Comparison
from aamc_experiments.evaluation.decisions.preferences import HEADLINE, LATTICE
from aamc_sdk.interfaces import Reward
from aamc_sdk.types import Floats, Outcomes


@attrs.frozen(eq=False)
class Realised:
    """What came of one router's decisions.

    Attributes:
        outcomes: ``[P, Q]``; cost and latency include those of deciding.
        reward: Under each preference, ``[P, Q]``.
        success: Whether the headline's answer was good enough, ``[Q]``.
        objectives: The reward's vector at each of the lattice's L points, ``[L, Q, D]``: quality, cheapness and,
            where the lattice weighs it, quickness.
    """

    outcomes: Outcomes
    reward: Floats
    success: Floats
    objectives: Floats

    @classmethod
    def of(cls, comparison: Comparison, router: int, reward: Reward, success_threshold: float) -> Realised:
        """Look up what came of a router's decisions, and reward it."""
        outcomes = comparison.realised(router)
        success = (outcomes.known_quality[HEADLINE] >= success_threshold).astype(np.float64)
        weighed = comparison.preferences[LATTICE].any(axis=0)
        objectives = reward.vector(outcomes.take(LATTICE))[..., weighed]
        return cls(outcomes, reward.scalar(outcomes, comparison.preferences), success, objectives)

    def mean_objectives(self, resampling: Resampling) -> Floats:
        """Return the mean reward vector at each point of the lattice on B resamples, ``[B, L, D]``."""
        points, queries, objectives = self.objectives.shape
        columns = self.objectives.transpose(1, 0, 2).reshape(queries, -1)
        return resampling.means(columns).reshape(-1, points, objectives)


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

    @property
    def cost_range(self) -> tuple[Floats, Floats]:
        """The cheapest candidate's mean cost and the dearest one's, ``[B]`` each."""
        return self.cost_usd.min(axis=1), self.cost_usd.max(axis=1)

    def with_cheapest(self, cost_usd: Floats, quality: Floats) -> tuple[Floats, Floats]:
        """Add the cheapest candidate to a router's ``[B, K]`` points; of two as cheap, the better; NaN where these are not known."""
        cheapest = np.lexsort((-self.quality, self.cost_usd), axis=-1)[:, :1]
        known = ~np.isnan(cost_usd + quality).any(axis=1, keepdims=True)
        its_cost, its_quality = (np.where(known, np.take_along_axis(own, cheapest, axis=1), np.nan) for own in (self.cost_usd, self.quality))
        return np.concatenate((cost_usd, its_cost), axis=1), np.concatenate((quality, its_quality), axis=1)
