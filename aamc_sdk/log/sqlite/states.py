"""Learned states of routers in SQLite: snapshots, the floors below which the log was dropped, and deltas."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from aamc_sdk.log.delta_chain import deltas_after, extends_chain, replaces_deltas
from aamc_sdk.log.retention.expiry import UNLEARNED
from aamc_sdk.log.row_store import MAX_SNAPSHOTS
from aamc_sdk.log.sqlite.table import EntryTable
from aamc_sdk.types import Snapshot, StateDelta

_STATES = "SELECT name, position, renewed, n FROM snapshots UNION ALL SELECT name, position, renewed, 0 FROM floors"
_NEWEST = f"""SELECT coalesce(max(position), 0) FROM (
    SELECT name, position FROM ({_STATES}) UNION ALL SELECT name, position FROM deltas) WHERE name = ?"""  # noqa: S608  # constants
_KEPT = f"SELECT name FROM ({_STATES}) GROUP BY name ORDER BY max(renewed) DESC, max(n) DESC LIMIT ?"  # noqa: S608  # constants


class States:
    """The tables ``snapshots``, ``floors`` and ``deltas`` within a transaction of a connection.

    A floor is the snapshot of a router that covers all that was dropped; from it the router learns again after a user is forgotten.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._epoch = EntryTable(connection).epoch

    def snapshot(self, name: str) -> Snapshot | None:
        """Return the snapshot of a name, else its floor, else None."""
        found = self._connection.execute("SELECT position, content, last FROM snapshots WHERE name = ?", (name,)).fetchone()
        if found is not None:
            return Snapshot(found[0], found[1], self._epoch, found[2])
        query = "SELECT position, content, epoch, last FROM floors WHERE name = ? AND epoch > ?"
        floor = self._connection.execute(query, (name, UNLEARNED)).fetchone()
        return None if floor is None else Snapshot(*floor)

    def put_snapshot(self, name: str, new: Snapshot) -> None:
        """Keep a snapshot unless it is no newer than the last, of a past epoch, or outside the chain of deltas; note that its router still learns."""
        if new.epoch != self._epoch:
            return
        floor = self._connection.execute("SELECT position, epoch FROM floors WHERE name = ?", (name,)).fetchone()
        newest = self._connection.execute(f"SELECT max(position) FROM ({_STATES}) WHERE name = ?", (name,)).fetchone()[0]  # noqa: S608  # constants
        afters = [after for (after,) in self._connection.execute("SELECT after FROM deltas WHERE name = ?", (name,))]
        if floor is not None and floor[0] == new.position and floor[1] < new.epoch:  # learned without forgotten users
            update = "UPDATE floors SET content = ?, last = ?, epoch = ? WHERE name = ?"
            self._connection.execute(update, (new.content, new.last, new.epoch, name))
        elif (newest is None or newest < new.position) and replaces_deltas(new.position, afters, self._newest(name)):
            replace = "REPLACE INTO snapshots (name, position, content, last, renewed) VALUES (?, ?, ?, ?, 0)"
            self._connection.execute(replace, (name, new.position, new.content, new.last))
            self._connection.execute("DELETE FROM deltas WHERE name = ? AND after < ?", (name, new.position))
        for table in ("snapshots", "floors"):
            self._connection.execute(f"UPDATE {table} SET renewed = ? WHERE name = ?", (time.time(), name))  # noqa: S608  # constants
        for table in ("snapshots", "floors", "deltas"):
            self._connection.execute(f"DELETE FROM {table} WHERE name != ? AND name NOT IN ({_KEPT})", (name, MAX_SNAPSHOTS))  # noqa: S608  # constants

    def deltas(self, name: str, after: int, epoch: int) -> Sequence[StateDelta] | None:
        """Return the deltas that continue from a state: empty if it is the newest, None if none does."""
        if epoch != self._epoch:
            return None
        query = "SELECT after, position, content, ?, last FROM deltas WHERE name = ? AND after >= ? ORDER BY after"
        found = [StateDelta(*values) for values in self._connection.execute(query, (epoch, name, after))]
        return deltas_after(found, after, self._newest(name))

    def put_delta(self, name: str, delta: StateDelta) -> bool:
        """Keep a delta if it continues from the newest state; return whether it does."""
        if not extends_chain(delta, self._newest(name), self._epoch):
            return False
        values = (name, delta.after, delta.position, delta.content, delta.last)
        self._connection.execute("INSERT INTO deltas (name, after, position, content, last) VALUES (?, ?, ?, ?, ?)", values)
        return True

    def renewed(self) -> list[tuple[int, float]]:
        """Return the position of each router's newest snapshot or floor, and when it was put last."""
        query = f"SELECT max(position), max(renewed) FROM ({_STATES}) GROUP BY name"  # noqa: S608  # constants
        return self._connection.execute(query).fetchall()

    def raise_floors(self, since: float) -> None:
        """Keep the snapshots that were renewed since a time as floors."""
        self._connection.execute(
            """REPLACE INTO floors SELECT name, position, content, last, ?, renewed FROM snapshots AS new WHERE renewed >= ?
            AND NOT EXISTS (SELECT 1 FROM floors WHERE floors.name = new.name AND floors.position >= new.position)""",
            (self._epoch, since),
        )

    def drop_unclean_floors(self, since: float) -> None:
        """Drop the floors that were learned with users who have been forgotten since, and were not renewed since a time."""
        self._connection.execute("DELETE FROM floors WHERE epoch < ? AND renewed < ?", (self._epoch, since))

    def forget(self) -> None:
        """Drop all snapshots and deltas. A router without a floor gets an empty one, so that no partition goes before it has learned again."""
        empty = "INSERT OR IGNORE INTO floors SELECT name, 0, x'', '', ?, renewed FROM snapshots"
        self._connection.execute(empty, (UNLEARNED,))
        self._connection.execute("DELETE FROM snapshots")
        self._connection.execute("DELETE FROM deltas")

    def counts(self) -> tuple[int, int]:
        """Return the number of snapshots, and of floors that were learned with users who have been forgotten since."""
        query = "SELECT (SELECT count(*) FROM snapshots), (SELECT count(*) FROM floors WHERE epoch < ? AND epoch > ?)"
        snapshots, to_clean = self._connection.execute(query, (self._epoch, UNLEARNED)).fetchone()
        return snapshots, to_clean

    def _newest(self, name: str) -> int:
        """Return the position of the newest state of a name, 0 for none."""
        return int(self._connection.execute(_NEWEST, (name,)).fetchone()[0])
