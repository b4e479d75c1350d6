"""Shared state, whose operations wait for a thread that applies them in batches, and its opening."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from aamc_gateway.access.shared.operations import (
    LEASE_S,
    RENEWALS,
    Backend,
    Claim,
    Delete,
    Exceeded,
    Get,
    Operation,
    Put,
    PutIf,
    Read,
    Reserve,
    Scan,
    Settle,
)
from aamc_gateway.futures import resolve
from aamc_sdk.errors import ConfigError, StoreAwayError, StoreError
from aamc_sdk.interfaces import Store, public_url
from aamc_sdk.log import open_store
from aamc_sdk.plugins import Plugins

logger = logging.getLogger(__name__)
SUFFIX = ".gateway"
"""Suffix of the file of a log's shared state, after the name of the log's file."""
LASTING = "--store sqlite:PATH, redis://... or postgres://..."
"""The stores whose shared state outlives its process, for messages."""
_AT_ONCE = 500
_RETRY_S = 1.0
"""Time between two questions to a backend that was away, in seconds."""
_PATIENCE_S = 0.02
"""Time that an operation nobody waits for is kept back, in seconds, so that the next one's transaction takes it along."""
_MAX_OWED = 10_000
_LASTING_SCHEMES = ("sqlite", "redis", "rediss", "postgres", "postgresql")
NO_LIMIT = 1e18
"""A limit that nothing reaches; JSON has no infinity."""
_Task = tuple[Operation, "asyncio.Future[Any] | None"]


class SharedState:
    """Values that expire, and counters with limits; a thread applies the operations on them in batches. All methods belong to one event loop.

    After an operation that the backend did not answer, the next ones fail at once, until it has answered the thread: a server that hangs delays
    the requests of one moment, not all of them.

    A reservation holds amounts of several counters until it is settled. Reservations of a worker that dies are given back ``LEASE_S`` seconds
    after it last renewed its lease, which its thread does as long as it lives. A settlement that failed since the backend was away is applied again
    later. Each renewal gives back what the backend holds for this worker beyond its open reservations: after a failover that lost settlements, or
    after a reservation whose answer was lost.

    Raises:
        StoreAwayError: The server is away, or the file is locked; raised by all methods that wait.
    """

    def __init__(self, backend: Backend, lease_s: float = LEASE_S) -> None:
        self._backend, self._renew_s = backend, lease_s / RENEWALS
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: deque[_Task] = deque()
        self._wanted = False
        self._timer: asyncio.TimerHandle | None = None
        self._owed: deque[Settle] = deque(maxlen=_MAX_OWED)
        self._open: set[str] = set()  # the tokens of reservations that were not settled
        self._uncharged: defaultdict[tuple[str, float], float] = defaultdict(float)  # amounts by counter and expiry
        self._absence = ""
        self._renews_at = time.monotonic() + self._renew_s
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="aamc-shared-state", daemon=True)
        self._thread.start()

    async def get(self, key: str) -> bytes | None:
        """Return a value; None if there is none, or it has expired."""
        found: bytes | None = await self.apply(Get(key))
        return found

    async def put(self, key: str, value: bytes, ttl_s: float = math.inf, *, group: str = "", max_bytes: int = 0) -> None:
        """Keep a value for some time in seconds; see :class:`Put` for its group."""
        await self.apply(Put(key, value, ttl_s, group, max_bytes))

    async def put_if(self, key: str, expected: bytes | None, values: Mapping[str, bytes], *, group: str) -> bool:
        """Keep values of a group for good and replace that of ``key``, if it is still the expected one; return whether it was."""
        version = Put(key, os.urandom(8), math.inf)
        kept: bool = await self.apply(PutIf(key, expected, [version, *(Put(name, value, math.inf, group) for name, value in values.items())]))
        return kept

    def put_later(self, key: str, value: bytes, *, group: str) -> None:
        """Keep a value for good, without waiting for it; it is lost if the backend is away."""
        with suppress(StoreError):
            self._add((Put(key, value, math.inf, group, 0), None))

    async def delete(self, key: str) -> None:
        """Remove a value, if there is one."""
        await self.apply(Delete(key))

    async def scan(self, group: str) -> Mapping[str, bytes]:
        """Return the values of a group, by key. For few values: they are read at once."""
        found: Mapping[str, bytes] = await self.apply(Scan(group))
        return found

    async def reserve(self, claims: Sequence[Claim], steps: Sequence[float] = ()) -> tuple[str, float | Exceeded]:
        """Hold the amounts of all claims, or of none; return the token for :meth:`settle`, and the result. See :class:`Reserve`."""
        token = os.urandom(8).hex()
        found: float | Exceeded = await self.apply(Reserve(token, claims, steps))
        return token, found

    def settle(self, token: str, claims: Sequence[Claim], charges: Sequence[float]) -> None:
        """End a reservation: charge amounts in place of the reserved ones. It does not wait, so that it cannot be cancelled."""
        with suppress(StoreError):  # after closing, the reservation expires
            self._add((Settle(token, claims, charges), None))

    def charge(self, counters: Sequence[tuple[str, float]], amount: float) -> None:
        """Add an amount to counters that nothing limits, each with its expiry, at the next renewal: in some seconds, or once the backend is back.

        What waits is lost with the process.
        """
        with self._changed:
            for counter in counters:
                self._uncharged[counter] += amount

    async def read(self, counters: Sequence[str], *, held: bool = True) -> Sequence[float]:
        """Return the charged amount of each counter, and what reservations hold unless ``held`` is False."""
        found: Sequence[float] = await self.apply(Read(counters, held))
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

    async def apply(self, operation: Operation) -> Any:
        """Apply an operation and return its result. Operations of one process are applied in the order of the calls."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        if self._absence:
            raise StoreAwayError(self._absence)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._add((operation, future))
        try:
            return await future
        except asyncio.CancelledError:
            if isinstance(operation, Reserve):  # nobody will settle it
                self.settle(operation.token, operation.claims, [0.0] * len(operation.claims))
            raise

    async def close(self) -> None:
        """Apply the submitted operations, and close."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    def _add(self, task: _Task) -> None:
        with self._changed:
            if self._closed:
                raise StoreError("the shared state is closed")
            self._tasks.append(task)
            if task[1] is None and self._loop is not None and len(self._tasks) < _AT_ONCE:
                if self._timer is None:
                    self._timer = self._loop.call_later(_PATIENCE_S, self._wake)
                return
            self._wanted = True
            self._changed.notify()

    def _wake(self) -> None:
        """Apply operations that nobody waits for."""
        self._timer = None
        with self._changed:
            self._wanted = True
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._wanted and not self._closed:
                    self._changed.wait(max(0.0, self._renews_at - time.monotonic()))
                batch = [self._tasks.popleft() for _ in range(min(_AT_ONCE, len(self._tasks)))]
                self._wanted = bool(self._tasks)
                closed = self._closed and not self._tasks
            if batch:
                self._apply(batch)
            if time.monotonic() >= self._renews_at or (closed and (self._absence or self._uncharged)):
                self._renew()
            if closed:
                self._backend.close()
                return

    def _apply(self, batch: list[_Task]) -> None:
        """Apply a batch and deliver its results."""
        owed, operations = list(self._owed), [operation for operation, _ in batch]
        results: Sequence[Any]
        try:
            results = self._results([*owed, *operations])[len(owed) :]
            self._owed.clear()
        except StoreAwayError as error:
            self._owed.extend(operation for operation in operations if isinstance(operation, Settle))
            results = [error] * len(batch)
        except Exception:  # an operation that the backend cannot apply must not keep the others from it
            self._owed.clear()
            results = [self._alone(operation) for operation in (*owed, *operations)][len(owed) :]
        for operation, result in zip(operations, results, strict=True):
            if isinstance(operation, Reserve) and not isinstance(result, Exceeded | Exception):
                self._open.add(operation.token)
            elif isinstance(operation, Settle):
                self._open.discard(operation.token)
        resolve([(future, result) for (_, future), result in zip(batch, results, strict=True) if future is not None])

    def _alone(self, operation: Operation) -> Any:
        """Return the result of one operation, or its error."""
        try:
            return self._backend.apply([operation])[0]
        except Exception as error:  # the caller gets it
            logger.warning("an operation on the shared state failed: %s", error)
            return error

    def _results(self, operations: Sequence[Operation]) -> Sequence[Any]:
        if self._absence:
            raise StoreAwayError(self._absence)
        try:
            return self._backend.apply(operations)
        except StoreAwayError as error:
            self._note_absence(error)
            raise

    def _note_absence(self, error: StoreAwayError) -> None:
        known, self._renews_at, self._absence = self._absence, time.monotonic() + _RETRY_S, str(error)
        if not known:
            logger.warning("%s", error)

    def _renew(self) -> None:
        """Renew the lease; if the backend was away, apply what is owed."""
        self._renews_at = time.monotonic() + self._renew_s
        try:
            self._backend.renew(self._open.union(operation.token for operation in self._owed))  # a write: a server that only reads is not back
        except StoreAwayError as error:
            self._note_absence(error)
            return
        except Exception as error:  # the backend answers; each operation tells what is wrong, and the next round tries again
            logger.debug("the lease could not be renewed: %s", error)
        if self._absence:
            logger.warning("the shared state is back")
            self._absence = ""
            self._apply([])
        self._charge_all()

    def _charge_all(self) -> None:
        """Charge what waits, by a reservation of nothing."""
        with self._changed:
            waiting, self._uncharged = self._uncharged, defaultdict(float)
        if waiting:
            token, claims = os.urandom(8).hex(), [Claim(counter, NO_LIMIT, 0.0, 0.0, expires) for counter, expires in waiting]
            self._apply([(Reserve(token, claims), None), (Settle(token, claims, [*waiting.values()]), None)])


def is_lasting(store: Store) -> bool:
    """Return whether the shared state of a store outlives its process."""
    return _scheme(store.url) in _LASTING_SCHEMES


def state_store(log: Store, url: str, plugins: Plugins) -> Store:
    """Return the store that has the shared state: the log, or the one that a URL names, closed, as only its URL and options matter.

    Raises:
        ConfigError: The shared state cannot be kept there.
        StoreError: The store cannot be reached.
    """
    if not url:
        return log
    if _scheme(url) not in _LASTING_SCHEMES:
        raise ConfigError(f"gateway.shared_state must be '', sqlite:PATH, redis://... or postgres://..., not {public_url(url)!r}")
    with closing(open_store(url, plugins)) as store:
        return store


def open_shared(store: Store, *, durable: bool = False, lease_s: float = LEASE_S) -> SharedState:
    """Open the shared state of a store: next to the file of ``sqlite:``, on the same server for ``redis:`` and ``postgres:``, else in memory.

    Args:
        store: The store, open or closed.
        durable: Whether each write is synced to the disk, as keys need; budgets may lose their last moments with the machine.
        lease_s: Time after which the reservations of a process that no longer renews its lease are given back, in seconds.

    Raises:
        StoreError: It cannot be opened.
    """
    return SharedState(backend_of(store, durable=durable, lease_s=lease_s), lease_s)


def backend_of(store: Store, *, durable: bool, lease_s: float) -> Backend:
    """Return the backend of a store; the client library of a server is imported only for its stores."""
    scheme = _scheme(store.url)
    if scheme == "sqlite" or not is_lasting(store):
        from aamc_gateway.access.shared.sqlite_backend import SqliteBackend

        path = Path(os.path.realpath(store.url.partition(":")[2]) + SUFFIX) if scheme == "sqlite" else None  # one for all links to the log
        return SqliteBackend(path, durable=durable, lease_s=lease_s)
    config = store.config
    server: dict[str, Any] = {"url": store.url, "name": store.name, "prefix": config.prefix, "timeout_s": config.timeout_s, "lease_s": lease_s}
    try:
        if scheme.startswith("redis"):
            from aamc_gateway.access.shared.redis_backend import RedisBackend

            return RedisBackend(**server)
        from aamc_gateway.access.shared.postgres_backend import PostgresBackend

        return PostgresBackend(**server, durable=durable)
    except ImportError as error:
        raise StoreError(f"the shared state {store.name} needs a client library: {error}; pip install 'aamc-gateway[servers]'") from error


def _scheme(url: str) -> str:
    return url.partition(":")[0]
