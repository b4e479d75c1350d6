"""The entries of a log in a PostgreSQL database: reading, and writing groups. All within a caller's transaction."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import attrs
import psycopg
from psycopg.sql import SQL, Literal
from typing_extensions import LiteralString

from aamc_sdk.log import (
    COLUMNS,
    DECISION,
    KIND_COLUMNS,
    Batch,
    Erasure,
    Excerpt,
    OutcomeJoin,
    Retention,
    Row,
    Templates,
    Write,
    begins_partition,
    columns_of,
    erased_if_forgotten,
    fingerprint_bytes,
    followed,
    replaced_rows,
    revised_ids,
    run_writes,
)
from aamc_sdk.types import Partition
from aamc_stores.postgres_log.tables import Tables, array

_PENDING = -1
"""Stands for the partition of an entry that has none."""
_READ_AT_ONCE = 5000
_STATE = """
    SELECT position, start, (SELECT coalesce(max(epoch), 0) FROM {erasures}), (SELECT coalesce(max(number), 0) FROM {templates}),
        extract(epoch FROM clock_timestamp())::float8, newest.number, newest.first, NULL, newest.begun,
        coalesce(pg_total_relation_size(to_regclass({children} || newest.number || '"')), 0)
    FROM {version} LEFT JOIN (SELECT * FROM {partitions} ORDER BY number DESC LIMIT 1) AS newest ON true
"""
_ABOUT = """
    PREPARE {about} (text[], text[]) AS
    SELECT {rule_row}, position FROM {entries} WHERE decision_id = ANY($1) AND kind != 'feedback'
    UNION ALL SELECT {rule_row}, position FROM {entries} WHERE kind = 'feedback' AND id = ANY($2)
    UNION ALL SELECT {pending_row}, n FROM {pending}
        WHERE EXISTS (SELECT FROM {pending}) AND (decision_id = ANY($1) OR kind = 'feedback' AND id = ANY($2))
"""
"""Mostly nothing is pending, and then no name is looked up there."""
_INSERT_FEEDBACK = """
    PREPARE {insert_feedback} (text[], text[], text, float8[], float8[]) AS
    WITH served AS MATERIALIZED (
        SELECT DISTINCT ON (decision_id) decision_id, partition, candidate FROM {entries}
        WHERE decision_id = ANY($2) AND kind <= 'decision' AND (kind = 'decision' OR status = 'ok')
        ORDER BY decision_id, kind, position DESC
    ), found AS MATERIALIZED (
        SELECT new.*, served.partition, served.candidate
        FROM unnest($1, $2, string_to_array($3, E'\\x01'), $4, $5) WITH ORDINALITY AS new (id, decision_id, content, time, quality, n)
            JOIN served USING (decision_id)
        WHERE NOT EXISTS (SELECT FROM {entries} WHERE kind = 'feedback' AND id = ANY($1))
            AND NOT EXISTS (SELECT FROM {pending} WHERE EXISTS (SELECT FROM {pending}) AND kind = 'feedback' AND id = ANY($1)))
    INSERT INTO {entries} (partition, position, kind, id, decision_id, candidate, packed, time, revision, quality)
    SELECT partition, (SELECT position FROM {version}) + n, 'feedback', id, decision_id, candidate,
        '\\x00' || convert_to(content, 'UTF8'), time, 0, quality
    FROM found WHERE (SELECT count(*) FROM found) = cardinality($1)
"""
"""One search of an index finds the decisions and their attempts, whose kind sorts before theirs; the latest attempt that is ok has served.

Contents come in one text, which both sides handle faster than an array of bytes.
"""
_SEPARATOR = "\x01"
"""A character that JSON escapes."""
_OUTCOMES = """
    SELECT kind, decision_id, id, candidate, time, propensity,
        CASE WHEN kind = 'feedback' OR (kind = 'decision' AND %(contents)s) THEN coalesce(packed, '\\x00' || convert_to(json, 'UTF8')) END,
        CASE WHEN %(embeddings)s THEN embedding END, status, cost_usd, latency_ms, output_tokens
    FROM {entries} WHERE (kind != 'decision' OR (time >= %(since)s AND time < %(until)s)) AND position >= (
        SELECT coalesce(min(position), 0) FROM {entries} WHERE kind = 'decision' AND time >= %(since)s AND time < %(until)s)
    ORDER BY position
"""
_COPY = """COPY {entries} (partition, position, kind, id, decision_id, candidate, packed, time, embedding, revision, digest, fingerprint, %s)
    FROM STDIN (FORMAT BINARY)"""
_COPY_TYPES = ("int4", "int8", *["text"] * 4, "bytea", "float8", "bytea", "int8", "bytea", "text")
_ADD_PENDING = """INSERT INTO {pending} (kind, id, decision_id, candidate, content, time, revision) VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (kind, id, revision) DO UPDATE SET candidate = excluded.candidate, content = excluded.content, time = excluded.time"""
_ERASE = """UPDATE {entries} SET json = NULL, packed = %s, embedding = NULL, digest = NULL, fingerprint = NULL, user_id = NULL,
        tenant = CASE WHEN %s THEN NULL ELSE tenant END
    WHERE partition = %s AND decision_id = %s AND kind = 'decision'"""
_END = """UPDATE {version} SET position = %s; COMMIT"""


@attrs.frozen
class LogState:
    """The log as a transaction finds it."""

    position: int
    start: int  # the position of the last entry that retention has dropped
    epoch: int  # how often a user was forgotten
    templates: int
    now: float  # the server's time, in seconds since the epoch
    newest: Partition | None  # None in a log without decisions

    @classmethod
    def of(cls, found: Any) -> LogState:
        """Return the state in the row that ``_STATE`` selects."""
        position, start, epoch, templates, now, *newest = found
        return cls(position, start, epoch, templates, now, None if newest[0] is None else Partition(*newest))


class Entries:
    """Reads and writes entries. The limits of ``retention`` decide on the size of partitions."""

    def __init__(self, tables: Tables, retention: Retention) -> None:
        self._tables = tables
        self._retention = retention
        self._templates = Templates()
        self._templates_lock = threading.Lock()
        self._writers_templates = Templates()
        self._forgotten: tuple[int, Mapping[str, float]] = (0, {})

    def state(self, connection: psycopg.Connection) -> LogState:
        """Return the log's state."""
        return LogState.of(self._tables.run(connection, _STATE).fetchone())

    @property
    def prepared(self) -> str:
        """The statements that a connection of :meth:`commit` prepares."""
        return f"{self._tables.query(_ABOUT)}; {self._tables.query(_INSERT_FEEDBACK)}"

    def query_about(self, writes: Sequence[Write[Any]]) -> str:
        """Return the statements that read the log's state and the entries that a group of writes needs."""
        decisions = [name for write in writes for name in write.decisions]
        feedback = [name for write in writes for name in write.feedback]
        names = [Literal(array(each)).as_string(None) for each in (decisions, feedback)]
        return f"{self._tables.query(_STATE)}; {self._tables.query('EXECUTE {about}')} ({', '.join(names)})"

    def insert_feedback(self, feedback: Sequence[Row]) -> str:
        """Return the statement that inserts new feedback: all of it, or nothing if some is known or its decision is not in the log.

        Raises:
            psycopg.DataError: A name is not a text that PostgreSQL takes.
        """
        contents = _SEPARATOR.join(row.content for row in feedback)
        arguments = [array([row.id for row in feedback]), array([row.decision_id for row in feedback]), contents]
        arguments += [_numbers([row.time for row in feedback]), _numbers([columns_of(row)["quality"] for row in feedback])]
        return f"{self._tables.query('EXECUTE {insert_feedback}')} ({', '.join(Literal(each).as_string(None) for each in arguments)})"

    def commit(self, connection: psycopg.Connection, results: psycopg.Cursor[Any], writes: Sequence[Write[Any]]) -> list[Any]:
        """Run a group of writes on what :meth:`query_about` found, write the added entries, and commit; return the results.

        If it raises, nothing was written, or it is unknown.
        """
        try:
            return self._commit(connection, results, writes)
        except BaseException:
            self._writers_templates = Templates()  # those that were not kept must not be used
            raise

    def _commit(self, connection: psycopg.Connection, results: psycopg.Cursor[Any], writes: Sequence[Write[Any]]) -> list[Any]:
        results.set_result(-2)
        state = LogState.of(results.fetchone())
        results.set_result(-1)
        found = results.fetchall()
        found.sort(key=itemgetter(-1))  # the log's order, or the order of arrival
        placed = [each for each in found if each[0] != _PENDING]
        pending = self._rows(connection, [each for each in found if each[0] == _PENDING])
        excerpt = Excerpt(self._rows(connection, placed), pending)
        answers = run_writes(writes, excerpt)
        self._settle(connection, excerpt, pending)
        if excerpt.added:
            self._place(connection, excerpt.added, state, dict(map(itemgetter(3, 0), placed)))
        return answers

    def _settle(self, connection: psycopg.Connection, excerpt: Excerpt, pending: Sequence[Row]) -> None:
        """Write the changes of the pending entries."""
        leaving = {row.key for row in (*excerpt.added, *excerpt.dropped)}
        if gone := [row.key for row in pending if row.key in leaving]:
            delete = self._tables.query("DELETE FROM {pending} WHERE kind = %s AND id = %s AND revision = %s")
            connection.cursor().executemany(delete, gone)
        if excerpt.added_pending:
            values = [
                (row.kind, row.id, row.decision_id, row.candidate, row.content, row.time, row.revision) for row in excerpt.added_pending.values()
            ]
            connection.cursor().executemany(self._tables.query(_ADD_PENDING), values)

    def _place(self, connection: psycopg.Connection, rows: Sequence[Row], state: LogState, partitions: dict[str, int]) -> None:
        """Write entries in their decisions' partitions, of which those of known decisions are given by id, and commit."""
        if decisions := [row.id for row in rows if row.kind == DECISION]:
            partitions.update(dict.fromkeys(decisions, self._newest(connection, state)))
        self._copy(connection, erased_if_forgotten(rows, self.forgotten(connection, state.epoch)), state, partitions)
        end = self._tables.query(_END).replace("%s", str(state.position + len(rows)))
        connection.execute(end)

    def _newest(self, connection: psycopg.Connection, state: LogState) -> int:
        """Return the number of the partition for new decisions, which is made where one begins."""
        newest = state.newest
        if newest is not None and not begins_partition(newest, state.now, self._retention):
            return newest.number
        number = 0 if newest is None else newest.number + 1
        self._tables.make_child(connection, number)
        self._tables.run(connection, "INSERT INTO {partitions} VALUES (%s, %s, %s)", number, state.position + 1, state.now)
        return number

    def _copy(self, connection: psycopg.Connection, rows: Sequence[Row], state: LogState, partitions: Mapping[str, int]) -> None:
        templates = self._writers_templates
        if len(templates) < state.templates:
            templates.extend(self._templates_after(connection, len(templates)))
        new, kinds = [], {row.kind for row in rows}
        columns = [name for name in COLUMNS if any(name in KIND_COLUMNS[kind] for kind in kinds)]  # each more takes time, even if it is NULL
        with connection.cursor().copy(self._tables.query(_COPY % ", ".join(columns))) as copy:
            copy.set_types((*_COPY_TYPES, *(COLUMNS[name].lower() for name in columns)))
            for position, row in enumerate(rows, state.position + 1):  # the server reads the first rows while the next ones are packed
                content, template = templates.pack(row)
                if template is not None:
                    new.append(template)
                digest = fingerprint_bytes(row.fingerprint)
                text = row.fingerprint if digest is None and row.fingerprint else None
                kept = (partitions[row.decision_id], position, row.kind, row.id, row.decision_id, row.candidate, content, row.time, row.embedding)
                copy.write_row((*kept, row.revision, digest, text, *map(columns_of(row).get, columns)))
        self._keep_templates(connection, len(templates), new)

    def _keep_templates(self, connection: psycopg.Connection, count: int, new: Sequence[bytes]) -> None:
        values = list(enumerate(new, count - len(new) + 1))
        if values:
            connection.cursor().executemany(self._tables.query("INSERT INTO {templates} VALUES (%s, %s)"), values)

    def _templates_after(self, connection: psycopg.Connection, number: int) -> list[bytes]:
        found = self._tables.run(connection, "SELECT content FROM {templates} WHERE number > %s ORDER BY number", number)
        return [content for (content,) in found]

    def forgotten(self, connection: psycopg.Connection, epoch: int) -> Mapping[str, float]:
        """Return the time at which each forgotten user was forgotten, by digest."""
        known, forgotten = self._forgotten
        if known != epoch:
            query = "SELECT who, extract(epoch FROM max(time))::float8 FROM {erasures} WHERE who IS NOT NULL GROUP BY who"
            forgotten = dict(self._tables.run(connection, query).fetchall())
            self._forgotten = epoch, forgotten
        return forgotten

    def covered(self, connection: psycopg.Connection, erasure: Erasure, after: int, limit: int) -> tuple[list[str], int]:
        """Return at most ``limit`` decisions to erase after a position, and the position up to which the log was searched.

        A tenant's are searched without an index. A user's are found at any position: erased ones leave the index of users.
        """
        position = self.state(connection).position
        which: LiteralString = "user_id = %(user)s AND (%(tenant)s::text IS NULL OR tenant = %(tenant)s)"
        if erasure.user is None:
            which = "tenant = %(tenant)s AND position > %(after)s ORDER BY position"
        query: LiteralString = "SELECT position, decision_id FROM {entries} WHERE kind = 'decision' AND " + which + " LIMIT %(limit)s"  # noqa: S608  # constants
        values = {"user": erasure.user, "tenant": erasure.tenant, "after": after, "limit": limit}
        found = connection.execute(self._tables.query(query), values).fetchall()
        return [name for _, name in found], found[-1][0] if len(found) == limit else max(after, position)

    def erase(self, connection: psycopg.Connection, erasure: Erasure, names: Sequence[str]) -> None:
        """Erase the decisions of some ids that the log still has. PostgreSQL overwrites their bytes in time, with its next VACUUM."""
        query = "SELECT {rule_row} FROM {entries} WHERE kind = 'decision' AND decision_id = ANY(%s)"
        found = self._tables.run(connection, query, list(names)).fetchall()
        templates = Templates()
        templates.extend(self._templates_after(connection, 0))
        packed = [templates.pack(erasure.applied(row)) for row in self._rows(connection, found)]
        self._keep_templates(connection, len(templates), [template for _, template in packed if template is not None])
        erased = [(content, erasure.user is None, each[0], each[3]) for each, (content, _) in zip(found, packed, strict=True)]
        connection.cursor().executemany(self._tables.query(_ERASE), erased)

    def batch(self, connection: psycopg.Connection, after: int, limit: int) -> Batch:
        """Return at most ``limit`` entries after a position, with the entries that belong to them."""
        state = self.state(connection)
        following: LiteralString = "SELECT {row}, partition FROM {entries} WHERE position > %s ORDER BY position LIMIT %s"
        found = self._tables.run(connection, following, after, limit).fetchall()
        rows = self._rows(connection, found)
        end = found[-1][0] if found else after
        own = {row.id for row in rows if row.kind == DECISION}
        others = {row.decision_id: each[-1] for row, each in zip(rows, found, strict=True) if row.decision_id not in own}
        earlier = self._decisions(connection, others) if others else []
        decisions = sorted([*earlier, *(each for each in found if each[1] == DECISION)], key=lambda each: each[0])
        before = self._tables.run(connection, "SELECT kind, id, revision FROM {entries} WHERE position = %s", after).fetchone()
        name = None if before is None else Row(before[0], before[1], "", "", "", 0.0, revision=before[2]).name
        revised = revised_ids(rows)
        revisions = self.rows_where(connection, "kind = 'feedback' AND id = ANY(%s) ORDER BY position", revised) if revised else []
        return Batch(
            position=end,
            rows=rows,
            decisions=self._rows(connection, decisions),
            epoch=state.epoch,
            follows=followed(after, name, state.start, state.position),
            replaced=replaced_rows(rows, revisions),
            start=state.start,
            positions=[each[0] for each in found],
        )

    def _decisions(self, connection: psycopg.Connection, partitions: Mapping[str, int]) -> list[Any]:
        """Return decisions, given each one's partition: PostgreSQL leaves out other partitions only if the numbers stand in the statement."""
        numbers = SQL(", ").join(map(Literal, sorted(set(partitions.values()))))
        query: LiteralString = "SELECT {row} FROM {entries} WHERE kind = 'decision' AND decision_id = ANY(%s) AND partition IN ({numbers})"
        return self._tables.run(connection, query, list(partitions), numbers=numbers).fetchall()

    def add_outcomes(self, connection: psycopg.Connection, found: OutcomeJoin) -> None:
        """Add the decisions between the two times with their attempts and feedback; contents are read only if they are needed."""
        since, until = -math.inf if found.since is None else found.since, math.inf if found.until is None else found.until
        needs = {"contents": found.needs_contents, "embeddings": found.needs_embeddings, "since": since, "until": until}
        with connection.cursor("aamc_outcomes") as cursor:
            cursor.itersize = _READ_AT_ONCE
            cursor.execute(self._tables.query(_OUTCOMES), needs)
            self._read_templates(connection)  # the contents of this state of the log need no later ones
            found.add_entries(cursor, self._templates.unpack_all)

    def rows_where(self, connection: psycopg.Connection, condition: LiteralString, *values: object) -> list[Row]:
        """Return the entries that meet a condition."""
        query: LiteralString = "SELECT {row} FROM {entries} WHERE " + condition  # noqa: S608  # constants
        return self._rows(connection, self._tables.run(connection, query, *values))

    def pending_rows(self, connection: psycopg.Connection) -> list[Row]:
        """Return the entries whose decision is not in the log, in order of arrival."""
        return self._rows(connection, self._tables.run(connection, "SELECT {pending_row} FROM {pending} ORDER BY n"))

    def _rows(self, connection: psycopg.Connection, found: Iterable[Any]) -> list[Row]:
        """Return the rows that ``{row}`` or ``{rule_row}`` selected; each unpacks its content when it is asked for that."""
        rows = []
        for _, kind, name, decision_id, candidate, json, packed, when, embedding, revision, fingerprint, *_ in list(found):
            if packed is not None and packed[0] > len(self._templates):
                self._read_templates(connection)
            content = json if packed is None else partial(self._templates.unpack, packed)
            rows.append(Row(kind, name, decision_id, candidate, content, when, embedding, revision, fingerprint))
        return rows

    def _read_templates(self, connection: psycopg.Connection) -> None:
        """Read the templates that the log has beyond the known ones."""
        with self._templates_lock:
            self._templates.extend(self._templates_after(connection, len(self._templates)))


def _numbers(values: Sequence[float | None]) -> str:
    """Return an array of numbers as PostgreSQL reads it."""
    return "{" + ",".join("NULL" if value is None else repr(float(value)) for value in values) + "}"
