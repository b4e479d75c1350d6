"""Tools for threads, event loops and forked processes."""

from __future__ import annotations

import asyncio
import math
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

from aamc_sdk.errors import ForkedError


class ForkCheckedLock:
    """A lock that raises an error in a forked process, where the thread that holds it may not exist; the error names its owner, ``what``."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._process = os.getpid()
        self._lock = threading.Lock()

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one that made the lock."""
        return os.getpid() != self._process

    def check(self) -> None:
        """Raise ForkedError in a forked process."""
        if self.forked:
            raise ForkedError(f"this process is a fork, and lacks the threads of {self._what}; build it after the fork")

    @property
    def held(self) -> threading.Lock:
        """Python's own lock, to take by ``with``: Ctrl-C could leave a lock of Python code locked.

        Raises:
            ForkedError: This process is a fork of the one that made the lock.
        """
        self.check()
        return self._lock


T = TypeVar("T")


def run_on_own_thread(work: Callable[[], T], name: str) -> Future[T]:
    """Start work on a new thread with a name, and return its future. Work that hangs does not keep the program from ending."""
    future: Future[T] = Future()

    def run() -> None:
        if future.set_running_or_notify_cancel():
            settle(future, work)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def settle(future: Future[T], work: Callable[[], T]) -> None:
    """Do work, and give a future that runs its result, or its exception, which is raised where the result is asked for."""
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)


class EventLoopThread:
    """Runs coroutines on one event loop, whose thread starts with the first coroutine. Connections to models belong to this loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    @property
    def started(self) -> bool:
        """Whether a coroutine was submitted since the loop was made or closed."""
        return self._loop is not None

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the loop and return its future; cancelling that cancels the coroutine.

        Raises:
            ForkedError: This process is a fork of the one that started the loop, and lacks its thread.
        """
        if self._loop is not None and os.getpid() != self._process:
            work.close()
            raise ForkedError("this process was forked after its event loop was started, and lacks its thread; build the controller after the fork")
        with self._lock:
            if self._loop is None:
                self._process = os.getpid()
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="aamc-loop", daemon=True)
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(_contained(work), self._loop)  # with the lock, or close could end the loop before

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and return its result; Ctrl-C cancels it.

        Raises:
            ForkedError: As for :meth:`submit`.
            RuntimeError: The caller runs on the loop, and would wait for itself.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("run was called on its own event loop, such as by score inside ascore, and would wait for itself; await instead")
        future = self.submit(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()  # else closing would wait for it
            raise

    def close(self) -> None:
        """Cancel the running coroutines and end the thread; closing twice does nothing."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_cancel_others(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def is_cancelled() -> bool:
    """Return whether the present task is being cancelled: a component may raise CancelledError without that. Python 3.10 cannot tell."""
    return sys.version_info < (3, 11) or (task := asyncio.current_task()) is None or task.cancelling() > 0


async def _contained(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; asyncio would end the loop, and every other coroutine on it, at a ``sys.exit``.

    A CancelledError that a component raised by itself must not look like a cancellation to the caller.
    """
    try:
        return await work
    except SystemExit as error:
        raise RuntimeError(f"SystemExit: {error}") from error
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        raise RuntimeError("CancelledError, although nothing was cancelled") from error


async def _cancel_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()  # as asyncio.run does; providers end their connections in such generators


class Deadline:
    """Limits the time of a block in a task: ``with Deadline(seconds): ...``.

    It is like ``asyncio.timeout`` of Python 3.11, with half of its processor time per request.
    A cancellation of the task from elsewhere has priority, also at the moment of the limit. Python 3.10 cannot tell the two apart there.

    Args:
        seconds: The limit; infinity for none.

    Raises:
        TimeoutError: The limit passed; the block was cancelled.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._late = False

    def _end(self) -> None:
        self._late = True
        self._task.cancel()

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelled_before = task.cancelling() if sys.version_info >= (3, 11) else 0
        if self._seconds < math.inf:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._end)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._late:
            if sys.version_info >= (3, 11) and self._task.uncancel() > self._cancelled_before:
                return  # someone else cancels it too
            if kind is asyncio.CancelledError:
                raise TimeoutError from error
