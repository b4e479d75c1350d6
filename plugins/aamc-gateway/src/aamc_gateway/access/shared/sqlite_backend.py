"""Shared state in an SQLite file, for the workers of one machine, or in the memory of one worker."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aamc_gateway.access.shared.operations import LEASE_S
from aamc_gateway.access.shared.sql import TABLES, SqlBackend
from aamc_sdk.errors import StoreAwayError, StoreError
from aamc_sdk.log import advice_on, connect, empty_write_ahead, file_identity, transaction, write_ahead

_NAMES = "(SELECT value FROM json_each(?))"


class SqliteBackend(SqlBackend):
    """Keeps shared state in a file.

    Args:
        path: The file, which only its owner may read; None for memory.
        durable: Whether each write is synced to the disk, as keys need; else the last moments are lost with the machine, not with a process.
        lease_s: See :class:`aamc_gateway.access.shared.sql.SqlBackend`.

    Raises:
        StoreError: The file cannot be opened.
    """

    def __init__(self, path: Path | None, *, durable: bool = False, lease_s: float = LEASE_S) -> None:
        super().__init__("shared_", "?", _NAMES, lease_s)
        self._name = "in memory" if path is None else str(path)
        self._path = None if path is None else path.resolve()
        self._has_deleted = False
        try:
            self._connection = _opened(path, durable)
        except (sqlite3.Error, OSError) as error:
            advice = advice_on(error) or "its folder must exist and be writable"
            raise StoreError(f"the shared state {self._name} cannot be opened: {error}; {advice}") from error

        self._file = None if self._path is None else file_identity(self._path)

    def renew(self, open_tokens: Collection[str]) -> None:
        """Renew the lease, and remove what ended; the bytes of deleted values, which may be prompts, leave the write-ahead log too."""
        super().renew(open_tokens)
        if self._has_deleted:
            with self._transaction(exclusive=False):
                self._has_deleted = not empty_write_ahead(self._connection)

    def _delete_values(self, condition: str, parameters: Sequence[Any]) -> None:
        super()._delete_values(condition, parameters)
        ((count,),) = self._query("SELECT changes()")
        self._has_deleted = self._has_deleted or count > 0

    @contextmanager
    def _transaction(self, *, exclusive: bool) -> Iterator[float]:
        if self._path is not None and file_identity(self._path) != self._file:
            raise StoreAwayError(f"the shared state {self._name} was removed or replaced while it was open: start the gateway again")
        try:
            if exclusive:
                with transaction(self._connection):
                    yield time.time()
            else:
                yield time.time()
        except sqlite3.OperationalError as error:
            advice = advice_on(error)
            raise StoreAwayError(f"the shared state {self._name} cannot be used now: {error}" + (f"; {advice}" if advice else "")) from error
        except sqlite3.Error as error:
            raise StoreError(f"the shared state {self._name} cannot be used: {error}") from error

    def _query(self, statement: str, parameters: Sequence[Any] = ()) -> Sequence[tuple[Any, ...]]:
        return self._connection.execute(statement, parameters).fetchall()

    def _execute_many(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        self._connection.executemany(statement, parameters)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _opened(path: Path | None, durable: bool) -> sqlite3.Connection:
    if path is None:
        connection = connect(":memory:")
    else:
        path.touch(mode=0o600, exist_ok=True)
        connection = connect(f"file:{quote(str(path.resolve()))}?mode=rw")
    try:
        write_ahead(connection)
        if not durable:
            connection.execute("PRAGMA synchronous = NORMAL")
        with transaction(connection):
            for statement in TABLES:
                connection.execute(statement.format(p="shared_", blob="BLOB", real="REAL"))
    except BaseException:
        connection.close()
        raise
    return connection
