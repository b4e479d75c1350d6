"""The leases of a log on a Redis server, by which one process is elected to learn."""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import suppress

from redis.exceptions import LockError
from redis.lock import Lock

from aamc_sdk.errors import StoreAwayError
from aamc_stores.redis_log.server import RedisServer

LEASE_S = 3.0
"""Time without renewal after which another process is elected."""
_RENEWALS = 3
"""Renewals of a lease while it lasts."""


class Leases:
    """Leases that this process holds as long as it asks for them."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._token = uuid.uuid4().hex
        self._leases: dict[str, Lock] = {}
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def holds(self, name: str) -> bool:
        """Return whether this process has the lease of a name; it takes a free one, and renews its own."""
        with self._lock:
            now, until = time.monotonic(), self._until.get(name, 0.0)
            if now < until - LEASE_S * (1 - 1 / _RENEWALS):
                return True
            try:
                held = self._renew_or_take(name)
            except StoreAwayError:
                return now < until
            if held:
                self._until[name] = now + LEASE_S  # from before the call, so that it ends here first
            else:
                self._until.pop(name, None)
            return held

    @property
    def leads(self) -> bool:
        """Whether this process has a lease."""
        now = time.monotonic()
        with self._lock:
            return any(now < until for until in self._until.values())

    def release(self) -> None:
        """Give the leases back, so that another process is elected at once."""
        with self._lock:
            for lease in self._leases.values():
                try:
                    with self._server.explained(), suppress(LockError):  # another process has it, or nobody
                        lease.release()
                except StoreAwayError:
                    return  # they end by themselves
            self._until.clear()

    def _renew_or_take(self, name: str) -> bool:
        if name not in self._leases:
            self._leases[name] = Lock(self._server.client, self._server.key(f"lease:{name}"), LEASE_S, blocking=False, thread_local=False)
        lease = self._leases[name]
        lease.local.token = self._token.encode()  # also that of a lease that was taken although the answer was lost
        with self._server.explained():
            try:
                held: bool = lease.reacquire()
            except LockError:  # this process never had it, or it has ended
                held = lease.acquire(token=self._token)
        return held
