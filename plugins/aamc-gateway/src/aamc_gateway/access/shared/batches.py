"""Shared state whose operations wait for a thread that applies them in batches."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aamc_gateway.access.shared.backend import Backend
from aamc_gateway.access.shared.operations import Operation, Reserve, Settle
from aamc_gateway.access.shared.state import LEASE_S, RENEWALS, SharedState
from aamc_sdk.errors import StoreAwayError, StoreError

logger = logging.getLogger(__name__)
_AT_ONCE = 500
_RETRY_S = 1.0
"""Time for which operations fail at once after the backend was away, in seconds."""
_PATIENCE_S = 0.02
"""Time that an operation nobody waits for is kept back, in seconds, so that the next one's transaction takes it along."""
_MAX_OWED = 10_000
_Task = tuple[Operation, "asyncio.Future[Any] | None"]


class DirectState(SharedState):
    """Applies each operation at once; for a backend that never waits.

    Args:
        backend: The backend.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._renewed = time.monotonic()

    async def apply(self, operation: Operation) -> Any:
        """Apply an operation and return its result."""
        if time.monotonic() > self._renewed + LEASE_S:
            self._backend.renew()
            self._renewed = time.monotonic()
        return self._backend.apply([operation])[0]

    def submit(self, operation: Operation) -> None:
        """Apply an operation."""
        self._backend.apply([operation])

    async def close(self) -> None:
        """Close the backend."""
        self._backend.close()


class BatchedState(SharedState):
    """Applies operations on a thread, in batches.

    A settlement that failed since the backend was away is applied again later, and so is the end of a reservation whose fate is unknown.

    Args:
        backend: The backend.
        lease_s: The time after which the backend gives back reservations that nobody renews, in seconds.
    """

    def __init__(self, backend: Backend, lease_s: float = LEASE_S) -> None:
        self._backend, self._renew_s = backend, lease_s / RENEWALS
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: deque[_Task] = deque()
        self._wanted = False
        self._timer: asyncio.TimerHandle | None = None
        self._owed: deque[Settle] = deque(maxlen=_MAX_OWED)
        self._away: tuple[float, str] = (0.0, "")
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="aamc-shared-state", daemon=True)
        self._thread.start()

    async def apply(self, operation: Operation) -> Any:
        """Apply an operation and return its result."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = self._loop.create_future()
        self._add((operation, future))
        try:
            return await future
        except asyncio.CancelledError:
            if isinstance(operation, Reserve):  # nobody will settle it
                self.submit(Settle(operation.token, operation.claims, [0.0] * len(operation.claims)))
            raise

    def submit(self, operation: Operation) -> None:
        """Apply an operation without waiting for it; after closing it is dropped, and the reservation that it would settle expires."""
        with suppress(StoreError):
            self._add((operation, None))

    async def close(self) -> None:
        """Apply the submitted operations, and close."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    def _add(self, task: _Task) -> None:
        with self._changed:
            if self._closed:
                raise StoreError("the shared state is closed")
            self._tasks.append(task)
            if task[1] is None and self._loop is not None and len(self._tasks) < _AT_ONCE:
                if self._timer is None:
                    self._timer = self._loop.call_later(_PATIENCE_S, self._wake)
                return
            self._wanted = True
            self._changed.notify()

    def _wake(self) -> None:
        """Apply operations that nobody waits for."""
        self._timer = None
        with self._changed:
            self._wanted = True
            self._changed.notify()

    def _work(self) -> None:
        renewed = time.monotonic()
        while True:
            with self._changed:
                if not self._wanted and not self._closed:
                    self._changed.wait(max(0.0, renewed + self._renew_s - time.monotonic()))
                batch = [self._tasks.popleft() for _ in range(min(_AT_ONCE, len(self._tasks)))]
                self._wanted = bool(self._tasks)
                closed = self._closed and not self._tasks
            if batch:
                self._apply(batch)
            if time.monotonic() >= renewed + self._renew_s:
                renewed = time.monotonic()
                self._renew()
            if closed:
                if self._owed:
                    self._apply([])
                self._backend.close()
                return

    def _apply(self, batch: list[_Task]) -> None:
        """Apply a batch and deliver its results."""
        owed, operations = list(self._owed), [operation for operation, _ in batch]
        results: Sequence[Any]
        try:
            results = self._results([*owed, *operations])[len(owed) :]
            self._owed.clear()
        except StoreAwayError as error:
            self._owed.extend(operation for operation in operations if isinstance(operation, Settle))
            results = [error] * len(batch)
        except Exception:  # an operation that the backend cannot apply must not keep the others from it
            self._owed.clear()
            results = [self._alone(operation) for operation in (*owed, *operations)][len(owed) :]
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop was closed: nobody waits any more
                self._loop.call_soon_threadsafe(_deliver, [future for _, future in batch], results)

    def _alone(self, operation: Operation) -> Any:
        """Return the result of one operation, or its error."""
        try:
            return self._backend.apply([operation])[0]
        except Exception as error:  # the caller gets it
            logger.warning("an operation on the shared state failed: %s", error)
            return error

    def _results(self, operations: Sequence[Operation]) -> Sequence[Any]:
        """Return the results of operations.

        Raises:
            StoreAwayError: The backend is away, or was away a moment ago.
        """
        until, message = self._away
        if time.monotonic() < until:
            raise StoreAwayError(message)
        try:
            return self._backend.apply(operations)
        except StoreAwayError as error:
            logger.warning("%s", error)
            self._away = (time.monotonic() + _RETRY_S, str(error))
            unknown = [operation for operation in operations if isinstance(operation, Reserve)]
            self._owed.extend(Settle(operation.token, operation.claims, [0.0] * len(operation.claims)) for operation in unknown)
            raise

    def _renew(self) -> None:
        if self._owed:
            self._apply([])
        try:
            self._backend.renew()
        except Exception as error:  # the next round tries again
            logger.debug("the lease could not be renewed: %s", error)


def _deliver(futures: Sequence[asyncio.Future[Any] | None], results: Sequence[Any]) -> None:
    for future, result in zip(futures, results, strict=True):
        if future is None or future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
