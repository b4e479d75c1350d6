"""The streams of each scenario: requests, every candidate's outcomes, and the feedback with its time.

A stream's order of rows and its random events follow from the seed and the stream's number, and are the same for all routers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_bench.bandit.replay_data import ReplayData
from aamc_sdk.types import Attempt, Decision, Feedback, Floats, Outcomes, RoutingRequest

JOINS = 1 / 3
"""The share of the stream after which the new model joins."""
DEGRADES, RESTARTS = 1 / 2, 1 / 2
"""The shares after which the model degrades and the router is restarted."""
LOST = 0.5
"""Share of a degraded model's answers with quality 0."""
MAXIMUM_DELAY = 200
"""The maximum delay of feedback, in decisions (exclusive)."""
SPARSE = 0.05
"""Share of the decisions with feedback, if it is sparse."""
POISONED = 0.1
"""Share of the feedback that is inverted, if it is poisoned."""
NEVER = -1


@attrs.frozen(eq=False, slots=False, kw_only=True)  # cached properties need a __dict__
class Stream:
    """A sequence of T decisions among at most M candidates.

    Attributes:
        request: The rows in the order of the stream, with the whole pool.
        before: The same without the new model, for the decisions before it joins.
        joins: The first decision with the whole pool; 0 for always.
        outcomes: Every candidate's outcomes, ``[T, M]``.
        reward: The outcomes' rewards, ``[T, M]``.
        feedback_at: The decision before which the feedback on each arrives, ``[T]``; ``NEVER`` for none.
        inverted: Whether the feedback on each is inverted, ``[T]``.
        restart: The decision before which the router is saved and loaded; None for never.
        times: Times in seconds since the epoch, ascending, ``[T]``; None if they do not matter.
    """

    request: RoutingRequest
    before: RoutingRequest = attrs.Factory(lambda stream: stream.request, takes_self=True)
    joins: int = 0
    outcomes: Outcomes
    reward: Floats
    feedback_at: NDArray[np.intp]
    inverted: NDArray[np.bool_] = attrs.Factory(lambda stream: np.zeros(len(stream.reward), dtype=bool), takes_self=True)
    restart: int | None = None
    times: Floats | None = None

    @cached_property
    def requests(self) -> Sequence[RoutingRequest]:
        """The T requests one by one, shared by all routers."""
        return [(self.before if step < self.joins else self.request).take(np.array([step])) for step in range(len(self.reward))]

    @cached_property
    def expected(self) -> Sequence[Mapping[str, float]]:
        """The expected quality of each candidate, by name, for each request."""
        return [dict(zip(r.pool.names, r.expected.known_quality[0].tolist(), strict=True)) for r in self.requests]

    def reported(self, step: int, decision: Decision, column: int) -> tuple[Attempt | Feedback, ...]:
        """Return the log's entries on the decision of a step, which chose the candidate of a column."""
        quality = float(self.outcomes.known_quality[step, column])
        return (Feedback(decision_id=decision.id, candidate=decision.candidate, quality=1 - quality if self.inverted[step] else quality),)

    @property
    def available(self) -> NDArray[np.bool_]:
        """Whether each candidate is available, ``[T, M]``."""
        names = np.array(self.request.pool.names)
        available = np.ones(self.reward.shape, dtype=bool)
        available[: self.joins] = np.isin(names, self.before.pool.names)
        return available

    @property
    def best(self) -> Floats:
        """The maximum reward of an available candidate, ``[T]``."""
        return np.asarray(np.where(self.available, self.reward, -np.inf).max(axis=1))

    @property
    def best_fixed(self) -> int:
        """The column of the always available candidate with the maximum sum of rewards: the best in hindsight."""
        return int(np.where(self.available.all(axis=0), self.reward.sum(axis=0), -np.inf).argmax())


S = TypeVar("S", bound=Stream)
Change = Callable[[Stream, ReplayData, np.random.Generator], Stream]


def stationary(stream: S, data: ReplayData, rng: np.random.Generator) -> S:
    """Return the stream as it is: nothing changes."""
    return stream


def drift(stream: Stream, data: ReplayData, rng: np.random.Generator) -> Stream:
    """From the middle on, half of the answers of the best model of the training rows fail."""
    outcomes = degraded(stream.outcomes, data.best, rng)
    return attrs.evolve(stream, outcomes=outcomes, reward=data.reward(outcomes))


def degraded(outcomes: Outcomes, column: int, rng: np.random.Generator) -> Outcomes:
    """Return outcomes in which half of a candidate's answers fail, from the middle on."""
    quality = outcomes.known_quality.copy()
    start = int(DEGRADES * len(quality))
    quality[start:, column] *= rng.random(len(quality) - start) >= LOST
    return attrs.evolve(outcomes, quality=quality)


def new_model(stream: Stream, data: ReplayData, rng: np.random.Generator) -> Stream:
    """The best model joins after a third of the stream; the estimator has seen no outcome of it."""
    others = [m for m in range(len(stream.request.pool)) if m != data.best]
    return attrs.evolve(stream, before=of_candidates(stream.request, others), joins=int(JOINS * len(stream.reward)))


def delayed(stream: Stream, data: ReplayData, rng: np.random.Generator) -> Stream:
    """Feedback arrives up to 200 decisions late, in any order."""
    return attrs.evolve(stream, feedback_at=stream.feedback_at + rng.integers(MAXIMUM_DELAY, size=len(stream.feedback_at)))


def sparse(stream: Stream, data: ReplayData, rng: np.random.Generator) -> Stream:
    """One decision in twenty gets feedback."""
    return attrs.evolve(stream, feedback_at=np.where(rng.random(len(stream.feedback_at)) < SPARSE, stream.feedback_at, NEVER))


def poisoned(stream: Stream, data: ReplayData, rng: np.random.Generator) -> Stream:
    """One feedback in ten is inverted."""
    return attrs.evolve(stream, inverted=rng.random(len(stream.inverted)) < POISONED)


def restart(stream: Stream, data: ReplayData, rng: np.random.Generator) -> Stream:
    """In the middle the router is saved, and a fresh one loads its state."""
    return attrs.evolve(stream, restart=int(RESTARTS * len(stream.reward)))


NEW_MODEL = "new-model"
SCENARIOS: Mapping[str, Change] = {
    "stationary": stationary,
    "drift": drift,
    NEW_MODEL: new_model,
    "delayed": delayed,
    "sparse": sparse,
    "poisoned": poisoned,
    "restart": restart,
}


def make_stream(scenario: str, data: ReplayData, steps: int, seed: int, number: int) -> Stream:
    """Return a stream of one of ``SCENARIOS``, in which each row of the data occurs at most once."""
    order, events = (np.random.default_rng((seed, number, part)) for part in range(2))
    rows = order.permutation(len(data.request))[:steps]
    outcomes = data.outcomes.take(rows)
    request = (data.request_without_best if scenario == NEW_MODEL else data.request).take(rows)
    stream = Stream(request=request, outcomes=outcomes, reward=data.reward(outcomes), feedback_at=np.arange(1, len(rows) + 1))
    return SCENARIOS[scenario](stream, data, events)


def of_candidates(request: RoutingRequest, columns: list[int]) -> RoutingRequest:
    """Return a request for some of its candidates, by column."""
    names = [request.pool.names[m] for m in columns]
    masked_why = {why: where[:, columns] for why, where in request.masked_why.items()}
    return attrs.evolve(
        request,
        pool=request.pool.subset(names),
        expected=request.expected.columns(columns),
        wait_ms=request.wait_ms[:, columns],
        mask=request.mask[:, columns],
        masked_why=masked_why,
    )
