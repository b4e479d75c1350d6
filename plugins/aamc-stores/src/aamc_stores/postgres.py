"""The log in a PostgreSQL database: ``postgres://USER@HOST/DATABASE``, or any other URL that libpq reads.

An advisory lock, which a transaction holds until it is committed, lets one writer of all replicas write at a time.
So positions follow the order of commits and have no gaps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal, Placeholder

from aamc_sdk.errors import StoreAwayError, StoreError
from aamc_sdk.log import (
    COLUMNS,
    DECISION,
    FEEDBACK,
    MAX_SNAPSHOTS,
    Batch,
    Excerpt,
    Row,
    Write,
    columns_of,
    erased,
    replaced_rows,
    revised_ids,
    run_writes,
    user_digest,
)
from aamc_sdk.types import Snapshot
from aamc_stores.connections import Connections
from aamc_stores.shared import SharedStore

if TYPE_CHECKING:
    from typing_extensions import LiteralString

_VERSIONS = (
    """CREATE TABLE {entries} (
           n BIGSERIAL PRIMARY KEY,
           position BIGINT UNIQUE,  -- NULL while the entry waits for its decision
           kind TEXT NOT NULL, id TEXT NOT NULL, decision_id TEXT NOT NULL, candidate TEXT NOT NULL,
           content TEXT NOT NULL, time DOUBLE PRECISION NOT NULL, embedding BYTEA,
           UNIQUE (kind, id));
       CREATE INDEX ON {entries} (decision_id, position);
       CREATE TABLE {views} (n BIGSERIAL PRIMARY KEY, name TEXT UNIQUE NOT NULL, position BIGINT NOT NULL, content BYTEA NOT NULL);
       CREATE TABLE {erasures} (epoch BIGSERIAL PRIMARY KEY, time TIMESTAMPTZ NOT NULL DEFAULT now());
       CREATE TABLE {version} (number INTEGER NOT NULL);
       INSERT INTO {version} VALUES (0)""",
    """ALTER TABLE {views} ADD COLUMN last TEXT NOT NULL DEFAULT '';
       ALTER TABLE {erasures} ADD COLUMN who TEXT""",  # a digest of the user's id
    """ALTER TABLE {entries} ADD COLUMN revision BIGINT NOT NULL DEFAULT 0, ADD COLUMN fingerprint TEXT, {added};
       ALTER TABLE {entries} DROP CONSTRAINT {first_key}, ADD UNIQUE (kind, id, revision);
       CREATE INDEX ON {entries} (user_id) WHERE user_id IS NOT NULL;
       CREATE INDEX ON {entries} (episode) WHERE episode IS NOT NULL;
       ALTER TABLE {views} RENAME TO {snapshots}""",
)
_FIRST_WITH_COLUMNS = 3
_CONTENT_ERRORS = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)
"""Errors that another try would meet again. All others are of the server, and may pass: a full disk, missing rights or tables."""
_PARTS: dict[str, Composable] = {
    "row": SQL("kind, id, decision_id, candidate, content, time, embedding, revision, coalesce(fingerprint, '')"),
    "rule_row": SQL("kind, id, decision_id, candidate, content, time, NULL, revision, coalesce(fingerprint, '')"),  # no rule needs an embedding
    "columns": SQL(", ").join(map(Identifier, COLUMNS)),
    "added": SQL(", ").join(SQL("ADD COLUMN {} {}").format(Identifier(name), SQL(kind)) for name, kind in COLUMNS.items()),
    "set": SQL(", ").join(SQL("{} = %s").format(Identifier(name)) for name in COLUMNS),
    "replace": SQL(", ").join(SQL("{0} = excluded.{0}").format(Identifier(name)) for name in COLUMNS),
    "values": SQL(", ").join([Placeholder()] * (10 + len(COLUMNS))),
    "named": SQL("((kind != 'feedback' AND decision_id = ANY(%(decisions)s)) OR (kind = 'feedback' AND id = ANY(%(feedback)s)))"),
}


class PostgresStore(SharedStore):
    """Keeps the log in tables whose names begin with the option ``prefix``."""

    def snapshot(self, name: str) -> Snapshot | None:
        """Return the snapshot of a name, or None."""
        with self._reading() as connection:
            found = self._run(connection, "SELECT position, content, last FROM {snapshots} WHERE name = %s", name).fetchone()
            return None if found is None else Snapshot(found[0], found[1], self._epoch_of(connection), found[2])

    def put_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Keep a snapshot, unless the log has one that is as new, or it is of a past epoch."""
        with self._writing() as connection:
            known = self._run(connection, "SELECT position FROM {snapshots} WHERE name = %s", name).fetchone()
            if snapshot.epoch == self._epoch_of(connection) and (known is None or known[0] < snapshot.position):
                self._run(connection, "DELETE FROM {snapshots} WHERE name = %s", name)
                values = (name, snapshot.position, snapshot.content, snapshot.last)
                self._run(connection, "INSERT INTO {snapshots} (name, position, content, last) VALUES (%s, %s, %s, %s)", *values)
                self._run(connection, "DELETE FROM {snapshots} WHERE n NOT IN (SELECT n FROM {snapshots} ORDER BY n DESC LIMIT %s)", MAX_SNAPSHOTS)

    def rows(self, after: int = 0, limit: int = 1000) -> Sequence[Row]:
        """Return at most ``limit`` entries after a position, as they are kept."""
        with self._reading() as connection:
            return self._rows_after(connection, after, limit)

    def pending_rows(self) -> Sequence[Row]:
        """Return the entries whose decision is not in the log."""
        with self._reading() as connection:
            return self._rows(connection, "SELECT {row} FROM {entries} WHERE position IS NULL ORDER BY n")

    def drop(self) -> None:
        """Delete the log's tables."""
        with self._writing() as connection:
            self._run(connection, "DROP TABLE {entries}, {snapshots}, {erasures}, {version}")

    def _connect(self) -> None:
        tables = ("entries", "views", "snapshots", "erasures", "version")
        self._parts = _PARTS | {name: Identifier(f"{self.config.prefix}_{name}") for name in tables}
        self._parts["first_key"] = Identifier(f"{self.config.prefix}_entries_kind_id_key")
        self._lock_key = int.from_bytes(hashlib.sha256(f"aamc {self.config.prefix}".encode()).digest()[:8], "big", signed=True)
        self._connections = Connections(self.url, self.config.timeout_s)
        try:
            self._prepare()
        except StoreError:
            self._connections.close()
            raise

    def _prepare(self) -> None:
        """Make the tables, or bring them to the present version."""
        with self._writing() as connection:
            there = self._value(connection, "SELECT to_regclass(%s)", f"{self.config.prefix}_version")
            version = 0 if there is None else self._value(connection, "SELECT number FROM {version}")
            if version > len(_VERSIONS):
                known = f"newer than {len(_VERSIONS)}, the newest that this program knows"
                raise StoreError(f"the log {self.name} has version {version}, {known}; update aamc-stores")
            for statements in _VERSIONS[version:]:
                self._run(connection, statements)
            if 0 < version < _FIRST_WITH_COLUMNS:
                self._fill_columns(connection)
            self._run(connection, "UPDATE {version} SET number = %s", len(_VERSIONS))

    def _fill_columns(self, connection: psycopg.Connection) -> None:
        """Fill the columns of entries that had none."""
        last = 0
        while found := self._run(connection, "SELECT n, {rule_row} FROM {entries} WHERE n > %s ORDER BY n LIMIT 1000", last).fetchall():
            values = [(*_column_values(Row(*row)), n) for n, *row in found]
            connection.cursor().executemany(self._query("UPDATE {entries} SET {set} WHERE n = %s"), values)
            last = found[-1][0]

    def _commit(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        with self._writing() as connection:
            excerpt = self._excerpt(connection, writes)
            results = run_writes(writes, excerpt)
            self._write_excerpt(connection, excerpt)
        return results

    def _excerpt(self, connection: psycopg.Connection, writes: Sequence[Write[Any]]) -> Excerpt:
        """Return the part of the log that some writes need."""
        names = {
            "decisions": [name for write in writes for name in write.decisions],
            "feedback": [name for write in writes for name in write.feedback],
        }
        placed = "SELECT {rule_row} FROM {entries} WHERE position > 0 AND {named} ORDER BY position"
        pending = "SELECT {rule_row} FROM {entries} WHERE position IS NULL AND (decision_id = ANY(%(decisions)s) OR {named}) ORDER BY n"
        return Excerpt(*([Row(*found) for found in connection.execute(self._query(query), names)] for query in (placed, pending)))

    def _write_excerpt(self, connection: psycopg.Connection, excerpt: Excerpt) -> None:
        """Write the changes of an excerpt."""
        last = self._position(connection)
        entries = [*enumerate(excerpt.placed, last + 1), *((None, row) for row in excerpt.held.values())]
        insert = """INSERT INTO {entries} (position, kind, id, decision_id, candidate, content, time, embedding, revision, fingerprint, {columns})
            VALUES ({values}) ON CONFLICT (kind, id, revision) DO UPDATE  -- it was pending
            SET position = excluded.position, candidate = excluded.candidate, content = excluded.content, time = excluded.time, {replace}"""
        connection.cursor().executemany(self._query(insert), [_values(position, row) for position, row in entries])
        delete = "DELETE FROM {entries} WHERE position IS NULL AND kind = %s AND id = %s AND revision = %s"
        connection.cursor().executemany(self._query(delete), [row.key for row in excerpt.dropped])

    def _find(self, decision_id: str) -> Row | None:
        with self._reading() as connection:
            found = self._rows(connection, "SELECT {row} FROM {entries} WHERE kind = %s AND id = %s", DECISION, decision_id)
        return found[0] if found else None

    def _find_episode(self, episode_id: str) -> Sequence[Row]:
        with self._reading() as connection:
            return self._rows(connection, "SELECT {row} FROM {entries} WHERE episode = %s ORDER BY position", episode_id)

    def _erase(self, user: str, limit: int) -> int:
        """Erase some of a user's decisions on the server. PostgreSQL overwrites their bytes in time, with its next VACUUM."""
        erase: LiteralString = """UPDATE {entries} SET content = %s, embedding = NULL, fingerprint = NULL, user_id = NULL
            WHERE kind = %s AND id = %s"""
        with self._writing() as connection:
            rows = self._rows(connection, "SELECT {rule_row} FROM {entries} WHERE user_id = %s LIMIT %s", user, limit)
            connection.cursor().executemany(self._query(erase), [(row.content, row.kind, row.id) for row in map(erased, rows)])
            if len(rows) < limit:
                self._run(connection, "DELETE FROM {snapshots}")
                self._run(connection, "INSERT INTO {erasures} (who) VALUES (%s)", user_digest(user))
        return len(rows)

    def _forgotten_digests(self) -> Collection[str]:
        with self._reading() as connection:
            return {who for (who,) in self._run(connection, "SELECT who FROM {erasures} WHERE who IS NOT NULL")}

    def _counts(self) -> tuple[int, int]:
        with self._reading() as connection:
            return self._position(connection), self._value(connection, "SELECT count(*) FROM {snapshots}")

    def _batch(self, after: int, limit: int) -> Batch:
        named = """SELECT {row} FROM {entries} WHERE kind = %s
            AND id IN (SELECT decision_id FROM {entries} WHERE position > %s AND position <= %s) ORDER BY position"""
        revisions = "SELECT {rule_row} FROM {entries} WHERE kind = %s AND position > 0 AND id = ANY(%s)"
        before = "SELECT kind, id, decision_id, '', '', 0, NULL, revision FROM {entries} WHERE position = %s"
        with self._reading() as connection:
            rows = self._rows_after(connection, after, limit)
            end = after + len(rows)
            decisions = self._rows(connection, named, DECISION, after, end)
            revised = revised_ids(rows)
            replaced = replaced_rows(rows, self._rows(connection, revisions, FEEDBACK, revised)) if revised else ()
            follows = self._rows(connection, before, after)
            return Batch(end, rows, decisions, self._epoch_of(connection), follows[0].name if follows else "", replaced)

    def _rows_after(self, connection: psycopg.Connection, after: int, limit: int) -> list[Row]:
        return self._rows(connection, "SELECT {row} FROM {entries} WHERE position > %s ORDER BY position LIMIT %s", after, limit)

    def _disconnect(self) -> None:
        self._connections.close()

    def _position(self, connection: psycopg.Connection) -> int:
        return int(self._value(connection, "SELECT coalesce(max(position), 0) FROM {entries}"))

    def _epoch_of(self, connection: psycopg.Connection) -> int:
        return int(self._value(connection, "SELECT coalesce(max(epoch), 0) FROM {erasures}"))

    def _rows(self, connection: psycopg.Connection, query: LiteralString, *values: object) -> list[Row]:
        return [Row(*found) for found in self._run(connection, query, *values)]

    def _value(self, connection: psycopg.Connection, query: LiteralString, *values: object) -> Any:
        """Return the single value that a query finds."""
        found = self._run(connection, query, *values).fetchone()
        assert found is not None
        return found[0]

    def _run(self, connection: psycopg.Connection, query: LiteralString, *values: object) -> psycopg.Cursor[Any]:
        return connection.execute(self._query(query), values or None)

    def _query(self, text: LiteralString) -> Composed:
        return SQL(text).format(**self._parts)

    @contextmanager
    def _writing(self) -> Iterator[psycopg.Connection]:
        """Begin a transaction in which no other writer is at work, and commit it when the block ends well.

        Whatever the server's default, each statement must see what was committed before it: the last writer's entries, once its lock is free.

        Raises:
            StoreAwayError: Another transaction has held a lock for ``timeout_s`` seconds, or the server is lost.
        """
        settings = SQL("SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {}")
        with self._transaction() as connection:
            connection.execute(settings.format(Literal(max(1, round(1000 * self.config.timeout_s)))))
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (self._lock_key,))
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[psycopg.Connection]:
        """Begin a transaction that sees one state of the log, however many queries it takes."""
        with self._transaction() as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection]:
        try:
            with self._connections.transaction() as connection:
                yield connection
        except psycopg.Error as error:
            raise self._refusal(error) from error

    def _refusal(self, error: psycopg.Error) -> StoreError:
        refused = isinstance(error, _CONTENT_ERRORS)
        kind, advice = (StoreError, "nothing was written") if refused else (StoreAwayError, "see that the server runs and its URL is right")
        if isinstance(error, psycopg.errors.LockNotAvailable):
            advice = "another transaction holds its lock (see pg_locks); it is tried again"
        explained = kind(f"the log {self.name} cannot be used ({' '.join(str(error).split())}): {advice}")
        explained.__cause__ = error
        return explained


def _values(position: int | None, row: Row) -> tuple[Any, ...]:
    kept = (position, row.kind, row.id, row.decision_id, row.candidate, row.content, row.time, row.embedding)
    return (*kept, row.revision, row.fingerprint or None, *_column_values(row))


def _column_values(row: Row) -> list[Any]:
    columns = columns_of(row)
    return [columns.get(name) for name in COLUMNS]
