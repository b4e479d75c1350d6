"""Reference policies of environment ``queue``: computed for the given pool, world, preference and load, with true expectations.

- Queues, slots and a token limit: each resource has the relative values of a Markov decision process whose alternative is the best other
  candidate (:mod:`aamc_environments.queue.relative_values`). A query goes where its reward minus the loss of later queries is largest. With one
  contended resource that is the optimum up to the grid; with several it is the decomposition of Krishnan (1990), one step of improvement over
  independent resources.
- A day's budget: the Lagrangian rule. Reward minus a price of money, the price at which the rest of the day uses up the rest of the budget.
- A session's prompt cache: the optimum, by backward induction over turn and the candidate that holds the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aamc_environments.queue.queue_streams import BURST, Arrivals, QueueStreams
from aamc_environments.queue.relative_values import NotConvergedError, RelativeValues, SharedResource, solve
from aamc_environments.resources import MAX_TURNS, DailyBudget, PromptCache, Resource, Slots, TokenLimit
from aamc_sdk import Outcomes
from aamc_sdk.types import Floats

ROWS = 300
"""Rows that stand for all queries."""
ROUNDS = 40
"""Rounds in which the resources learn each other's prices."""
TOLERANCE = 1e-3
"""Change of prices, in reward, at which they have settled."""
GAIN_TOLERANCE = 1e-7
"""Error of the mean reward of a query with a prompt cache."""
WAITS = 400.0
"""Maximum waiting work of the grid in mean calls: with a small weight of latency, queues would be longer."""

R = TypeVar("R", bound=Resource)
Rule = Callable[[QueueStreams], Floats]
"""From streams to the utilities of the candidates for the present queries, ``[n, M]``."""


def reference_rule(streams: QueueStreams, preference: Floats) -> Rule:
    """Return the reference policy of streams of one preference ``[3]``.

    Raises:
        NotConvergedError: Its computation does not converge, or all candidates together cannot serve the queries.
    """
    rewards = true_rewards(streams, preference)
    if isinstance(streams.resource, DailyBudget):
        return _lagrangian(streams.resource, rewards, streams.idle_outcomes.cost_usd)
    if isinstance(streams.resource, PromptCache):
        return _cache_rule(streams.resource, rewards, streams, preference)
    return _priced_rule(streams, rewards, preference)


def upper_bound(streams: QueueStreams, preference: Floats) -> float:
    """Return a bound of every policy's mean reward, for streams of one preference ``[3]``.

    With a day's budget it is the fluid bound, the optimum where only the mean cost is limited: by Lagrangian duality the minimum of
    mean(max(reward - price cost)) + price budget / queries over prices. Otherwise it is the best candidate of each query in an idle pool.
    """
    rewards, budget = true_rewards(streams, preference), streams.resource
    if not isinstance(budget, DailyBudget):
        return float(rewards.max(axis=1).mean())
    cost_usd = streams.idle_outcomes.cost_usd
    planned_usd = budget.budget_usd / budget.queries
    return min(float((rewards - price * cost_usd).max(axis=1).mean() + price * planned_usd) for price in _price_ladder(rewards, cost_usd))


def mean_rewards(streams: QueueStreams, rule: Rule, warm_up: int, steps: int) -> Floats:
    """Return each stream's mean true expected reward under a rule, after ``warm_up`` further steps, ``[n]``.

    A query that no candidate may serve counts as in :meth:`Streams.step`: a failure at the maximum cost and latency.
    """
    total, rows = np.zeros(streams.num_envs), np.arange(streams.num_envs)
    for step in range(warm_up + steps):
        request = streams.request()
        assert request.hindsight is not None
        actions = np.where(request.mask, rule(streams), -np.inf).argmax(axis=1)
        if step >= warm_up:
            rewards = streams.setup.reward.scalar(request.hindsight, request.preferences)[rows, actions]
            unserved = ~request.mask.any(axis=1)
            total += np.where(unserved, _worst_rewards(streams, request.hindsight, request.preferences), rewards) if unserved.any() else rewards
        streams.step(actions)
    return total / steps


def _worst_rewards(streams: QueueStreams, outcomes: Outcomes, preferences: Floats) -> Floats:
    """Return the rewards ``[n]`` of failures at the maximum cost and latency."""
    cost_usd, latency_ms = (values.max(axis=1, keepdims=True) for values in (outcomes.cost_usd, outcomes.latency_ms))
    return streams.setup.reward.scalar(Outcomes(np.zeros_like(cost_usd), cost_usd, latency_ms), preferences)[:, 0]


def true_rewards(streams: QueueStreams, preference: Floats) -> Floats:
    """Return the expected rewards of all rows in an idle pool, ``[Q, M]``."""
    outcomes = streams.idle_outcomes
    return streams.setup.reward.scalar(outcomes, np.broadcast_to(preference, (len(outcomes.cost_usd), 3)))


def _sample(rewards: Floats) -> NDArray[np.intp]:
    """Return the rows that stand for all of ``[Q, M]``."""
    return np.linspace(0, len(rewards) - 1, min(ROWS, len(rewards))).astype(np.intp)


def present_rewards(streams: QueueStreams) -> Floats:
    """Return the true expected rewards of the present queries, ``[n, M]``, minus infinity for a candidate that is not allowed: the greedy rule."""
    request = streams.request()
    assert request.hindsight is not None
    return np.where(request.mask, streams.setup.reward.scalar(request.hindsight, request.preferences), -np.inf)


def _of(streams: QueueStreams, kind: type[R]) -> R:
    """Return the streams' own resource, which may differ from those that a rule was computed for."""
    assert isinstance(streams.resource, kind)  # of the same scenario
    return streams.resource


def _slopes(streams: QueueStreams, preference: Floats) -> Floats:
    """Return the change of the reward with quality, a USD and a millisecond, ``[3]``."""
    ones, zeros = np.ones((1, 1)), np.zeros((1, 1))
    points = (Outcomes(zeros, zeros, zeros), Outcomes(ones, zeros, zeros), Outcomes(zeros, ones, zeros), Outcomes(zeros, zeros, ones))
    at = [float(streams.setup.reward.scalar(point, preference[None])[0, 0]) for point in points]
    return np.array(at[1:]) - at[0]


# ---------------------------------------------------------------- queues, slots, token limit


def _priced_rule(streams: QueueStreams, rewards: Floats, preference: Floats) -> Rule:
    per_ms = max(-float(_slopes(streams, preference)[2]), 0.0)
    rows = _sample(rewards)
    members, resources, unit = _resources(streams, rewards, rows, per_ms)
    solved = _settle(members, resources, rewards[rows]) if per_ms else {}

    def rule(streams: QueueStreams) -> Floats:
        utilities, phase = present_rewards(streams), streams.phase
        work, size = unit(streams)
        for number, values in solved.items():
            for m in members[number]:
                utilities[:, m] -= values.cost_of_use(phase, work[:, number], size[:, number])
        return utilities

    return rule


def _resources(
    streams: QueueStreams, rewards: Floats, rows: NDArray[np.intp], per_ms: float
) -> tuple[list[list[int]], list[SharedResource], Callable[[QueueStreams], tuple[Floats, Floats]]]:
    """Return the candidates of each resource, the resources, and a function that gives their work and the present queries' sizes, ``[n, R]``."""
    arrivals, resource, longer, service_ms = streams.arrivals, streams.resource, streams.service_factors, streams.service_ms
    gaps, transitions = _phases(arrivals)
    if isinstance(resource, TokenLimit):
        limit, tokens = resource, resource.tokens
        mean = float(tokens.mean())
        members = [np.flatnonzero(limit.limited).tolist()]
        shared = SharedResource(
            use=rewards[rows][:, limit.limited].max(axis=1),
            size=tokens[rows] / mean,
            loss=lambda work, size: per_ms * np.maximum((work + size) * mean - limit.per_minute, 0.0) / limit.per_ms,
            drain=lambda work: np.full_like(work, limit.per_ms / mean),
            gaps=gaps,
            transitions=transitions,
            stages=8,
            free=limit.per_minute / mean,
        )
        return members, [shared], lambda streams: (_of(streams, TokenLimit).used[:, None] / mean, tokens[streams.row][:, None] / mean)
    slots = resource.slots if isinstance(resource, Slots) else 1
    if per_ms:
        demand = arrivals.per_second / 1000 * float(longer.mean()) / float((slots / np.maximum(service_ms, 1e-6)).sum())
        if demand >= 1:  # every policy's queues would grow without end
            excess = f"queries arrive at {demand:.3g} times the rate that all candidates together can serve"
            raise NotConvergedError(f"{excess}; lower load or arrival_rate by more than that factor")
    shared_by = [
        SharedResource(
            use=rewards[rows, m],
            size=longer[rows],
            loss=partial(_slot_loss, per_ms * s, slots),
            drain=partial(_slot_drain, s, slots),
            gaps=gaps,
            transitions=transitions,
            free=slots - 1,
        )
        for m, s in enumerate(np.maximum(service_ms, 1e-6))
    ]

    def unit(streams: QueueStreams) -> tuple[Floats, Floats]:
        work = streams.resource.outstanding if isinstance(streams.resource, Slots) else streams.backlog_ms / np.maximum(service_ms, 1e-6)
        return work, np.repeat(longer[streams.row][:, None], len(service_ms), axis=1)

    return [[m] for m in range(len(service_ms))], shared_by, unit


def _slot_loss(per_service: float, slots: int, work: Floats, size: float) -> Floats:
    """Return the loss by the mean wait at some work: with one server the work itself, with c slots the wait of M/M/c with as many calls."""
    return per_service * (work if slots == 1 else np.maximum(work - slots + 1, 0.0) / slots)


def _slot_drain(service_ms: float, slots: int, work: Floats) -> Floats:
    """Return the work done in a millisecond, in mean services: one server always works at its speed, slots as many as are busy."""
    return np.ones_like(work) / service_ms if slots == 1 else np.minimum(work, slots) / service_ms


def _phases(arrivals: Arrivals) -> tuple[Floats, Floats]:
    """Return mean gaps in ms ``[P]`` and transition chances ``[P, P]`` of the arrivals' phases."""
    gaps = np.full(3, arrivals.calm_gap_ms)
    gaps[BURST] /= arrivals.burst
    if arrivals.burst == 1:
        return gaps[:1], np.ones((1, 1))
    return gaps, arrivals.transitions


def _settle(members: list[list[int]], resources: list[SharedResource], rewards: Floats) -> dict[int, RelativeValues]:
    """Return the relative values of the resources, each with the others' mean prices."""
    prices, solved = np.zeros_like(rewards), dict[int, RelativeValues]()
    for round_number in range(ROUNDS):
        before = prices.copy()
        for number, (own, resource) in enumerate(zip(members, resources, strict=True)):
            others = [m for m in range(rewards.shape[1]) if m not in own]
            other = (rewards - prices)[:, others].max(axis=1) if others else np.full(len(rewards), -np.inf)
            limit = _limit(resource, other)
            if limit is None:
                prices[:, own] = 0.0
                continue
            solved[number] = solve(resource, np.maximum(other, resource.use - 1e3), limit)
            price = solved[number].price[:, None]
            prices[:, own] = price if round_number == 0 else (prices[:, own] + price) / 2
        if np.abs(prices - before).max() < TOLERANCE:
            return solved
    if np.abs(prices - before).max() > 20 * TOLERANCE:
        raise NotConvergedError(f"the prices of the candidates do not settle in {ROUNDS} rounds; try another load, world or preference")
    return solved


def _limit(resource: SharedResource, other: Floats) -> float | None:
    """Return the work beyond which no query gains from the resource, since its wait costs more; None if no query ever gains."""
    best = float((resource.use - other).max())
    if best <= 0:
        return None
    most = resource.free + WAITS
    work = np.linspace(0.0, most, 20_001)
    worth = np.flatnonzero(resource.loss(work, float(resource.size.mean())) < min(best, 1e3))
    return float(min(work[worth[-1]] + 6 * resource.size.max(), most))


# ---------------------------------------------------------------- budget


def _lagrangian(budget: DailyBudget, rewards: Floats, cost_usd: Floats) -> Rule:
    """Return the rule with the price at which the rest of the day uses up the rest of the budget."""
    prices = _price_ladder(rewards, cost_usd)
    choice = (rewards[None] - prices[:, None, None] * cost_usd[None]).argmax(axis=2)  # [ladder, Q]
    spent = np.take_along_axis(np.broadcast_to(cost_usd, (len(prices), *cost_usd.shape)), choice[..., None], axis=2)[..., 0].mean(axis=1)

    def rule(streams: QueueStreams) -> Floats:
        left = _of(streams, DailyBudget).free_usd + budget.reserve_usd
        price = np.interp(-left, -spent, prices)  # spent falls with the price
        return np.asarray(present_rewards(streams) - price[:, None] * cost_usd[streams.row])

    return rule


def _price_ladder(rewards: Floats, cost_usd: Floats) -> Floats:
    """Return increasing prices of money, from 0 to one at which the cheapest candidates serve all."""
    reward_range = float(rewards.max() - rewards.min()) or 1.0
    gap = np.diff(np.sort(cost_usd, axis=1), axis=1)
    top = reward_range / max(float(gap[gap > 0].min()) if (gap > 0).any() else 1.0, 1e-12)
    return np.concatenate(([0.0], np.geomspace(top * 1e-7, top, 400)))


# ---------------------------------------------------------------- prompt cache


def _cache_rule(cache: PromptCache, rewards: Floats, streams: QueueStreams, preference: Floats) -> Rule:
    """Return the optimum: backward induction over a session's turns, with the mean reward, found by bisection, deducted from each query."""
    per_usd = float(_slopes(streams, preference)[1])
    rows = _sample(rewards)
    rewards, candidates = rewards[rows], np.arange(rewards.shape[1])
    added = np.stack([per_usd * cache.added_usd(np.full(len(candidates), turn), candidates) for turn in range(MAX_TURNS)])  # [turn, cached on, M]
    fits = np.stack([cache.fits(np.full(len(rows), turn), rows) for turn in range(MAX_TURNS)])  # [turn, Q, M]
    onward = np.zeros((MAX_TURNS, len(candidates)))  # value of the rest of the session after a turn, by the candidate that served it

    def session(gain: float) -> float:
        """Set the onward values, and return the value of a session above the gain."""
        for turn in reversed(range(MAX_TURNS)):
            best = np.where(fits[turn, :, None], rewards[:, None, :] + added[turn] + onward[turn], -np.inf).max(axis=2)
            values = np.where(fits[turn].any(axis=1)[:, None], best, gain).mean(axis=0) - gain  # a query that fits nowhere begins a new session
            if turn:
                onward[turn - 1] = cache.goes_on * values
        return float(values[0])

    low, high = float(rewards.min() + added.min()), float(rewards.max())
    while high - low > GAIN_TOLERANCE:
        gain = (low + high) / 2
        low, high = (gain, high) if session(gain) > 0 else (low, gain)

    def rule(streams: QueueStreams) -> Floats:
        return present_rewards(streams) + onward[_of(streams, PromptCache).turn]

    return rule
