"""Shared state in a PostgreSQL database."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from aamc_stores.postgres_log import AWAY, BoundedConnection, open_connection

from aamc_gateway.access.shared.operations import LEASE_S
from aamc_gateway.access.shared.sql import TABLES, SqlBackend
from aamc_sdk.errors import StoreAwayError, StoreError

_NAMES = "(SELECT jsonb_array_elements_text(%s::jsonb))"
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
_LOCKED = "WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock({lock})) " + _NOW + " FROM locked"  # noqa: S608  # two constants
"""Wait for the lock, and return the time after the wait."""


class PostgresBackend(SqlBackend):
    """Keeps shared state in tables. An advisory lock lets one transaction with reservations run at a time.

    ``name`` is the URL without its password, for messages; see :func:`aamc_gateway.access.shared.open_shared` for the rest.

    Raises:
        StoreError: The server cannot be reached, or refuses.
    """

    _skew_s = 3600.0

    def __init__(self, url: str, name: str, prefix: str, timeout_s: float, *, durable: bool = False, lease_s: float = LEASE_S) -> None:
        super().__init__(f"{prefix}_shared_", "%s", _NAMES, lease_s)
        self._url, self._name, self._timeout_s = url, name, timeout_s
        self._begin = _LOCKED.format(lock=zlib.crc32(f"aamc gateway {prefix}".encode()))
        self._synced = "on" if durable else "off"
        self._connection: BoundedConnection | None = None
        with self._transaction(exclusive=True):
            for statement in TABLES:
                self._query(statement.format(p=f"{prefix}_shared_", blob="BYTEA", real="DOUBLE PRECISION"))

    @contextmanager
    def _transaction(self, *, exclusive: bool) -> Iterator[float]:
        try:
            if self._connection is None or self._connection.closed:
                self._connection = self._connected()
            with self._connection.transaction():
                yield self._query(self._begin if exclusive else _NOW)[0][0]
        except AWAY as error:
            self.close()
            raise StoreAwayError(f"the shared state {self._name} is away: {_first_line(error)}") from error
        except psycopg.Error as error:
            raise StoreError(f"the shared state {self._name} cannot be used: {_first_line(error)}") from error

    def _connected(self) -> BoundedConnection:
        limit_ms = round(1000 * self._timeout_s)
        settings = {"statement_timeout": limit_ms, "idle_in_transaction_session_timeout": limit_ms, "synchronous_commit": self._synced}
        statements = "; ".join(f"SET {name} = {value}" for name, value in settings.items())  # as options they would replace those of the URL
        return open_connection(self._url, self._timeout_s, statements, {"tcp_user_timeout": limit_ms, "keepalives_idle": 5})

    def _query(self, statement: str, parameters: Sequence[Any] = ()) -> Sequence[tuple[Any, ...]]:
        assert self._connection is not None, "a transaction opens the connection"
        cursor = self._connection.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description is not None else ()

    def _execute_many(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        assert self._connection is not None, "a transaction opens the connection"
        self._connection.cursor().executemany(statement, parameters)

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
