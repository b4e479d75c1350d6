"""The partitions of a log in a PostgreSQL database. Retention drops the table of the oldest one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import psycopg
from typing_extensions import LiteralString

from aamc_sdk.log import (
    DECISION,
    Retention,
    Row,
    Templates,
    aggregate_from,
    aggregate_key,
    aggregate_texts,
    aggregates_of,
    combined,
    covered_position,
    is_oldest_expired,
    oldest_key,
    renewed_since,
    without_tenant,
)
from aamc_sdk.types import Aggregate, Partition
from aamc_stores.postgres_log.states import States
from aamc_stores.postgres_log.tables import Tables

_READ_AT_ONCE = 5000
_NOW: LiteralString = "SELECT extract(epoch FROM now())::float8"
_DROP_WAIT_MS = 500
"""Time that a drop waits for readers, such as a backup. All other transactions wait behind it; a drop that fails is tried again."""
_ALL: LiteralString = """SELECT number, first, lead(first) OVER (ORDER BY number) - 1, begun,
    coalesce(pg_total_relation_size(to_regclass({children} || number || '"')), 0) FROM {partitions} ORDER BY number"""
_OUTCOMES: LiteralString = """SELECT kind, id, decision_id, candidate,
    CASE WHEN kind != 'decision' THEN json END, CASE WHEN kind != 'decision' THEN packed END, time, revision, tenant, propensity FROM {child}"""

_CHANGED: LiteralString = """ WHERE decision_id IN (SELECT decision_id FROM {child} WHERE position > %(last)s)
    AND (%(until)s::bigint IS NULL OR position <= %(until)s) ORDER BY decision_id, position"""


@attrs.frozen
class SummedPartition:
    """A partition that may be dropped, with the sums over its decisions up to its last position."""

    number: int
    last: int
    entries: int  # how many
    aggregates: list[Aggregate]


class Partitions:
    """Lists partitions and drops the oldest.

    Sums over a partition are taken before the transaction that drops it, which keeps writers waiting; that one adds the entries which came meanwhile.
    """

    def __init__(self, tables: Tables, states: States, retention: Retention) -> None:
        self._tables = tables
        self._states = states
        self._retention = retention

    def all(self, connection: psycopg.Connection) -> list[Partition]:
        """Return the partitions, the oldest first."""
        return [Partition(*found) for found in self._tables.run(connection, _ALL)]

    def now(self, connection: psycopg.Connection) -> float:
        """Return the server's time in seconds since the epoch."""
        return float(self._tables.value(connection, _NOW))

    def begin(self, connection: psycopg.Connection, number: int, begun: float) -> None:
        """Begin an empty partition, unless it is there."""
        if number > max((each.number for each in self.all(connection)), default=-1):
            self._tables.make_child(connection, number)
            self._tables.run(connection, "INSERT INTO {partitions} SELECT %s, position + 1, %s FROM {version}", number, begun)

    def oldest_expired(self, connection: psycopg.Connection) -> Partition | None:
        """Return the oldest partition if it is expired."""
        partitions, now = self.all(connection), self.now(connection)
        return partitions[0] if is_oldest_expired(partitions, self._retention, now, sum(each.size for each in partitions)) else None

    def is_dropped(self, connection: psycopg.Connection, number: int) -> bool:
        """Return whether a partition is no longer the oldest expired one: another process has dropped it."""
        oldest = self.oldest_expired(connection)
        return oldest is None or oldest.number != number

    def _is_learned(self, connection: psycopg.Connection, number: int) -> bool:
        """Return whether the routers that still learn have learned all entries of a partition."""
        since = renewed_since(self._retention, self.now(connection))
        return self._last(connection, number) <= covered_position(self._states.renewed(connection), since)

    def summed(self, connection: psycopg.Connection, number: int, ended: Callable[[], bool]) -> SummedPartition | None:
        """Return the sums over the decisions of a partition, from all of its entries; None if it is not learned yet, or the store ends meanwhile."""
        if not self._is_learned(connection, number):
            return None
        counting = itertools.count()
        with connection.cursor("aamc_outcomes") as cursor:
            cursor.itersize = _READ_AT_ONCE
            cursor.execute(self._tables.query(_OUTCOMES + " ORDER BY decision_id, position", child=self._tables.child(number)))
            rows = itertools.takewhile(lambda _: not ended(), map(_row, cursor))
            aggregates = _sums(row for row, _ in zip(rows, counting))  # noqa: B905  # one of them is endless
        return None if ended() else SummedPartition(number, self._last(connection, number), next(counting), aggregates)

    def drop(self, connection: psycopg.Connection, summed: SummedPartition) -> int | None:
        """Drop the oldest partition; return its number of decisions, 0 if it is dropped already, or None if a router has not learned all of it."""
        if self.is_dropped(connection, summed.number):
            return 0
        if not self._is_learned(connection, summed.number):
            return None
        aggregates = self._with_late(connection, summed)
        self._add(connection, aggregates)
        now = self.now(connection)
        self._states.raise_floors(connection, renewed_since(self._retention, now))
        child = self._tables.child(summed.number)
        late = self._tables.value(connection, "SELECT count(*) FROM {child} WHERE position > %s", summed.last, child=child)
        end = "UPDATE {version} SET start = greatest(start, %s), dropped = dropped + %s"
        self._tables.run(connection, end, self._last(connection, summed.number), summed.entries + late)
        self._tables.run(connection, "DELETE FROM {partitions} WHERE number = %s", summed.number)
        connection.execute(f"SET LOCAL lock_timeout = {_DROP_WAIT_MS}")
        self._tables.run(connection, "DROP TABLE {child}", child=child)
        return sum(each.decisions for each in aggregates)

    def _with_late(self, connection: psycopg.Connection, summed: SummedPartition) -> list[Aggregate]:
        """Return the sums over a partition's decisions, with the entries that came after they were taken."""
        query = self._tables.query(_OUTCOMES + _CHANGED, child=self._tables.child(summed.number))
        after = connection.execute(query, {"last": summed.last, "until": None}).fetchall()
        before = connection.execute(query, {"last": summed.last, "until": summed.last}).fetchall()
        return combined([*summed.aggregates, *(each.negative() for each in _sums(map(_row, before))), *_sums(map(_row, after))])

    def aggregates(self, connection: psycopg.Connection) -> list[Aggregate]:
        """Return the sums over all dropped decisions."""
        return [aggregate_from(content) for (content,) in self._tables.run(connection, "SELECT content FROM {aggregates} ORDER BY key")]

    def erase_tenant(self, connection: psycopg.Connection, tenant: str | None) -> None:
        """Erase the name of a tenant from the aggregates."""
        nameless = without_tenant(self.aggregates(connection), tenant)
        self._tables.run(connection, "DELETE FROM {aggregates}")
        self._add(connection, nameless)

    def drop_expired(self, connection: psycopg.Connection) -> None:
        """Drop aggregates beyond their limit, and floors that hold a forgotten user and whose routers no longer learn."""
        now = self.now(connection)
        if (oldest := oldest_key(self._retention, now)) is not None:
            self._tables.run(connection, 'DELETE FROM {aggregates} WHERE key COLLATE "C" < %s', oldest)
        self._states.drop_unclean_floors(connection, renewed_since(self._retention, now))

    def _add(self, connection: psycopg.Connection, aggregates: list[Aggregate]) -> None:
        keys = [aggregate_key(each) for each in aggregates]
        kept = dict(self._tables.run(connection, "SELECT key, content FROM {aggregates} WHERE key = ANY(%s)", keys).fetchall())
        put = "INSERT INTO {aggregates} VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET content = excluded.content"
        connection.cursor().executemany(self._tables.query(put), list(aggregate_texts(kept, aggregates).items()))

    def _last(self, connection: psycopg.Connection, number: int) -> int:
        return int(self._tables.value(connection, "SELECT coalesce(max(position), 0) FROM {child}", child=self._tables.child(number)))


def _row(found: tuple[Any, ...]) -> Row:
    kind, name, decision_id, candidate, json, packed, when, revision, tenant, propensity = found
    content = json or ("" if packed is None else Templates().unpack(packed))  # only decisions have templates
    columns = {"tenant": tenant, "propensity": propensity} if kind == DECISION else None
    return Row(kind, name, decision_id, candidate, content, when, revision=revision, columns=columns)


def _sums(rows: Iterable[Row]) -> list[Aggregate]:
    """Return the sums over decisions whose rows come together."""
    sums: list[Aggregate] = []
    batch: list[Row] = []
    for _, group in itertools.groupby(rows, key=lambda row: row.decision_id):
        batch.extend(group)
        if len(batch) >= _READ_AT_ONCE:
            sums, batch = combined([*sums, *aggregates_of(batch)]), []
    return combined([*sums, *aggregates_of(batch)])
