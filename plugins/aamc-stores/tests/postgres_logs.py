"""What the tests of the log in PostgreSQL share: decisions, feedback, time that passes, and a log of version 3."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import psycopg

from aamc_sdk.interfaces import Store
from aamc_sdk.log import COLUMNS, Row, columns_of
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Decision, Feedback, Preference, Record, Records

DAY = 24 * 3600.0
CHOSEN = POOL.names[0]
_REQUEST = make_request(make_dataset(1))
_OLD_INSERT = """INSERT INTO {prefix}_entries (position, kind, id, decision_id, candidate, content, time, embedding, revision, fingerprint, {columns})
    VALUES ({values}) ON CONFLICT (kind, id, revision) DO UPDATE SET position = excluded.position"""


def record(name: str, user: str | None = None, when: float | None = None, **fields: Any) -> Record:
    decision = Decision(name, CHOSEN, 0.5, Preference(), time=time.time() if when is None else when)
    (found,) = Records([decision], _REQUEST)
    return attrs.evolve(found, query=attrs.evolve(found.query, user=user, **fields))


def decide(store: Store, *names: str, user: str | None = None, when: float | None = None) -> None:
    store.add_decisions([record(name, user, when) for name in names])


def judge(store: Store, *names: str, quality: float = 0.5) -> None:
    store.add_feedback([(Feedback(decision_id=name, quality=quality, time=time.time()), None) for name in names])


def ids(store: Any) -> list[str]:
    return [row.id for row in store.batch(0, 10_000).rows]


def age(url: str, store: Store, days: float) -> None:
    """Let the log become older, for a server whose clock cannot be set."""
    with psycopg.connect(url) as connection:
        connection.execute(f"UPDATE {store.config.prefix}_partitions SET begun = begun - {days * DAY}")


def begin_partition(url: str, store: Store) -> None:
    """Make the next decision begin a partition."""
    with psycopg.connect(url) as connection:
        connection.execute(f"UPDATE {store.config.prefix}_partitions SET begun = begun - {DAY}")


def die_at_statement(step: int) -> None:
    """Let this process be killed as it sends the server the n-th statement from now."""
    statements = iter(range(step))
    execute = psycopg.Connection.execute

    def until_killed(*arguments, **options):
        if next(statements, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(*arguments, **options)

    psycopg.Connection.execute = until_killed


def make_version_3(url: str, prefix: str) -> None:
    """Make the tables that version 3 made."""
    statements = (Path(__file__).parent / "data" / "postgres-3.sql").read_text()
    with psycopg.connect(url) as connection:
        connection.execute(statements.replace("PREFIX", prefix))


def write_version_3(connection: psycopg.Connection, prefix: str, rows: Sequence[tuple[int | None, Row]]) -> None:
    """Write entries as version 3 wrote them."""
    insert = _OLD_INSERT.format(prefix=prefix, columns=", ".join(COLUMNS), values=", ".join(["%s"] * (10 + len(COLUMNS))))
    values = []
    for position, row in rows:
        kept = (
            position,
            row.kind,
            row.id,
            row.decision_id,
            row.candidate,
            row.content,
            row.time,
            row.embedding,
            row.revision,
            row.fingerprint or None,
        )
        values.append((*kept, *(columns_of(row).get(name) for name in COLUMNS)))
    connection.cursor().executemany(insert, values)
