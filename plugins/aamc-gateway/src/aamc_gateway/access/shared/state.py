"""The interface of shared state."""

from __future__ import annotations

import abc
import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aamc_gateway.access.shared.operations import Claim, Delete, Exceeded, Get, Granted, Operation, Put, Read, Reserve, Scan, Settle

LEASE_S = 30.0
"""Time in seconds after which the reservations of a worker that has died are given back."""
RENEWALS = 6
"""Number of times that a worker renews its lease within ``LEASE_S``."""


class SharedState(abc.ABC):
    """Values that expire, and counters with limits. All methods belong to one event loop.

    A reservation holds amounts of several counters until it is settled. Reservations of a worker that dies are given back ``LEASE_S`` seconds
    after it last renewed its lease, which it does by itself as long as it lives.

    Raises:
        StoreAwayError: The server is away, or the file is locked; raised by all methods that wait.
    """

    @abc.abstractmethod
    async def apply(self, operation: Operation) -> Any:
        """Apply an operation and return its result. Operations of one process are applied in the order of the calls."""

    @abc.abstractmethod
    def submit(self, operation: Operation) -> None:
        """Apply an operation without waiting for it; a failure is logged."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Apply the submitted operations, and close; closing twice does nothing."""

    async def get(self, key: str) -> bytes | None:
        """Return a value; None if there is none, or it has expired."""
        found: bytes | None = await self.apply(Get(key))
        return found

    async def put(self, key: str, value: bytes, ttl_s: float = math.inf, *, group: str = "", max_bytes: int = 0) -> None:
        """Keep a value for some time.

        Args:
            key: Its key.
            value: The value.
            ttl_s: Time that it is kept, in seconds.
            group: The name of a group of values with a limited size; ``""`` for none.
            max_bytes: The maximum size of the group's values; the oldest go first. 0 for no limit.
        """
        await self.apply(Put(key, value, time.time() + ttl_s, group, max_bytes))

    async def delete(self, key: str) -> None:
        """Remove a value, if there is one."""
        await self.apply(Delete(key))

    async def scan(self, group: str) -> Mapping[str, bytes]:
        """Return the values of a group, by key. For few values: they are read at once."""
        found: Mapping[str, bytes] = await self.apply(Scan(group))
        return found

    async def reserve(self, claims: Sequence[Claim], enough: Sequence[float] = ()) -> tuple[str, Granted | Exceeded]:
        """Hold the amounts of all claims, or of none; return the token for :meth:`settle`, and the result. See :class:`Reserve`."""
        token = os.urandom(8).hex()
        found: Granted | Exceeded = await self.apply(Reserve(token, claims, enough))
        return token, found

    def settle(self, token: str, claims: Sequence[Claim], charges: Sequence[float]) -> None:
        """End a reservation: charge amounts in place of the reserved ones. It does not wait, so that it cannot be cancelled."""
        self.submit(Settle(token, claims, charges))

    async def read(self, counters: Sequence[str]) -> Sequence[float]:
        """Return the charged and held amount of each counter."""
        found: Sequence[float] = await self.apply(Read(counters))
        return found

    async def count(self, key: str, amount: float, limit: float, window_s: float) -> bool:
        """Add an amount to a counter of a window of time, unless it would pass a limit; return whether it was added."""
        now = time.time()
        begin = now - now % window_s
        claims = [Claim(f"{key}@{begin:.0f}", limit, amount, amount, begin + window_s)]
        token, found = await self.reserve(claims)
        if isinstance(found, Exceeded):
            return False
        self.settle(token, claims, [amount])
        return True
