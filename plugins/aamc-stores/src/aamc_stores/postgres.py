"""The log in a PostgreSQL database: ``postgres://USER@HOST/DATABASE``, whatever else libpq reads in a URL.

Writers of all replicas take turns, by an advisory lock that a transaction holds until it is
committed; therefore positions follow the order of commits and have no gaps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier

from aamc_sdk.errors import StoreAwayError, StoreError
from aamc_sdk.log import DECISION, MAX_SNAPSHOTS, Excerpt, Row, Write, run_writes, erased, user_digest, user_of
from aamc_sdk.types import Snapshot
from aamc_stores.connections import Connections
from aamc_stores.shared import SharedStore, Stretch

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
       ALTER TABLE {erasures} ADD COLUMN who TEXT""",  # a digest of who was forgotten
)
_OF_WHAT_IS_WRITTEN = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)
"""Errors that another try would meet again. Any other is the server's, which may be put right: a full disk, rights or tables that are missing."""
_PARTS: dict[str, Composable] = {
    "columns": SQL("kind, id, decision_id, candidate, content, time"),
    "named": SQL("((kind != 'feedback' AND decision_id = ANY(%(decisions)s)) OR (kind = 'feedback' AND id = ANY(%(feedback)s)))"),
}


class PostgresStore(SharedStore):
    """Keeps the log in tables whose names begin with the option ``prefix``."""

    def view(self, name: str) -> Snapshot | None:
        """Return what was kept under a name, or None."""
        with self._reading() as connection:
            found = self._run(connection, "SELECT position, content, last FROM {views} WHERE name = %s", name).fetchone()
            return None if found is None else Snapshot(found[0], found[1], self._epoch_of(connection), found[2])

    def keep_view(self, name: str, view: Snapshot) -> None:
        """Keep what a router has learned."""
        with self._writing() as connection:
            known = self._run(connection, "SELECT position FROM {views} WHERE name = %s", name).fetchone()
            if view.epoch == self._epoch_of(connection) and (known is None or known[0] < view.position):
                self._run(connection, "DELETE FROM {views} WHERE name = %s", name)
                values = (name, view.position, view.content, view.last)
                self._run(connection, "INSERT INTO {views} (name, position, content, last) VALUES (%s, %s, %s, %s)", *values)
                self._run(connection, "DELETE FROM {views} WHERE n NOT IN (SELECT n FROM {views} ORDER BY n DESC LIMIT %s)", MAX_SNAPSHOTS)

    def _forget(self, user: str) -> int:
        """Erase a user's decisions on the server. PostgreSQL overwrites their bytes in time, with its next VACUUM.

        Its own JSON functions are no help: they fail at a zero character anywhere in a document, such as in a prompt.
        """
        asked = "SELECT {columns} FROM {entries} WHERE kind = %s AND strpos(content, %s) > 0"
        with self._writing() as connection:
            rows = [row for row in self._rows(connection, asked, DECISION, json.dumps(user)) if user_of(row) == user]
            for row in map(erased, rows):
                self._run(
                    connection, "UPDATE {entries} SET content = %s, embedding = NULL WHERE kind = %s AND id = %s", row.content, row.kind, row.id
                )
            self._run(connection, "DELETE FROM {views}")
            self._run(connection, "INSERT INTO {erasures} (who) VALUES (%s)", user_digest(user))
        return len(rows)

    def drop(self) -> None:
        """Delete the log's tables."""
        with self._writing() as connection:
            self._run(connection, "DROP TABLE {entries}, {views}, {erasures}, {version}")

    def rows(self, after: int = 0, limit: int = 1000) -> Sequence[Row]:
        """Return at most ``limit`` entries after a position, as they are kept."""
        with self._reading() as connection:
            return self._stretch_rows(connection, after, limit)

    def waiting(self) -> Sequence[Row]:
        """Return what waits for its decision."""
        with self._reading() as connection:
            return self._rows(connection, "SELECT {columns}, embedding FROM {entries} WHERE position IS NULL ORDER BY n")

    def _connect(self) -> None:
        self._parts = _PARTS | {name: Identifier(f"{self.config.prefix}_{name}") for name in ("entries", "views", "erasures", "version")}
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
            self._run(connection, "UPDATE {version} SET number = %s", len(_VERSIONS))

    def _commit(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        with self._writing() as connection:
            excerpt = self._excerpt(connection, writes)
            results = run_writes(writes, excerpt)
            self._write_excerpt(connection, excerpt)
        return results

    def _excerpt(self, connection: psycopg.Connection, writes: Sequence[Write[Any]]) -> Excerpt:
        """Return the part of the log that some writes look at; embeddings, which no rule asks for, are left out."""
        names = {
            "decisions": [name for write in writes for name in write.decisions],
            "feedback": [name for write in writes for name in write.feedback],
        }
        placed = "SELECT {columns} FROM {entries} WHERE position > 0 AND {named} ORDER BY position"
        waiting = "SELECT {columns} FROM {entries} WHERE position IS NULL AND (decision_id = ANY(%(decisions)s) OR {named}) ORDER BY n"
        return Excerpt(*([Row(*found) for found in connection.execute(self._query(query), names)] for query in (placed, waiting)))

    def _write_excerpt(self, connection: psycopg.Connection, excerpt: Excerpt) -> None:
        """Write what has changed in an excerpt."""
        last = self._value(connection, "SELECT coalesce(max(position), 0) FROM {entries}")
        entries = [*enumerate(excerpt.placed, last + 1), *((None, row) for row in excerpt.held.values())]
        insert = """INSERT INTO {entries} (position, {columns}, embedding) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (kind, id) DO UPDATE  -- it waited
            SET position = excluded.position, candidate = excluded.candidate, content = excluded.content, time = excluded.time"""
        values = [(n, row.kind, row.id, row.decision_id, row.candidate, row.content, row.time, row.embedding) for n, row in entries]
        connection.cursor().executemany(self._query(insert), values)

    def _find(self, decision_id: str) -> Row | None:
        with self._reading() as connection:
            found = self._rows(connection, "SELECT {columns}, embedding FROM {entries} WHERE kind = %s AND id = %s", DECISION, decision_id)
        return found[0] if found else None

    def _forgotten_as(self) -> Collection[str]:
        with self._reading() as connection:
            return {who for (who,) in self._run(connection, "SELECT who FROM {erasures} WHERE who IS NOT NULL")}

    def _stretch(self, after: int, limit: int) -> Stretch:
        named = """SELECT {columns}, embedding FROM {entries} WHERE kind = %s
            AND id IN (SELECT decision_id FROM {entries} WHERE position > %s AND position <= %s) ORDER BY position"""
        with self._reading() as connection:
            stretch = self._stretch_rows(connection, after, limit)
            decisions = self._rows(connection, named, DECISION, after, after + len(stretch))
            before = self._run(connection, "SELECT kind || '/' || id FROM {entries} WHERE position = %s", after).fetchone()
            return Stretch(stretch, decisions, self._epoch_of(connection), "" if before is None else before[0])

    def _stretch_rows(self, connection: psycopg.Connection, after: int, limit: int) -> list[Row]:
        return self._rows(connection, "SELECT {columns}, embedding FROM {entries} WHERE position > %s ORDER BY position LIMIT %s", after, limit)

    def _disconnect(self) -> None:
        self._connections.close()

    def _epoch_of(self, connection: psycopg.Connection) -> int:
        return int(self._value(connection, "SELECT coalesce(max(epoch), 0) FROM {erasures}"))

    def _rows(self, connection: psycopg.Connection, query: LiteralString, *values: object) -> list[Row]:
        return [Row(*found) for found in self._run(connection, query, *values)]

    def _value(self, connection: psycopg.Connection, query: LiteralString, *values: object) -> Any:
        """Return the one value that a query finds."""
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
        """
        with self._transaction() as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
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
        refused = isinstance(error, _OF_WHAT_IS_WRITTEN)
        kind, advice = (StoreError, "nothing was written") if refused else (StoreAwayError, "see that the server runs and its URL is right")
        explained = kind(f"the log {self.name} cannot be used ({' '.join(str(error).split())}): {advice}")
        explained.__cause__ = error
        return explained
