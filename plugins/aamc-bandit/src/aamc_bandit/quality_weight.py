"""How a candidate's quality enters its utility: utility = weight x quality + shift.

With a preference that is all the reward's doing. Where nobody gave one, what is cheap wins ties and near-ties:
utility = quality + 0.2 x cost_weight x (1 - cost / the row's greatest cost), by default .04 at most.
"""

from __future__ import annotations

import attrs
import numpy as np

from aamc_sdk.interfaces import Reward
from aamc_sdk.types import Floats, RoutingRequest

NEAR_TIE = 0.2
"""What the whole range of cost is worth in quality, at a cost weight of one."""


def quality_in_utility(request: RoutingRequest, reward: Reward, cost_weight: float) -> tuple[Floats, Floats]:
    """Return what multiplies quality and what is added to it, ``[B, M]`` each.

    Args:
        request: What was asked.
        reward: Linear in quality.
        cost_weight: How much cost counts where nobody gave a preference; 0 for not at all.
    """
    if not request.preference_given:
        return np.ones(request.mask.shape), NEAR_TIE * cost_weight * _cheapness(request.expected.cost_usd)
    worst, best = (
        reward.scalar(attrs.evolve(request.expected, quality=np.full(request.mask.shape, quality)), request.preferences) for quality in (0.0, 1.0)
    )
    return best - worst, worst


def _cheapness(cost_usd: Floats) -> Floats:
    """Return one minus each cost as a share of its row's greatest, ``[B, M]``; 0 where it is unknown."""
    known = np.nan_to_num(cost_usd, nan=0.0)
    greatest = known.max(axis=1, keepdims=True, initial=0.0)
    return np.where(np.isnan(cost_usd) | (greatest <= 0), 0.0, 1.0 - known / np.where(greatest > 0, greatest, 1.0))
