"""Opening the shared state that belongs to a log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aamc_gateway.access.shared.batches import BatchedState, DirectState
from aamc_gateway.access.shared.memory_backend import MemoryBackend
from aamc_gateway.access.shared.state import LEASE_S
from aamc_sdk.errors import StoreError

if TYPE_CHECKING:
    from aamc_gateway.access.shared.backend import Backend
    from aamc_gateway.access.shared.state import SharedState
    from aamc_sdk.interfaces import Store

SUFFIX = ".gateway"
"""Suffix of the file of a log's shared state, after the name of the log's file."""


def is_lasting(store: Store) -> bool:
    """Return whether the shared state of a log outlives its process."""
    return _scheme(store) in ("sqlite", "redis", "rediss", "postgres", "postgresql")


def open_shared(store: Store, *, durable: bool = False, lease_s: float = LEASE_S) -> SharedState:
    """Open the shared state of a log: next to the file of ``sqlite:``, on the same server for ``redis:`` and ``postgres:``, else in memory.

    Args:
        store: The log.
        durable: Whether each write is synced to the disk, as keys need; budgets may lose their last moments with the machine.
        lease_s: Time after which the reservations of a process that no longer renews its lease are given back, in seconds.

    Raises:
        StoreError: It cannot be opened.
    """
    if not is_lasting(store):
        return DirectState(MemoryBackend())
    return BatchedState(backend_of(store, durable=durable, lease_s=lease_s), lease_s)


def backend_of(store: Store, *, durable: bool, lease_s: float) -> Backend:
    """Return the backend of a lasting log; the client library of a server is imported only for its logs."""
    scheme = _scheme(store)
    if scheme == "sqlite":
        from aamc_gateway.access.shared.sqlite_backend import SqliteBackend

        return SqliteBackend(Path(store.url.partition(":")[2] + SUFFIX), durable=durable, lease_s=lease_s)
    config = store.config
    server: dict[str, Any] = {"url": store.url, "name": store.name, "prefix": config.prefix, "timeout_s": config.timeout_s, "lease_s": lease_s}
    try:
        if scheme.startswith("redis"):
            from aamc_gateway.access.shared.redis_backend import RedisBackend

            return RedisBackend(**server)
        from aamc_gateway.access.shared.postgres_backend import PostgresBackend

        return PostgresBackend(**server, durable=durable)
    except ImportError as error:
        raise StoreError(f"the shared state {store.name} needs a client library: {error}; pip install aamc-stores") from error


def _scheme(store: Store) -> str:
    return store.url.partition(":")[0]
