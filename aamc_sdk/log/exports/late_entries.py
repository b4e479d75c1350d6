"""Entries that came after their decision's partition had ended, kept in a temporary file until it is exported."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager

from aamc_sdk.errors import OutputError
from aamc_sdk.log.rows.row import Row

_FIELDS = ("kind", "id", "decision_id", "candidate", "content", "time", "revision")
"""The fields of attempts and feedback; the others are of decisions."""
_COLUMNS = ", ".join(_FIELDS)


class LateEntries:
    """Attempts and feedback by decision, in a file that nobody else sees and that ends with the connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute(f"CREATE TABLE late (position INTEGER PRIMARY KEY, {_COLUMNS})")
        connection.execute("CREATE INDEX late_by_decision ON late (decision_id)")
        connection.execute("CREATE TABLE own (decision_id PRIMARY KEY) WITHOUT ROWID")
        connection.execute("BEGIN")

    def add(self, position: int, row: Row) -> None:
        """Keep an entry."""
        values = [position, *(getattr(row, name) for name in _FIELDS)]
        self._connection.execute(f"REPLACE INTO late VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608  # constants

    def of(self, decisions: Collection[str]) -> Iterator[tuple[int, Row]]:
        """Yield the entries on some decisions with their positions, in log order."""
        self._connection.execute("DELETE FROM own")
        self._connection.executemany("INSERT INTO own VALUES (?)", ((name,) for name in decisions))
        found = self._connection.execute(f"SELECT position, {_COLUMNS} FROM late JOIN own USING (decision_id) ORDER BY position")  # noqa: S608
        for position, *values in found:
            yield position, Row(**dict(zip(_FIELDS, values, strict=True)))


@contextmanager
def late_entries() -> Iterator[LateEntries]:
    """Make an empty file of late entries, which is gone when the block ends."""
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as connection:
            yield LateEntries(connection)
    except sqlite3.Error as error:
        raise OutputError(f"cannot write a temporary file: {error}; free some space, or name another folder by TMPDIR") from error
