"""Traffic of one day under a budget: the times of requests, their costs, and the times at which these are reported.

Every traffic has T requests between midnight and midnight. A request's cost and quality are reported up to ``MAXIMUM_DELAY`` requests later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_bench.bandit.replay_data import ReplayData
from aamc_sdk.types import Floats, Outcomes, RoutingRequest

DAY_S = 86400.0
MIDNIGHT = 20000 * DAY_S
MAXIMUM_DELAY = 20
"""The maximum delay of a report, in requests."""
DRIFTS, LOST, DEARER = 1 / 2, 0.5, 1.5
"""The share of the day after which the best candidate drifts, the share of its answers that fail, and the factor on its cost."""
BURSTS, BURST_SHARE = 8, 0.05
"""The number of bursts of a bursty day, and the share of the day that they take."""


@attrs.frozen(eq=False)
class BudgetStream:
    """T requests of one day.

    Attributes:
        request: The requests, whose preference is quality alone.
        outcomes: Every candidate's outcomes, ``[T, M]``.
        times: Times in seconds since the epoch, ascending, ``[T]``.
        reported_at: The request before which each one's outcome is reported, ``[T]``.
        budget_usd: The budget of the day.
    """

    request: RoutingRequest
    outcomes: Outcomes
    times: Floats
    reported_at: NDArray[np.intp]
    budget_usd: float

    @property
    def best_quality(self) -> float:
        """The maximum of the sum of qualities within the budget: the value of the linear program, which knows all outcomes."""
        quality, cost = self.outcomes.known_quality, self.outcomes.cost_usd

        def dual(price: float) -> float:
            return float((quality - price * cost).max(axis=1).sum() + price * self.budget_usd)

        low, high = 0.0, 1.0 / float(np.ptp(cost, axis=1).min(initial=np.inf, where=np.ptp(cost, axis=1) > 0))
        for _ in range(100):  # the dual is convex in the price
            left, right = low + (high - low) / 3, high - (high - low) / 3
            low, high = (low, right) if dual(left) <= dual(right) else (left, high)
        return dual(low)


def best_of(data: ReplayData) -> int:
    """Return the column of the candidate with the best mean quality."""
    return int(data.outcomes.means[:, 0].argmax())


Change = Callable[[BudgetStream, ReplayData, np.random.Generator], BudgetStream]


def stationary(stream: BudgetStream, data: ReplayData, rng: np.random.Generator) -> BudgetStream:
    """Requests come at random times of the day."""
    return stream


def drift(stream: BudgetStream, data: ReplayData, rng: np.random.Generator) -> BudgetStream:
    """From the middle on, half of the answers of the best candidate fail, and each costs half as much again as its price says."""
    quality, cost = stream.outcomes.known_quality.copy(), stream.outcomes.cost_usd.copy()
    start, best = int(DRIFTS * len(quality)), best_of(data)
    quality[start:, best] *= rng.random(len(quality) - start) >= LOST
    cost[start:, best] *= DEARER
    return attrs.evolve(stream, outcomes=attrs.evolve(stream.outcomes, quality=quality, cost_usd=cost))


def bursty(stream: BudgetStream, data: ReplayData, rng: np.random.Generator) -> BudgetStream:
    """Half of the requests come in eight bursts that take a twentieth of the day, the others at random times."""
    size = len(stream.times)
    starts, length = rng.uniform(0, 1 - BURST_SHARE / BURSTS, BURSTS), BURST_SHARE / BURSTS
    burst = starts[rng.integers(BURSTS, size=size)] + length * rng.random(size)
    shares = np.where(rng.random(size) < 0.5, burst, rng.random(size))
    return attrs.evolve(stream, times=MIDNIGHT + DAY_S * np.sort(shares))


TRAFFIC: Mapping[str, Change] = {"stationary": stationary, "drift": drift, "bursty": bursty}


def make_budget_stream(traffic: str, data: ReplayData, steps: int, share: float, seed: int, number: int) -> BudgetStream:
    """Return a stream.

    Args:
        traffic: One of ``TRAFFIC``.
        data: The rows; each occurs at most once.
        steps: The maximum number of requests.
        share: The budget: 0 is the cost of the cheapest candidate on each request, 1 that of the candidate with the best mean quality.
        seed: The run's seed.
        number: The stream's number.
    """
    order, events = (np.random.default_rng((seed, number, part)) for part in range(2))
    rows = order.permutation(len(data.request))[:steps]
    outcomes = data.outcomes.take(rows)
    cheapest, best = outcomes.cost_usd.min(axis=1).sum(), outcomes.cost_usd[:, best_of(data)].sum()
    stream = BudgetStream(
        request=data.request.take(rows).with_preference(np.array((1.0, 0.0, 0.0))),
        outcomes=outcomes,
        times=MIDNIGHT + DAY_S * np.sort(order.random(len(rows))),
        reported_at=np.arange(1, len(rows) + 1) + order.integers(MAXIMUM_DELAY, size=len(rows)),
        budget_usd=float(cheapest + share * (best - cheapest)),
    )
    return TRAFFIC[traffic](stream, data, events)
