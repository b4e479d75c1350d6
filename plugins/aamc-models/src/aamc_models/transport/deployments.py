"""The deployments of an endpoint: load balancing, and the health of each, by its circuit breaker and its limits per minute."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Collection

import attrs

from aamc_models.transport.options import DeploymentOptions, EndpointOptions
from aamc_sdk.interfaces import EndpointState, Usage

LONGEST_PAUSE_S = 300.0
"""Maximum time in seconds for which a server is not called since it said so: a wrong date must not end it."""
_FIRST_PAUSE_S = 1.0
"""Time in seconds for which a server is not called that is over its limit and names no time; it doubles up to the length of the window of limits."""
_LATEST = 20
"""Number of latest calls whose failures count."""
_LATEST_FAILED = 10
"""Number of failures among these at which the breaker opens."""
WINDOW_S = 60.0
"""Length of the window of limits per minute, in seconds."""


class CircuitBreaker:
    """Opens after failures in a row, or ten among the latest 20 calls; then lets one call through every ``open_s`` seconds, as a probe.

    Not thread-safe: the owner holds a lock. ``failure`` is the message of the latest failure.
    """

    def __init__(self, failures: int, open_s: float) -> None:
        self._failures, self._open_s = failures, open_s
        self._in_a_row = 0
        self._latest: deque[bool] = deque(maxlen=_LATEST)
        self._until: float | None = None
        self._probing = False
        self.failure = ""

    @property
    def is_open(self) -> bool:
        """Whether calls are stopped; also during a probe."""
        return self._until is not None

    def wait_s(self, now: float) -> float:
        """Return the seconds until a call may begin; 0 for now. During a probe it is ``open_s``."""
        if self._until is None:
            return 0.0
        return self._open_s if self._probing else max(self._until - now, 0.0)

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

    def answering(self) -> None:
        """Note that the probe's answer has begun: calls go through again, but unless one succeeds, the next failure opens the breaker."""
        self.succeeded()
        self._in_a_row = self._failures - 1

    def failed(self, failure: str, now: float, *, probe: bool) -> None:
        """Note that a call failed. Only a failed probe keeps the breaker open for longer, no call that began before it."""
        self.failure = failure
        self._in_a_row += 1
        self._latest.append(False)
        if probe:
            self._until, self._probing = now + self._open_s, False
        elif not self.is_open and (self._in_a_row >= self._failures or self._latest.count(False) >= _LATEST_FAILED):
            self._until = now + self._open_s

    def dropped(self, *, probe: bool) -> None:
        """Note that the caller ended a call, which says nothing about the server."""
        if probe:
            self._probing = False


@attrs.define
class Use:
    """An amount taken from a limit at a time."""

    at: float
    amount: float


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
        while self._uses and self._uses[0].at <= now - WINDOW_S:
            self._sum -= self._uses.popleft().amount
        return max(self.limit - self._sum, 0.0)

    def wait_s(self, amount: float, now: float) -> float:
        """Return the seconds until an amount is free, 0 for now. An amount above the limit waits for all of it."""
        needed = min(amount, self.limit) - self.remaining(now)
        if needed <= 0:
            return 0.0
        for use in self._uses:
            needed -= use.amount
            if needed <= 0:
                return use.at + WINDOW_S - now
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


class Deployment:
    """A server, or one of its keys: its own options, else those of the endpoint, and its health. ``api_key`` is ``""`` if its variable is not set.

    ``pause_s`` is the length of its latest pause after answers 429 that named no time; 0 since a call succeeded.
    """

    def __init__(self, own: DeploymentOptions, shared: EndpointOptions) -> None:
        self.base_url = (own.base_url or shared.base_url).rstrip("/")
        self.model = own.model or shared.model
        self.api_key_env = own.api_key_env or shared.api_key_env
        self.api_key = os.environ.get(self.api_key_env, "").strip() if self.api_key_env else ""
        self.weight = own.weight
        self.in_flight = 0
        self.breaker = CircuitBreaker(shared.breaker_failures, shared.breaker_rest_s)
        requests = own.requests_per_minute or shared.requests_per_minute
        tokens = own.tokens_per_minute or shared.tokens_per_minute
        self.requests = None if requests is None else RateLimit(requests)
        self.tokens = None if tokens is None else RateLimit(tokens)
        self.paused_until = 0.0
        self.pause_s = 0.0

    def wait_s(self, tokens: float, now: float) -> float:
        """Return the seconds until a call with this many tokens may begin; 0 for now."""
        wait = max(self.breaker.wait_s(now), self.paused_until - now, 0.0)
        if self.requests is not None:
            wait = max(wait, self.requests.wait_s(1, now))
        return wait if self.tokens is None else max(wait, self.tokens.wait_s(tokens, now))

    def remaining(self, now: float) -> float | None:
        """Return the requests that the limits allow now; None without a limit."""
        if self.paused_until > now:
            return 0.0
        left = None if self.requests is None else self.requests.remaining(now)
        return 0.0 if self.tokens is not None and not self.tokens.remaining(now) else left


class DeploymentTurn:
    """One call's turn at a deployment. It must be ended once, by ``succeed``, ``fail`` or ``drop``; further ones do nothing."""

    def __init__(self, deployments: Deployments, deployment: Deployment, tokens: float) -> None:
        now = time.monotonic()
        self.deployment, self._deployments = deployment, deployments
        self._probe = deployment.breaker.begin()
        self._used: Use | None = None if deployment.tokens is None else deployment.tokens.take(tokens, now)
        if deployment.requests is not None:
            deployment.requests.take(1, now)
        deployment.in_flight += 1
        self._ended = False

    @property
    def counts_tokens(self) -> bool:
        """Whether the deployment has a limit of tokens."""
        return self._used is not None

    def count(self, usage: Usage) -> None:
        """Replace the estimated tokens by those of the answer, if they are known."""
        if self.deployment.tokens is None or self._used is None or usage.prompt_tokens is None or usage.output_tokens is None:
            return
        with self._deployments.lock:
            self.deployment.tokens.correct(self._used, usage.prompt_tokens + usage.output_tokens)

    def answering(self) -> None:
        """Note that a stream has begun: others need not wait for the end of a probe's."""
        with self._deployments.lock:
            if self._probe:
                self._probe = False
                self.deployment.breaker.answering()

    def succeed(self) -> None:
        """End the turn: the server answered, if only by refusing the request itself."""
        self.deployment.pause_s = 0.0
        self._end(self.deployment.breaker.succeeded)

    def fail(self, failure: str) -> None:
        """End the turn: the server failed."""
        self._end(lambda: self.deployment.breaker.failed(failure, time.monotonic(), probe=self._probe))

    def drop(self, pause_s: float = 0.0) -> None:
        """End the turn without a judgement: the caller left, or the server is over its limit and wants a pause."""
        self._end(lambda: self.deployment.breaker.dropped(probe=self._probe), pause_s)

    def _end(self, judge: Callable[[], None], pause_s: float = 0.0) -> None:
        with self._deployments.lock:
            if not self._ended:
                self._ended = True
                self.deployment.in_flight -= 1
                judge()
                if pause_s:
                    self.deployment.paused_until = max(self.deployment.paused_until, time.monotonic() + pause_s)


class Deployments:
    """The deployments of an endpoint. Safe to use from any thread."""

    def __init__(self, options: EndpointOptions) -> None:
        self.all = [Deployment(own, options) for own in options.deployments or [DeploymentOptions()]]
        self.lock = threading.Lock()

    def turn(self, tokens: float, tried: Collection[Deployment] = ()) -> DeploymentTurn | float:
        """Return a turn at the deployment with the fewest calls per weight, those tried last, or the seconds until one is free."""
        with self.lock:
            now = time.monotonic()
            waits = [deployment.wait_s(tokens, now) for deployment in self.all]
            free = [deployment for deployment, wait in zip(self.all, waits, strict=True) if not wait]
            if not free:
                return min(waits)
            best = [each for each in free if each not in tried] or free
            load = min(each.in_flight / each.weight for each in best)
            idle = [each for each in best if each.in_flight / each.weight == load]
            chosen = random.choices(idle, [each.weight for each in idle])[0]  # noqa: S311  # no secret depends on it
            return DeploymentTurn(self, chosen, tokens)

    def others_free(self, tokens: float, tried: Collection[Deployment]) -> bool:
        """Whether a deployment is free that has not failed this call."""
        with self.lock:
            now = time.monotonic()
            return any(deployment not in tried and not deployment.wait_s(tokens, now) for deployment in self.all)

    def pause(self, deployment: Deployment) -> float:
        """Pause a deployment that is over its limit and named no time, for a time that doubles; return the seconds until the pause ends."""
        with self.lock:
            now = time.monotonic()
            if deployment.paused_until > now:  # another call has just been refused
                return deployment.paused_until - now
            deployment.pause_s = min(2.0 * deployment.pause_s or _FIRST_PAUSE_S, WINDOW_S)
            deployment.paused_until = now + deployment.pause_s
            return deployment.pause_s

    def state(self) -> EndpointState:
        """Return the state that a router sees."""
        with self.lock:
            now = time.monotonic()
            working = [deployment for deployment in self.all if not deployment.breaker.wait_s(now)]
            left = [deployment.remaining(now) for deployment in working]
            known = [amount for amount in left if amount is not None]
            wait_s = min(deployment.wait_s(1, now) for deployment in self.all)
        remaining = sum(known) if working and len(known) == len(left) else None
        return EndpointState(available=bool(working), remaining=remaining, retry_after_s=wait_s or None)
