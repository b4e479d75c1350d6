"""Connections to a PostgreSQL server that are reused, and closed as soon as one of them fails.

A pool that reconnects by itself in the background would hide how long a server is away, and wait longer and longer between
its attempts; the store's spool needs to know at once.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from aamc_sdk.errors import ConfigError, nearest
from aamc_sdk.interfaces import ProcessLock

logger = logging.getLogger(__name__)
AWAY = (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction)
"""Errors of a server that is lost or cannot write, whatever the content; a read-only server is one that another has replaced."""
_PLANS = "SET enable_seqscan = off; SET jit = off; SET plan_cache_mode = force_generic_plan"
"""Every query of a store has an index. Planning it for each partition takes longer than the query, so it is planned once."""
_JOINS = "SET enable_nestloop = off"
"""A prepared statement may join many rows, which the planner cannot know."""
_FIRST_WITH_IDLE_TIMEOUT = 140000


def check_url(url: str, name: str, known: Sequence[str]) -> None:
    """Check that libpq can read a URL; ``known`` are the names of the store's options.

    Raises:
        ConfigError: It has an unknown parameter, or is no URL of libpq's. What libpq says of it is left out where that may quote the password.
    """
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        unknown = re.fullmatch(r'invalid URI query parameter: "(.*)"', str(error).strip())
        if unknown is None:
            raise ConfigError(f"{name} is not the URL of a PostgreSQL database: write special characters as %XX, such as %25 for %") from None
        wrong = unknown[1]
        why = f"neither the store nor PostgreSQL's client has an option {wrong!r}{nearest(wrong, known)}; correct it or leave it out"
        raise ConfigError(f"{name}: {why}") from None


class _Bounded(psycopg.Connection[Any]):
    """A connection whose server must answer in time: a server that was frozen, or whose disk hangs, still acknowledges what is sent to it."""

    limit_s: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server's answer, for at most ``limit_s`` seconds."""
        return super().wait(gen, interval, self.limit_s if timeout is None else timeout)


def _opened(url: str, timeout_s: float, settings: str, options: Mapping[str, Any]) -> _Bounded:
    """Open a connection with options of libpq, and execute ``settings`` on it."""
    connection = _Bounded.connect(url, autocommit=True, connect_timeout=max(1, round(timeout_s)), **options)
    try:
        connection.limit_s = 2 * timeout_s
        connection.execute(settings)
    except BaseException:
        connection.close()
        raise
    return connection


class Connections:
    """A pool of connections that grows as needed. Each executes ``settings`` first, and must answer each statement in ``timeout_s`` seconds.

    With ``prepared``, statements of ``PREPARE``, psycopg itself prepares none: it would deallocate these after each change of a table.
    """

    def __init__(self, url: str, timeout_s: float, settings: str, prepared: str = "") -> None:
        self._url = url
        self._settings = "; ".join((_PLANS, settings, *((_JOINS, prepared) if prepared else ())))
        self._timeout_s = timeout_s
        self._options: dict[str, Any] = {"tcp_user_timeout": round(1000 * timeout_s), "keepalives_idle": 5}
        if prepared:
            self._options["prepare_threshold"] = None
        self._lock = ProcessLock("the decision log")
        self._idle: list[_Bounded] = []
        self._closed = False

    @contextlib.contextmanager
    def transaction(self, begin: str, *, bounded: bool = True) -> Iterator[tuple[psycopg.Connection, psycopg.Cursor]]:
        """Begin a transaction by some statements; yield the connection, and the cursor with their results; commit unless the block has or raises.

        Raises:
            psycopg.Error: It failed; after an error of ``AWAY`` it is unknown whether it was committed.
        """
        with self._lock:
            if self._closed:
                raise psycopg.OperationalError("the connection is closed")
            connection = self._idle.pop() if self._idle else None
        connection = connection or _opened(self._url, self._timeout_s, self._settings, self._options)
        connection.limit_s = 2 * self._timeout_s if bounded else None  # the server's own limit comes first
        try:
            yield connection, connection.execute(begin)
            if connection.info.transaction_status != TransactionStatus.IDLE:
                connection.execute("COMMIT")
        except AWAY:
            connection.close()
            self.drop_idle()  # they were opened to the same server
            raise
        except BaseException:
            try:
                connection.rollback()
            except psycopg.Error:
                connection.close()
            raise
        finally:
            if not connection.closed:
                self._keep(connection)

    def close(self) -> None:
        """Close all; closing twice does nothing."""
        with self._lock:
            self._closed = True
        self.drop_idle()

    def _keep(self, connection: _Bounded) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def drop_idle(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class Leases:
    """Advisory locks that this process holds as long as it asks for them, on a connection of their own.

    The server frees them when the connection ends: at once when the process dies, and after ``idle_s`` seconds when the process was frozen
    or its machine is lost. PostgreSQL 13 knows no such limit, and ends it only when the machine does not answer.
    """

    def __init__(self, url: str, timeout_s: float, idle_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._idle_s = idle_s
        self._lock = ProcessLock("the decision log")
        self._connection: _Bounded | None = None
        self._held: set[int] = set()
        self._next_try = 0.0

    def holds(self, key: int) -> bool:
        """Return whether this process holds a lock, after an attempt to take it where nobody does; False while the server is away."""
        with self._lock:
            try:
                return self._holds(key)
            except psycopg.Error as error:
                logger.debug("nobody can be elected now: %s", error)
                self._disconnect()
                self._next_try = time.monotonic() + 1.0
                return False

    @property
    def leads(self) -> bool:
        """Whether this process held a lock when it last asked."""
        with self._lock:
            return bool(self._held)

    def close(self) -> None:
        """Free the locks; closing twice does nothing."""
        with self._lock:
            self._disconnect()

    def _holds(self, key: int) -> bool:
        if self._connection is None:
            if time.monotonic() < self._next_try:
                return False
            self._connection = self._connected()
        if key in self._held:
            self._connection.execute("SELECT 1")  # raises if the server has ended the connection, and so freed the lock
            return True
        found = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone()
        if found is not None and found[0]:
            self._held.add(key)
        return key in self._held

    def _connected(self) -> _Bounded:
        options = {"keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 3}
        connection = _opened(self._url, self._timeout_s, "; ".join(f"SET tcp_{name} = {value}" for name, value in options.items()), options)
        connection.limit_s = self._timeout_s
        try:
            if connection.info.server_version >= _FIRST_WITH_IDLE_TIMEOUT:
                connection.execute(f"SET idle_session_timeout = {round(1000 * self._idle_s)}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _disconnect(self) -> None:
        self._held.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
