"""The interval of a frontier's hull, at every cost along it."""

from __future__ import annotations

import numpy as np
from aamc_experiments.evaluation import SWEEP, Comparison, Resampling, hull

from aamc_sdk.types import Floats


def hull_band(comparison: Comparison, router: int, resampling: Resampling, at_cost_usd: Floats) -> Floats:
    """Return the 95% interval of the quality of a router's hull at each of K costs, cost by cost.

    The hull is drawn anew in each resample, so the band holds the spread of costs too. Before a
    resample's cheapest point its hull counts as level.

    Args:
        comparison: What the routers did.
        router: Whose hull, by position.
        resampling: The resamples.
        at_cost_usd: Mean costs, ``[K]``.

    Returns:
        Low and high, ``[2, K]``.
    """
    outcomes = comparison.realised(router)
    cost, quality = (resampling.means(values[SWEEP].T) for values in (outcomes.cost_usd, outcomes.known_quality))
    resampled = [np.interp(at_cost_usd, x, y) for x, y in zip(*hull(cost, quality), strict=True)]
    return np.asarray(np.quantile(resampled, (0.025, 0.975), axis=0))
