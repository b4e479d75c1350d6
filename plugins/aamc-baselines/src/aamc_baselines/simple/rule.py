"""The router ``rule``: easy queries to a small model, hard ones to a large model."""

from __future__ import annotations

import attrs
import numpy as np

from aamc_baselines.simple.fixed import LargeOptions, SmallOptions, cheapest_first, descending_utility, largest_first, sufficient_first
from aamc_baselines.simple.means import MeansRouter
from aamc_sdk import Requirements
from aamc_sdk.config import option
from aamc_sdk.errors import ConfigError, EstimatesError
from aamc_sdk.types import RoutingRequest, Scores


@attrs.frozen(kw_only=True)
class Options:
    """Options of ``rule``."""

    easy: float = option(1 / 3, "Queries below this estimated complexity go to the cheapest candidate.", at_least=0, at_most=1)
    hard: float = option(2 / 3, "Queries of at least this estimated complexity go to the largest candidate.", at_least=0, at_most=1)

    def __attrs_post_init__(self) -> None:
        if self.easy > self.hard:
            raise ConfigError(f"easy must be at most hard, not {self.easy!r} and {self.hard!r}")


class Rule(MeansRouter):
    """Three tiers by complexity: the cheapest candidate, the choice of ``slm-only`` and the choice of ``llm-only``."""

    Config = Options
    uses_preference = False
    requires = Requirements(estimator=True, outcomes=True, training=True, cheap_rescoring=True)

    def score(self, request: RoutingRequest) -> Scores:
        """Prefer the tier of each query; a masked candidate is replaced by the next in the tier's order.

        Raises:
            EstimatesError: There is no estimated complexity.
        """
        complexity = request.estimates.complexity
        if np.isnan(complexity).any():
            raise EstimatesError("rule needs the estimated complexity of each query, and there is none; use an estimator (--estimator tce)")
        small, large = SmallOptions(), LargeOptions()
        tiers = (
            cheapest_first(request.pool, self.means),
            sufficient_first(request.pool, self.means, small.model, small.share),
            largest_first(request.pool, self.means, large.model),
        )
        tier = (complexity >= self.config.easy).astype(int) + (complexity >= self.config.hard)
        return Scores(np.stack([descending_utility(order) for order in tiers])[tier])
