"""Threads with an event loop each, so that a blocking coroutine does not delay those of other threads."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


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

    def submit(self, coroutines: Sequence[Coroutine[Any, Any, T]], limit: float) -> Future[list[T | None]]:
        """Start coroutines in parallel; the result of one that takes longer than ``limit`` seconds is None."""
        return asyncio.run_coroutine_threadsafe(_in_parallel(coroutines, limit), self._loop)

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


async def _in_parallel(coroutines: Sequence[Coroutine[Any, Any, T]], limit: float) -> list[T | None]:
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    done, late = await asyncio.wait(tasks, timeout=limit)
    for task in late:
        task.cancel()
    return [task.result() if task in done else None for task in tasks]
