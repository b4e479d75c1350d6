"""A lock of one process, for components with threads."""

from __future__ import annotations

import os
import threading

from aamc_sdk.errors import ForkedError


class ProcessLock:
    """A lock that raises an error in a forked process, where the thread that holds it may not exist.

    Args:
        what: The owner of the lock, for the error, such as ``"the controller"``.

    Raises:
        ForkedError: This process is a fork of the one that made the lock; raised by taking it.
    """

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
        if os.getpid() != self._process:  # not self.forked: each decision takes several locks
            raise ForkedError(f"this process is a fork, and lacks the threads of {self._what}; build it after the fork")

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock, as :meth:`threading.Lock.acquire` does."""
        self.check()
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()

    def __enter__(self) -> None:
        self.check()
        self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()
