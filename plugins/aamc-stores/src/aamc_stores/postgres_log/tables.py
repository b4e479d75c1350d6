"""The tables of a log in a PostgreSQL database: their creation, migration, and names in statements.

The entries are divided by the number of their decision's partition. A child table holds each partition, so that it is dropped whole. Contents and
fingerprints of version 3 and before stay where they are, in columns of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import psycopg
from psycopg.sql import SQL, Composable, Identifier, Literal
from typing_extensions import LiteralString

from aamc_sdk.errors import StoreError
from aamc_sdk.log import COLUMNS, Row, columns_of

logger = logging.getLogger(__name__)
VERSION = 4
_SLOW_ENTRIES = 1_000_000
_ENTRIES_A_SECOND = 150_000
"""Old entries that are checked in a second: about 200 MB of contents, as a single disk reads them."""
_FILLED_A_SECOND = 5_000
"""Entries of version 1 or 2 whose columns are filled in a second."""
_NEW = """
    CREATE TABLE {entries} (
        partition INTEGER NOT NULL, position BIGINT,
        kind TEXT NOT NULL, id TEXT NOT NULL, decision_id TEXT NOT NULL, candidate TEXT NOT NULL,
        time DOUBLE PRECISION NOT NULL, revision BIGINT NOT NULL,
        json TEXT, packed BYTEA,  -- the content: json up to version 3, packed since
        embedding BYTEA, fingerprint TEXT, digest BYTEA,  -- a fingerprint that is a SHA-256 is kept as its bytes
        {columns_typed}
    ) PARTITION BY LIST (partition);
    CREATE TABLE {pending} (
        n BIGSERIAL PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, decision_id TEXT NOT NULL, candidate TEXT NOT NULL,
        content TEXT NOT NULL, time DOUBLE PRECISION NOT NULL, revision BIGINT NOT NULL, UNIQUE (kind, id, revision));
    CREATE INDEX ON {pending} (decision_id);
    CREATE TABLE {partitions} (number INTEGER PRIMARY KEY, first BIGINT NOT NULL, begun DOUBLE PRECISION NOT NULL);
    CREATE TABLE {templates} (number INTEGER PRIMARY KEY, content BYTEA NOT NULL);
    CREATE TABLE {deltas} (
        name TEXT NOT NULL, after BIGINT NOT NULL, position BIGINT NOT NULL, content BYTEA NOT NULL, epoch BIGINT NOT NULL, last TEXT NOT NULL,
        PRIMARY KEY (name, after));
    CREATE TABLE {aggregates} (key TEXT PRIMARY KEY, content TEXT NOT NULL);
    CREATE TABLE {exports} (path TEXT PRIMARY KEY, format TEXT NOT NULL)
"""
_STATES = """
    CREATE TABLE {snapshots} (
        n BIGSERIAL PRIMARY KEY, name TEXT NOT NULL, position BIGINT NOT NULL, content BYTEA NOT NULL, last TEXT NOT NULL,
        epoch BIGINT NOT NULL, floor BOOLEAN NOT NULL, renewed TIMESTAMPTZ NOT NULL DEFAULT now(), UNIQUE (name, floor));
    CREATE TABLE {erasures} (epoch BIGSERIAL PRIMARY KEY, time TIMESTAMPTZ NOT NULL DEFAULT now(), who TEXT);
    CREATE TABLE {version} (number INTEGER NOT NULL, position BIGINT NOT NULL, start BIGINT NOT NULL, dropped BIGINT NOT NULL);
    INSERT INTO {version} VALUES (4, 0, 0, 0)
"""
_EARLIER = (
    """ALTER TABLE {views} ADD COLUMN last TEXT NOT NULL DEFAULT '';
       ALTER TABLE {erasures} ADD COLUMN who TEXT;
       UPDATE {version} SET number = 2""",
    """ALTER TABLE {entries} ADD COLUMN revision BIGINT NOT NULL DEFAULT 0, ADD COLUMN fingerprint TEXT, {columns_added};
       ALTER TABLE {entries} DROP CONSTRAINT {first_key}, ADD UNIQUE (kind, id, revision);
       CREATE INDEX ON {entries} (user_id) WHERE user_id IS NOT NULL;
       CREATE INDEX ON {entries} (episode) WHERE episode IS NOT NULL;
       ALTER TABLE {views} RENAME TO {snapshots};
       UPDATE {version} SET number = 3""",
)
"""Statements that lead from version 1 to 2 and 3."""
_NUMBERED = """
    ALTER TABLE {entries} ADD COLUMN IF NOT EXISTS partition INTEGER NOT NULL DEFAULT 0, DROP CONSTRAINT IF EXISTS {first_partition},
        ADD CONSTRAINT {first_partition} CHECK (partition = 0) NOT VALID
"""
"""The number is not written to any entry, and the constraint is not checked yet: both are instant, and version 3 continues to write meanwhile."""
_CHECKED = "ALTER TABLE {entries} VALIDATE CONSTRAINT {first_partition}"
"""Reads every old entry once, while others read and write: without it, PostgreSQL would do so under a lock when the table becomes a partition."""
_DIVIDED = (
    """
    ALTER TABLE {entries} RENAME TO {first_child};
    ALTER TABLE {first_child} RENAME COLUMN content TO json;  -- so programs of version 3 that still run read nothing, instead of nonsense
    ALTER TABLE {first_child} ALTER COLUMN json DROP NOT NULL, ALTER COLUMN partition DROP DEFAULT,
        ADD COLUMN packed BYTEA, ADD COLUMN digest BYTEA
    """,
    _NEW,
    """
    INSERT INTO {pending} (kind, id, decision_id, candidate, content, time, revision)
        SELECT kind, id, decision_id, candidate, json, time, revision FROM {first_child} WHERE position IS NULL ORDER BY n;
    DELETE FROM {first_child} WHERE position IS NULL;
    ALTER TABLE {first_child} DROP COLUMN n;
    ALTER TABLE {entries} ATTACH PARTITION {first_child} FOR VALUES IN (0);
    INSERT INTO {partitions} SELECT 0, position, time FROM {first_child} WHERE position = 1;
    INSERT INTO {partitions} SELECT 0, 1, 0 WHERE NOT EXISTS (SELECT FROM {partitions});
    ALTER TABLE {snapshots} DROP CONSTRAINT IF EXISTS {snapshots_key},
        ADD COLUMN epoch BIGINT, ADD COLUMN floor BOOLEAN NOT NULL DEFAULT false, ADD COLUMN renewed TIMESTAMPTZ NOT NULL DEFAULT now();
    UPDATE {snapshots} SET epoch = (SELECT coalesce(max(epoch), 0) FROM {erasures});
    ALTER TABLE {snapshots} ALTER COLUMN epoch SET NOT NULL, ADD UNIQUE (name, floor);
    ALTER TABLE {version} ADD COLUMN position BIGINT NOT NULL DEFAULT 0, ADD COLUMN start BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN dropped BIGINT NOT NULL DEFAULT 0;
    UPDATE {version} SET number = 4, position = (SELECT coalesce(max(position), 0) FROM {first_child})
    """,
)
_CHILD = """
    CREATE TABLE {child} (LIKE {entries});
    CREATE UNIQUE INDEX ON {child} (position);
    CREATE UNIQUE INDEX ON {child} (decision_id, kind, id, revision);  -- an attempt's id begins with its decision's
    CREATE UNIQUE INDEX ON {child} (id, revision) WHERE kind = 'feedback';
    CREATE INDEX ON {child} (user_id) WHERE user_id IS NOT NULL;
    CREATE INDEX ON {child} (episode) WHERE episode IS NOT NULL;
    ALTER TABLE {entries} ATTACH PARTITION {child} FOR VALUES IN ({number})
"""
"""A table that is attached, other than one that is made as a partition, does not wait for readers."""
_NAMES = ("entries", "pending", "partitions", "templates", "views", "snapshots", "deltas", "aggregates", "exports", "erasures", "version")
_CONTENT = "json, packed, "
_TAIL = "revision, coalesce(encode(digest, 'hex'), fingerprint, '')"

Writing = Callable[..., AbstractContextManager[psycopg.Connection]]


class Tables:
    """The names of a log's tables, which begin with a prefix, for statements such as ``SELECT {row} FROM {entries}``."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._queries: dict[str, str] = {}
        columns = [(Identifier(name), SQL(kind)) for name, kind in COLUMNS.items()]
        self._parts: dict[str, Composable] = {
            **{name: Identifier(f"{prefix}_{name}") for name in _NAMES},
            "first_key": Identifier(f"{prefix}_entries_kind_id_key"),
            "snapshots_key": Identifier(f"{prefix}_views_name_key"),
            "first_partition": Identifier(f"{prefix}_partition_0"),
            "first_child": self.child(0),
            "children": Literal(f'"{prefix}_entries_'),  # begins the quoted name of a partition's table
            "about": Identifier("aamc_about"),
            "insert_feedback": Identifier("aamc_insert_feedback"),
            "row": SQL(f"position, kind, id, decision_id, candidate, {_CONTENT} time, embedding, {_TAIL}"),
            "rule_row": SQL(f"partition, kind, id, decision_id, candidate, {_CONTENT} time, NULL::bytea, {_TAIL}"),  # no rule needs an embedding
            "pending_row": SQL("-1, kind, id, decision_id, candidate, content, NULL::bytea, time, NULL::bytea, revision, ''"),
            "columns_typed": SQL(", ").join(SQL("{} {}").format(*each) for each in columns),
            "columns_added": SQL(", ").join(SQL("ADD COLUMN {} {}").format(*each) for each in columns),
            "columns_set": SQL(", ").join(SQL("{} = %s").format(name) for name, _ in columns),
        }

    def child(self, number: int) -> Identifier:
        """Return the name of a partition's table."""
        return Identifier(f"{self.prefix}_entries_{number}")

    def query(self, text: LiteralString, **parts: Composable) -> str:
        """Return a statement with the names put in."""
        if parts:
            return SQL(text).format(**self._parts, **parts).as_string(None)
        if text not in self._queries:
            self._queries[text] = SQL(text).format(**self._parts).as_string(None)
        return self._queries[text]

    def run(self, connection: psycopg.Connection, text: LiteralString, *values: object, **parts: Composable) -> psycopg.Cursor[Any]:
        """Execute a statement."""
        return connection.execute(self.query(text, **parts), values or None)

    def value(self, connection: psycopg.Connection, text: LiteralString, *values: object, **parts: Composable) -> Any:
        """Return the single value that a statement finds."""
        found = self.run(connection, text, *values, **parts).fetchone()
        assert found is not None
        return found[0]

    def drop(self, connection: psycopg.Connection) -> None:
        """Delete the tables."""
        names = "{entries}, {pending}, {partitions}, {templates}, {deltas}, {aggregates}, {exports}, {snapshots}, {erasures}, {version}"
        self.run(connection, "DROP TABLE " + names)

    def make_child(self, connection: psycopg.Connection, number: int) -> None:
        """Make the table of a new partition."""
        self.run(connection, _CHILD, child=self.child(number), number=SQL(str(number)))

    def prepare(self, writing: Writing, log: str) -> None:
        """Make the tables, or bring them to the present version.

        ``writing`` begins a transaction that may take long, under the lock of a name: ``log``, which writers take, or another; or under none.

        Raises:
            StoreError: The log is of a newer version.
        """
        with writing("log") as connection:
            version = self._version(connection)
            if version > VERSION:
                known = f"newer than {VERSION}, the newest that this program knows"
                raise StoreError(f"the log {log} has version {version}, {known}; update aamc-stores")
            if version == 0:
                self.run(connection, _NEW)
                self.run(connection, _STATES)
        if 0 < version < VERSION:
            with writing("upgrade"):  # its own connection waits, and holds no table
                self._upgrade(writing, log)

    def _upgrade(self, writing: Writing, log: str) -> None:
        """Bring the tables to the present version, as the only process that does."""
        with writing("log") as connection:
            version = self._version(connection)
            if version == VERSION:
                return
            self._announce(connection, version, log)
            for statements in _EARLIER[version - 1 :]:
                self.run(connection, statements)
            if version <= len(_EARLIER):
                self._fill_columns(connection)
            self.run(connection, _NUMBERED)
        with writing() as connection:
            self.run(connection, _CHECKED)
        with writing("log") as connection:
            for statements in _DIVIDED:
                self.run(connection, statements)

    def _version(self, connection: psycopg.Connection) -> int:
        there = self.value(connection, "SELECT to_regclass(%s)", f'"{self.prefix}_version"')
        return 0 if there is None else int(self.value(connection, "SELECT number FROM {version}"))

    def _announce(self, connection: psycopg.Connection, version: int, log: str) -> None:
        """Say how long the migration of a large log will take."""
        entries = int(self.value(connection, "SELECT coalesce(max(position), 0) FROM {entries}"))
        if version <= len(_EARLIER):
            seconds = entries / _FILLED_A_SECOND
            logger.warning("the log %s is being upgraded: reading its %d entries takes about %.0f s, and writers wait", log, entries, seconds)
        elif entries >= _SLOW_ENTRIES:
            seconds = entries / _ENTRIES_A_SECOND
            logger.warning(
                "the log %s is being upgraded: reading its %d entries takes about %.0f s; others can write meanwhile", log, entries, seconds
            )

    def _fill_columns(self, connection: psycopg.Connection) -> None:
        """Fill the columns of entries that had none."""
        read = "SELECT n, kind, id, decision_id, candidate, content, time FROM {entries} WHERE n > %s ORDER BY n LIMIT 1000"
        last = 0
        while found := self.run(connection, read, last).fetchall():
            values = [(*map(columns_of(Row(*row)).get, COLUMNS), n) for n, *row in found]
            connection.cursor().executemany(self.query("UPDATE {entries} SET {columns_set} WHERE n = %s"), values)
            last = found[-1][0]


def array(texts: Sequence[str]) -> str:
    """Return an array of texts as PostgreSQL reads it; psycopg takes 3 microseconds for each text."""
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return '{"' + '","'.join(quoted) + '"}' if texts else "{}"
