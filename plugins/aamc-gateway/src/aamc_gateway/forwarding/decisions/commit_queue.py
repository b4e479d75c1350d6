"""The queue whose thread writes decisions and attempts to the log in batches; the event loop never waits for the log."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Sequence
from typing import Any

from aamc_gateway.futures import resolve
from aamc_sdk import MetaController
from aamc_sdk.errors import StoreAwayError, StoreError
from aamc_sdk.types import Attempt, Decision, Record

logger = logging.getLogger(__name__)
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

_Item = tuple[Record | Attempt | None, "asyncio.Future[Any] | None"]
"""An entry and its future. Without an entry, the future waits for all entries before it; without both, the queue ends."""


class CommitQueue:
    """Writes decisions and attempts in the order in which they came.

    A batch holds the decisions that arrive while the previous one is written, and for a few milliseconds after it if that one had several.

    Args:
        controller: Writes to its log.
    """

    def __init__(self, controller: MetaController) -> None:
        self._controller = controller
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._attempts: list[Attempt] = []
        self._refused: dict[str, None] = {}
        self._write_at = 0.0
        self._away = self._busy = False
        self._submitted = self._done = 0

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

    async def written(self) -> None:
        """Wait until all earlier entries are written: only logged calls tell which candidate served, which is the one that feedback is on."""
        if not self.idle:
            written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._put(None, written)
            await written

    def close(self) -> None:
        """Write the remaining entries, then end the thread; closing twice does nothing."""
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put((None, None))
            thread.join()

    def _put(self, entry: Record | Attempt | None, future: asyncio.Future[Any] | None) -> None:
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
            ended = (None, None) in batch
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
        self._busy = sum(isinstance(entry, Record) for entry, _ in batch) > 1
        return batch

    def _write(self, batch: Sequence[_Item], *, now: bool) -> None:
        if decisions := [(entry, future) for entry, future in batch if isinstance(entry, Record)]:
            records = [record for record, _ in decisions]
            results = self._add_decisions(records)
            self._note_refused([record.decision.id for record, kept in zip(records, results, strict=True) if isinstance(kept, Exception)])
            resolve([(future, result) for (_, future), result in zip(decisions, results, strict=True) if future is not None])
        if not self._attempts:
            self._write_at = time.monotonic() + ATTEMPT_BATCH_S
        self._attempts += [entry for entry, _ in batch if isinstance(entry, Attempt) and self._has_decision(entry)]
        waiting = [(future, None) for entry, future in batch if entry is None and future is not None]
        if self._attempts and (now or waiting or time.monotonic() >= self._write_at or len(self._attempts) >= MAX_PER_BATCH):
            self._attempts = self._add_attempts(self._attempts)[-MAX_UNWRITTEN:]
            self._write_at = time.monotonic() + (RETRY_S if self._attempts else ATTEMPT_BATCH_S)
        resolve(waiting)
        self._done += sum(entry is not None for entry, _ in batch)

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
            return [kept for _, kept in zip(records, self._controller.log_decisions(records), strict=True)]
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
