"""One router in one stream: it scores, the core draws, and it learns what it is told, when it is told."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_bench.bandit.scenarios import NEVER, Stream
from aamc_sdk.interfaces import Router
from aamc_sdk.routing import decide
from aamc_sdk.types import Decision, Experience, Feedback, RoutingRequest


@attrs.frozen(eq=False)
class Rows:
    """A stream's requests one by one; all routers share them.

    Attributes:
        requests: Of one row each, T of them.
        expected: The quality that was expected of each candidate, by name.
    """

    requests: Sequence[RoutingRequest]
    expected: Sequence[Mapping[str, float]]

    @classmethod
    def of(cls, stream: Stream) -> Rows:
        """Take a stream apart."""
        steps = range(len(stream.reward))
        requests = [(stream.before if step < stream.joins else stream.request).take(np.array([step])) for step in steps]
        expected = [dict(zip(r.pool.names, r.expected.known_quality[0].tolist(), strict=True)) for r in requests]
        return cls(requests, expected)


def replay(make: Callable[[], Router], stream: Stream, rows: Rows, seed: int, name: str) -> NDArray[np.intp]:
    """Return the column that a router chose in each decision, ``[T]``.

    Args:
        make: Returns a router as it is before it has learned anything.
        stream: What happens.
        rows: The stream's.
        seed: Of the draws.
        name: What the decisions' ids begin with; its draws are the same in every scenario, as far as its scores are.
    """
    router, columns = make(), {candidate: m for m, candidate in enumerate(stream.request.pool.names)}
    due: defaultdict[int, list[int]] = defaultdict(list)
    for step in np.flatnonzero(stream.told_at != NEVER).tolist():
        due[int(stream.told_at[step])].append(step)
    decisions: list[Decision] = []
    for step, request in enumerate(rows.requests):
        if step == stream.restart:
            router = _restarted(router, make)
        for past in due[step]:
            router.learn(_told(past, decisions[past], stream, rows, columns[decisions[past].candidate]))
        decisions += decide(request, router.score(request), [f"{name}/{step}"], router=name, sample=router.samples, seed=seed)
        router.learn(_experience(rows, step, decisions[-1], made=1))
    return np.array([columns[decision.candidate] for decision in decisions])


def _told(step: int, decision: Decision, stream: Stream, rows: Rows, column: int) -> Experience:
    quality = float(stream.outcomes.known_quality[step, column])
    said = Feedback(decision_id=decision.id, candidate=decision.candidate, quality=1 - quality if stream.opposite[step] else quality)
    return attrs.evolve(_experience(rows, step, decision, made=0), feedback=(said,))


def _experience(rows: Rows, step: int, decision: Decision, made: int) -> Experience:
    request = rows.requests[step]
    return Experience(step, request.queries, request.estimates, (decision,), made=made, expected_quality=(rows.expected[step],))


def _restarted(router: Router, make: Callable[[], Router]) -> Router:
    """Return a fresh router that has loaded what the other saved."""
    with tempfile.TemporaryDirectory() as folder:
        router.save(Path(folder))
        fresh = make()
        fresh.load(Path(folder))
    return fresh
