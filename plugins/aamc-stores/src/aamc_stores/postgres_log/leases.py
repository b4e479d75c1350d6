"""The leases of a log on a PostgreSQL server, by which one process is elected to learn."""

from __future__ import annotations

import logging
import time

import psycopg

from aamc_sdk.concurrency import ForkCheckedLock
from aamc_stores.postgres_log.connections import BoundedConnection, open_connection

logger = logging.getLogger(__name__)
_FIRST_WITH_IDLE_TIMEOUT = 140000


class Leases:
    """Advisory locks that this process holds as long as it asks for them, on a connection of their own.

    The server frees them when the connection ends: at once when the process dies, and after ``idle_s`` seconds when the process was frozen
    or its machine is lost. PostgreSQL 13 knows no such limit, and ends it only when the machine does not answer.
    """

    def __init__(self, url: str, timeout_s: float, idle_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._idle_s = idle_s
        self._lock = ForkCheckedLock("the decision log")
        self._connection: BoundedConnection | None = None
        self._held: set[int] = set()
        self._next_try = 0.0

    def holds(self, key: int) -> bool:
        """Return whether this process holds a lock; take it first if it is free. False while the server is away."""
        with self._lock.held:
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
        with self._lock.held:
            return bool(self._held)

    def close(self) -> None:
        """Free the locks; closing twice does nothing."""
        with self._lock.held:
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

    def _connected(self) -> BoundedConnection:
        options = {"keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 3}
        connection = open_connection(self._url, self._timeout_s, "; ".join(f"SET tcp_{name} = {value}" for name, value in options.items()), options)
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
