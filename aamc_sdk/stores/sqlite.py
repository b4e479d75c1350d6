"""The default log: one SQLite file, ``sqlite:PATH``.

Writes go through one thread that commits them in groups (write-ahead log, synced at each commit:
what was acknowledged outlives a crash). Reads use connections of their own and never wait for
writes. Several processes may share a file.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from aamc_sdk.dataset import Experience
from aamc_sdk.errors import StoreError, UnknownDecisionError
from aamc_sdk.log import Record, View
from aamc_sdk.stores.group_commit import GroupCommit
from aamc_sdk.stores.joining import join
from aamc_sdk.stores.ledger import MOST_VIEWS, LedgerStore
from aamc_sdk.stores.records import DECISION, FEEDBACK, Row, erased, feedback_from, record_from
from aamc_sdk.stores.rules import Ledger
from aamc_sdk.types import Feedback

T = TypeVar("T")
_VERSIONS = (
    (
        """CREATE TABLE entries (
            n INTEGER PRIMARY KEY,
            position INTEGER UNIQUE,  -- NULL while the entry waits for its decision
            kind TEXT NOT NULL, id TEXT NOT NULL, decision_id TEXT NOT NULL, candidate TEXT NOT NULL,
            content TEXT NOT NULL, time REAL NOT NULL, embedding BLOB,
            UNIQUE (kind, id))""",
        "CREATE INDEX entries_by_decision ON entries (decision_id, position)",
    ),
    (
        "CREATE TABLE views (n INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, position INTEGER NOT NULL, content BLOB NOT NULL)",
        "CREATE TABLE erasures (epoch INTEGER PRIMARY KEY, time REAL NOT NULL)",  # one each time that somebody was forgotten
    ),
)
SCHEMA = len(_VERSIONS)
"""The version of the tables, kept in the file's ``user_version``: each version's statements turn the one before into it."""
_COLUMNS = "kind, id, decision_id, candidate, content, time, embedding"
_SELECT = f"SELECT {_COLUMNS} FROM entries"  # noqa: S608  # constants
_BUSY_SECONDS = 30.0
_ADVICE = {
    "not a database": "it is no decision log or is damaged; it was left as it is: choose another path",
    "malformed": "it is damaged and was left as it is: restore a copy, or choose another path",
    "unable to open": "its folder must exist and be writable: choose another path",
    "readonly": "it cannot be written: choose another path",
    "locked": "another process is holding it; try again",
}


class _Table:
    """The ledger in the table ``entries``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def find(self, kind: str, entry_id: str) -> Row | None:
        found = self._rows("WHERE kind = ? AND id = ?", kind, entry_id)
        return found[0] if found else None

    def history(self, decision_id: str) -> Sequence[Row]:
        return self._rows("WHERE decision_id = ? AND position > 0 AND kind != ? ORDER BY position", decision_id, FEEDBACK)

    def waiting(self, decision_id: str) -> Sequence[Row]:
        return self._rows("WHERE decision_id = ? AND position IS NULL ORDER BY n", decision_id)

    def all_waiting(self, kind: str) -> Sequence[Row]:
        return self._rows("WHERE position IS NULL AND kind = ? ORDER BY n", kind)

    def stretch(self, after: int, limit: int) -> tuple[int, Sequence[Row]]:
        """Return where the stretch of at most ``limit`` entries after a position ends, and the entries."""
        rows = self._rows("WHERE position > ? ORDER BY position LIMIT ?", after, limit)
        return after + len(rows), rows  # positions have no gaps

    def decisions(self, after: int, end: int) -> Sequence[Row]:
        """Return the decisions that the entries of a stretch are or name, in log order."""
        named = "SELECT decision_id FROM entries WHERE position > ? AND position <= ?"
        return self._rows(f"WHERE kind = ? AND id IN ({named}) ORDER BY position", DECISION, after, end)

    @property
    def epoch(self) -> int:
        return int(self._connection.execute("SELECT coalesce(max(epoch), 0) FROM erasures").fetchone()[0])

    def view(self, name: str) -> View | None:
        found = self._connection.execute("SELECT position, content FROM views WHERE name = ?", (name,)).fetchone()
        return None if found is None else View(found[0], found[1], self.epoch)

    def keep_view(self, name: str, view: View) -> None:
        known = self.view(name)
        if view.epoch == self.epoch and (known is None or known.position < view.position):
            self._connection.execute("REPLACE INTO views (name, position, content) VALUES (?, ?, ?)", (name, view.position, view.content))
            self._connection.execute("DELETE FROM views WHERE n NOT IN (SELECT n FROM views ORDER BY n DESC LIMIT ?)", (MOST_VIEWS,))

    def forget(self, user: str) -> int:
        """Erase a user's decisions; return how many they are."""
        rows = self._rows("WHERE kind = ? AND json_extract(content, '$.query.user') = ?", DECISION, user)
        values = [(row.content, row.id) for row in map(erased, rows)]
        self._connection.executemany("UPDATE entries SET content = ?, embedding = NULL WHERE kind = 'decision' AND id = ?", values)
        self._connection.execute("DELETE FROM views")
        self._connection.execute("INSERT INTO erasures (time) VALUES (?)", (time.time(),))
        return len(rows)

    def place(self, row: Row) -> None:
        self._write(row, "(SELECT coalesce(max(position), 0) + 1 FROM entries)")

    def hold(self, row: Row) -> None:
        self._write(row, "NULL")

    def _write(self, row: Row, position: str) -> None:
        self._connection.execute(
            f"INSERT INTO entries (position, {_COLUMNS}) VALUES ({position}, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608  # constants
            "ON CONFLICT (kind, id) DO UPDATE SET position = excluded.position, candidate = excluded.candidate",
            (row.kind, row.id, row.decision_id, row.candidate, row.content, row.time, row.embedding),
        )

    def _rows(self, where: str, *values: object) -> list[Row]:
        found = self._connection.execute(f"{_SELECT} {where}", values)
        return [Row(**dict(zip(_COLUMNS.split(", "), row, strict=True))) for row in found]


class SqliteStore(LedgerStore):
    """Keeps the log in a file.

    Raises:
        StoreError: The file cannot be opened, is no log, or is of a newer version. It is never overwritten.
    """

    def __init__(self, url: str, config: Any) -> None:
        super().__init__(url, config)
        name = url.partition(":")[2]
        if not name:
            raise StoreError(f"a store in a file needs its path, such as sqlite:state.db, not {url!r}")
        self.path = Path(name)
        with self._explained():
            connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                _prepare(connection, self.path)
            except BaseException:
                connection.close()
                raise
        self._ledger = _Table(connection)
        self._writer = GroupCommit(connection, self._refusal)

    def record(self, decision_id: str) -> Record:
        """Return a decision with what it was made from."""
        with self._reading() as table:
            row = table.find(DECISION, decision_id)
        if row is None:
            raise UnknownDecisionError(f"no decision of the log {self.path} has the id {decision_id!r}")
        return record_from(row)

    def experience(self, after: int = 0, limit: int = 1000) -> Experience:
        """Return what the log holds after a position."""
        with self._reading() as table:
            end, stretch = table.stretch(after, limit)
            decisions, epoch = table.decisions(after, end), table.epoch
        return join(end, stretch, decisions, epoch)

    def pending(self) -> Sequence[Feedback]:
        """Return the feedback whose decision has not come yet."""
        with self._reading() as table:
            return [feedback_from(row) for row in table.all_waiting(FEEDBACK)]

    def view(self, name: str) -> View | None:
        """Return what was kept under a name, or None."""
        with self._reading() as table:
            return table.view(name)

    def keep_view(self, name: str, view: View) -> None:
        """Keep what a router has learned."""
        self._writer.run(lambda: self._ledger.keep_view(name, view))

    def forget(self, user: str) -> int:
        """Erase a user's decisions; return how many they are. Their bytes are gone when this returns, from the write-ahead log too."""
        erased_rows = self._writer.run(lambda: self._ledger.forget(user))
        with self._explained(), contextlib.closing(sqlite3.connect(self.path, timeout=_BUSY_SECONDS)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return erased_rows

    def close(self) -> None:
        """Write what was asked for, then let go of the file."""
        self._writer.close()

    def _write(self, write: Callable[[Ledger], T]) -> T:
        return self._writer.run(lambda: write(self._ledger))

    @contextlib.contextmanager
    def _reading(self) -> Iterator[_Table]:
        """Open the file for one read, which sees one state of it however many queries it takes."""
        address = f"{self.path.resolve().as_uri()}?mode=ro"
        with self._explained(), contextlib.closing(sqlite3.connect(address, timeout=_BUSY_SECONDS, isolation_level=None, uri=True)) as connection:
            connection.execute("BEGIN")
            yield _Table(connection)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._refusal(error) from error

    def _refusal(self, error: sqlite3.Error) -> StoreError:
        advice = next((advice for sign, advice in _ADVICE.items() if sign in str(error)), "nothing was written")
        refused = StoreError(f"the decision log {self.path} cannot be used ({error}): {advice}")
        refused.__cause__ = error
        return refused


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Check what the file is, and make its tables where it is new."""
    _check_version(connection, path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")  # who was forgotten leaves no bytes in unused pages
    connection.execute("BEGIN IMMEDIATE")
    version = _check_version(connection, path)  # again: another process may have made or migrated them meanwhile
    if version < SCHEMA:
        for statement in itertools.chain(*_VERSIONS[version:]):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
    connection.execute("COMMIT")


def _check_version(connection: sqlite3.Connection, path: Path) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA:
        raise StoreError(f"the decision log {path} has version {version}, newer than {SCHEMA}, the newest that this program knows; update aamc-sdk")
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreError(f"{path} is an SQLite database of something else and was left as it is: choose another path")
    return version
