"""Accounts: how much of a limit a tenant has used, and the target of its next request.

A :class:`WindowAccount` limits the sum over a calendar window (a day or a minute of UTC), a :class:`MeanAccount` the mean over all requests. Both
are charged with the expected use of a decision, and corrected when its calls report their actual use, however late.
"""

from __future__ import annotations

import math

import attrs

WINDOWS = 4
"""Number of windows that an account keeps."""


@attrs.define
class WindowAccount:
    """A budget for each calendar window. The latest ones are kept: the clocks of replicas differ, and a wrong clock is put back.

    The target is the rest of the budget, divided by the requests expected in the rest of the window: their expected number less those that came,
    but at least half of the number at an even rate. Without an expected number, the rate is a mean with exponential
    weights over about the last window.

    Attributes:
        limit: The budget of a window.
        seconds: The window's length.
        expected: Number of requests that are expected in a window; None if unknown.
        windows: The latest windows, that of the last request at the end: the number since the epoch, the amount used, and the number of requests.
        count: Requests so far, each weighted by exp(-age / window).
        began: Time of the first request; None before it.
        last: Time of the last request.
    """

    limit: float
    seconds: float
    expected: float | None = None
    windows: list[list[float]] = attrs.field(factory=list)
    count: float = 0.0
    began: float | None = None
    last: float = 0.0

    def add_request(self, now: float) -> None:
        """Count a request."""
        self.began = now if self.began is None else min(self.began, now)
        last = now if self.last > now + self.seconds else max(now, self.last)  # a time further ahead was wrong
        self.count = 1 + self.count * math.exp(min(0.0, self.last - last) / self.seconds)
        self.last = last
        window = self._window(now)
        window[2] += 1
        others = sorted(other for other in self.windows if other is not window)
        self.windows = [*others[1 - WINDOWS :], window]  # a late request drops no window that is later than another one

    def charge(self, amount: float, time: float) -> None:
        """Charge an amount, negative for a refund, to the window of a time, if it is kept."""
        self._window(time)[1] += amount

    def allowance(self, now: float) -> float:
        """Return the maximum that a request may use."""
        return self.limit - self._window(now)[1]

    def target(self, now: float) -> float:
        """Return the amount that the next request should use on average."""
        return max(0.0, self.allowance(now)) / max(1.0, self._requests_to_come(now))

    def _requests_to_come(self, now: float) -> float:
        left = self.seconds - now % self.seconds
        if self.expected is not None:
            even = self.expected * left / self.seconds
            return max(self.expected - self._window(now)[2], even / 2)
        if self.began is None:
            return 0.0
        aged = self.count * math.exp(min(0.0, self.last - now) / self.seconds)
        time = self.seconds * -math.expm1(min(0.0, self.began - now) / self.seconds)  # the integral of the weights
        return left * aged / max(time, 1e-3)

    def _window(self, time: float) -> list[float]:
        """Return the window of a time; an empty one, which is not kept, if it had no request."""
        number = math.floor(time / self.seconds)
        return next((window for window in self.windows if window[0] == number), [number, 0.0, 0])


@attrs.define
class MeanAccount:
    """A limit on the mean over requests.

    The target is the limit plus the balance (the sum that earlier requests used below the limit) divided by ``horizon``.

    Attributes:
        limit: The maximum mean.
        horizon: Number of requests over which the balance is used up.
        hard: Whether a request may use only the balance, so that the mean of the expected use never exceeds the limit.
        requests: Number of requests.
        balance: Requests times limit minus their use.
    """

    limit: float
    horizon: int
    hard: bool = True
    requests: int = 0
    balance: float = 0.0

    def add_request(self, now: float) -> None:
        """Count a request."""
        self.requests += 1
        self._change(self.limit)

    def charge(self, amount: float, time: float) -> None:
        """Charge an amount, negative for a refund."""
        self._change(-amount)

    def allowance(self, now: float) -> float:
        """Return the maximum that a request may use; infinity before the first one, as in an evaluation, which learns nothing."""
        return self.balance + self.limit if self.hard and self.requests else math.inf

    def target(self, now: float) -> float:
        """Return the amount that the next request should use on average."""
        return max(0.0, self.limit + self.balance / self.horizon)

    def _change(self, amount: float) -> None:
        most = self.limit * self.horizon
        self.balance = max(min(self.balance + amount, most), -math.inf if self.hard else -most)


Account = WindowAccount | MeanAccount
LEARNED = attrs.filters.exclude("limit", "seconds", "expected", "horizon", "hard")
"""Filters the fields of accounts that are learned; options give the others."""
