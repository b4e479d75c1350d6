"""A cache of decisions with a time limit."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class DecisionCache(Generic[T]):
    """The latest decisions by key, each for a limited time; any thread may use it.

    Args:
        size: Number of decisions; 0 for none.
        seconds: Time for which a decision is kept, in seconds.
    """

    def __init__(self, size: int, seconds: float) -> None:
        self._size, self._seconds = size, seconds
        self._kept: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        """Return a decision; None if there is none, or it is too old."""
        with self._lock:
            found = self._kept.get(key)
            if found is None or time.monotonic() > found[0]:
                self._kept.pop(key, None)
                return None
            self._kept.move_to_end(key)
            return found[1]

    def put(self, key: Hashable, decision: T) -> None:
        """Keep a decision in place of the one that was not used for the longest time."""
        with self._lock:
            self._kept[key] = time.monotonic() + self._seconds, decision
            self._kept.move_to_end(key)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
