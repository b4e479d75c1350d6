"""The default log: one SQLite file, ``sqlite:PATH``.

Writes go through one thread that commits them in groups (write-ahead log, synced at each commit:
what was acknowledged outlives a crash). Reads use connections of their own and never wait for
writes. Several processes may share a file. One that cannot be written can be read, by the option ``read_only``.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs

from aamc_sdk.config import option
from aamc_sdk.errors import StoreAwayError, StoreError, UnknownDecisionError
from aamc_sdk.log.excerpt import Excerpt
from aamc_sdk.log.experience import join
from aamc_sdk.log.group_commit import GroupCommit, carry_out
from aamc_sdk.log.ledger_store import MOST_VIEWS, LedgerStore
from aamc_sdk.log.rows import DECISION, Row, StoreOptions, erased, forgotten_as, record_from
from aamc_sdk.log.rules import Write
from aamc_sdk.log.sqlite_file import connect, snapshot, transaction, write_ahead
from aamc_sdk.types import Experience, Record, Snapshot

T = TypeVar("T")
logger = logging.getLogger(__name__)
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
    (
        "ALTER TABLE views ADD COLUMN last TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE erasures ADD COLUMN who TEXT",  # a digest
    ),
)
SCHEMA = len(_VERSIONS)
"""The version of the tables, kept in the file's ``user_version``: each version's statements turn the one before into it."""
_COLUMNS = "kind, id, decision_id, candidate, content, time"
_SELECT = f"SELECT {_COLUMNS}, embedding FROM entries"  # noqa: S608  # constants
_NAMED = """(kind != 'feedback' AND decision_id IN (SELECT value FROM json_each(?)))
    OR (kind = 'feedback' AND id IN (SELECT value FROM json_each(?)))"""
_PLACED = f"SELECT {_COLUMNS} FROM entries WHERE position > 0 AND ({_NAMED}) ORDER BY position"  # noqa: S608  # constants
_WAITING = f"""SELECT {_COLUMNS} FROM entries WHERE +position IS NULL  -- + keeps SQLite from looking through all that waits
    AND (decision_id IN (SELECT value FROM json_each(?)) OR ({_NAMED})) ORDER BY n"""  # noqa: S608  # constants
_WRITE = f"""INSERT INTO entries (position, {_COLUMNS}, embedding) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (kind, id) DO UPDATE  -- it waited
    SET position = excluded.position, candidate = excluded.candidate, content = excluded.content, time = excluded.time"""  # noqa: S608  # constants
_CHECKPOINT_MS = 1000
_ADVICE = {
    "not a database": "it is no decision log or is damaged; it was left as it is: choose another path",
    "malformed": "it is damaged and was left as it is: restore a copy, or choose another path",
    "unable to open": "its folder must exist and be writable, for reading too where a -wal lies beside it: choose another path",
    "readonly": "it cannot be written: choose another path, or only read it by ?read_only=true",
    "locked": "another process is holding it; try again",
}


class _Table:
    """The table ``entries``, and what is kept beside it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def find(self, kind: str, entry_id: str) -> Row | None:
        found = self._rows(f"{_SELECT} WHERE kind = ? AND id = ?", kind, entry_id)
        return found[0] if found else None

    def waiting(self) -> Sequence[Row]:
        return self._rows(f"{_SELECT} WHERE position IS NULL ORDER BY n")

    def stretch(self, after: int, limit: int) -> tuple[int, Sequence[Row]]:
        """Return where the stretch of at most ``limit`` entries after a position ends, and the entries."""
        rows = self._rows(f"{_SELECT} WHERE position > ? ORDER BY position LIMIT ?", after, limit)
        return after + len(rows), rows  # positions have no gaps

    def name_at(self, position: int) -> str:
        """Return what names the entry at a position; "" where there is none."""
        found = self._connection.execute("SELECT kind || '/' || id FROM entries WHERE position = ?", (position,)).fetchone()
        return "" if found is None else str(found[0])

    def decisions(self, after: int, end: int) -> Sequence[Row]:
        """Return the decisions that the entries of a stretch are or name, in log order."""
        named = "SELECT decision_id FROM entries WHERE position > ? AND position <= ?"
        return self._rows(f"{_SELECT} WHERE kind = ? AND id IN ({named}) ORDER BY position", DECISION, after, end)

    def excerpt(self, writes: Sequence[Write[Any]]) -> Excerpt:
        """Return the part of the log that some writes look at; embeddings, which no rule asks for, are left out."""
        decisions = json.dumps([name for write in writes for name in write.decisions])
        feedback = json.dumps([name for write in writes for name in write.feedback])
        return Excerpt(self._rows(_PLACED, decisions, feedback), self._rows(_WAITING, decisions, decisions, feedback))

    def write(self, excerpt: Excerpt) -> None:
        """Write what has changed in an excerpt."""
        first = 1 + self._connection.execute("SELECT coalesce(max(position), 0) FROM entries").fetchone()[0]
        entries = [*enumerate(excerpt.placed, first), *((None, row) for row in excerpt.held.values())]
        values = [(n, row.kind, row.id, row.decision_id, row.candidate, row.content, row.time, row.embedding) for n, row in entries]
        self._connection.executemany(_WRITE, values)

    @property
    def epoch(self) -> int:
        return int(self._connection.execute("SELECT coalesce(max(epoch), 0) FROM erasures").fetchone()[0])

    def view(self, name: str) -> Snapshot | None:
        found = self._connection.execute("SELECT position, content, last FROM views WHERE name = ?", (name,)).fetchone()
        return None if found is None else Snapshot(found[0], found[1], self.epoch, found[2])

    def keep_view(self, name: str, view: Snapshot) -> None:
        known = self.view(name)
        if view.epoch == self.epoch and (known is None or known.position < view.position):
            values = (name, view.position, view.content, view.last)
            self._connection.execute("REPLACE INTO views (name, position, content, last) VALUES (?, ?, ?, ?)", values)
            self._connection.execute("DELETE FROM views WHERE n NOT IN (SELECT n FROM views ORDER BY n DESC LIMIT ?)", (MOST_VIEWS,))

    def forget(self, user: str) -> int:
        """Erase a user's decisions; return how many they are."""
        rows = self._rows(f"{_SELECT} WHERE kind = ? AND json_extract(content, '$.query.user') = ?", DECISION, user)
        values = [(row.content, row.id) for row in map(erased, rows)]
        self._connection.executemany("UPDATE entries SET content = ?, embedding = NULL WHERE kind = 'decision' AND id = ?", values)
        self._connection.execute("DELETE FROM views")
        self._connection.execute("INSERT INTO erasures (time, who) VALUES (?, ?)", (time.time(), forgotten_as(user)))
        return len(rows)

    def forgotten_as(self) -> list[str]:
        """Return the digests of who was forgotten; before they were kept, nobody knows."""
        return [who for (who,) in self._connection.execute("SELECT who FROM erasures WHERE who IS NOT NULL")]

    def _rows(self, query: str, *values: object) -> list[Row]:
        return [Row(*found) for found in self._connection.execute(query, values)]


@attrs.frozen(kw_only=True)
class SqliteOptions(StoreOptions):
    """The options of the log in a file."""

    read_only: bool = option(False, "Whether the file is only read, as on a medium that cannot be written.")


class SqliteStore(LedgerStore):
    """Keeps the log in a file.

    Raises:
        StoreError: The file cannot be opened, is no log, or is of a newer version. It is never overwritten.
    """

    Config = SqliteOptions

    def __init__(self, url: str, config: Any) -> None:
        super().__init__(url, config)
        name = url.partition(":")[2]
        if not name:
            raise StoreError(f"a store in a file needs its path, such as sqlite:state.db, not {url!r}")
        self.path = Path(name)
        self._opened = self.path.resolve()
        with self._explained():
            connection = connect(self._address("ro" if config.read_only else "rwc"))
            try:
                (_check_prepared if config.read_only else _prepare)(connection, self.path)
            except BaseException:
                connection.close()
                raise
        self._connection = connection
        self._file = self._file_now()
        self._writer = GroupCommit(self._commit, connection.close)

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
            decisions, epoch, follows = table.decisions(after, end), table.epoch, table.name_at(after)
        return join(end, stretch, decisions, epoch, follows)

    def rows(self, after: int = 0, limit: int = 1000) -> Sequence[Row]:
        """Return at most ``limit`` entries after a position, as they are kept."""
        with self._reading() as table:
            return table.stretch(after, limit)[1]

    def waiting(self) -> Sequence[Row]:
        """Return what waits for its decision."""
        with self._reading() as table:
            return table.waiting()

    def view(self, name: str) -> Snapshot | None:
        """Return what was kept under a name, or None."""
        with self._reading() as table:
            return table.view(name)

    def keep_view(self, name: str, view: Snapshot) -> None:
        """Keep what a router has learned; a log that is only read keeps nothing, and it is learned again."""
        if self.config.read_only:
            return
        with self._connected() as connection, transaction(connection):
            _Table(connection).keep_view(name, view)

    def forget(self, user: str) -> int:
        """Erase a user's decisions; return how many they are.

        Their bytes are gone when this returns, from the write-ahead log too, unless somebody reads the log all the while: then a warning says so.
        """
        with self._connected() as connection:
            with transaction(connection):
                decisions = _Table(connection).forget(user)
            connection.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_MS}")  # writers wait as long
            (held_up, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if held_up:
            logger.warning("%s is being read, so what was erased is still in %s-wal; forget the user again when nobody reads", self.path, self.path)
        return decisions

    def _forgotten_as(self) -> Collection[str]:
        with self._reading() as table:
            return set(table.forgotten_as())

    def close(self) -> None:
        """Write what was asked for, then let go of the file."""
        self._writer.close()

    def _write(self, write: Write[T]) -> T:
        return self._writer.run(write)

    def _commit(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        if self._file_now() != self._file:
            raise StoreAwayError(f"the decision log {self.path} was removed or replaced while it was open: nothing was written; open it again")
        with self._explained(), transaction(self._connection):
            table = _Table(self._connection)
            excerpt = table.excerpt(writes)
            results = carry_out(writes, excerpt)
            table.write(excerpt)
        return results

    def _file_now(self) -> tuple[int, int] | None:
        """Return what tells the file at the path from every other, None where there is none."""
        try:
            found = self._opened.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    @contextlib.contextmanager
    def _connected(self, mode: str = "rw") -> Iterator[sqlite3.Connection]:
        """Open the file for one piece of work."""
        with self._explained(), contextlib.closing(connect(self._address(mode))) as connection:
            yield connection

    def _address(self, mode: str) -> str:
        """Return how the file is opened.

        Beside a write-ahead log SQLite needs a file of its own, and would make it. On a medium that cannot be written there is one
        only while somebody writes elsewhere; else the log is empty, and the file is told to be one that does not change.
        """
        address = f"{self._opened.as_uri()}?mode="
        if not self.config.read_only:
            return address + mode
        try:
            changes = Path(f"{self._opened}-wal").stat().st_size > 0
        except FileNotFoundError:
            changes = False
        return f"{address}ro" if changes else f"{address}ro&immutable=1"

    @contextlib.contextmanager
    def _reading(self) -> Iterator[_Table]:
        """Open the file for one read, which sees one state of it however many queries it takes."""
        with self._connected("ro") as connection, snapshot(connection):
            yield _Table(connection)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._refusal(error) from error

    def _refusal(self, error: sqlite3.Error) -> StoreError:
        advice = next((advice for sign, advice in _ADVICE.items() if sign in str(error)), "nothing was written")
        kind = StoreAwayError if isinstance(error, sqlite3.OperationalError) else StoreError  # the others have to do with what is written
        refused = kind(f"the decision log {self.path} cannot be used ({error}): {advice}")
        refused.__cause__ = error
        return refused


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Check what the file is, and make its tables where it is new."""
    with snapshot(connection):
        _check_version(connection, path)
    write_ahead(connection)
    with transaction(connection):
        version = _check_version(connection, path)  # again: another process may have made or migrated them meanwhile
        if version < SCHEMA:
            for statement in itertools.chain(*_VERSIONS[version:]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA}")


def _check_prepared(connection: sqlite3.Connection, path: Path) -> None:
    """Check that a file that is only read is a log of the present version."""
    with snapshot(connection):
        version = _check_version(connection, path)
    if version < SCHEMA:
        raise StoreError(f"the decision log {path} has version {version}, and becomes {SCHEMA} when it is written: open a copy that can be")


def _check_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the tables; in a transaction, for they may be made between the two questions."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA:
        raise StoreError(f"the decision log {path} has version {version}, newer than {SCHEMA}, the newest that this program knows; update aamc-sdk")
    is_empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    is_log = connection.execute("SELECT count(*) FROM pragma_table_info('entries') WHERE name = 'decision_id'").fetchone()[0]
    if not (is_empty if version == 0 else is_log):
        raise StoreError(f"{path} is an SQLite database of something else and was left as it is: choose another path")
    return version
