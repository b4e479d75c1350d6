"""Limits of requests and tokens in any minute."""

from __future__ import annotations

from collections import deque

WINDOW_S = 60.0
"""Length of the window in seconds."""


class Use:
    """An amount taken from a limit at a time."""

    __slots__ = ("amount", "at")

    def __init__(self, at: float, amount: float) -> None:
        self.at, self.amount = at, amount


class RateLimit:
    """Allows an amount in any minute; a server that counts by the minute then never has a reason to refuse.

    A token bucket would allow twice the amount in its worst window. Not thread-safe: the owner holds a lock.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._uses: deque[Use] = deque()
        self._sum = 0.0

    def remaining(self, now: float) -> float:
        """Return the amount that is left now."""
        self._forget(now)
        return max(self.limit - self._sum, 0.0)

    def wait_s(self, amount: float, now: float) -> float:
        """Return the seconds until an amount is free, 0 for now. An amount above the limit waits for all of it."""
        needed = min(amount, self.limit) - self.remaining(now)
        if needed <= 0:
            return 0.0
        for use in self._uses:
            needed -= use.amount
            if needed <= 0:
                return max(use.at + WINDOW_S - now, 0.0)
        return WINDOW_S

    def take(self, amount: float, now: float) -> Use:
        """Take an amount."""
        use = Use(now, amount)
        self._uses.append(use)
        self._sum += amount
        return use

    def correct(self, use: Use, amount: float) -> None:
        """Replace an estimated amount by the real one."""
        if self._uses and self._uses[0].at <= use.at:  # later it has left the window
            self._sum += amount - use.amount
            use.amount = amount

    def _forget(self, now: float) -> None:
        while self._uses and self._uses[0].at <= now - WINDOW_S:
            self._sum -= self._uses.popleft().amount
        if not self._uses:
            self._sum = 0.0  # no rounding errors are left over
