"""RouterArena's score of accuracy and cost.

Paper: Lu et al. 2025, "RouterArena: An Open Platform for Comprehensive Comparison of LLM Routers" (arena score).
"""

from __future__ import annotations

import numpy as np

from aamc_sdk.types import Floats

MOST_EXPENSIVE, CHEAPEST = 200.0, 0.0044
"""The costs in USD per 1,000 queries at which cheapness is 0 and 1."""
BETA = 0.1
"""The weight of cheapness relative to accuracy."""


def arena_score(accuracy: Floats, cost_usd: Floats) -> Floats:
    """Return RouterArena's score (1 + beta) A C / (beta A + C), where C falls with the logarithm of cost from 1 to 0, ``[...]``.

    Args:
        accuracy: A, the mean quality, ``[...]``.
        cost_usd: Mean cost of a query, ``[...]``.
    """
    per_thousand = np.clip(1000 * cost_usd, CHEAPEST, MOST_EXPENSIVE)  # keeps C between 0 and 1
    cheapness = np.log2(MOST_EXPENSIVE / per_thousand) / np.log2(MOST_EXPENSIVE / CHEAPEST)
    weight = BETA * accuracy + cheapness
    return np.asarray(np.divide((1 + BETA) * accuracy * cheapness, weight, out=np.zeros_like(weight), where=weight != 0))
