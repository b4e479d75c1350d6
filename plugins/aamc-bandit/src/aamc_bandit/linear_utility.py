"""Utility as a linear function of quality: utility = weight x quality + shift.

With a preference, the reward gives weight and shift. Without one, cheap candidates win ties and near-ties, and a conversation tends to stay with
the candidate that holds its prompt cache:

    utility = quality + cost_weight x (0.2 x (1 - cost / maximum cost of the row) + saving of the cache / maximum cost of the row)

By default the second term is at most 0.04 and the third at most 0.2. Both are bounded, so a candidate that is better by more always wins.
"""

from __future__ import annotations

import attrs
import numpy as np

from aamc_sdk.interfaces import Reward
from aamc_sdk.routing import cache_savings
from aamc_sdk.types import Floats, RoutingRequest

DEFAULT_COST_WEIGHT = 0.2
"""The default weight of cost in requests without a preference."""
NEAR_TIE = 0.2
"""Quality that the whole range of cost is worth at a cost weight of 1."""


def linear_utility(request: RoutingRequest, reward: Reward, cost_weight: float) -> tuple[Floats, Floats]:
    """Return weight and shift, ``[B, M]`` each, under a reward that is linear in quality; a ``cost_weight`` of 0 ignores cost."""
    if not request.preference_given:
        cost_usd, savings = request.expected.cost_usd, cache_savings(request.queries, request.pool) if cost_weight else None
        shift = NEAR_TIE * np.fmax(1 - _share(cost_usd, cost_usd), 0.0)  # 0 where the cost is unknown, or all are 0
        if savings is not None:
            shift = shift + np.nan_to_num(_share(savings, cost_usd + savings))
        return np.ones(request.mask.shape), cost_weight * shift
    worst, best = (
        reward.scalar(attrs.evolve(request.expected, quality=np.full(request.mask.shape, quality)), request.preferences) for quality in (0.0, 1.0)
    )
    return best - worst, worst


def _share(amount_usd: Floats, cost_usd: Floats) -> Floats:
    """Return amounts ``[B, M]`` divided by the maximum known cost of the row; NaN if unknown, and where no cost is above 0."""
    maximum = np.fmax.reduce(cost_usd, axis=1, keepdims=True, initial=0.0)
    return np.asarray(amount_usd / np.where(maximum > 0, maximum, np.nan))
