"""Resources that calls share over time: slots of a batch, a token limit, a day's budget, the prompt cache of a session.

A resource keeps the state of n streams. Its view at a step is its effect on the rows: waits, costs, pressure, and forbidden candidates.
"""

from __future__ import annotations

import abc
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types import Floats

MAX_PRESSURE = 4.0
"""Pressure of a budget that is used up."""
MOST_LEFT = 100
"""Maximum number of calls that a token limit has left when a stream begins."""
RECOVERY_OF_A_SLOT = 16
"""Queries over which a queue recovers, for each slot of a candidate: the more slots, the more calls make it longer by the same wait."""
MAX_TURNS = 32
"""Maximum number of turns of a session."""


class StepView(NamedTuple):
    """The state of the pool at a step, as it changes the present rows; None for no change.

    ``wait_ms``, ``added_usd``, ``pressure`` and ``allowed`` are ``[n, M]``; ``context_tokens``, those of earlier turns, are ``[n]``.
    """

    wait_ms: Floats | None = None
    added_usd: Floats | None = None
    pressure: Floats | None = None
    allowed: NDArray[np.bool_] | None = None
    context_tokens: Floats | None = None


NO_CHANGE = StepView()
"""The view of a pool without a shared resource."""


class StepCalls(NamedTuple):
    """The calls of n streams at a step: candidates, whether they were allowed, service in ms, tokens, and USD, ``[n]`` each."""

    actions: NDArray[np.intp]
    allowed: NDArray[np.bool_]
    service_ms: Floats
    tokens: Floats
    cost_usd: Floats


class Resource(abc.ABC):
    """The state of a shared resource in n streams.

    Attributes:
        recovery: Number of queries over which it recovers once it is used up; 0 where that is soon.
        resets: Whether it begins anew after these queries, whatever was decided.
        price: Each candidate's present multiple of its list price, ``[M]``.
        available: Whether each candidate is available at present, ``[M]``.
    """

    recovery: float = 0.0
    resets: bool = False
    price: Floats | float = 1.0
    available: NDArray[np.bool_] | bool = True

    @property
    @abc.abstractmethod
    def state(self) -> Floats:
        """What calls have changed, ``[n, D]``."""

    @abc.abstractmethod
    def begin(self, streams: NDArray[np.intp]) -> None:
        """Restart the streams of these numbers."""

    @abc.abstractmethod
    def arrive(self, gap_ms: Floats, rows: NDArray[np.intp], uniforms: Floats) -> StepView:
        """Let time pass until the next queries, and return the state of the pool for them.

        Args:
            gap_ms: Time since the last queries, ``[n]``.
            rows: The queries' rows, ``[n]``.
            uniforms: A random number each, ``[n]``.
        """

    @abc.abstractmethod
    def serve(self, call: StepCalls) -> None:
        """Deduct the use of the calls."""


class Slots(Resource):
    """Each candidate serves up to c calls at a time, first come first served (M/M/c where all answers are equally long).

    Args:
        service_ms: Mean service times, ``[M]``.
        slots: Calls that a candidate serves at a time, c.
    """

    def __init__(self, service_ms: Floats, slots: int) -> None:
        self._service_ms, self.slots = np.maximum(service_ms, 1e-9), slots
        self.recovery = float(RECOVERY_OF_A_SLOT * slots)

    @property
    def state(self) -> Floats:
        """Return the work of each slot in milliseconds, ``[n, M c]``."""
        return self._work_ms.reshape(len(self._work_ms), -1)

    def begin(self, streams: NDArray[np.intp]) -> None:
        """Empty all slots."""
        self._work_ms = np.zeros((len(streams), len(self._service_ms), self.slots))

    def arrive(self, gap_ms: Floats, rows: NDArray[np.intp], uniforms: Floats) -> StepView:
        """Work off; the pressure is the logarithm of 1 + the outstanding work in services a slot."""
        self._work_ms = np.maximum(self._work_ms - np.reshape(gap_ms, (-1, 1, 1)), 0.0)
        return StepView(wait_ms=self._work_ms.min(axis=2), pressure=np.log1p(self.outstanding / self.slots))

    @property
    def outstanding(self) -> Floats:
        """Outstanding work in mean services, ``[n, M]``."""
        return np.asarray(self._work_ms.sum(axis=2) / self._service_ms)

    def serve(self, call: StepCalls) -> None:
        """Give each call to its candidate's slot that is free first."""
        streams = np.arange(len(call.actions))
        slot = self._work_ms[streams, call.actions].argmin(axis=1)
        self._work_ms[streams, call.actions, slot] += call.service_ms * call.allowed


class TokenLimit(Resource):
    """Tokens a minute that some candidates share: a token bucket that holds a minute's tokens (GCRA of ITU-T I.371).

    A call without enough tokens gets status 429 with the time to retry after, and waits that long.

    Streams begin with 0 to 100 calls left, where the limit matters: to empty a full bucket takes longer than a stream where a minute has many calls.

    Args:
        per_minute: Refill, in tokens a minute; also the bucket's size.
        limited: The candidates that share it, ``[M]``.
        tokens: The mean tokens of a call, ``[Q]``.
        per_second: Mean number of queries a second.
    """

    def __init__(self, per_minute: float, limited: NDArray[np.bool_], tokens: Floats, per_second: float) -> None:
        self.per_minute, self.limited, self.tokens = per_minute, limited, tokens
        self.per_ms, self._mean_tokens = per_minute / 60_000, float(tokens.mean())
        self._calls = per_minute / self._mean_tokens
        self.recovery = min(self._calls, 60 * per_second)  # a used up bucket is full after a minute

    @property
    def state(self) -> Floats:
        """Return the used tokens, ``[n, 1]``."""
        return self.used[:, None]

    def begin(self, streams: NDArray[np.intp]) -> None:
        """Spread the calls that are left evenly."""
        self.used = self.per_minute - _low_discrepancy(streams) * min(self.per_minute, MOST_LEFT * self._mean_tokens)

    def arrive(self, gap_ms: Floats, rows: NDArray[np.intp], uniforms: Floats) -> StepView:
        """Refill; the pressure is 1 - log(1 + calls that the bucket still holds) / log(1 + calls of a full one): the last few matter most."""
        self.used = np.maximum(self.used - gap_ms * self.per_ms, 0.0)
        retry_after_ms = np.maximum(self.used + self.tokens[rows] - self.per_minute, 0.0) / self.per_ms
        calls_left = np.maximum(self.per_minute - self.used, 0.0) / self._mean_tokens
        pressure = 1 - np.log1p(calls_left) / np.log1p(self._calls)
        return StepView(wait_ms=np.outer(retry_after_ms, self.limited), pressure=np.outer(pressure, self.limited))

    def serve(self, call: StepCalls) -> None:
        """Take the tokens."""
        self.used += call.tokens * (self.limited[call.actions] & call.allowed)


def _low_discrepancy(streams: NDArray[np.intp]) -> Floats:
    """Return a number in [0, 1) for each stream; those of successive streams are evenly distributed."""
    return np.asarray(streams * 0.6180339887498949 % 1)


def _places(streams: NDArray[np.intp]) -> Floats:
    """Return evenly spaced figures around 0, between -.5 and .5, for neighbouring streams that share a number; 0 for a stream alone."""
    starts = np.flatnonzero(np.diff(streams, prepend=-1))
    counts = np.diff(starts, append=len(streams))
    rank = np.arange(len(streams)) - starts.repeat(counts)
    return np.asarray((rank + 0.5) / counts.repeat(counts) - 0.5)


class DailyBudget(Resource):
    """USD for the queries of a day. Candidates that the rest of the day could not afford together with the cheapest one are forbidden.

    That compares expected costs: longer answers than expected can exceed the budget.

    Streams begin at different times of the day, with the budget's share spent that belongs to it. In training, neighbours that share a number, and so
    their queries, begin with more or less of it spent: otherwise they would hardly differ in a long day, and not show what money is worth.

    Args:
        budget_usd: USD a day.
        queries: Queries a day.
        cost_usd: The mean cost of each candidate at list prices, ``[Q, M]``.
        trains: Whether the streams are for training; policies are compared in streams that begin alike.
    """

    resets = True

    def __init__(self, budget_usd: float, queries: int, cost_usd: Floats, *, trains: bool = False) -> None:
        self.budget_usd, self.queries, self._cost_usd, self._trains = budget_usd, queries, cost_usd, trains
        self.recovery = float(queries)
        self._mean_usd = cost_usd.mean(axis=0)
        self._planned_usd = budget_usd / queries - float(self._mean_usd.min())

    @property
    def state(self) -> Floats:
        """Return the time of the day and the spent USD, ``[n, 2]``."""
        return np.stack((self._elapsed, self._spent_usd), axis=1)

    def begin(self, streams: NDArray[np.intp]) -> None:
        """Spread the streams over the day, and in training those of one number over what the rest of the day may cost."""
        self._elapsed = (_low_discrepancy(streams) * self.queries).astype(int)
        planned_usd = self.budget_usd * (1 - self._elapsed / self.queries)
        self._spent_usd = np.maximum(self.budget_usd - planned_usd * (1 + (_places(streams) if self._trains else 0.0)), 0.0)

    @property
    def cheapest(self) -> int:
        """The available candidate of the lowest mean cost; the lowest of all if none is available."""
        return int(np.where(self.available | ~np.any(self.available), self._mean_usd * self.price, np.inf).argmin())

    @property
    def reserve_usd(self) -> float:
        """Mean cost of the cheapest available candidate, kept for each further query of the day."""
        return float((self._mean_usd * self.price)[self.cheapest])

    @property
    def free_usd(self) -> Floats:
        """Remaining USD per query of the day, less the cost of the cheapest candidate, ``[n]``."""
        left = self.queries - self._elapsed
        return np.asarray(np.maximum((self.budget_usd - self._spent_usd) / left - self.reserve_usd, 0.0))

    def arrive(self, gap_ms: Floats, rows: NDArray[np.intp], uniforms: Floats) -> StepView:
        """Begin a new day where the old one is over; the pressure is ``free_usd`` as planned at list prices over the present one."""
        over = self._elapsed == self.queries
        self._elapsed[over], self._spent_usd[over] = 0, 0.0
        left = self.queries - self._elapsed
        affordable = self.budget_usd - self._spent_usd - self.reserve_usd * (left - 1)
        allowed = self._cost_usd[rows] * self.price <= affordable[:, None]
        allowed[:, self.cheapest] = True
        planned = self._planned_usd
        free = np.maximum(self.free_usd, planned / MAX_PRESSURE)
        pressure = np.minimum(np.divide(planned, free, out=np.zeros_like(free), where=free > 0), MAX_PRESSURE)  # 0 where nothing costs anything
        return StepView(pressure=np.repeat(pressure[:, None], allowed.shape[1], axis=1), allowed=allowed)

    def serve(self, call: StepCalls) -> None:
        """Spend."""
        self._spent_usd += call.cost_usd * call.allowed
        self._elapsed += 1


class PromptCache(Resource):
    """Sessions whose earlier turns are sent again with each query; the candidate that served the last turn reads them at its cached price.

    A session ends after ``MAX_TURNS`` turns, and where no available candidate's context window has room for its next query.

    Args:
        full_usd: USD per token of prompt at list prices, ``[M]``.
        cached_usd: USD per cached token at list prices, ``[M]``.
        turn_tokens: Tokens that a turn adds to the context.
        mean_turns: Mean number of a session's turns, if nothing else ended it.
        room_tokens: Tokens of context for which a candidate's window has room beside a query and its answer, ``[Q, M]``.
    """

    def __init__(self, full_usd: Floats, cached_usd: Floats, turn_tokens: float, mean_turns: float, room_tokens: Floats) -> None:
        self.full_usd, self.cached_usd, self.turn_tokens, self._room_tokens = full_usd, cached_usd, turn_tokens, room_tokens
        self.goes_on = 1 - 1 / mean_turns

    @property
    def state(self) -> Floats:
        """Return the turn and the candidate that holds the cache, ``[n, 2]``."""
        return np.stack((self.turn, self.cached_on), axis=1)

    def begin(self, streams: NDArray[np.intp]) -> None:
        """Begin a session in each stream."""
        self.turn = np.zeros(len(streams), dtype=int)
        self.cached_on = np.full(len(streams), -1)

    def arrive(self, gap_ms: Floats, rows: NDArray[np.intp], uniforms: Floats) -> StepView:
        """Continue the session, or begin a new one."""
        possible = (self.fits(self.turn, rows) & self.available).any(axis=1)
        over = (uniforms >= self.goes_on) | (self.turn >= MAX_TURNS) | ~possible
        self.turn[over], self.cached_on[over] = 0, -1
        added_usd = self.added_usd(self.turn, self.cached_on)
        return StepView(added_usd=added_usd, allowed=self.fits(self.turn, rows), context_tokens=self.turn * self.turn_tokens)

    def fits(self, turn: NDArray[np.intp], rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return whether the context windows have room for the queries of these rows after earlier turns, ``[n, M]``."""
        return np.asarray((turn * self.turn_tokens)[:, None] <= self._room_tokens[rows])

    def added_usd(self, turn: NDArray[np.intp], cached_on: NDArray[np.intp]) -> Floats:
        """Return the cost of the earlier turns, ``[n, M]``."""
        price = np.where(cached_on[:, None] == np.arange(len(self.full_usd)), self.cached_usd, self.full_usd) * self.price
        return np.asarray((turn * self.turn_tokens)[:, None] * price)

    def serve(self, call: StepCalls) -> None:
        """Move the cache to the candidates that served."""
        self.cached_on = np.where(call.allowed, call.actions, self.cached_on)
        self.turn += 1
