"""The door of a controller: it lets work in until it is closed, and closing waits for the work that is inside."""

from __future__ import annotations

import threading

from aamc_sdk.errors import StoreError


class CloseGuard:
    """Separates the work of many threads from an end that must come after all of it.

    Work is done inside: ``with door: ...``, which raises StoreError where the door is closed; the work has not begun then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._emptied = threading.Condition(self._lock)
        self._inside = 0
        self._closed = False

    def __enter__(self) -> None:
        with self._lock:
            if self._closed:
                raise StoreError("the controller is closed")
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._closed:
                self._emptied.notify_all()

    def close(self) -> None:
        """Let nothing in any more and wait until nothing is inside; closing twice does nothing."""
        with self._lock:
            self._closed = True
            self._emptied.wait_for(lambda: self._inside == 0)
