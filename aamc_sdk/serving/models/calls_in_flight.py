"""The calls of candidates in flight, and the waiting times that follow from them."""

from __future__ import annotations

import threading
import time
from collections import Counter

from aamc_sdk.types import Candidate, Pool, PoolState

LOST_AFTER_S = 600.0
"""Age in seconds after which a call is assumed lost and no longer counts as in flight."""


class PoolTracker:
    """Counts the calls in flight and estimates waiting times. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: dict[object, tuple[str, float]] = {}

    def begin(self, key: object, candidate: Candidate) -> None:
        """Count a call as in flight until :meth:`end`; ``key`` is the call's own."""
        with self._lock:
            self._begun[key] = (candidate.name, time.monotonic())

    def end(self, key: object) -> None:
        """Stop counting a call as in flight."""
        with self._lock:
            self._begun.pop(key, None)

    def state(self, pool: Pool) -> PoolState | None:
        """Return the pool's present state; None if no call is in flight.

        A request to an endpoint with a declared ``concurrency`` waits for the calls ahead of it, each of the candidate's mean service time;
        a request to any other endpoint does not wait.
        """
        oldest = time.monotonic() - LOST_AFTER_S
        with self._lock:
            self._begun = {key: call for key, call in self._begun.items() if call[1] >= oldest}
            in_flight = Counter(name for name, _ in self._begun.values())
        waits: dict[str, float] = {}
        for candidate in pool:
            queued = in_flight.get(candidate.name, 0)
            if queued and candidate.endpoint is not None and candidate.latency is not None:
                concurrency = candidate.endpoint.concurrency
                if concurrency is not None and queued >= concurrency:
                    waits[candidate.name] = (queued - concurrency + 1) / concurrency * candidate.latency.service_ms
        known = {name: count for name, count in in_flight.items() if name in pool.names}
        return PoolState(wait_ms=waits, in_flight=known) if known else None
