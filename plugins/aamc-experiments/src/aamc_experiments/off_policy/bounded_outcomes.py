"""What the decisions of a log earned, each figure with the range in which its values can lie.

Quality lies between 0 and 1. How much a call can cost, or how long it can take, nobody knows, and what a log shows is not all that there
is: the range is that of what was seen or expected, and as much again on either side. A utility can be whatever the reward makes
of the ends of these ranges; what happened to be seen is no bound of it, since the worst answers may not have come yet.
"""

from __future__ import annotations

import itertools
import math

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.interfaces import Reward
from aamc_sdk.types import Floats, Outcomes


@attrs.frozen(eq=False)
class Figure:
    """One thing that decisions earn.

    Attributes:
        values: What came of each decision, ``[n]``; NaN where unknown.
        prior: What was expected of each candidate, ``[n, K]``; NaN where nothing was.
        low: The least possible value, NaN where no value is known.
        high: The greatest, likewise.
    """

    values: Floats
    prior: Floats
    low: float
    high: float

    @property
    def known(self) -> NDArray[np.bool_]:
        """Of which decisions it is known, ``[n]``."""
        return np.isfinite(self.values)


def figures_of(earned: Outcomes, expected: Outcomes, possible: NDArray[np.bool_], reward: Reward, preferences: Floats) -> dict[str, Figure]:
    """Return quality, cost, latency and utility of n decisions among K candidates, by name.

    Args:
        earned: What came of the chosen candidate, ``[n, 1]``; NaN where unknown.
        expected: What was expected of each, ``[n, K]``; likewise.
        possible: Whether the logged policy could choose it, ``[n, K]``.
        reward: Makes utilities.
        preferences: For each decision, ``[n, 3]``.
    """
    quality = Figure(earned.known_quality[:, 0], expected.known_quality, 0.0, 1.0)
    cost = _unbounded(earned.cost_usd[:, 0], expected.cost_usd, possible)
    latency = _unbounded(earned.latency_ms[:, 0], expected.latency_ms, possible)
    utility = reward.scalar(earned, preferences)[:, 0]
    low, high = _ends(_corners([quality, cost, latency], reward, preferences)[np.isfinite(utility)])
    return {
        "quality": quality,
        "cost_usd": cost,
        "latency_ms": latency,
        "utility": Figure(utility, reward.scalar(expected, preferences), low, high),
    }


def _unbounded(values: Floats, prior: Floats, possible: NDArray[np.bool_]) -> Figure:
    """Return a figure of at least 0 that has no greatest value of its own."""
    least, greatest = _ends(np.concatenate([values, prior[possible]]))
    span = greatest - least
    return Figure(values, prior, max(least - span, 0.0), greatest + span)


def _corners(parts: list[Figure], reward: Reward, preferences: Floats) -> Floats:
    """Return what each decision's utility is at all combinations of the least and the greatest quality, cost and latency, ``[n, 8]``."""
    ends = np.array(list(itertools.product(*((part.low, part.high) for part in parts))))
    corners = Outcomes(*(np.broadcast_to(column, (len(preferences), len(ends))) for column in ends.T))
    return reward.scalar(corners, preferences)


def _ends(values: Floats) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if known.size else (math.nan, math.nan)
