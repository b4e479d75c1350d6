"""The log in a PostgreSQL database: ``postgres://USER@HOST/DATABASE``, or any other URL that libpq reads.

An advisory lock, which a transaction holds until it is committed, lets one writer of all replicas write at a time.
So positions follow the order of commits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import psycopg

from aamc_sdk.errors import StoreAwayError, StoreError
from aamc_sdk.log import UNLEARNED, Batch, Erasure, ExportedFile, OutcomeJoin, Row, Write
from aamc_sdk.types import Aggregate, Partition, Snapshot, StateDelta
from aamc_stores.postgres_log.connections import Connections, check_url
from aamc_stores.postgres_log.entries import Entries
from aamc_stores.postgres_log.leases import Leases
from aamc_stores.postgres_log.partitions import Partitions
from aamc_stores.postgres_log.states import States
from aamc_stores.postgres_log.tables import Tables
from aamc_stores.shared_store import SharedStore

LEASE_S = 10.0
"""Time after which a learner that does not ask whether it still is one loses its election."""
_CONTENT_ERRORS = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)
"""Errors that another try would meet again. All others are of the server, and may pass: a full disk, missing rights or tables."""
_IDLE_TIMES = 6
"""Multiple of ``timeout_s`` that a transaction may wait for its own process. A hung process would keep the others from writing."""


_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED"
"""Each statement must see all that was committed before it, so that a writer sees the entries of the writer that held the lock before."""
_LOCK = "SELECT pg_advisory_xact_lock({})"
_POOLER = "a pooler gives each transaction another connection; name the server itself, or let the pooler keep sessions (PgBouncer's pool_mode)"
_DEFAULT_ADVICE = "check that the server runs and that the URL is right"
_ADVICE = (
    (psycopg.errors.LockNotAvailable, "another transaction holds its lock; end that one (pg_locks names its pid) or wait for it"),
    ((psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement), _POOLER),
    (psycopg.errors.InsufficientPrivilege, "the role must own the log's tables and be allowed to create tables in their schema"),
    (psycopg.errors.OutOfMemory, "if locks ran out, set max_locks_per_transaction of the server to six times the log's partitions, or limit the log"),
)
"""What to do about errors of the server."""
_MOVE_END = "UPDATE {version} SET position = position + %s; COMMIT"


class PostgresStore(SharedStore):
    """Keeps the log in tables whose names begin with the option ``prefix``."""

    shares_learning = True

    def snapshot(self, name: str) -> Snapshot | None:
        """Return the snapshot of a name, or None."""
        with self._reading() as connection:
            return self._states.snapshot(connection, name)

    def put_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Keep a snapshot, unless the log has one that is as new, or it is of a past epoch."""
        with self._writing(self._states_key) as connection:
            self._states.put_snapshot(connection, name, snapshot)

    def deltas(self, name: str, after: int, epoch: int) -> Sequence[StateDelta] | None:
        """Return the deltas that continue from a state, in order; None if none does."""
        with self._reading() as connection:
            return self._states.deltas(connection, name, after, epoch)

    def put_delta(self, name: str, delta: StateDelta) -> bool:
        """Keep a delta if it continues from the newest state; return whether it does."""
        with self._writing(self._states_key) as connection:
            return self._states.put_delta(connection, name, delta)

    def is_learner(self, name: str) -> bool:
        """Return whether this process is elected to learn; one that does not ask for ``LEASE_S`` is not."""
        return self._leases.holds(self._key(f"learner {name}"))

    def pending_rows(self) -> Sequence[Row]:
        """Return the entries whose decision is not in the log."""
        with self._reading() as connection:
            return self._entries.pending_rows(connection)

    def partitions(self) -> Sequence[Partition]:
        """Return the log's partitions, the oldest first."""
        with self._reading() as connection:
            return self._partitions.all(connection)

    def aggregates(self) -> Sequence[Aggregate]:
        """Return sums over the decisions that retention has dropped, by day, tenant and chosen candidate."""
        with self._reading() as connection:
            return self._partitions.aggregates(connection)

    def _add_outcomes(self, found: OutcomeJoin) -> None:
        with self._reading(bounded=False) as connection:
            self._entries.add_outcomes(connection, found)

    def drop(self) -> None:
        """Delete the log's tables."""
        with self._writing(self._lock_key, self._states_key) as connection:
            self._tables.drop(connection)

    def _connect(self) -> None:
        check_url(self.url, self.name, [field.name for field in attrs.fields(type(self.config))])
        self._tables = Tables(self.config.prefix)
        self._entries = Entries(self._tables, self.config.retention)
        self._states = States(self._tables)
        self._partitions = Partitions(self._tables, self._states, self.config.retention)
        self._lock_key, self._states_key = self._key(""), self._key("states")
        self._connections = Connections(self.url, self.config.timeout_s, self._settings(), self._drop_idle)
        self._writers = Connections(self.url, self.config.timeout_s, self._settings(), self._drop_idle, self._entries.prepared)
        self._leases = Leases(self.url, self.config.timeout_s, LEASE_S)
        try:
            self._tables.prepare(self._upgrading, self.name)
            self._check_sessions()
        except StoreError:
            self._disconnect()
            raise

    def _check_sessions(self) -> None:
        """Raise a StoreError if two connections share a session of the server, whose settings would reach other programs."""
        query = "SELECT pg_backend_pid()"
        with self._reading() as connection:
            first = self._tables.value(connection, query)
        with self._transaction(_WRITE, self._writers) as (connection, _):
            second = self._tables.value(connection, query)
        if first == second:
            raise StoreError(f"the log {self.name} cannot be used: {_POOLER}")

    def _key(self, name: str) -> int:
        """Return the number of an advisory lock of this log."""
        digest = hashlib.sha256(f"aamc {self.config.prefix}{name and ' '}{name}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    def _commit_by_rules(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        with self._changing(lambda: self._entries.query_about(writes)) as (connection, found):
            return self._entries.commit(connection, found, writes)

    def _add_plain(self, feedback: Sequence[Row]) -> bool:
        with self._changing(lambda: self._entries.insert_feedback(feedback)) as (connection, found):
            found.set_result(-1)
            is_complete = found.rowcount == len(feedback)
            connection.execute(self._tables.query(_MOVE_END).replace("%s", str(len(feedback))) if is_complete else "ROLLBACK")
            return is_complete

    @contextmanager
    def _changing(self, statement: Callable[[], str]) -> Iterator[tuple[psycopg.Connection, psycopg.Cursor[Any]]]:
        """Begin a transaction of the only writer by a statement, in one message, since each takes its time."""
        try:
            begin = "; ".join([_WRITE, _LOCK.format(self._lock_key), statement()])
        except psycopg.Error as error:  # a name that is not a text that PostgreSQL takes
            raise self._refusal(error) from error
        with self._transaction(begin, self._writers) as begun:
            yield begun

    def _find(self, decision_id: str) -> Row | None:
        with self._reading() as connection:
            found = self._entries.rows_where(connection, "kind = 'decision' AND decision_id = %s", decision_id)
        return found[0] if found else None

    def _find_episode(self, episode_id: str) -> Sequence[Row]:
        with self._reading() as connection:
            return self._entries.rows_where(connection, "episode = %s ORDER BY position", episode_id)

    def _erase(self, erasure: Erasure, after: int, limit: int) -> tuple[int, int]:
        """Erase some decisions. The search for a tenant's through a large log takes long, so only the last part of it holds the lock."""
        names, reached = list[str](), after
        if erasure.user is None:
            with self._reading(bounded=False) as connection:
                names, reached = self._entries.covered(connection, erasure, after, limit)
        with self._writing(self._lock_key, self._states_key) as connection:
            if len(names) < limit:
                late, reached = self._entries.covered(connection, erasure, reached, limit - len(names))
                names += late
            self._entries.erase(connection, erasure, names)
            if len(names) < limit:
                self._states.forget(connection, erasure)
                if erasure.user is None:
                    self._partitions.erase_tenant(connection, erasure.tenant)
        return len(names), reached

    def exports(self) -> Sequence[ExportedFile]:
        """Return the files that entries of this log were exported to."""
        with self._reading() as connection:
            return [ExportedFile(*found) for found in self._tables.run(connection, "SELECT path, format FROM {exports} ORDER BY path")]

    def note_export(self, export: ExportedFile) -> None:
        """Remember a file that entries are exported to."""
        with self._writing(self._states_key) as connection:
            self._tables.run(connection, "INSERT INTO {exports} VALUES (%s, %s) ON CONFLICT (path) DO NOTHING", export.path, export.format)

    def discard_export(self, export: ExportedFile) -> None:
        """Stop remembering an exported file."""
        with self._writing(self._states_key) as connection:
            self._tables.run(connection, "DELETE FROM {exports} WHERE path = %s", export.path)

    def _drop_expired(self) -> None:
        with self._writing(self._lock_key, self._states_key) as connection:
            self._partitions.drop_expired(connection)

    def _now(self) -> float:
        with self._reading() as connection:
            return self._partitions.now(connection)

    def _begin_partition(self, number: int, begun: float) -> None:
        with self._writing(self._lock_key) as connection:
            self._partitions.begin(connection, number, begun)

    def _oldest_to_drop(self) -> Partition | None:
        with self._reading() as connection:
            return self._partitions.oldest_expired(connection)

    def _drop_part(self, oldest: Partition) -> int | None:
        with self._reading(bounded=False) as connection:
            if self._partitions.is_dropped(connection, oldest.number):
                return 0
            summed = self._partitions.summed(connection, oldest.number, self._ending.is_set)
        if summed is None:
            return None
        with self._writing(self._lock_key, self._states_key) as connection:
            return self._partitions.drop(connection, summed)

    def _forgotten_digests(self) -> Mapping[str, float]:
        with self._reading() as connection:
            return self._entries.forgotten(connection, self._entries.state(connection).epoch)

    def _counts(self) -> tuple[int, int]:
        with self._reading() as connection:
            snapshots = self._tables.value(connection, "SELECT count(*) FROM {snapshots} WHERE epoch > %s", UNLEARNED)
            return self._entries.state(connection).position, snapshots

    def _pending_counts(self) -> tuple[int, int]:
        query = "SELECT count(*) FILTER (WHERE kind = 'feedback'), count(*) FILTER (WHERE kind = 'attempt') FROM {pending}"
        with self._reading() as connection:
            feedback, attempts = self._tables.run(connection, query).fetchone() or (0, 0)
        return feedback, attempts

    def _own_health(self) -> Mapping[str, float]:
        floors = "SELECT count(*) FROM {snapshots} WHERE floor AND epoch < %s AND epoch > %s"
        placed = "SELECT position - dropped FROM {version}"
        with self._reading() as connection:
            state, partitions = self._entries.state(connection), self._partitions.all(connection)
            return {
                "placed": self._tables.value(connection, placed),
                "start": state.start,
                "partitions": len(partitions),
                "size_bytes": sum(each.size for each in partitions),
                "floors_to_clean": self._tables.value(connection, floors, state.epoch, UNLEARNED),
                "is_learner": float(self._leases.leads),
            }

    def batch(self, after: int = 0, limit: int = 1000) -> Batch:
        """Return at most ``limit`` entries after a position as rows, with the decisions that they refer to."""
        with self._reading() as connection:
            return self._entries.batch(connection, after, limit)

    def _disconnect(self) -> None:
        self._leases.close()
        self._writers.close()
        self._connections.close()

    @contextmanager
    def _writing(self, *locks: int) -> Iterator[psycopg.Connection]:
        """Begin a transaction with the advisory lock of the log, of the routers' states, or both in this order.

        Raises:
            StoreAwayError: Another transaction has held a lock for ``timeout_s`` seconds, or the server is lost or does not answer.
        """
        with self._transaction("; ".join([_WRITE, *map(_LOCK.format, locks)])) as (connection, _):
            yield connection

    @contextmanager
    def _upgrading(self, lock: str | None = None) -> Iterator[psycopg.Connection]:
        """Begin a transaction that may take long, under the writers' lock (``log``), another one, or none."""
        begin = [_WRITE, "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"]
        if lock != "log":
            begin.append("SET LOCAL lock_timeout = 0")
        if lock is not None:
            begin.append(_LOCK.format(self._lock_key if lock == "log" else self._key(lock)))
        with self._transaction("; ".join(begin), bounded=False) as (connection, _):
            yield connection

    @contextmanager
    def _reading(self, *, bounded: bool = True) -> Iterator[psycopg.Connection]:
        """Begin a transaction that sees one state of the log, however many queries it takes."""
        unlimited = "" if bounded else "; SET LOCAL statement_timeout = 0"
        with self._transaction("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY" + unlimited, bounded=bounded) as (connection, _):
            yield connection

    @contextmanager
    def _transaction(
        self, begin: str, connections: Connections | None = None, *, bounded: bool = True
    ) -> Iterator[tuple[psycopg.Connection, psycopg.Cursor[Any]]]:
        try:
            with (connections or self._connections).transaction(begin, bounded=bounded) as begun:
                yield begun
        except psycopg.Error as error:
            raise self._refusal(error) from error

    def _drop_idle(self) -> None:
        """Close the idle connections: they were opened to the same server as one that has failed."""
        self._connections.drop_idle()
        self._writers.drop_idle()

    def _settings(self) -> str:
        """Return the settings of each connection: how long the server waits for a lock, for a statement, and for a process that has hung."""
        limit_ms = max(1, round(1000 * self.config.timeout_s))
        limits = {"lock_timeout": limit_ms, "statement_timeout": round(1.5 * limit_ms), "idle_in_transaction_session_timeout": _IDLE_TIMES * limit_ms}
        relaxed = ["SET synchronous_commit = off"] if self.config.durability == "relaxed" else []
        return "; ".join([*(f"SET {name} = {value}" for name, value in limits.items()), *relaxed])

    def _refusal(self, error: psycopg.Error) -> StoreError:
        if isinstance(error, _CONTENT_ERRORS):
            kind, advice = StoreError, "nothing was written"
        else:
            kind, advice = StoreAwayError, next((advice for kinds, advice in _ADVICE if isinstance(error, kinds)), _DEFAULT_ADVICE)
        explained = kind(f"the log {self.name} cannot be used ({' '.join(str(error).split())}): {advice}")
        explained.__cause__ = error
        return explained
