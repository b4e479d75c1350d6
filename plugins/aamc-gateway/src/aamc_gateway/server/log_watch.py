"""Noticing a log that cannot be written."""

from __future__ import annotations

import asyncio
import time
from typing import TypeVar

from aamc_sdk.errors import ConflictError, StoreError

T = TypeVar("T")
PATIENCE_S = 5.0
"""Time after which a log that does not answer counts as away, in seconds."""
_AVOIDED_S = 10.0
"""Time after a failed write for which the log counts as away, unless another one succeeds: then load balancers let requests try it again."""


class LogWatch:
    """Sees how the log's writes end.

    Attributes:
        is_suspect: Whether the last write failed. Requests then wait for their decision's commit before they pay a candidate.
    """

    def __init__(self) -> None:
        self.is_suspect = False
        self._waiting = 0
        self._last = -_AVOIDED_S

    async def wait(self, committed: asyncio.Future[T]) -> T:
        """Return the result of a write.

        Raises:
            StoreError: The log refused it.
        """
        if not self._waiting:
            self._last = time.monotonic()
        self._waiting += 1
        try:
            found = await committed
        except ConflictError:  # of this entry alone: the log answers
            raise
        except StoreError:
            self.is_suspect, self._last = True, time.monotonic()
            raise
        finally:
            self._waiting -= 1
        self.is_suspect, self._last = False, time.monotonic()
        return found

    def is_away(self) -> bool:
        """Return whether the log cannot be written: a write has just failed, or has waited for long."""
        since = time.monotonic() - self._last
        return since < _AVOIDED_S or self._waiting > 0 if self.is_suspect else self._waiting > 0 and since > PATIENCE_S
