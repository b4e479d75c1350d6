"""The leases of a log on a Redis server, by which one process is elected to learn."""

from __future__ import annotations

import threading
import time
import uuid

from aamc_sdk.errors import StoreAwayError
from aamc_stores.redis_log.scripts import LEASE, RELEASE
from aamc_stores.redis_log.server import RedisServer

LEASE_SECONDS = 3.0
"""Time without renewal after which another process is elected."""
_RENEWALS = 3
"""Renewals of a lease while it lasts."""


class Leases:
    """Leases that this process holds as long as it asks for them."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._token = uuid.uuid4().hex
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def holds(self, name: str) -> bool:
        """Return whether this process has the lease of a name; it takes one that nobody has, and renews its own."""
        with self._lock:
            now, until = time.monotonic(), self._until.get(name, 0.0)
            if now < until - LEASE_SECONDS * (1 - 1 / _RENEWALS):
                return True
            try:
                held = self._server.run(LEASE, self._lease(name), self._token, str(round(1000 * LEASE_SECONDS)))
            except StoreAwayError:
                return now < until
            if held:
                self._until[name] = now + LEASE_SECONDS  # from before the call, so that it ends here first
            else:
                self._until.pop(name, None)
            return bool(held)

    @property
    def leads(self) -> bool:
        """Whether this process has a lease."""
        now = time.monotonic()
        with self._lock:
            return any(now < until for until in self._until.values())

    def release(self) -> None:
        """Give the leases back, so that another process is elected at once."""
        with self._lock:
            for name in self._until:
                try:
                    self._server.run(RELEASE, self._lease(name), self._token)
                except StoreAwayError:
                    return  # they end by themselves
            self._until.clear()

    def _lease(self, name: str) -> str:
        return self._server.key(f"lease:{name}")
