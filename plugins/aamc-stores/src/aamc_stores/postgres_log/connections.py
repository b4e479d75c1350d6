"""Connections to a PostgreSQL server that are reused, and closed as soon as one of them fails.

A pool that reconnects by itself in the background would hide how long a server is away, and wait longer and longer between
its attempts; the store's spool needs to know at once.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from aamc_sdk.concurrency import ForkCheckedLock
from aamc_sdk.errors import ConfigError
from aamc_sdk.messages import nearest

logger = logging.getLogger(__name__)
AWAY = (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction)
"""Errors of a server that is lost or cannot write, whatever the content; a read-only server is one that another has replaced."""
_PLANS = "SET enable_seqscan = off; SET jit = off; SET plan_cache_mode = force_generic_plan"
"""Every query of a store has an index. Planning it for each partition takes longer than the query, so it is planned once."""
_JOINS = "SET enable_nestloop = off"
"""A prepared statement may join many rows, which the planner cannot know."""


def check_url(url: str, name: str, known: Sequence[str]) -> None:
    """Check that libpq can read a URL; ``known`` are the names of the store's options.

    Raises:
        ConfigError: It has an unknown parameter, or is not a URL of libpq's. What libpq says of it is left out where that may quote the password.
    """
    address, _, query = url.partition("?")
    place, _, path = address.partition("://")[2].partition("/")
    unknown = None
    try:
        conninfo_to_dict(url)
        if "@" not in place.partition("@")[2] + path:  # else the rest of a password is taken for the host or the database
            return
    except psycopg.ProgrammingError as error:
        unknown = re.fullmatch(r'invalid URI query parameter: "(.*)"', str(error).strip())
    if unknown is None or "@" in unquote(query):  # it may end a password in which a ? is not written as %3F
        raise ConfigError(f"{name} is not the URL of a PostgreSQL database: write special characters of the password as %XX, such as %40 for @")
    wrong = unknown[1]
    raise ConfigError(f"{name}: neither the store nor PostgreSQL's client has an option {wrong!r}{nearest(wrong, known)}; correct it or leave it out")


class BoundedConnection(psycopg.Connection[Any]):
    """A connection whose server must answer in time: a server that was frozen, or whose disk hangs, still acknowledges what is sent to it."""

    limit_s: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server's answer, for at most ``limit_s`` seconds."""
        return super().wait(gen, interval, self.limit_s if timeout is None else timeout)


def open_connection(url: str, timeout_s: float, settings: str, options: Mapping[str, Any]) -> BoundedConnection:
    """Open a connection with options of libpq, and execute ``settings`` on it."""
    connection = BoundedConnection.connect(url, autocommit=True, connect_timeout=max(1, round(timeout_s)), **options)
    try:
        connection.limit_s = 2 * timeout_s
        connection.execute(settings)
    except BaseException:
        connection.close()
        raise
    return connection


class Connections:
    """A pool of connections that grows as needed. Each executes ``settings`` first, and must answer each statement in ``timeout_s`` seconds.

    ``on_lost`` is called when the server is lost in a transaction, not when it only opens no further connection. With ``prepared``, statements of
    ``PREPARE``, psycopg itself prepares none: it would deallocate these after each change of a table.
    """

    def __init__(self, url: str, timeout_s: float, settings: str, on_lost: Callable[[], None], prepared: str = "") -> None:
        self._url, self._on_lost = url, on_lost
        self._settings = "; ".join((_PLANS, settings, *((_JOINS, prepared) if prepared else ())))
        self._timeout_s = timeout_s
        self._options: dict[str, Any] = {"tcp_user_timeout": round(1000 * timeout_s), "keepalives_idle": 5}
        if prepared:
            self._options["prepare_threshold"] = None
        self._lock = ForkCheckedLock("the decision log")
        self._idle: list[BoundedConnection] = []
        self._closed = False

    @contextlib.contextmanager
    def transaction(self, begin: str, *, bounded: bool = True) -> Iterator[tuple[psycopg.Connection, psycopg.Cursor]]:
        """Begin a transaction by some statements; yield the connection, and the cursor with their results; commit unless the block has or raises.

        Raises:
            psycopg.Error: It failed; after an error of ``AWAY`` it is unknown whether it was committed.
        """
        with self._lock.held:
            if self._closed:
                raise psycopg.OperationalError("the connection is closed")
            connection = self._idle.pop() if self._idle else None
        connection = connection or open_connection(self._url, self._timeout_s, self._settings, self._options)
        connection.limit_s = 2 * self._timeout_s if bounded else None  # the server's own limit comes first
        try:
            yield connection, connection.execute(begin)
            if connection.info.transaction_status != TransactionStatus.IDLE:
                connection.execute("COMMIT")
        except AWAY:
            connection.close()
            self._on_lost()
            raise
        except BaseException:
            try:
                connection.rollback()
            except psycopg.Error:
                connection.close()
            raise
        finally:
            if not connection.closed:
                self._keep(connection)

    def close(self) -> None:
        """Close all; closing twice does nothing."""
        with self._lock.held:
            self._closed = True
        self.drop_idle()

    def _keep(self, connection: BoundedConnection) -> None:
        with self._lock.held:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def drop_idle(self) -> None:
        """Close the idle connections."""
        with self._lock.held:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
