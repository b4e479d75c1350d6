"""Learned states of routers in PostgreSQL: snapshots, floors and chains of deltas. All within a caller's transaction."""

from __future__ import annotations

import math
from collections.abc import Sequence

import psycopg

from aamc_sdk.log import MAX_SNAPSHOTS, UNLEARNED, Erasure, deltas_after, extends_chain, replaces_deltas
from aamc_sdk.types import Snapshot, StateDelta
from aamc_stores.postgres_log.tables import Tables

_DROP_OLDEST_NAMES = """DELETE FROM {snapshots} WHERE name NOT IN (
    SELECT name FROM {snapshots} GROUP BY name ORDER BY max(renewed) DESC, max(n) DESC LIMIT %s)"""
_DROP_LOWER_FLOORS = """DELETE FROM {snapshots} WHERE floor AND name IN (
    SELECT name FROM {snapshots} WHERE NOT floor AND extract(epoch FROM renewed) >= %s)"""
_RAISE_FLOORS = """INSERT INTO {snapshots} (name, position, content, last, epoch, renewed, floor)
    SELECT name, position, content, last, epoch, renewed, true FROM {snapshots} WHERE NOT floor AND extract(epoch FROM renewed) >= %s"""
_EMPTY_FLOORS = """INSERT INTO {snapshots} (name, position, content, last, epoch, renewed, floor)
    SELECT name, 0, '', '', %s, renewed, true FROM {snapshots} WHERE NOT floor ON CONFLICT DO NOTHING"""
_NEWEST = """SELECT greatest(
    (SELECT max(position) FROM {deltas} WHERE name = %s), (SELECT max(position) FROM {snapshots} WHERE name = %s), 0)"""


class States:
    """Reads and writes snapshots and deltas.

    A name has at most two snapshots: the newest, and its floor, which was the newest when a partition went. Whoever writes must be the only one.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def snapshot(self, connection: psycopg.Connection, name: str) -> Snapshot | None:
        """Return the newest snapshot of a name, else its floor, else None."""
        query = "SELECT position, content, epoch, last FROM {snapshots} WHERE name = %s AND epoch > %s ORDER BY floor LIMIT 1"
        found = self._tables.run(connection, query, name, UNLEARNED).fetchone()
        return None if found is None else Snapshot(*found)

    def put_snapshot(self, connection: psycopg.Connection, name: str, snapshot: Snapshot) -> None:
        """Keep a snapshot, unless the log has one that is as new, or it is of a past epoch or apart from the chain of deltas."""
        run = self._tables.run
        if snapshot.epoch != self._epoch(connection):
            return
        run(connection, "UPDATE {snapshots} SET renewed = now() WHERE name = %s", name)
        found = run(connection, "SELECT floor, position, epoch FROM {snapshots} WHERE name = %s", name)
        known = {floor: (position, epoch) for floor, position, epoch in found}
        cleans = True in known and known[True][0] == snapshot.position and known[True][1] < snapshot.epoch
        afters = [after for (after,) in run(connection, "SELECT after FROM {deltas} WHERE name = %s", name)]
        newer = all(position < snapshot.position for position, _ in known.values())
        if not cleans and not (newer and replaces_deltas(snapshot.position, afters, self._newest(connection, name))):
            return
        run(connection, "DELETE FROM {snapshots} WHERE name = %s AND floor = %s", name, cleans)
        insert = "INSERT INTO {snapshots} (name, position, content, last, epoch, floor) VALUES (%s, %s, %s, %s, %s, %s)"
        run(connection, insert, name, snapshot.position, snapshot.content, snapshot.last, snapshot.epoch, cleans)
        run(connection, "DELETE FROM {deltas} WHERE name = %s AND after < %s", name, snapshot.position)
        run(connection, _DROP_OLDEST_NAMES, MAX_SNAPSHOTS)
        run(connection, "DELETE FROM {deltas} WHERE name NOT IN (SELECT name FROM {snapshots})")

    def deltas(self, connection: psycopg.Connection, name: str, after: int, epoch: int) -> Sequence[StateDelta] | None:
        """Return the deltas that continue from a state; None if none does."""
        if epoch != self._epoch(connection):
            return None
        query = "SELECT after, position, content, epoch, last FROM {deltas} WHERE name = %s AND after >= %s ORDER BY after"
        found = [StateDelta(*each) for each in self._tables.run(connection, query, name, after)]
        return deltas_after(found, after, self._newest(connection, name))

    def put_delta(self, connection: psycopg.Connection, name: str, delta: StateDelta) -> bool:
        """Keep a delta if it continues from the newest state; return whether it does."""
        if not extends_chain(delta, self._newest(connection, name), self._epoch(connection)):
            return False
        insert = "INSERT INTO {deltas} (name, after, position, content, epoch, last) VALUES (%s, %s, %s, %s, %s, %s)"
        self._tables.run(connection, insert, name, delta.after, delta.position, delta.content, delta.epoch, delta.last)
        return True

    def renewed(self, connection: psycopg.Connection) -> list[tuple[int, float]]:
        """Return the position of each router's newest snapshot or floor, and when it was put last, in seconds since the epoch."""
        query = "SELECT max(position), extract(epoch FROM max(renewed))::float8 FROM {snapshots} GROUP BY name"
        return [(position, renewed) for position, renewed in self._tables.run(connection, query)]

    def raise_floors(self, connection: psycopg.Connection, since: float) -> None:
        """Keep the newest snapshot of each name that was renewed since some time as the name's floor."""
        self._tables.run(connection, _DROP_LOWER_FLOORS, since)
        self._tables.run(connection, _RAISE_FLOORS, since)

    def drop_unclean_floors(self, connection: psycopg.Connection, since: float) -> None:
        """Drop the floors that were learned with users who have been forgotten since, and were not renewed since a time."""
        drop = "DELETE FROM {snapshots} WHERE floor AND epoch < %s AND extract(epoch FROM renewed) < %s"
        self._tables.run(connection, drop, self._epoch(connection), since)

    def forget(self, connection: psycopg.Connection, erasure: Erasure) -> None:
        """Begin a new epoch: all snapshots but floors go, and all deltas; the user's digest stays.

        A router without a floor gets an empty one, so that no partition goes before the router has learned again.
        """
        self._tables.run(connection, _EMPTY_FLOORS, UNLEARNED)
        self._tables.run(connection, "DELETE FROM {snapshots} WHERE NOT floor")
        self._tables.run(connection, "DELETE FROM {deltas}")
        insert = "INSERT INTO {erasures} (who, time) VALUES (%s, greatest(clock_timestamp(), to_timestamp(%s)))"
        self._tables.run(connection, insert, erasure.digest, math.ceil(erasure.latest))  # a timestamp has microseconds, a decision's time more digits

    def _newest(self, connection: psycopg.Connection, name: str) -> int:
        """Return the position of the newest state, 0 for none."""
        return int(self._tables.value(connection, _NEWEST, name, name))

    def _epoch(self, connection: psycopg.Connection) -> int:
        return int(self._tables.value(connection, "SELECT coalesce(max(epoch), 0) FROM {erasures}"))
