"""Values of users in the shared state, which go when their users are forgotten."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import orjson

from aamc_gateway.access.shared import SharedState, decoded
from aamc_sdk.errors import AamcError, UnknownDecisionError
from aamc_sdk.interfaces import Store
from aamc_sdk.types import Record, tenant_user

logger = logging.getLogger(__name__)
_GROUP = "erasable"
_TENANT_BYTES = 5_000_000
"""Maximum size of a tenant's entries, about 50,000. Beyond it no further value is kept: without an entry it would stay when its user is forgotten."""
_SWEEP_S = 30.0
"""Time between two searches for values of forgotten users: they may be forgotten by another process."""


class _Entry(NamedTuple):
    decision_id: str
    user: str | None
    tenant: str | None


class ErasableValues:
    """An index of the values that are kept for users and tenants."""

    def __init__(self, shared: SharedState, store: Store) -> None:
        self._shared, self._store = shared, store
        self._task: asyncio.Task[None] | None = None
        self._sizes = Counter[str | None]()

    def start(self) -> None:
        """Begin to search for values of forgotten users, at once and every 30 seconds."""
        self._task = asyncio.get_running_loop().create_task(self._sweep_at_times())

    def close(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()

    async def note(self, key: str, record: Record, ttl_s: float) -> bool:
        """Note the decision that a value is to be kept for, and so its user; return whether it may be kept."""
        user, tenant = record.query.user, record.query.tenant
        if user is None and tenant is None:
            return True
        if self._sizes[tenant] > _TENANT_BYTES:
            return False
        entry = orjson.dumps([record.decision.id, user, tenant])
        self._sizes[tenant] += len(entry)
        await self._shared.put(f"{_GROUP}/{key}", entry, ttl_s, group=_GROUP)
        return True

    async def sweep(self) -> int:
        """Delete the values of forgotten users and of damaged entries; return their number."""
        gone = await asyncio.to_thread(self._forgotten, await self._shared.scan(_GROUP))
        for name in gone:
            await self._shared.delete(name[len(_GROUP) + 1 :])
            await self._shared.delete(name)
        return len(gone)

    def _forgotten(self, index: Mapping[str, bytes]) -> list[str]:
        """Return the names of the entries of forgotten users and of damaged ones, and note the sizes of the others."""
        entries = {name: entry for name, value in index.items() if (entry := decoded(value, _Entry)) is not None}
        sizes = Counter[str | None]()
        for name, (_, _, tenant) in entries.items():
            sizes[tenant] += len(index[name])
        self._sizes = sizes
        users = {name: tenant_user(user or "", tenant) for name, (_, user, tenant) in entries.items()}
        forgotten = set(self._store.forgotten(set(users.values())))
        erased = [name for name, user in users.items() if user in forgotten and self._is_erased(*entries[name])]
        return [*erased, *(index.keys() - entries.keys())]  # nobody knows whose the values of damaged entries are

    def _is_erased(self, decision_id: str, user: str | None, tenant: str | None) -> bool:
        """Return whether a decision was made before its user was forgotten: only then the log has erased it."""
        try:
            query = self._store.record(decision_id).query
        except UnknownDecisionError:
            return True
        return (query.user, query.tenant) != (user, tenant)

    async def _sweep_at_times(self) -> None:
        while True:
            try:
                await self.sweep()
            except AamcError as error:  # the next time will do
                logger.warning("values of forgotten users could not be deleted yet: %s", error)
            await asyncio.sleep(_SWEEP_S)
