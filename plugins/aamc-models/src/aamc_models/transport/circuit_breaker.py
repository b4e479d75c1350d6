"""A circuit breaker: a server that fails rests, until one call has probed it."""

from __future__ import annotations

from collections import deque

_WINDOW = 20
"""Number of latest calls whose share of failures counts."""
_SHARE = 0.5
"""Share of failures among these at which the breaker opens."""


class CircuitBreaker:
    """Opens after failures in a row, or when half of the latest calls failed; then lets one call through after each rest.

    Not thread-safe: the owner holds a lock. ``failure`` is the message of the latest failure.
    """

    def __init__(self, failures: int, rest_s: float) -> None:
        self._failures, self._rest_s = failures, rest_s
        self._in_a_row = 0
        self._latest: deque[bool] = deque(maxlen=_WINDOW)
        self._until: float | None = None
        self._probing = False
        self.failure = ""

    @property
    def is_open(self) -> bool:
        """Whether the server rests or is being probed."""
        return self._until is not None

    def wait_s(self, now: float) -> float:
        """Return the seconds until a call may begin; 0 for now. During a probe it is the whole rest."""
        if self._until is None:
            return 0.0
        return self._rest_s if self._probing else max(self._until - now, 0.0)

    def begin(self) -> bool:
        """Note that a call begins; return whether it is the probe."""
        self._probing = self.is_open
        return self._probing

    def succeeded(self) -> None:
        """Note that a call succeeded: the server works."""
        self._in_a_row = 0
        if self.is_open:
            self._latest.clear()
            self._until, self._probing = None, False
        self._latest.append(True)

    def failed(self, failure: str, now: float, *, probe: bool) -> None:
        """Note that a call failed. Only a probe prolongs the rest, no call that began before it."""
        self.failure = failure
        self._in_a_row += 1
        self._latest.append(False)
        if probe:
            self._until, self._probing = now + self._rest_s, False
        elif not self.is_open:
            mostly_failed = len(self._latest) == _WINDOW and self._latest.count(False) >= _SHARE * _WINDOW
            if mostly_failed or self._in_a_row >= self._failures:
                self._until = now + self._rest_s

    def dropped(self, *, probe: bool) -> None:
        """Note that the caller ended a call, which says nothing about the server."""
        if probe:
            self._probing = False
