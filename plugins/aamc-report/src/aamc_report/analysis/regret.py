"""What routers lose to the oracle, query by query."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from aamc_experiments.evaluation import HEADLINE, Comparison

from aamc_report.data import ORACLE
from aamc_sdk.routing import LinearReward, Scale
from aamc_sdk.types import Floats


def regrets(comparison: Comparison) -> Mapping[str, Floats]:
    """Return each router's shortfall to the oracle's reward at the headline's preference, ``[Q]`` each.

    Returns:
        Nothing where the oracle was not compared, or the reward is not the default one, which is all that
        ``decisions.npz`` can give again. Below 0 where a router does better than the oracle, which is myopic under load.
    """
    names = comparison.routers.tolist()
    if ORACLE not in names or not np.isfinite(comparison.scales[0]).all():
        return {}
    reward = LinearReward()
    reward.cost, reward.latency = (Scale(*scale) for scale in comparison.scales.tolist())
    here = [HEADLINE]
    rewards = {name: reward.scalar(comparison.realised(position).take(here), comparison.preferences[here])[0] for position, name in enumerate(names)}
    return {name: rewards[ORACLE] - achieved for name, achieved in rewards.items() if name != ORACLE}
