"""The versions of the tables of a log in SQLite: making a file, checking it, and migrating it to the present version."""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from aamc_sdk.errors import StoreError
from aamc_sdk.log.rows.row import COLUMNS, KIND_COLUMNS, Row, columns_of
from aamc_sdk.log.sqlite.file import connect, sync, transaction, write_ahead

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
    (  # nothing here reads or writes the entries, so it takes no longer for a large log
        "CREATE TABLE templates (number INTEGER PRIMARY KEY, content BLOB NOT NULL)",
        "CREATE TABLE partitions (number INTEGER PRIMARY KEY, first INTEGER NOT NULL, begun REAL NOT NULL, size INTEGER NOT NULL)",
        "CREATE TABLE bounds (start INTEGER NOT NULL, position INTEGER NOT NULL, dropped INTEGER NOT NULL)",
        "INSERT INTO bounds VALUES (0, 0, 0)",
        "CREATE TABLE exports (path TEXT PRIMARY KEY, format TEXT NOT NULL)",
        "CREATE TABLE aggregates (key TEXT PRIMARY KEY, content TEXT NOT NULL)",
        "ALTER TABLE snapshots ADD COLUMN renewed REAL NOT NULL DEFAULT 0",
        """CREATE TABLE floors (
            name TEXT PRIMARY KEY, position INTEGER NOT NULL, content BLOB NOT NULL, last TEXT NOT NULL,
            epoch INTEGER NOT NULL, renewed REAL NOT NULL)""",
        """CREATE TABLE deltas (
            name TEXT NOT NULL, after INTEGER NOT NULL, position INTEGER NOT NULL, content BLOB NOT NULL, last TEXT NOT NULL,
            PRIMARY KEY (name, after))""",
    ),
)
SCHEMA = len(_VERSIONS)
"""The version of the tables, kept in the file's ``user_version``: each version's statements turn the one before into it."""
_FIRST_WITH_COLUMNS = 4
_FIRST_DIVIDED = 5
_OLD_PARTITIONS = 64
"""Parts into which the log of an earlier version is divided."""
_ENTRIES_A_SECOND = 20_000
"""Entries that a migration from before version 4 rewrites, for its warning."""
_ROW = "kind, id, decision_id, candidate, content, time, NULL, revision, coalesce(fingerprint, '')"
_FILLS = {
    kind: f"UPDATE entries SET {', '.join(f'{name} = ?' for name in names)} WHERE n = ?"  # noqa: S608  # constants
    for kind, names in KIND_COLUMNS.items()
}


def make(path: Path) -> None:
    """Make a log at a free path, whole or not at all: it is made under another name, and then linked into its place.

    If another process makes one there meanwhile, that one stays.

    Raises:
        sqlite3.Error: The folder cannot be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with closing(connect(f"{draft.as_uri()}?mode=rwc")) as connection:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # it can be chosen before the first table is made, and not later
            with transaction(connection):
                for statement in itertools.chain(*_VERSIONS):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {SCHEMA}")
            write_ahead(connection)
        _move(draft, path)
    finally:
        for name in (draft, f"{draft}-journal", f"{draft}-wal", f"{draft}-shm"):
            with suppress(OSError):  # if there is no folder, SQLite has raised the error already
                Path(name).unlink(missing_ok=True)
    sync(path.parent)


def _move(source: Path, target: Path) -> None:
    """Rename a file if the name is free."""
    try:
        os.link(source, target)
    except OSError:  # another process has made a log there, or the file system has no links
        if not target.exists():
            source.rename(target)


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Check that the file is a log, and bring its tables to the present version."""
    with transaction(connection, writes=False):
        version = _check_version(connection, path)
    if version < _FIRST_WITH_COLUMNS:
        _announce(connection, path, version)
    write_ahead(connection)
    with transaction(connection):
        version = _check_version(connection, path)  # again: another process may have migrated them meanwhile
        if version < SCHEMA:
            for statement in itertools.chain(*_VERSIONS[version:]):
                connection.execute(statement)
            if version < _FIRST_WITH_COLUMNS:
                _fill_columns(connection)
            if version < _FIRST_DIVIDED:
                _divide(connection)
            connection.execute(f"PRAGMA user_version = {SCHEMA}")


def check_prepared(connection: sqlite3.Connection, path: Path) -> None:
    """Check that a file that is only read is a log of the present version."""
    with transaction(connection, writes=False):
        version = _check_version(connection, path)
    if version < SCHEMA:
        raise StoreError(
            f"the decision log {path} has version {version}, which must be migrated before it is read; open a writable copy to migrate it"
        )


def _announce(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Warn of a migration that rewrites the entries and takes long."""
    (count,) = connection.execute("SELECT coalesce(max(n), 0) FROM entries").fetchone() if version else (0,)
    if (seconds := count / _ENTRIES_A_SECOND) > 1:
        logger.warning("%s is of version %d; its %d entries are migrated to version %d, about %d s", path, version, count, SCHEMA, seconds)


def _divide(connection: sqlite3.Connection) -> None:
    """Divide the entries of an earlier version into partitions of about one size, by the times of some of its decisions."""
    now = time.time()
    connection.execute("UPDATE snapshots SET renewed = ?", (now,))  # their routers are likely to come back
    (last,) = connection.execute("SELECT coalesce(max(position), 0) FROM entries").fetchone()
    ((pages, page_size),) = connection.execute("SELECT page_count, page_size FROM pragma_page_count, pragma_page_size")
    step = max(1, -(-last // _OLD_PARTITIONS))
    next_decision = "SELECT position, time FROM entries WHERE +kind = 'decision' AND position > ? ORDER BY position LIMIT 1"  # by position
    begun, found = 0.0, connection.execute(next_decision, (0,)).fetchone()
    for number in itertools.count():
        if found is None:
            break
        first, begun = found[0], min(max(begun, found[1]), now) or now  # a time of 0 is unknown
        connection.execute("INSERT INTO partitions VALUES (?, ?, ?, ?)", (number, first, begun, pages * page_size * step // max(last, 1)))
        found = connection.execute(next_decision, (first + step - 1,)).fetchone()


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
    is_empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]  # an earlier version was killed as it made the file
    is_log = connection.execute("SELECT count(*) FROM pragma_table_info('entries') WHERE name = 'decision_id'").fetchone()[0]
    if not (is_empty if version == 0 else is_log):
        raise StoreError(f"{path} is an SQLite database of something else and was left as it is: choose another path")
    return version
