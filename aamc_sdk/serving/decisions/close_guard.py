"""A guard whose closing waits for the work in progress, and threads whose work it admits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from aamc_sdk.concurrency import ForkCheckedLock
from aamc_sdk.errors import StoreError

T = TypeVar("T")
_THREADS = 32
"""Threads for asynchronous calls, which wait for the log most of the time."""


class CloseGuard:
    """Admits the work of many threads until it is closed; closing waits until all of it is done.

    Work runs inside ``with guard: ...``.

    Attributes:
        closed: Whether the guard is closed.

    Raises:
        StoreError: The guard is closed; the work does not start.
        ForkedError: This process is a fork of the one that made the guard.
    """

    def __init__(self) -> None:
        self._lock = ForkCheckedLock("the controller")
        self._empty = threading.Condition(self._lock)  # type: ignore[arg-type]  # a lock
        self._inside = 0
        self.closed = False

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one that made the guard."""
        return self._lock.forked

    def check(self) -> None:
        """Check that work may start: the guard is open, and this process is not a fork."""
        self._lock.check()
        if self.closed:
            raise StoreError("the controller is closed")

    def __enter__(self) -> None:
        with self._lock:
            self.check()
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self.closed:
                self._empty.notify_all()

    def close(self) -> None:
        """Admit no more work and wait for the work in progress; closing twice does nothing."""
        with self._lock:
            self.closed = True
            self._empty.wait_for(lambda: self._inside == 0)


class GuardedThreads:
    """Threads for the blocking work of event loops, which a guard admits."""

    def __init__(self, guard: CloseGuard) -> None:
        self._guard = guard
        self._ids: set[int] = set()
        self._threads = ThreadPoolExecutor(_THREADS, "aamc-controller", initializer=lambda: self._ids.add(threading.get_ident()))

    def check_closer(self) -> None:
        """Raise StoreError if the caller, who closes the controller, runs on one of the threads, as ``on_text`` of ``complete`` does."""
        if threading.get_ident() in self._ids:
            raise StoreError("on_text must not close the controller, which would wait for it; close it after complete has returned")

    async def run(self, work: Callable[..., T], *arguments: Any, **fields: Any) -> T:
        """Return the result of blocking work that one of the threads has done."""
        with self._guard:  # only until it is submitted, since the caller's loop may be the one that closes
            future = asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *arguments, **fields))
        return await future

    def close(self) -> None:
        """End the threads, once their work is done."""
        self._threads.shutdown()
