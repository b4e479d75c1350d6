"""Decisions that are returned before they are durable, for servers that call a model meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import attrs

from aamc_sdk.interfaces import AsyncRouter
from aamc_sdk.routing.arguments import PreferenceLike, RouteArguments
from aamc_sdk.serving.decisions.commit_queue import CommitQueue
from aamc_sdk.serving.decisions.decider import Decider
from aamc_sdk.serving.decisions.worker_threads import WorkerThreads
from aamc_sdk.types import Decision, Query, Record, Records, new_ids

LOOP_MS = 1.0
"""Mean time of a decision from which on decisions are made on a worker thread instead of the event loop."""
WAIT_MS = 20.0
"""Time of a decision from which on it counts as waiting, as for a server; shorter pauses are those that other threads cause."""
_WEIGHT = 1 / 32
"""Weight of the newest decision in the mean time."""
_IDS_AT_ONCE = 64


@attrs.frozen(eq=False, slots=False)  # without slots, construction takes a third less time
class StartedDecision:
    """A decision that is being written to the log.

    Attributes:
        decision: The decision. Its id must not leave the process yet.
        record: The decision with its inputs.
        committed: Its future: the decision as it is in the log, once that is durable. It raises a StoreError if the log refuses it.
    """

    decision: Decision
    record: Record
    committed: asyncio.Future[Decision]


class DecisionStarter:
    """Decides on the event loop, or on a worker thread while decisions take long, and leaves the writing to a queue.

    Args:
        decider: Scores and draws.
        commits: Writes the decisions.
        workers: Run decisions that take long.
    """

    def __init__(self, decider: Decider, commits: CommitQueue, workers: WorkerThreads) -> None:
        self._decider, self._commits, self._workers = decider, commits, workers
        self._mean_ms = LOOP_MS  # so that the first one cannot stop the event loop
        self._ids: list[str] = []

    async def start(self, query: str | Query, preference: PreferenceLike, arguments: RouteArguments) -> StartedDecision:
        """Decide one request; errors as for :meth:`aamc_sdk.MetaController.route`, but for those of the log."""
        queries, ids = [arguments.query(query)], [self._new_id()]
        router = self._decider.router
        if isinstance(router, AsyncRouter):
            drawn = await self._decider.adrawn(router, queries, preference, arguments, ids)
        elif self._mean_ms < LOOP_MS:
            drawn = self._drawn_in_time(queries, preference, arguments, ids)
        else:
            drawn = await self._workers.run(self._drawn_in_time, queries, preference, arguments, ids)
        record = drawn[0]
        return StartedDecision(record.decision, record, self._commits.add_decision(record))

    def _new_id(self) -> str:
        """Return an id of many that are made at once: each call of the system lets other threads take the interpreter."""
        if not self._ids:
            self._ids = new_ids(_IDS_AT_ONCE)
        return self._ids.pop()

    def _drawn_in_time(self, queries: Sequence[Query], preference: PreferenceLike, arguments: RouteArguments, ids: Sequence[str]) -> Records:
        """Return decisions, and note how long they took: their processor time, or their whole time where they waited."""
        began, busy = time.perf_counter(), time.thread_time()
        drawn = self._decider.drawn(queries, preference, arguments, ids)
        busy_ms, whole_ms = 1000 * (time.thread_time() - busy), 1000 * (time.perf_counter() - began)
        self._mean_ms += _WEIGHT * ((whole_ms if whole_ms >= WAIT_MS else busy_ms) - self._mean_ms)
        return drawn
