"""A time limit for a block of a task. Like ``asyncio.timeout`` of Python 3.11, with half of its processor time per request."""

from __future__ import annotations

import asyncio
import math
import sys
from types import TracebackType


class Deadline:
    """Limits the time of a block in a task: ``with Deadline(seconds): ...``.

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
