"""Decisions on the event loop, or on threads while they take long; each is returned before it is durable."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import attrs

from aamc_gateway.forwarding.decisions.commit_queue import CommitQueue
from aamc_sdk import MetaController
from aamc_sdk.types import Decision, Preference, Query, Record, new_ids

LOOP_MS = 1.0
"""Decisions move to worker threads at this mean time. Quick decisions count as 0."""
QUICK_MS = 3.0
"""Maximum time of a quick decision. A thread gains nothing for it: the interpreter switches threads only every 5 ms."""
WAIT_MS = 20.0
"""Minimum time of a decision that counts as waiting for a server; shorter waits are often caused by other threads and programs."""
_WEIGHT = 1 / 32
"""Weight of the newest decision in the mean time."""
_IDS_AT_ONCE = 64
_THREADS = 32
"""Threads for decisions of each kind that take long, mostly since they wait."""


@attrs.frozen(eq=False, slots=False)  # without slots, construction takes a third less time
class StartedDecision:
    """A decision that is being written to the log.

    Attributes:
        record: The decision with its inputs. Its id must not leave the process yet.
        seconds: How long it took.
        committed: Future of the decision as it is in the log, done once that is durable; it has a StoreError if the log refuses the decision.
    """

    record: Record
    seconds: float
    committed: asyncio.Future[Decision]


class _DecisionThreads:
    """Mean time of decisions of one kind, and the threads for them while that is long.

    A decision's time is its processor time, or its whole time if it waits for a server. The wait of a thread for the interpreter does not count:
    with it the mean would stay long under load, and decisions would never return from the threads to the event loop.
    """

    def __init__(self, name: str) -> None:
        self.threads = ThreadPoolExecutor(_THREADS, name)
        self.mean_ms = LOOP_MS  # so that the first decision cannot stop the event loop

    def decide(self, draw: partial[Record], *, on_loop: bool) -> Record:
        """Return a decision, and note how long it took."""
        began, process_began, thread_began = time.perf_counter(), time.process_time(), time.thread_time()
        record = draw()
        whole_ms, process_ms = 1000 * (time.perf_counter() - began), 1000 * (time.process_time() - process_began)
        busy_ms = 1000 * (time.thread_time() - thread_began)
        waits = whole_ms >= WAIT_MS and (on_loop or process_ms < whole_ms / 2)
        taken_ms = whole_ms if waits else busy_ms
        self.mean_ms += _WEIGHT * ((taken_ms if taken_ms > QUICK_MS else 0.0) - self.mean_ms)
        return record


class GatewayDecider:
    """Decides requests of event loops.

    Args:
        controller: Decides.
        commits: Writes the decisions to the log.
    """

    def __init__(self, controller: MetaController, commits: CommitQueue) -> None:
        self._controller, self._commits = controller, commits
        self._choices, self._forced = _DecisionThreads("aamc-decisions"), _DecisionThreads("aamc-forced")
        self._ids: list[str] = []

    async def start(
        self, query: str | Query, preference: Preference | str | None = None, *, forced: bool = False, **arguments: Any
    ) -> StartedDecision:
        """Decide a request by the arguments of :meth:`aamc_sdk.MetaController.route`, and return before the decision is durable.

        Requests that are ready at once are decided one right after the other, before any of them goes on: the code of decisions then stays in the
        processor's cache. A request that is ``forced`` to one candidate, such as the model that it names, does not wait for slow choices of others.
        """
        draw = partial(self._controller.draw, query, preference, decision_id=self._new_id(), **arguments)
        if self._controller.router.waits_for_calls:
            return self._started(time.monotonic(), await self._controller.adraw(*draw.args, **draw.keywords))
        await asyncio.sleep(0)
        began = time.monotonic()
        kind = self._forced if forced else self._choices
        if kind.mean_ms >= LOOP_MS:
            return self._started(began, await asyncio.get_running_loop().run_in_executor(kind.threads, partial(kind.decide, draw, on_loop=False)))
        started = self._started(began, kind.decide(draw, on_loop=True))
        await asyncio.sleep(0)
        return started

    def _started(self, began: float, record: Record) -> StartedDecision:
        return StartedDecision(record, time.monotonic() - began, self._commits.add_decision(record))

    def _new_id(self) -> str:
        """Return a new id. Many are made at once, since each system call lets other threads take the interpreter."""
        try:
            return self._ids.pop()
        except IndexError:  # none is left; asking first would race with the threads of other event loops
            name, *self._ids = new_ids(_IDS_AT_ONCE)
            return name

    def close(self) -> None:
        """Wait for the decisions on threads, then end the threads."""
        for kind in (self._choices, self._forced):
            kind.threads.shutdown()
