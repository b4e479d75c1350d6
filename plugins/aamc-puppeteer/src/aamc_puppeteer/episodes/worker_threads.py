"""Threads with event loops, in which agents work. One that is blocked is abandoned."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, wait
from typing import Any, TypeVar

T = TypeVar("T")
Job = Callable[[], Coroutine[Any, Any, T]]
"""Returns the coroutine to run."""
_GRACE_S = 0.25
"""Seconds after the timeout in which a turn may still end by itself, before its thread counts as blocked."""


class WorkerThread:
    """A daemon thread with an event loop; it ends with the program even if it is blocked."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._ending = False
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs; a coroutine in it may have ended it."""
        return self._thread.is_alive()

    def submit(self, jobs: Sequence[Job[T]], limit: float) -> Future[list[T | None]]:
        """Start jobs in parallel; the result of one that takes longer than ``limit`` seconds is None."""
        return asyncio.run_coroutine_threadsafe(self._in_parallel(jobs, limit), self._loop)

    async def _in_parallel(self, jobs: Sequence[Job[T]], limit: float) -> list[T | None]:
        tasks = [asyncio.ensure_future(job()) for job in jobs]  # called here, since a thread that is abandoned may never come to it
        try:
            done, late = await asyncio.wait(tasks, timeout=limit)
        except asyncio.CancelledError:
            for task in () if self._ending else tasks:  # at the end all tasks are cancelled, and a second time would break off their cleaning up
                task.cancel()
            raise
        for task in late:
            task.cancel()
        return [task.result() if task in done else None for task in tasks]

    def abandon(self) -> None:
        """Stop the event loop as soon as nothing blocks it."""
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._stop)

    def close(self, seconds: float = 1.0) -> None:
        """Stop the thread, and wait for at most ``seconds``."""
        self.abandon()
        self._thread.join(seconds)

    def _stop(self) -> None:
        if not self._ending:  # else it would end the wait for cancelled tasks, which may have processes to kill
            self._loop.stop()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            with contextlib.suppress(BaseException):  # raised by a task that an agent started
                self._loop.run_forever()
            self._ending = True
            running = asyncio.all_tasks(self._loop)
            for task in running:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*running, return_exceptions=True))
        finally:
            self._loop.close()


class Cancellation:
    """Ends turns that another thread waits for; those that start later end at once.

    Attributes:
        cancelled: Whether :meth:`cancel` was called.
    """

    def __init__(self) -> None:
        self._turns: list[Future[Any]] = []
        self.cancelled = False

    def add(self, turns: Future[Any]) -> None:
        """Take turns that have started."""
        self._turns.append(turns)  # first, so that cancel sees it or is seen here
        if self.cancelled:
            turns.cancel()

    def cancel(self) -> None:
        """End the turns."""
        self.cancelled = True
        for turns in list(self._turns):
            turns.cancel()


class WorkerThreads:
    """Worker threads by name, started when they are used; one that is blocked past its jobs' limit is abandoned and replaced."""

    def __init__(self) -> None:
        self._threads: dict[str, WorkerThread] = {}

    def close(self) -> None:
        """End the threads."""
        for thread in list(self._threads.values()):  # a turn that runs may replace its thread
            thread.close()
        self._threads.clear()

    def run(self, jobs: Sequence[tuple[str, Job[T]]], limit: float, cancellation: Cancellation | None = None) -> list[T | None]:
        """Run each job in the thread of its name; None for one that took too long or was cancelled."""
        results: list[T | None] = [None] * len(jobs)
        by_thread: dict[str, list[int]] = {}
        for place, (name, _) in enumerate(jobs):
            by_thread.setdefault(name, []).append(place)
        running: dict[str, tuple[WorkerThread, Future[list[T | None]]]] = {}
        for name, places in by_thread.items():
            thread = self._threads.get(name)
            if thread is None or not thread.alive:
                thread = self._threads[name] = WorkerThread(name)
            future = thread.submit([jobs[place][1] for place in places], limit)
            running[name] = thread, future
            if cancellation is not None:
                cancellation.add(future)
        wait([future for _, future in running.values()], limit + _GRACE_S)
        for name, (thread, future) in running.items():
            if future.done() and not future.cancelled():
                for place, result in zip(by_thread[name], future.result(), strict=True):
                    results[place] = result
            elif cancellation is None or not cancellation.cancelled:  # else the thread is not blocked, and may run the turns of others
                thread.abandon()
                if self._threads.get(name) is thread:  # another call that it blocked may have abandoned it, too
                    del self._threads[name]
        return results
