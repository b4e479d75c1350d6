"""Utility as a linear function of quality: utility = weight x quality + shift.

With a preference, the reward gives weight and shift. Without one, cheap candidates win ties and near-ties:

    utility = quality + 0.2 x cost_weight x (1 - cost / maximum cost of the row)

The second term is at most 0.04 by default.
"""

from __future__ import annotations

import attrs
import numpy as np

from aamc_sdk.interfaces import Reward
from aamc_sdk.types import Floats, RoutingRequest

DEFAULT_COST_WEIGHT = 0.2
"""The default weight of cost in requests without a preference."""
NEAR_TIE = 0.2
"""Quality that the whole range of cost is worth at a cost weight of 1."""


def linear_utility(request: RoutingRequest, reward: Reward, cost_weight: float) -> tuple[Floats, Floats]:
    """Return weight and shift, ``[B, M]`` each.

    Args:
        request: The request, with expected costs.
        reward: A reward that is linear in quality.
        cost_weight: The weight of cost in requests without a preference; 0 ignores cost.
    """
    if not request.preference_given:
        return np.ones(request.mask.shape), NEAR_TIE * cost_weight * _cheapness(request.expected.cost_usd)
    worst, best = (
        reward.scalar(attrs.evolve(request.expected, quality=np.full(request.mask.shape, quality)), request.preferences) for quality in (0.0, 1.0)
    )
    return best - worst, worst


def _cheapness(cost_usd: Floats) -> Floats:
    """Return 1 - cost / maximum cost of the row, ``[B, M]``; 0 where the cost is unknown."""
    known = np.nan_to_num(cost_usd, nan=0.0)
    maximum = known.max(axis=1, keepdims=True, initial=0.0)
    return np.where(np.isnan(cost_usd) | (maximum <= 0), 0.0, 1.0 - known / np.where(maximum > 0, maximum, 1.0))
