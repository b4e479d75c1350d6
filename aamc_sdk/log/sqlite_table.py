"""The tables of a log in SQLite: their versions, and the statements that read and write them."""

from __future__ import annotations

import itertools
import json
import math
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aamc_sdk.errors import StoreError
from aamc_sdk.log.experience import Batch, replaced_rows, revised_ids
from aamc_sdk.log.ledger_store import MAX_SNAPSHOTS
from aamc_sdk.log.outcomes import RowOutcomes
from aamc_sdk.log.rows import ATTEMPT, COLUMNS, DECISION, FEEDBACK, KIND_COLUMNS, Row, columns_of, erased, user_digest
from aamc_sdk.log.rules import Excerpt, Write
from aamc_sdk.log.sqlite_file import snapshot, transaction, write_ahead
from aamc_sdk.types import Snapshot

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
    (
        "DROP INDEX entries_by_decision",
        "ALTER TABLE entries RENAME TO old_entries",
        f"""CREATE TABLE entries (
            n INTEGER PRIMARY KEY,
            position INTEGER UNIQUE,  -- NULL while the entry is pending
            kind TEXT NOT NULL, id TEXT NOT NULL, revision INTEGER NOT NULL DEFAULT 0, decision_id TEXT NOT NULL, candidate TEXT NOT NULL,
            content TEXT NOT NULL, time REAL NOT NULL, embedding BLOB, fingerprint TEXT,
            {", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())},
            UNIQUE (kind, id, revision))""",
        """INSERT INTO entries (n, position, kind, id, decision_id, candidate, content, time, embedding)
            SELECT n, position, kind, id, decision_id, candidate, content, time, embedding FROM old_entries""",
        "DROP TABLE old_entries",
        "CREATE INDEX entries_by_decision ON entries (decision_id, position)",
        "CREATE INDEX entries_by_user ON entries (user_id) WHERE user_id IS NOT NULL",
        "CREATE INDEX entries_by_episode ON entries (episode) WHERE episode IS NOT NULL",
        "ALTER TABLE views RENAME TO snapshots",
    ),
)
SCHEMA = len(_VERSIONS)
"""The version of the tables, kept in the file's ``user_version``: each version's statements turn the one before into it."""
_FIRST_WITH_COLUMNS = 4
_KEPT = "kind, id, decision_id, candidate, content, time"
_ROW = f"{_KEPT}, NULL, revision, coalesce(fingerprint, '')"  # embeddings, which no rule needs, are left out
_SELECT = f"SELECT {_KEPT}, embedding, revision, coalesce(fingerprint, '') FROM entries"  # noqa: S608  # constants
_REVISIONS = f"{_SELECT} WHERE kind = ? AND position > 0 AND id IN (SELECT value FROM json_each(?))"  # noqa: S608  # constants
_NAMED = """(kind != 'feedback' AND decision_id IN (SELECT value FROM json_each(?)))
    OR (kind = 'feedback' AND id IN (SELECT value FROM json_each(?)))"""
_PLACED = f"SELECT {_ROW} FROM entries WHERE position > 0 AND ({_NAMED}) ORDER BY position"  # noqa: S608  # constants
_FIRST_MADE = """SELECT coalesce(min(position), 0) FROM entries
    WHERE position > 0 AND +kind = 'decision' AND time >= ? AND time < ?"""  # + keeps SQLite from using the index of kinds
_OUTCOMES = """SELECT kind, decision_id, id, candidate, time, propensity,
    CASE WHEN kind = 'feedback' OR (kind = 'decision' AND :decisions) THEN content END, CASE WHEN :decisions THEN embedding END,
    status, cost_usd, latency_ms, output_tokens
    FROM entries WHERE position >= :first AND (kind != 'decision' OR (time >= :since AND time < :until)) ORDER BY position"""
_PENDING = f"""SELECT {_ROW} FROM entries WHERE +position IS NULL  -- + keeps SQLite from reading all that is pending
    AND (decision_id IN (SELECT value FROM json_each(?)) OR ({_NAMED})) ORDER BY n"""  # noqa: S608  # constants
_WRITES = {
    kind: f"""INSERT INTO entries (position, {_KEPT}, embedding, revision, fingerprint, {", ".join(names)})
        VALUES (?{", ?" * (9 + len(names))})
        ON CONFLICT (kind, id, revision) DO UPDATE  -- it was pending
        SET position = excluded.position, candidate = excluded.candidate, content = excluded.content, time = excluded.time,
        {", ".join(f"{name} = excluded.{name}" for name in names)}"""  # noqa: S608  # constants
    for kind, names in KIND_COLUMNS.items()
}
_FILLS = {
    kind: f"UPDATE entries SET {', '.join(f'{name} = ?' for name in names)} WHERE n = ?"  # noqa: S608  # constants
    for kind, names in KIND_COLUMNS.items()
}


class Table:
    """The table ``entries`` and the smaller ones beside it, within a transaction of a connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def find(self, decision_id: str) -> Row | None:
        """Return a decision's row."""
        found = self._rows(f"{_SELECT} WHERE kind = ? AND id = ?", DECISION, decision_id)
        return found[0] if found else None

    def episode(self, episode_id: str) -> Sequence[Row]:
        """Return an episode's decisions in log order."""
        return self._rows(f"{_SELECT} WHERE episode = ? ORDER BY position", episode_id)

    def pending(self) -> Sequence[Row]:
        """Return the entries whose decision is not in the log."""
        return self._rows(f"{_SELECT} WHERE position IS NULL ORDER BY n")

    def rows(self, after: int, limit: int) -> Sequence[Row]:
        """Return at most ``limit`` entries after a position."""
        return self._rows(f"{_SELECT} WHERE position > ? ORDER BY position LIMIT ?", after, limit)

    def add_outcomes(self, found: RowOutcomes, since: float | None, until: float | None) -> None:
        """Add the decisions between two times, and the attempts and feedback since the first of them; contents are read only where asked for."""
        bounds = (-math.inf if since is None else since, math.inf if until is None else until)
        (first,) = (0,) if since is None else self._connection.execute(_FIRST_MADE, bounds).fetchone()
        for kind, decision_id, own_id, candidate, made, propensity, content, embedding, *call in self._connection.execute(
            _OUTCOMES, {"decisions": found.needs_fields, "first": first, "since": bounds[0], "until": bounds[1]}
        ):
            if kind == DECISION:
                found.add_decision_content(own_id, candidate, made, propensity, content, embedding)
            elif kind == ATTEMPT:
                found.add_attempt(decision_id, candidate, *call)
            else:
                found.add_feedback_content(decision_id, own_id, candidate, content)

    def batch(self, after: int, limit: int) -> Batch:
        """Return at most ``limit`` entries after a position with the entries that belong to them."""
        rows = self.rows(after, limit)
        end = after + len(rows)  # positions have no gaps
        named = "SELECT decision_id FROM entries WHERE position > ? AND position <= ?"
        decisions = self._rows(f"{_SELECT} WHERE kind = ? AND id IN ({named}) ORDER BY position", DECISION, after, end)
        revised = revised_ids(rows)
        replaced = replaced_rows(rows, self._rows(_REVISIONS, FEEDBACK, json.dumps(revised))) if revised else ()
        before = self._rows("SELECT kind, id, decision_id, '', '', 0, NULL, revision FROM entries WHERE position = ?", after)
        return Batch(end, rows, decisions, self.epoch, before[0].name if before else "", replaced)

    def excerpt(self, writes: Sequence[Write[Any]]) -> Excerpt:
        """Return the part of the log that some writes need."""
        decisions = json.dumps([name for write in writes for name in write.decisions])
        feedback = json.dumps([name for write in writes for name in write.feedback])
        return Excerpt(self._rows(_PLACED, decisions, feedback), self._rows(_PENDING, decisions, decisions, feedback))

    def write(self, excerpt: Excerpt) -> None:
        """Write the changes of an excerpt."""
        entries = [*enumerate(excerpt.placed, 1 + self.position), *((None, row) for row in excerpt.held.values())]
        for kind, some in itertools.groupby(entries, lambda entry: entry[1].kind):
            self._connection.executemany(_WRITES[kind], [_values(position, row) for position, row in some])
        delete = "DELETE FROM entries WHERE position IS NULL AND kind = ? AND id = ? AND revision = ?"
        self._connection.executemany(delete, [row.key for row in excerpt.dropped])

    @property
    def position(self) -> int:
        """The log's last position."""
        return int(self._connection.execute("SELECT coalesce(max(position), 0) FROM entries").fetchone()[0])

    @property
    def snapshot_count(self) -> int:
        """The number of snapshots."""
        return int(self._connection.execute("SELECT count(*) FROM snapshots").fetchone()[0])

    @property
    def epoch(self) -> int:
        """The number of times that a user was forgotten."""
        return int(self._connection.execute("SELECT coalesce(max(epoch), 0) FROM erasures").fetchone()[0])

    def snapshot(self, name: str) -> Snapshot | None:
        """Return the snapshot of a name, or None."""
        found = self._connection.execute("SELECT position, content, last FROM snapshots WHERE name = ?", (name,)).fetchone()
        return None if found is None else Snapshot(found[0], found[1], self.epoch, found[2])

    def put_snapshot(self, name: str, new: Snapshot) -> None:
        """Keep a snapshot, unless there is one that is as new, or it is of a past epoch."""
        known = self.snapshot(name)
        if new.epoch == self.epoch and (known is None or known.position < new.position):
            values = (name, new.position, new.content, new.last)
            self._connection.execute("REPLACE INTO snapshots (name, position, content, last) VALUES (?, ?, ?, ?)", values)
            self._connection.execute("DELETE FROM snapshots WHERE n NOT IN (SELECT n FROM snapshots ORDER BY n DESC LIMIT ?)", (MAX_SNAPSHOTS,))

    def erase(self, user: str, limit: int) -> int:
        """Erase at most ``limit`` of a user's decisions; return how many they are. If they are fewer, the user is forgotten."""
        rows = self._rows(f"{_SELECT} WHERE user_id = ? LIMIT ?", user, limit)
        values = [(row.content, row.id) for row in map(erased, rows)]
        erase = "UPDATE entries SET content = ?, embedding = NULL, fingerprint = NULL, user_id = NULL WHERE kind = 'decision' AND id = ?"
        self._connection.executemany(erase, values)
        if len(rows) < limit:
            self._connection.execute("DELETE FROM snapshots")
            self._connection.execute("INSERT INTO erasures (time, who) VALUES (?, ?)", (time.time(), user_digest(user)))
        return len(rows)

    def forgotten_digests(self) -> dict[str, float]:
        """Return the time at which each user was forgotten, by the user's digest; logs of the first versions have none."""
        return dict(self._connection.execute("SELECT who, max(time) FROM erasures WHERE who IS NOT NULL GROUP BY who").fetchall())

    def _rows(self, query: str, *values: object) -> list[Row]:
        return [Row(*found) for found in self._connection.execute(query, values)]


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Check that the file is a log, and make its tables or bring them to the present version."""
    with snapshot(connection):
        _check_version(connection, path)
    write_ahead(connection)
    with transaction(connection):
        version = _check_version(connection, path)  # again: another process may have made or migrated them meanwhile
        if version < SCHEMA:
            for statement in itertools.chain(*_VERSIONS[version:]):
                connection.execute(statement)
            if version < _FIRST_WITH_COLUMNS:
                _fill_columns(connection)
            connection.execute(f"PRAGMA user_version = {SCHEMA}")


def check_prepared(connection: sqlite3.Connection, path: Path) -> None:
    """Check that a file that is only read is a log of the present version."""
    with snapshot(connection):
        version = _check_version(connection, path)
    if version < SCHEMA:
        raise StoreError(f"the decision log {path} has version {version}, and becomes {SCHEMA} when it is written: open a copy that can be")


def _values(position: int | None, row: Row) -> tuple[Any, ...]:
    kept = (position, row.kind, row.id, row.decision_id, row.candidate, row.content, row.time, row.embedding, row.revision, row.fingerprint or None)
    return (*kept, *map(columns_of(row).__getitem__, KIND_COLUMNS[row.kind]))


def _fill_columns(connection: sqlite3.Connection) -> None:
    """Fill the columns of entries that had none."""
    found = connection.execute(f"SELECT n, {_ROW} FROM entries")  # noqa: S608  # constants
    while batch := found.fetchmany(1000):
        for n, *values in batch:
            row = Row(*values)
            connection.execute(_FILLS[row.kind], (*map(columns_of(row).__getitem__, KIND_COLUMNS[row.kind]), n))


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
