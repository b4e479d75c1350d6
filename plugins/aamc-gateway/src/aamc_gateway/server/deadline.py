"""A limit of time, as ``asyncio.timeout`` of Python 3.11, at half its processor time: each request has one, and without an asynchronous block."""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType


class Deadline:
    """Cancels its block after some time and raises ``TimeoutError``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._late = False

    def _end(self) -> None:
        self._late = True
        if self._task is not None:
            self._task.cancel()

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._end)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._timer.cancel()
        if self._late:
            if sys.version_info >= (3, 11) and self._task is not None and self._task.uncancel() > 0:
                return  # someone else cancels it too
            if kind is asyncio.CancelledError:
                raise TimeoutError from error
