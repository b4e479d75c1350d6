"""The preferences at which routers are compared: the user's own, a sweep and a lattice."""

from __future__ import annotations

import numpy as np

from aamc_sdk.errors import PreferenceError
from aamc_sdk.interfaces import Reward
from aamc_sdk.types import Floats, Outcomes, Preference

HEADLINE = 0
"""The row of the user's preference."""
SWEEP = slice(1, 22)
"""The rows from quality alone to cost alone: the cost-quality frontier."""
QUALITY_ALONE = 1
"""The row (1, 0, 0), at which utilities are recorded."""
LATTICE = slice(22, 43)
"""The rows that cover the simplex evenly."""
LATTICE_STEPS = 5


def sweep() -> Floats:
    """Return (1, x, 0) / (1 + x) for x = 0 and 19 values evenly spaced in logarithm from 0.003 to 10, then (0, 1, 0): ``[21, 3]``."""
    return from_quality_to_cost(0.003, 10, 19)


def from_quality_to_cost(low: float, high: float, count: int) -> Floats:
    """Return (1, x, 0) / (1 + x) for x = 0 and values evenly spaced in logarithm between two bounds, then (0, 1, 0): ``[count + 2, 3]``."""
    ratios = np.concatenate(([0.0], np.geomspace(low, high, count)))
    inner = np.column_stack((np.ones(count + 1), ratios, np.zeros(count + 1))) / (1 + ratios)[:, None]
    return np.vstack((inner, (0.0, 1.0, 0.0)))


def lattice() -> Floats:
    """Return all multiples of 1/5 on the simplex, from quality alone down: ``[21, 3]``."""
    whole = range(LATTICE_STEPS, -1, -1)
    points = [(q, c, LATTICE_STEPS - q - c) for q in whole for c in whole if q + c <= LATTICE_STEPS]
    return np.array(points) / LATTICE_STEPS


def evaluation_points(headline: Preference, latency_counts: bool = True) -> Floats:
    """Return the 43 preferences of a comparison, ``[43, 3]``; repeats are kept.

    Args:
        headline: The user's preference, row 0.
        latency_counts: Whether latency is known. If not, its weight in the headline is dropped and the rest rescaled,
            and the sweep stands for the lattice.

    Raises:
        PreferenceError: The headline preference weighs only latency, which is not known.
    """
    if latency_counts:
        return np.vstack((headline.array, sweep(), lattice()))
    kept = headline.array * (1.0, 1.0, 0.0)
    if kept.sum() <= 0:
        raise PreferenceError(f"the preference {headline} weighs only latency, which this data does not have; weigh quality or cost")
    return np.vstack((kept / kept.sum(), sweep(), sweep()))


def latency_counts(reward: Reward, outcomes: Outcomes | None = None) -> bool:
    """Return whether the reward weighs latency, and the outcomes, if given, hold latencies."""
    weighed = reward.weights(np.full((1, 3), 1 / 3))[0, 2] > 0
    return bool(weighed and (outcomes is None or outcomes.latency_known))
