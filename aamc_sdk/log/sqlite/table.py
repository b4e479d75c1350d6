"""The entries of a log in SQLite: the statements that read and write them."""

from __future__ import annotations

import itertools
import json
import math
import sqlite3
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from aamc_sdk.log.erasure import Erasure, erased_if_forgotten
from aamc_sdk.log.experience import Batch, followed, replaced_rows, revised_ids
from aamc_sdk.log.options import Retention
from aamc_sdk.log.outcomes import OutcomeJoin
from aamc_sdk.log.retention.expiry import begins_partition
from aamc_sdk.log.rows.row import ATTEMPT, DECISION, FEEDBACK, KIND_COLUMNS, Row, columns_of, fingerprint_bytes
from aamc_sdk.log.rows.templates import Templates
from aamc_sdk.log.writes.excerpt import Excerpt, Write
from aamc_sdk.types import Partition

ENTRY_BYTES = 350
"""Approximate bytes of an entry in the file without its content and embedding, with its indexes."""
_KEPT = "kind, id, decision_id, candidate, content, time"
_ROW = f"{_KEPT}, NULL, revision, fingerprint"  # embeddings, which no rule needs, are left out
_FULL_ROW = f"{_KEPT}, embedding, revision, fingerprint"
_SELECT = f"SELECT {_FULL_ROW} FROM entries"  # noqa: S608  # constants
_REVISIONS = f"{_SELECT} WHERE kind = ? AND position > 0 AND id IN (SELECT value FROM json_each(?))"  # noqa: S608  # constants
_NAMED = """(kind != 'feedback' AND decision_id IN (SELECT value FROM json_each(?)))
    OR (kind = 'feedback' AND id IN (SELECT value FROM json_each(?)))"""
_PLACED = f"SELECT {_ROW} FROM entries WHERE position > 0 AND ({_NAMED}) ORDER BY position"  # noqa: S608  # constants
_EARLIER = f"{_SELECT} WHERE kind = ? AND id IN (SELECT value FROM json_each(?)) ORDER BY position"  # noqa: S608  # constants
_FIRST_MADE = """SELECT coalesce(min(position), 0) FROM entries
    WHERE position > 0 AND +kind = 'decision' AND time >= :since AND time < :until"""  # + keeps SQLite from using the index of kinds
_OUTCOMES = """SELECT kind, decision_id, id, candidate, time, propensity,
    CASE WHEN kind = 'feedback' OR (kind = 'decision' AND :contents) THEN content END, CASE WHEN :embeddings THEN embedding END,
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
_POSITION = "max((SELECT coalesce(max(position), 0) FROM entries), (SELECT position FROM bounds))"
_EPOCH = "(SELECT coalesce(max(epoch), 0) FROM erasures)"
_NUMBERS = "(SELECT coalesce(max(number), 0) FROM templates), (SELECT coalesce(max(number), -1) FROM partitions)"
_STATE = f"SELECT {_POSITION}, {_EPOCH}, {_NUMBERS}"
_COUNTED_BYTES = 10_000
"""Bytes that a writer adds at once to the size of a partition: each time takes a page of the write-ahead log."""


class TableCache:
    """Values of the file that a store remembers between transactions instead of reading them again.

    Discard the writer's after a transaction that failed: it may know templates that were not kept.

    Attributes:
        templates: The log's templates.
        epoch: The epoch of ``forgotten``.
        forgotten: The time at which each user was forgotten, by the user's digest.
        newest: The newest partition, as this writer saw it last.
        uncounted: Bytes that this writer wrote and that its size does not count yet.
    """

    def __init__(self) -> None:
        self.templates = Templates()
        self.epoch = 0
        self.forgotten: dict[str, float] = {}
        self.newest: Partition | None = None
        self.uncounted = 0
        self._lock = threading.Lock()

    def read_templates(self, connection: sqlite3.Connection) -> None:
        """Read the templates that the log has beyond the known ones."""
        with self._lock:
            found = connection.execute("SELECT content FROM templates WHERE number > ? ORDER BY number", (len(self.templates),))
            self.templates.extend(content for (content,) in found.fetchall())


class EntryTable:
    """The table ``entries`` within a transaction of a connection."""

    def __init__(self, connection: sqlite3.Connection, cache: TableCache | None = None) -> None:
        self._connection = connection
        self._cache = cache or TableCache()

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

    def add_outcomes(self, found: OutcomeJoin) -> None:
        """Add the decisions between the two times, and the attempts and feedback since the first of them; contents only if they are needed."""
        times = {"since": -math.inf if found.since is None else found.since, "until": math.inf if found.until is None else found.until}
        (first,) = (0,) if found.since is None else self._connection.execute(_FIRST_MADE, times).fetchone()
        needs = {"contents": found.needs_contents, "embeddings": found.needs_embeddings}
        self._cache.read_templates(self._connection)  # the contents of this state of the file need no later ones
        found.add_entries(self._connection.execute(_OUTCOMES, {"first": first, **times, **needs}), self._cache.templates.unpack_all)

    def batch(self, after: int, limit: int) -> Batch:
        """Return at most ``limit`` entries after a position with the entries that belong to them."""
        query = f"SELECT position, {_FULL_ROW} FROM entries WHERE position > ? ORDER BY position LIMIT ?"  # noqa: S608  # constants
        found = self._connection.execute(query, (after, limit)).fetchall()
        rows, positions = self.rows_from([each[1:] for each in found]), [each[0] for each in found]
        own = {row.id: row for row in rows if row.kind == DECISION}
        earlier = {row.decision_id for row in rows} - own.keys()
        decisions = [*(self._rows(_EARLIER, DECISION, json.dumps(list(earlier))) if earlier else ()), *own.values()]
        revised = revised_ids(rows)
        replaced = replaced_rows(rows, self._rows(_REVISIONS, FEEDBACK, json.dumps(revised))) if revised else ()
        before = self._rows("SELECT kind, id, decision_id, '', '', 0, NULL, revision, NULL FROM entries WHERE position = ?", after)
        start, *_ = self.bounds()
        follows = followed(after, before[0].name if before else None, start, self.position)
        end = positions[-1] if positions else after
        return Batch(end, rows, decisions, self.epoch, follows, replaced, start=start, positions=positions)

    def excerpt(self, writes: Sequence[Write[Any]]) -> Excerpt:
        """Return the part of the log that some writes need."""
        decisions = json.dumps([name for write in writes for name in write.decisions])
        feedback = json.dumps([name for write in writes for name in write.feedback])
        return Excerpt(self._rows(_PLACED, decisions, feedback), self._rows(_PENDING, decisions, decisions, feedback))

    def write(self, excerpt: Excerpt, retention: Retention) -> None:
        """Write the changes of an excerpt."""
        last = self._refresh()
        added = erased_if_forgotten(excerpt.added, self._cache.forgotten)
        entries = [*enumerate(added, 1 + last), *((None, row) for row in excerpt.added_pending.values())]
        for kind, some in itertools.groupby(entries, lambda entry: entry[1].kind):
            values = [self._values(position, row) for position, row in some]
            self._connection.executemany(_WRITES[kind], values)
            self._cache.uncounted += sum(ENTRY_BYTES + len(value[5]) + len(value[7] or b"") for value in values)
        delete = "DELETE FROM entries WHERE position IS NULL AND kind = ? AND id = ? AND revision = ?"
        if excerpt.dropped:
            self._connection.executemany(delete, [row.key for row in excerpt.dropped])
        self._divide(next((position for position, row in enumerate(added, 1 + last) if row.kind == DECISION), None), retention)

    def _refresh(self) -> int:
        """Read the writes of other processes; return the last position."""
        position, epoch, templates, partition = self._connection.execute(_STATE).fetchone()
        if templates > len(self._cache.templates):  # else numbers would be given twice
            self._cache.read_templates(self._connection)
        if epoch != self._cache.epoch:
            self._cache.epoch, self._cache.forgotten = epoch, self.forgotten_digests()
        if partition != (-1 if self._cache.newest is None else self._cache.newest.number):
            self._read_newest()
        return int(position)

    def _read_newest(self) -> None:
        query = "SELECT number, first, NULL, begun, size FROM partitions ORDER BY number DESC LIMIT 1"
        found = self._connection.execute(query).fetchone()
        self._cache.newest = None if found is None else Partition(*found)

    def _divide(self, decided: int | None, retention: Retention) -> None:
        """Add the written bytes to the newest partition, or begin a partition at the position of the first of the decisions."""
        known, now = self._cache, time.time()
        if decided is not None and begins_partition(known.newest, now, retention):
            known.newest = Partition(0 if known.newest is None else known.newest.number + 1, decided, None, now, known.uncounted)
            values = (known.newest.number, decided, now, known.uncounted)
            self._connection.execute("INSERT INTO partitions VALUES (?, ?, ?, ?)", values)
            known.uncounted = 0
        elif known.newest is not None and known.uncounted >= _COUNTED_BYTES:
            self._connection.execute("UPDATE partitions SET size = size + ? WHERE number = ?", (known.uncounted, known.newest.number))
            known.uncounted = 0
            self._read_newest()

    @property
    def position(self) -> int:
        """The last position that the log has given out."""
        return int(self._connection.execute(f"SELECT {_POSITION}").fetchone()[0])

    def pending_counts(self) -> tuple[int, int]:
        """Return the number of pending pieces of feedback, and of pending attempts."""
        found = dict(self._connection.execute("SELECT kind, count(*) FROM entries WHERE position IS NULL GROUP BY +kind").fetchall())
        return found.get(FEEDBACK, 0), found.get(ATTEMPT, 0)

    @property
    def epoch(self) -> int:
        """The number of times that a user was forgotten."""
        return int(self._connection.execute(f"SELECT {_EPOCH}").fetchone()[0])

    def bounds(self) -> tuple[int, int, int]:
        """Return the position of the last dropped entry, the last one given out by then, and the number of dropped entries."""
        start, position, dropped = self._connection.execute("SELECT start, position, dropped FROM bounds").fetchone()
        return start, position, dropped

    def erase(self, erasure: Erasure, after: int, limit: int) -> tuple[int, int]:
        """Erase at most ``limit`` decisions after a position; return how many, and the last one's position. The last ones begin a new epoch."""
        if erasure.user is None:
            which = "tenant = :tenant AND position > :after ORDER BY position"
        else:  # erased ones leave the index of users
            which = "user_id = :user AND (:tenant IS NULL OR tenant = :tenant)"
        query = f"SELECT position, {_FULL_ROW} FROM entries WHERE {which} LIMIT :limit"  # noqa: S608  # constants
        values = {"user": erasure.user, "tenant": erasure.tenant, "after": after, "limit": limit}
        found = self._connection.execute(query, values).fetchall()
        self._cache.read_templates(self._connection)
        erased = [(self._packed(row), row.id) for row in map(erasure.applied, self.rows_from([each[1:] for each in found]))]
        tenant = ", tenant = NULL" if erasure.user is None else ""
        erase = f"UPDATE entries SET content = ?, embedding = NULL, fingerprint = NULL, user_id = NULL{tenant} WHERE kind = 'decision' AND id = ?"  # noqa: S608  # constants
        self._connection.executemany(erase, erased)
        if len(found) < limit:
            self._connection.execute("INSERT INTO erasures (time, who) VALUES (?, ?)", (max(time.time(), erasure.latest), erasure.digest))
        return len(found), found[-1][0] if found else after

    def forgotten_digests(self) -> dict[str, float]:
        """Return the time at which each user was forgotten, by the user's digest; logs of the first versions have none."""
        return dict(self._connection.execute("SELECT who, max(time) FROM erasures WHERE who IS NOT NULL GROUP BY who").fetchall())

    def _rows(self, query: str, *values: object) -> list[Row]:
        return self.rows_from(self._connection.execute(query, values).fetchall())

    def rows_from(self, found: Sequence[Sequence[Any]]) -> list[Row]:
        """Return rows from their columns, each unpacked when it is read; contents of earlier versions are texts."""
        if max((packed[0] for _, _, _, _, packed, *_ in found if packed and isinstance(packed, bytes)), default=0) > len(self._cache.templates):
            self._cache.read_templates(self._connection)
        unpack = self._cache.templates.unpack
        return [
            Row(kind, name, decision_id, candidate, partial(unpack, content), when, embedding, revision, _fingerprint(mark))
            for kind, name, decision_id, candidate, content, when, embedding, revision, mark in found
        ]

    def _values(self, position: int | None, row: Row) -> tuple[Any, ...]:
        kept = (fingerprint_bytes(row.fingerprint) or row.fingerprint) if row.fingerprint else None
        own = (position, row.kind, row.id, row.decision_id, row.candidate, self._packed(row), row.time, row.embedding, row.revision, kept)
        return (*own, *map(columns_of(row).__getitem__, KIND_COLUMNS[row.kind]))

    def _packed(self, row: Row) -> bytes:
        """Return a row's content as it is kept, and keep the template that it needs."""
        content, template = self._cache.templates.pack(row)
        if template is not None:
            self._connection.execute("INSERT INTO templates VALUES (?, ?)", (len(self._cache.templates), template))
        return content


def _fingerprint(kept: bytes | str | None) -> str:
    """Return a fingerprint, which earlier versions kept as text."""
    return kept.hex() if isinstance(kept, bytes) else kept or ""
