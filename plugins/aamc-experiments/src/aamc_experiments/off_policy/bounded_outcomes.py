"""Outcomes of logged decisions with the range of their possible values, which the intervals of estimates need."""

from __future__ import annotations

import itertools
import math

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.interfaces import Reward
from aamc_sdk.types import Floats, Outcomes


@attrs.frozen(eq=False)
class BoundedOutcome:
    """One kind of outcome of n decisions among K candidates.

    Attributes:
        values: The outcome of each decision, ``[n]``; NaN where unknown.
        prior: The expected outcome of each candidate, ``[n, K]``; NaN where unknown.
        low: The minimum possible value; NaN if no value is known.
        high: The maximum possible value; NaN if no value is known.
    """

    values: Floats
    prior: Floats
    low: float
    high: float

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether each decision has a known outcome, ``[n]``."""
        return np.isfinite(self.values)

    def take(self, rows: NDArray[np.bool_]) -> BoundedOutcome:
        """Return the outcomes of some of the decisions."""
        return attrs.evolve(self, values=self.values[rows], prior=self.prior[rows])


def bounded_outcomes(
    observed: Outcomes, expected: Outcomes, possible: NDArray[np.bool_], reward: Reward, preferences: Floats
) -> dict[str, BoundedOutcome]:
    """Return quality, cost, latency and utility of n decisions among K candidates, by name, each with the range of its possible values.

    Quality lies between 0 and 1. Costs and latencies have no known maximum, so their range is that of the recorded and expected
    values, extended by its width on both sides. A utility lies in the range of the rewards of the ends of these ranges; recorded
    utilities are not bounds, because the worst answers may not have come yet.

    Args:
        observed: The outcomes of the chosen candidates, ``[n, 1]``; NaN where unknown.
        expected: The expected outcomes of all candidates, ``[n, K]``; NaN where unknown.
        possible: Whether the logged policy could choose each candidate, ``[n, K]``.
        reward: The reward that makes utilities.
        preferences: The preference of each decision, ``[n, 3]``.
    """
    quality = BoundedOutcome(observed.known_quality[:, 0], expected.known_quality, 0.0, 1.0)
    cost = _unbounded(observed.cost_usd[:, 0], expected.cost_usd, possible)
    latency = _unbounded(observed.latency_ms[:, 0], expected.latency_ms, possible)
    utility = reward.scalar(observed, preferences)[:, 0]
    low, high = _ends(_corners([quality, cost, latency], reward, preferences)[np.isfinite(utility)])
    return {
        "quality": quality,
        "cost_usd": cost,
        "latency_ms": latency,
        "utility": BoundedOutcome(utility, reward.scalar(expected, preferences), low, high),
    }


def _unbounded(values: Floats, prior: Floats, possible: NDArray[np.bool_]) -> BoundedOutcome:
    """Return an outcome of at least 0 without a known maximum."""
    low, high = _ends(np.concatenate([values, prior[possible]]))
    width = high - low
    return BoundedOutcome(values, prior, max(low - width, 0.0), high + width)


def _corners(parts: list[BoundedOutcome], reward: Reward, preferences: Floats) -> Floats:
    """Return each decision's utility at all combinations of minimum and maximum quality, cost and latency, ``[n, 8]``."""
    ends = np.array(list(itertools.product(*((part.low, part.high) for part in parts))))
    corners = Outcomes(*(np.broadcast_to(column, (len(preferences), len(ends))) for column in ends.T))
    return reward.scalar(corners, preferences)


def _ends(values: Floats) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if known.size else (math.nan, math.nan)
