"""New feedback on decisions of a PostgreSQL log, added in one statement, without reading the decisions first."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.sql import Literal

from aamc_sdk.log import Row, columns_of
from aamc_stores.postgres_log.tables import Tables, array

INSERT_FEEDBACK = """
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


def feedback_insert(tables: Tables, feedback: Sequence[Row]) -> str:
    """Return the statement that inserts feedback: all of it, or nothing if some is known or its decision is not in the log.

    Raises:
        psycopg.DataError: A name is no text of PostgreSQL's.
    """
    contents = _SEPARATOR.join(row.content for row in feedback)
    arguments = [array([row.id for row in feedback]), array([row.decision_id for row in feedback]), contents]
    arguments += [_numbers([row.time for row in feedback]), _numbers([columns_of(row)["quality"] for row in feedback])]
    return f"{tables.query('EXECUTE {insert_feedback}')} ({', '.join(Literal(each).as_string(None) for each in arguments)})"


def _numbers(values: Sequence[float | None]) -> str:
    """Return an array of numbers as PostgreSQL reads it."""
    return "{" + ",".join("NULL" if value is None else repr(float(value)) for value in values) + "}"
