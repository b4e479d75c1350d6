"""Threads for blocking work of asynchronous calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from aamc_sdk.serving.decisions.close_guard import CloseGuard

T = TypeVar("T")
_THREADS = 32
"""Threads for asynchronous calls, which wait for the log most of the time."""


class WorkerThreads:
    """Runs blocking work for event loops.

    Args:
        guard: Admits work until it is closed.
    """

    def __init__(self, guard: CloseGuard) -> None:
        self._guard = guard
        self._threads = ThreadPoolExecutor(_THREADS, "aamc-controller")

    async def run(self, work: Callable[..., T], *arguments: Any, **fields: Any) -> T:
        """Return the result of work that one of the threads has done."""
        with self._guard:  # only until it is submitted, since the caller's loop may be the one that closes
            future = asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *arguments, **fields))
        return await future

    def close(self) -> None:
        """Wait for the work in progress and end the threads."""
        self._threads.shutdown()
