"""A guard that lets work in until it is closed, and whose closing waits for the work inside."""

from __future__ import annotations

import os
import threading

from aamc_sdk.errors import ForkedError, StoreError


class CloseGuard:
    """Separates the work of many threads from an end that must come after all of it.

    Work is done inside: ``with guard: ...``.

    Raises:
        StoreError: The guard is closed; the work has not begun.
        ForkedError: This process is a fork of the one that made the guard.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._empty = threading.Condition(self._lock)
        self._inside = 0
        self._closed = False
        self._process = os.getpid()

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one that made the guard."""
        return os.getpid() != self._process

    @property
    def closed(self) -> bool:
        """Whether the guard is closed."""
        return self._closed

    def check(self) -> None:
        """Raise in a forked child, before it waits for a lock that a thread of its parent holds.

        Raises:
            ForkedError: This process is a fork of the one that made the guard.
        """
        if os.getpid() != self._process:
            raise ForkedError("this process was forked after the controller was built, and does not have its threads; build it after the fork")

    def __enter__(self) -> None:
        if os.getpid() != self._process:
            self.check()
        with self._lock:
            if self._closed:
                raise StoreError("the controller is closed")
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._closed:
                self._empty.notify_all()

    def close(self) -> None:
        """Let no more work in and wait until none is inside; closing twice does nothing."""
        with self._lock:
            self._closed = True
            self._empty.wait_for(lambda: self._inside == 0)
