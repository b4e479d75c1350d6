"""The partitions of a log in SQLite, and dropping the oldest one."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator

import attrs

from aamc_sdk.log.options import Retention
from aamc_sdk.log.retention.aggregates import aggregate_from, aggregate_key, aggregate_texts, aggregates_of, oldest_key, without_tenant
from aamc_sdk.log.retention.expiry import covered_position, is_oldest_expired, renewed_since
from aamc_sdk.log.rows.row import DECISION, Row
from aamc_sdk.log.sqlite.file import used_bytes
from aamc_sdk.log.sqlite.states import States
from aamc_sdk.log.sqlite.table import EntryTable
from aamc_sdk.types import Aggregate, Partition

_NAMED = "decision_id IN (SELECT value FROM json_each(?))"
_LEAVING = f"""SELECT kind, id, decision_id, candidate, CASE kind WHEN 'decision' THEN '' ELSE content END, time, NULL, revision, NULL,
    tenant, propensity FROM entries WHERE position > 0 AND {_NAMED} ORDER BY position"""  # noqa: S608  # constants


class Partitions:
    """The partitions within a transaction of a connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._table = EntryTable(connection)

    def all(self) -> list[Partition]:
        """Return the partitions, the oldest first."""
        query = "SELECT number, first, lead(first) OVER (ORDER BY number) - 1, begun, size FROM partitions ORDER BY number"
        return [Partition(*found) for found in self._connection.execute(query)]

    def begin(self, number: int, begun: float) -> None:
        """Begin an empty partition, unless it is there."""
        self._connection.execute("INSERT OR IGNORE INTO partitions VALUES (?, ?, ?, 0)", (number, self._table.position + 1, begun))

    def oldest_to_drop(self, retention: Retention) -> Partition | None:
        """Return the oldest partition if it is expired, or was dropped in part, so that its first decision is gone; else None."""
        partitions = self.all()
        if len(partitions) < 2:
            return None
        is_there = self._connection.execute("SELECT 1 FROM entries WHERE position = ?", (partitions[0].first,)).fetchone()
        return partitions[0] if is_there is None or is_oldest_expired(partitions, retention, time.time(), used_bytes(self._connection)) else None

    def aggregates(self) -> list[Aggregate]:
        """Return the sums over the decisions that were dropped."""
        return [aggregate_from(text) for (text,) in self._connection.execute("SELECT content FROM aggregates ORDER BY key")]

    def erase_tenant(self, tenant: str | None) -> None:
        """Erase the name of a tenant from the aggregates."""
        nameless = aggregate_texts({}, without_tenant(self.aggregates(), tenant))
        self._connection.execute("DELETE FROM aggregates")
        self._connection.executemany("INSERT INTO aggregates VALUES (?, ?)", nameless.items())

    def drop(self, oldest: Partition, limit: int, since: float) -> int | None:
        """Drop at most ``limit`` decisions of the oldest partition with all their entries, and the partition if none is left.

        Return their number; None if a router that has put its snapshot after ``since`` has not learned all their entries yet.
        """
        assert oldest.last is not None
        decided = "SELECT id FROM entries WHERE +kind = ? AND position >= ? AND position <= ? ORDER BY position LIMIT ?"  # by position
        going = self._connection.execute(decided, (DECISION, oldest.first, oldest.last, limit)).fetchall()
        names = json.dumps([name for (name,) in going])
        last = self._connection.execute(f"SELECT coalesce(max(position), 0) FROM entries WHERE {_NAMED}", (names,)).fetchone()[0]  # noqa: S608  # constants
        states = States(self._connection)
        if last > covered_position(states.renewed(), since):
            return None
        self._add_aggregates(names)
        states.raise_floors(since)
        count = f"(SELECT count(*) FROM entries WHERE position > 0 AND {_NAMED})"  # noqa: S608  # constants
        bounds = (last, self._table.position, names)
        self._connection.execute(f"UPDATE bounds SET start = max(start, ?), position = ?, dropped = dropped + {count}", bounds)  # noqa: S608  # constants
        self._connection.execute(f"DELETE FROM entries WHERE {_NAMED}", (names,))  # noqa: S608  # constants
        if len(going) < limit:
            self._connection.execute("DELETE FROM partitions WHERE number = ?", (oldest.number,))
        return len(going)

    def drop_expired(self, retention: Retention) -> None:
        """Drop aggregates beyond their limit, and floors that hold a forgotten user and whose routers no longer learn."""
        now = time.time()
        if (oldest := oldest_key(retention, now)) is not None:
            self._connection.execute("DELETE FROM aggregates WHERE key < ?", (oldest,))
        States(self._connection).drop_unclean_floors(renewed_since(retention, now))

    def _add_aggregates(self, names: str) -> None:
        """Add the outcomes of decisions that are dropped to the aggregates."""
        new = aggregates_of(self._leaving(names))
        keys = json.dumps([aggregate_key(each) for each in new])
        kept = dict(self._connection.execute("SELECT key, content FROM aggregates WHERE key IN (SELECT value FROM json_each(?))", (keys,)).fetchall())
        self._connection.executemany("REPLACE INTO aggregates VALUES (?, ?)", aggregate_texts(kept, new).items())

    def _leaving(self, names: str) -> Iterator[Row]:
        found = self._connection.execute(_LEAVING, (names,)).fetchall()
        for row, (*_, tenant, propensity) in zip(self._table.rows_from([each[:-2] for each in found]), found, strict=True):
            yield attrs.evolve(row, columns={"tenant": tenant, "propensity": propensity}) if row.kind == DECISION else row
