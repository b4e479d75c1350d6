"""The deployments of an endpoint: load balancing, and the health of each."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Collection

from aamc_models.transport.circuit_breaker import CircuitBreaker
from aamc_models.transport.options import DeploymentOptions, EndpointOptions
from aamc_models.transport.rate_limit import RateLimit, Use
from aamc_sdk.interfaces import EndpointState

LONGEST_REST_S = 300.0
"""Maximum time in seconds for which a server is not called since it said so: a wrong date must not end it."""


class Deployment:
    """A server, or one of its keys: its own options, else those of the endpoint, and its health. ``api_key`` is ``""`` if its variable is not set."""

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

    @property
    def shown_address(self) -> str:
        """The address without a user's name and password."""
        scheme, _, rest = self.base_url.partition("://")
        host, slash, path = rest.partition("/")
        return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"

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
    """One call's turn at a deployment. It must be ended once, by one of the methods; further ones do nothing."""

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

    def count(self, tokens: float) -> None:
        """Replace the estimated tokens by those of the answer."""
        with self._deployments.lock:
            if self.deployment.tokens is not None and self._used is not None:
                self.deployment.tokens.correct(self._used, tokens)

    def succeed(self) -> None:
        """End the turn: the server answered, if only by refusing the request itself."""
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
            untried = [each for each in free if each not in tried] if tried else free
            return DeploymentTurn(self, _least_loaded(untried or free), tokens)

    def others_free(self, tokens: float, tried: Collection[Deployment]) -> bool:
        """Whether a deployment is free that has not failed this call."""
        with self.lock:
            now = time.monotonic()
            return any(deployment not in tried and not deployment.wait_s(tokens, now) for deployment in self.all)

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


def _least_loaded(deployments: list[Deployment]) -> Deployment:
    if len(deployments) == 1:
        return deployments[0]
    load = min(deployment.in_flight / deployment.weight for deployment in deployments)
    idle = [deployment for deployment in deployments if deployment.in_flight / deployment.weight == load]
    return random.choices(idle, [deployment.weight for deployment in idle])[0]  # noqa: S311  # no secret depends on it
