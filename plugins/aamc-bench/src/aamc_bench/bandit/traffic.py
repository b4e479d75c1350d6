"""Traffic of one day under a budget: the times of requests, their costs, and the times at which these are reported.

Every traffic has T requests between midnight and midnight. A request's cost and quality are reported up to ``MAXIMUM_DELAY`` requests later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import numpy as np

from aamc_bench.bandit.replay_data import ReplayData
from aamc_bench.bandit.scenarios import DEGRADES, Stream, degraded, stationary
from aamc_sdk.types import Attempt, Decision, Feedback

DAY_S = 86400.0
MIDNIGHT = 20000 * DAY_S
MAXIMUM_DELAY = 20
"""The maximum delay of a report, in requests."""
DEARER = 1.5
"""The factor on the cost of the best candidate after it has drifted."""
BURSTS, BURST_SHARE = 8, 0.05
"""The number of bursts of a bursty day, and the share of the day that they take."""


@attrs.frozen(eq=False, slots=False, kw_only=True)
class BudgetStream(Stream):
    """T requests of one day, whose preference is quality alone; ``budget_usd`` is the budget of the day."""

    budget_usd: float

    def reported(self, step: int, decision: Decision, column: int) -> tuple[Attempt | Feedback, ...]:
        """Return the call with its cost, and the feedback."""
        call = Attempt(decision.id, n=0, candidate=decision.candidate, cost_usd=float(self.outcomes.cost_usd[step, column]))
        return call, *super().reported(step, decision, column)

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


def drift(stream: BudgetStream, data: ReplayData, rng: np.random.Generator) -> BudgetStream:
    """From the middle on, half of the answers of the best candidate fail, and each costs half as much again as its price says."""
    outcomes, cost = degraded(stream.outcomes, best_of(data), rng), stream.outcomes.cost_usd.copy()
    cost[int(DEGRADES * len(cost)) :, best_of(data)] *= DEARER
    return attrs.evolve(stream, outcomes=attrs.evolve(outcomes, cost_usd=cost), reward=outcomes.known_quality)


def bursty(stream: BudgetStream, data: ReplayData, rng: np.random.Generator) -> BudgetStream:
    """Half of the requests come in eight bursts that take a twentieth of the day, the others at random times."""
    size = len(stream.reward)
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
        reward=outcomes.known_quality,
        times=MIDNIGHT + DAY_S * np.sort(order.random(len(rows))),
        feedback_at=np.arange(1, len(rows) + 1) + order.integers(MAXIMUM_DELAY, size=len(rows)),
        budget_usd=float(cheapest + share * (best - cheapest)),
    )
    return TRAFFIC[traffic](stream, data, events)
