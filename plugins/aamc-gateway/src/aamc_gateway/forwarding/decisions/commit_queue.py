"""Decisions that are returned before they are durable, and the queue whose thread writes them and the attempts in batches.

The event loop never waits for the log.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import attrs

from aamc_sdk import MetaController
from aamc_sdk.errors import StoreAwayError, StoreError
from aamc_sdk.interfaces import AsyncRouter
from aamc_sdk.types import Attempt, Decision, Preference, Query, Record, new_ids

logger = logging.getLogger(__name__)
LOOP_MS = 1.0
"""Mean time of a decision from which on decisions are made on a worker thread instead of the event loop."""
WAIT_MS = 20.0
"""Time of a decision from which on it counts as waiting, as for a server; shorter pauses are those that other threads cause."""
_WEIGHT = 1 / 32
"""Weight of the newest decision in the mean time."""
_IDS_AT_ONCE = 64
_THREADS = 32
"""Threads for decisions that take long, mostly since they wait."""
MAX_PER_BATCH = 512
"""Entries of one batch; bounds how long the first of them waits."""
ATTEMPT_BATCH_S = 0.05
"""Time for which attempts are gathered: nobody waits for them, and a transaction takes longer than its rows."""
DECISION_BATCH_S = 0.008
"""Time for which decisions are gathered while several arrive at once: a transaction and a switch of threads take longer than a row. A single
decision is written at once."""
RETRY_S = 1.0
"""Time between two tries to write attempts while the log is away."""
MAX_UNWRITTEN = 100_000
"""Maximum number of attempts kept while the log is away, and of refused decisions remembered."""

_Item = tuple[Record | Attempt | None, "asyncio.Future[Any] | Future[None] | None"]
"""An entry and its future. Without an entry, the future waits for all entries before it."""
_END: _Item = None, None
"""The last item of a queue."""
_Drawn = tuple[Record, float]
"""A decision and its time in seconds."""


@attrs.frozen(eq=False, slots=False)  # without slots, construction takes a third less time
class StartedDecision:
    """A decision that is being written to the log.

    Attributes:
        decision: The decision. Its id must not leave the process yet.
        record: The decision with its inputs.
        seconds: The time that it took, without the time that the request waited for its turn.
        committed: Its future: the decision as it is in the log, once that is durable. It raises a StoreError if the log refuses it.
    """

    decision: Decision
    record: Record
    seconds: float
    committed: asyncio.Future[Decision]


class CommitQueue:
    """Decides requests of event loops, and writes decisions and attempts in the order in which they came.

    A batch holds the decisions that arrive while the previous one is written, and for a few milliseconds after it if that one had several.

    Args:
        controller: Decides, and logs.
    """

    def __init__(self, controller: MetaController) -> None:
        self._controller = controller
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._workers = ThreadPoolExecutor(_THREADS, "aamc-decisions")
        self._closed = False
        self._attempts: list[Attempt] = []
        self._refused: dict[str, None] = {}
        self._write_at = 0.0
        self._away = self._busy = False
        self._submitted = self._done = 0
        self._mean_ms = LOOP_MS  # so that the first decision cannot stop the event loop
        self._ids: list[str] = []
        self._draws: dict[asyncio.AbstractEventLoop, list[tuple[partial[Record], asyncio.Future[_Drawn | None]]]] = {}

    async def start(self, query: str | Query, preference: Preference | str | None = None, **arguments: Any) -> StartedDecision:
        """Decide a request by the arguments of :meth:`aamc_sdk.MetaController.route`, and return before the decision is durable."""
        draw = partial(self._controller.draw, query, preference, decision_id=self._new_id(), **arguments)
        if isinstance(self._controller.router, AsyncRouter):
            began = time.perf_counter()
            record = await self._controller.adraw(*draw.args, **draw.keywords)
            seconds = time.perf_counter() - began
        else:
            drawn = await self._drawn(draw) if self._mean_ms < LOOP_MS else None
            if drawn is None:
                drawn = await asyncio.get_running_loop().run_in_executor(self._workers, self._timed, draw)
            record, seconds = drawn
        return StartedDecision(record.decision, record, seconds, self.add_decision(record))

    def _drawn(self, draw: partial[Record]) -> asyncio.Future[_Drawn | None]:
        """Return the future of a decision that is made together with those of the other requests that are ready; None once decisions take long.

        The code of decisions then stays in the processor's cache, and other threads take the interpreter less often in between.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Drawn | None] = loop.create_future()
        waiting = self._draws.setdefault(loop, [])
        waiting.append((draw, future))
        if len(waiting) == 1:
            loop.call_soon(self._draw_all, loop)
        return future

    def _draw_all(self, loop: asyncio.AbstractEventLoop) -> None:
        for draw, future in self._draws.pop(loop):
            if not future.done():  # else its request was cancelled
                try:
                    future.set_result(self._timed(draw) if self._mean_ms < LOOP_MS else None)
                except Exception as error:  # raised in the waiting caller, whatever it is
                    future.set_exception(error)
            del draw, future  # else a cycle: the error has this frame

    def _new_id(self) -> str:
        """Return a new id. Many are made at once, since each system call lets other threads take the interpreter."""
        try:
            return self._ids.pop()
        except IndexError:  # none is left; asking first would race with the threads of other event loops
            name, *self._ids = new_ids(_IDS_AT_ONCE)
            return name

    def _timed(self, draw: partial[Record]) -> _Drawn:
        """Return a decision and its time in seconds; note its processor time, or its whole time where it waited."""
        began, busy = time.perf_counter(), time.thread_time()
        record = draw()
        busy_ms, seconds = 1000 * (time.thread_time() - busy), time.perf_counter() - began
        self._mean_ms += _WEIGHT * ((1000 * seconds if 1000 * seconds >= WAIT_MS else busy_ms) - self._mean_ms)
        return record, seconds

    @property
    def idle(self) -> bool:
        """Whether everything that was added is written."""
        return self._submitted == self._done and not self._attempts

    def add_decision(self, record: Record) -> asyncio.Future[Decision]:
        """Add a decision; the future of the running loop has it as it is in the log, once it is durable."""
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._put(record, future)
        return future

    def add_attempt(self, attempt: Attempt) -> None:
        """Add a call; it is written soon, or as soon as the log is back."""
        self._put(attempt, None)

    def flush(self) -> None:
        """Wait until everything that was added before is written. It blocks, so it is for worker threads."""
        if not self.idle:
            written: Future[None] = Future()
            self._put(None, written)
            written.result()

    async def written(self) -> None:
        """Wait until everything that was added before is written: feedback is on the candidate that served, which the calls tell."""
        if not self.idle:
            await asyncio.to_thread(self.flush)

    def close(self) -> None:
        """Write the remaining entries, then end the thread; closing twice does nothing."""
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(_END)
            thread.join()
        self._workers.shutdown()

    def _put(self, entry: Record | Attempt | None, future: asyncio.Future[Any] | Future[None] | None) -> None:
        with self._lock:
            if self._closed:
                raise StoreError("the gateway is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="aamc-commits", daemon=True)
                self._thread.start()
            self._submitted += entry is not None
            self._queue.put((entry, future))

    def _work(self) -> None:
        ended = False
        while not ended:
            batch = self._next_batch()
            ended = _END in batch[-1:]
            self._write(batch, now=ended)
        if self._attempts:
            logger.error("%d calls are not in the log, which cannot be written: their costs are lost", len(self._attempts))

    def _next_batch(self) -> list[_Item]:
        """Wait for an entry and return it with those that come soon after it; nothing when it is time to write the attempts."""
        if self._busy and not self._closed:
            time.sleep(DECISION_BATCH_S)
        try:
            batch = [self._queue.get(timeout=max(0.0, self._write_at - time.monotonic()) if self._attempts else None)]
        except queue.Empty:
            return []
        while len(batch) < MAX_PER_BATCH and not self._queue.empty():
            batch.append(self._queue.get())
        return batch

    def _write(self, batch: Sequence[_Item], *, now: bool) -> None:
        decisions = [(entry, future) for entry, future in batch if isinstance(entry, Record) and isinstance(future, asyncio.Future)]
        attempts = [entry for entry, _ in batch if isinstance(entry, Attempt)]
        waiting = [future for _, future in batch if isinstance(future, Future)]
        if batch:
            self._busy = len(decisions) > 1
        if decisions:
            results = self._add_decisions([record for record, _ in decisions])
            self._note_refused([record.decision.id for (record, _), kept in zip(decisions, results, strict=True) if isinstance(kept, Exception)])
            _resolve([(future, kept) for (_, future), kept in zip(decisions, results, strict=True)])
        if not self._attempts:
            self._write_at = time.monotonic() + ATTEMPT_BATCH_S
        self._attempts += filter(self._has_decision, attempts) if self._refused else attempts
        if self._attempts and (now or waiting or time.monotonic() >= self._write_at or len(self._attempts) >= MAX_PER_BATCH):
            self._attempts = self._add_attempts(self._attempts)[-MAX_UNWRITTEN:]
            self._write_at = time.monotonic() + (RETRY_S if self._attempts else ATTEMPT_BATCH_S)
        for future in waiting:
            future.set_result(None)
        self._done += len(decisions) + len(attempts)

    def _note_refused(self, ids: Sequence[str]) -> None:
        self._refused.update(dict.fromkeys(ids))
        while len(self._refused) > MAX_UNWRITTEN:
            del self._refused[next(iter(self._refused))]

    def _has_decision(self, attempt: Attempt) -> bool:
        """Return whether an attempt's decision may be in the log: one that was refused never comes, and the attempt would wait for it."""
        if attempt.decision_id not in self._refused:
            return True
        logger.warning("a call of %r is not in the log, which refused its decision; it cost %s USD", attempt.candidate, attempt.cost_usd)
        return False

    def _add_decisions(self, records: Sequence[Record]) -> Sequence[Decision | Exception]:
        """Add decisions; return each as it is in the log, or the error that refused it."""
        try:
            return self._controller.log_decisions(records)
        except StoreError as error:
            if len(records) == 1 or isinstance(error, StoreAwayError):
                return [error] * len(records)
        except Exception as error:  # raised in each waiting caller, whatever it is
            logger.exception("decisions could not be written")
            return [StoreError(f"logging failed: {type(error).__name__}: {error}")] * len(records)
        return [self._add_decisions([record])[0] for record in records]

    def _add_attempts(self, attempts: list[Attempt]) -> list[Attempt]:
        """Add attempts; return those that must be added again later."""
        try:
            self._controller.log_attempts(attempts)
        except StoreAwayError as error:
            if not self._away:
                logger.warning("calls are kept until the log can be written again: %s", error)
            self._away = True
            return attempts
        except Exception:  # one that is refused must not take the others with it
            if len(attempts) == 1:
                logger.exception("a call of decision %r is not in the log", attempts[0].decision_id)
                return []
            return [late for attempt in attempts for late in self._add_attempts([attempt])]
        self._away = False
        return []


def _resolve(results: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    """Set the results of futures, on the loop of each; a loop is woken once for all of its futures."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for future, result in results:
        by_loop.setdefault(future.get_loop(), []).append((future, result))
    for loop, found in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            loop.call_soon_threadsafe(_set, found)


def _set(results: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in results:
        if future.done():  # the caller has gone
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
            future.exception()  # a caller that has gone does not fetch it, which asyncio would report
        else:
            future.set_result(result)
