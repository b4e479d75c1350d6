"""Shared state in the memory of one worker."""

from __future__ import annotations

import time
from collections import Counter as Sums
from collections.abc import Sequence
from typing import Any

from aamc_gateway.access.shared.accounts import Accounts
from aamc_gateway.access.shared.backend import Backend
from aamc_gateway.access.shared.operations import Delete, Get, Operation, Put, Read, Reserve, Scan, Settle

KEPT_FREE = 0.9
"""Share of its maximum size that a group has after its oldest values went."""


class MemoryBackend(Backend):
    """Keeps shared state in dictionaries."""

    def __init__(self) -> None:
        self._values: dict[str, Put] = {}
        self._sizes: Sums[str] = Sums()
        self._accounts = Accounts({}, {})

    def apply(self, operations: Sequence[Operation]) -> Sequence[Any]:
        """Apply operations in order and return their results."""
        return [self._apply(operation) for operation in operations]

    def renew(self) -> None:
        """Remove expired entries; no other process can hold something here."""
        now = time.time()
        for key in [key for key, put in self._values.items() if put.expires <= now]:
            self._remove(key)
        self._accounts.sweep(now)

    def close(self) -> None:
        """Do nothing."""

    def _apply(self, operation: Operation) -> Any:
        accounts = self._accounts
        if isinstance(operation, Reserve):
            found = accounts.reserve(operation)
            accounts.saved()
            return found
        if isinstance(operation, Settle):
            accounts.settle(operation)
            return accounts.saved()
        if isinstance(operation, Read):
            return [accounts.used(name) for name in operation.counters]
        return self._keep(operation)

    def _keep(self, operation: Get | Put | Delete | Scan) -> Any:
        if isinstance(operation, Get):
            put = self._values.get(operation.key)
            return put.value if put is not None and put.expires > time.time() else None
        if isinstance(operation, Scan):
            now = time.time()
            return {key: put.value for key, put in self._values.items() if put.group == operation.group and put.expires > now}
        if isinstance(operation, Delete):
            return self._remove(operation.key)
        if operation.max_bytes and len(operation.value) > operation.max_bytes:
            return None
        self._remove(operation.key)  # so that it is the newest
        self._values[operation.key] = operation
        self._sizes[operation.group] += len(operation.value)
        if operation.max_bytes and self._sizes[operation.group] > operation.max_bytes:
            self._shrink(operation.group, KEPT_FREE * operation.max_bytes, operation.key)
        return None

    def _shrink(self, group: str, at_most: float, newest: str) -> None:
        for key in [key for key, put in self._values.items() if put.group == group and key != newest]:
            if self._sizes[group] <= at_most:
                return
            self._remove(key)

    def _remove(self, key: str) -> None:
        put = self._values.pop(key, None)
        if put is not None:
            self._sizes[put.group] -= len(put.value)
