"""Utility as a linear function of quality: utility = weight x quality + shift.

With a preference, the reward gives weight and shift. Without one, cheap candidates win ties and near-ties, and a conversation tends to stay with
the candidate that holds its prompt cache:

    utility = quality + cost_weight x (0.2 x (1 - cost / maximum cost of the row) + saving of the cache / maximum cost of the row)

By default the second term is at most 0.04 and the third at most 0.2. Both are bounded, so a candidate that is better by more always wins.

Where a switch loses a prompt cache, decisions explore less (:func:`evidence_strength`).
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
MAX_STRENGTH = 100.0
"""How many times evidence counts in a decision where the prompt cache saves the whole cost."""


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


def evidence_strength(request: RoutingRequest, cost_weight: float) -> Floats:
    """Return how many times evidence counts in each decision, ``[B]``: 100 to the power of the share of the cost that the prompt cache saves.

    Each turn of a conversation is drawn anew. With little evidence, draws differ by more than a cache is worth, and exploration would lose it at
    most turns. Means stay the same, so a better candidate still replaces the one that holds the cache. The posterior is reshaped as by Chapelle
    and Li 2011, section 4. It is 1 without a cache, if the candidate that holds it is not allowed, and where cost has no weight.
    """
    savings = cache_savings(request.queries, request.pool)
    if savings is None:
        return np.ones(len(request.queries))
    full_usd = request.expected.cost_usd + savings
    share = np.nan_to_num(savings / np.where((full_usd > 0) & request.mask, full_usd, np.nan)).max(axis=1)
    matters = request.preferences[:, 1] > 0 if request.preference_given else cost_weight > 0
    return np.asarray(MAX_STRENGTH ** (matters * np.rint(10 * share) / 10))  # in steps, so that similar turns share cached probabilities


def _share(amount_usd: Floats, cost_usd: Floats) -> Floats:
    """Return amounts ``[B, M]`` divided by the maximum known cost of the row; NaN if unknown, and where no cost is above 0."""
    maximum = np.fmax.reduce(cost_usd, axis=1, keepdims=True, initial=0.0)
    return np.asarray(amount_usd / np.where(maximum > 0, maximum, np.nan))
