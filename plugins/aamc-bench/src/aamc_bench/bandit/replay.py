"""One router in one stream: the router scores, the core draws, and the router learns feedback when it arrives."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_bench.bandit.scenarios import NEVER, Stream
from aamc_sdk.interfaces import OnlineRouter, Router
from aamc_sdk.routing import decide
from aamc_sdk.types import Decision, Experience, Feedback, RoutingRequest


@attrs.frozen(eq=False)
class Rows:
    """A stream's requests one by one, shared by all routers.

    Attributes:
        requests: T requests of one row each.
        expected: The expected quality of each candidate, by name, for each request.
    """

    requests: Sequence[RoutingRequest]
    expected: Sequence[Mapping[str, float]]

    @classmethod
    def of(cls, stream: Stream) -> Rows:
        """Return a stream's rows."""
        steps = range(len(stream.reward))
        requests = [(stream.before if step < stream.joins else stream.request).take(np.array([step])) for step in steps]
        expected = [dict(zip(r.pool.names, r.expected.known_quality[0].tolist(), strict=True)) for r in requests]
        return cls(requests, expected)


def replay(make: Callable[[], Router], stream: Stream, rows: Rows, seed: int, name: str) -> NDArray[np.intp]:
    """Return the column of the candidate that a router chose in each decision, ``[T]``.

    Args:
        make: Returns a fresh router.
        stream: The stream.
        rows: The stream's rows.
        seed: The seed of the draws.
        name: The prefix of the decisions' ids; a router with the same scores draws the same candidates in every scenario.
    """
    router, columns = make(), {candidate: m for m, candidate in enumerate(stream.request.pool.names)}
    due: defaultdict[int, list[int]] = defaultdict(list)
    for step in np.flatnonzero(stream.feedback_at != NEVER).tolist():
        due[int(stream.feedback_at[step])].append(step)
    decisions: list[Decision] = []
    for step, request in enumerate(rows.requests):
        if step == stream.restart:
            router = _restarted(router, make)
        if isinstance(router, OnlineRouter):
            for past in due[step]:
                router.learn(_with_feedback(past, decisions[past], stream, rows, columns[decisions[past].candidate]))
        decisions += decide(request, router.score(request), [f"{name}/{step}"], router=name, sample=router.samples, seed=seed)
        if isinstance(router, OnlineRouter):
            router.learn(_experience(rows, step, decisions[-1], made=1))
    return np.array([columns[decision.candidate] for decision in decisions])


def _with_feedback(step: int, decision: Decision, stream: Stream, rows: Rows, column: int) -> Experience:
    quality = float(stream.outcomes.known_quality[step, column])
    feedback = Feedback(decision_id=decision.id, candidate=decision.candidate, quality=1 - quality if stream.inverted[step] else quality)
    return attrs.evolve(_experience(rows, step, decision, made=0), feedback=(feedback,))


def _experience(rows: Rows, step: int, decision: Decision, made: int) -> Experience:
    request = rows.requests[step]
    return Experience(step, request.queries, request.estimates, (decision,), made=made, expected_quality=(rows.expected[step],))


def _restarted(router: Router, make: Callable[[], Router]) -> Router:
    """Return a fresh router that has loaded a router's saved state."""
    with tempfile.TemporaryDirectory() as folder:
        router.save(Path(folder))
        fresh = make()
        fresh.load(Path(folder))
    return fresh
