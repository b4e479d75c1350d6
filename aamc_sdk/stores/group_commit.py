"""Group commit: writes of many threads share one transaction, since making it durable is what takes time.

While one group is being committed the next one gathers, so a lone writer waits for one commit
and a thousand of them for two at most.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from aamc_sdk.errors import StoreError

T = TypeVar("T")
MOST_PER_GROUP = 1024
"""Writes in one transaction; bounds how long the first of them waits."""

_Work = tuple[Callable[[], Any], "Future[Any]"]


class GroupCommit:
    """Runs writes on one thread of its own; each caller returns when its write is durable.

    Args:
        connection: Used by that thread alone from now on, and closed by it.
        refusal: Turns a database's error into the error that callers see.
    """

    def __init__(self, connection: sqlite3.Connection, refusal: Callable[[sqlite3.Error], StoreError]) -> None:
        self._connection = connection
        self._refusal = refusal
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="aamc-log", daemon=True)
        self._thread.start()

    def run(self, write: Callable[[], T]) -> T:
        """Run a write in a transaction and return its result once that is durable.

        Args:
            write: Checks first and writes then, so when it raises a StoreError it has changed nothing.

        Raises:
            StoreError: The write was refused, the transaction failed, or the log is closed.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise StoreError("the decision log is closed")
            self._queue.put((write, future))
        return future.result()

    def close(self) -> None:
        """Finish what was asked, then stop; closing twice does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        group: list[_Work | None] = []
        while None not in group:
            group = self._next_group()
            if work := [item for item in group if item is not None]:
                self._commit(work)
        self._connection.close()

    def _next_group(self) -> list[_Work | None]:
        """Wait for a write and return it with all that queue behind it; None stands for the end."""
        group = [self._queue.get()]
        while len(group) < MOST_PER_GROUP and not self._queue.empty():
            group.append(self._queue.get())
        return group

    def _commit(self, group: list[_Work]) -> None:
        results: list[tuple[Future[Any], Any]] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for write, future in group:
                results.append((future, _result(write)))
            self._connection.execute("COMMIT")
        except BaseException as error:  # each waiting caller is told, whatever it is
            self._abandon(group, error)
            return
        for future, result in results:
            if isinstance(result, StoreError):
                future.set_exception(result)
            else:
                future.set_result(result)

    def _abandon(self, group: list[_Work], error: BaseException) -> None:
        with contextlib.suppress(sqlite3.Error):  # some errors have rolled back already
            self._connection.execute("ROLLBACK")
        for _, future in group:
            future.set_exception(self._refusal(error) if isinstance(error, sqlite3.Error) else error)


def _result(write: Callable[[], Any]) -> Any:
    try:
        return write()
    except StoreError as error:  # refused on its own; the rest of the group goes on
        return error
