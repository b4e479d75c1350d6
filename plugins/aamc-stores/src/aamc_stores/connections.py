"""Connections to a PostgreSQL server that are reused, and closed as soon as one of them fails.

A pool that reconnects by itself in the background would hide how long a server is away, and wait longer and longer between
its attempts; the store's spool needs to know at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg

from aamc_sdk.interfaces import ProcessLock

AWAY = (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction)
"""Errors of a server that is lost or cannot write, whatever the content; a read-only server is one that another has replaced."""


class Connections:
    """As many connections as are used at once.

    Args:
        url: The database.
        timeout_s: Time in which the server must accept a connection and acknowledge what is sent, in seconds.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        unanswered_ms = round(1000 * timeout_s)
        self._options: dict[str, Any] = {"connect_timeout": max(1, round(timeout_s)), "tcp_user_timeout": unanswered_ms, "keepalives_idle": 5}
        self._lock = ProcessLock("the decision log")
        self._idle: list[psycopg.Connection] = []
        self._closed = False

    @contextlib.contextmanager
    def transaction(self) -> Iterator[psycopg.Connection]:
        """Begin a transaction, and commit it unless the block raises.

        Raises:
            psycopg.Error: It failed; after an error of ``AWAY`` it is unknown whether it was committed.
        """
        with self._lock:
            if self._closed:
                raise psycopg.OperationalError("the connection is closed")
            connection = self._idle.pop() if self._idle else None
        connection = connection or psycopg.connect(self._url, autocommit=True, **self._options)
        try:
            with connection.transaction():
                yield connection
        except AWAY:
            connection.close()
            self._drop_idle()  # they were opened to the same server
            raise
        finally:
            if not connection.closed:
                self._keep(connection)

    def close(self) -> None:
        """Close all; closing twice does nothing."""
        with self._lock:
            self._closed = True
        self._drop_idle()

    def _keep(self, connection: psycopg.Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _drop_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
