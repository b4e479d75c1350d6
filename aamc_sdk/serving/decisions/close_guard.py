"""A guard whose closing waits for the work in progress, and threads whose work it admits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from aamc_sdk.concurrency import ForkCheckedLock, settle
from aamc_sdk.errors import StoreError

T = TypeVar("T")
_THREADS = 32
"""Threads for asynchronous calls, which wait for the log most of the time."""
_CALLBACKS = 1024
"""Threads for functions of the application; as many answers as can stream at once, since each may block."""


class CloseGuard:
    """Admits the work of many threads until it is closed; closing waits until that of the other threads is done.

    Work runs inside ``with guard: ...``. A thread does not wait for itself: Ctrl-C may have ended its work before the guard knew.

    Attributes:
        closed: Whether the guard is closed.

    Raises:
        StoreError: The guard is closed; the work does not start.
        ForkedError: This process is a fork of the one that made the guard.
    """

    def __init__(self) -> None:
        self._lock = ForkCheckedLock("the controller")
        self._left = threading.Condition(self._lock.held)
        self._inside: list[int] = []  # the threads, once for each piece of work
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
        with self._lock.held:
            self.check()
            self._inside.append(threading.get_ident())

    def __exit__(self, *exception: object) -> None:
        with self._lock.held:
            self._inside.remove(threading.get_ident())
            if self.closed:
                self._left.notify_all()

    def close(self) -> None:
        """Admit no more work and wait for the other threads' work in progress; closing twice does nothing."""
        with self._lock.held:
            self.closed = True
            self._left.wait_for(lambda: set(self._inside) <= {threading.get_ident()})


class GuardedThreads:
    """Threads for the blocking work of event loops, which a guard admits."""

    def __init__(self, guard: CloseGuard) -> None:
        self._guard = guard
        self._ids: set[int] = set()
        self._threads, self._callbacks = (
            ThreadPoolExecutor(count, name, initializer=lambda: self._ids.add(threading.get_ident()))
            for count, name in ((_THREADS, "aamc-controller"), (_CALLBACKS, "aamc-on-text"))
        )

    def check_closer(self) -> None:
        """Raise StoreError if the caller, who closes the controller, runs on one of the threads, as ``on_text`` of ``complete`` does."""
        if threading.get_ident() in self._ids:
            raise StoreError("on_text must not close the controller, which would wait for it; close it after complete has returned")

    async def run(self, work: Callable[..., T], *arguments: Any, **fields: Any) -> T:
        """Return the result of blocking work that one of the threads has done."""
        with self._guard:  # only until it is submitted, since the caller's loop may be the one that closes
            future = self._threads.submit(work, *arguments, **fields)
        return await asyncio.wrap_future(future)

    async def run_to_end(self, work: Callable[..., T], *arguments: Any, **fields: Any) -> T:
        """Return the result of blocking work as :meth:`run` does; a cancelled caller does not withdraw the work, since each call must be recorded."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        with self._guard:
            self._threads.submit(settle, future, partial(work, *arguments, **fields))
        return await asyncio.wrap_future(future)

    async def run_callback(self, callback: Callable[..., T], *arguments: Any) -> T:
        """Return the result of an application's function. Such functions have threads of their own: one may wait for work on the other threads."""
        with self._guard:
            future = self._callbacks.submit(callback, *arguments)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """End the threads, once their work is done."""
        self._callbacks.shutdown()
        self._threads.shutdown()
