"""Opening SQLite files that several processes write: the log in a file, and the spool of stores on servers.

SQLite keeps a process's locks in its memory too. A fork inherits that memory without the locks, so the child cannot use a file that was open at
the fork: it would wait for transactions that never end there, or lose the write-ahead log when the parent closes the file.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from aamc_sdk.errors import ForkedError

_BUSY_S = 30.0
_RETRY_S = 0.01
_EMPTYING_MS = 1000
"""Maximum time in milliseconds to wait for the readers of a write-ahead log that is emptied: writers wait as long."""
_CACHE_KIB, _READING_CACHE_KIB = 512, 128
"""Size of a connection's page cache, and of one that only reads. SQLite's own is 2 MB, but a log grows and is mostly read at its end."""
DISK_ADVICE = {
    "is full": "its disk is full, and nothing was written: free some space, and try again",
    "disk I/O": "its disk is full or failing, and nothing was written: free some space or check the disk, and try again",
    "holds entries": "both were left as they are: restore a copy of the file, or move the -wal file away",
}
"""Advice on errors of the disk, by a part of the message of SQLite or :func:`check_not_cut`."""
SMALLEST_PAGE = 512
"""Minimum size of a page of SQLite in bytes."""
_open: dict[int, tuple[int, tuple[int, int]]] = {}
"""The process, and the file's device and inode, of each open connection by its identity; a fork inherits it with SQLite's memory."""


class _Connection(sqlite3.Connection):
    """A connection that is noted until it is closed."""

    def note(self) -> None:
        """Note the file; raises ForkedError if it was open in the parent when this process was forked."""
        (_, _, path) = self.execute("PRAGMA database_list").fetchone()
        check_not_cut(Path(path))
        found = Path(path).stat()
        file = found.st_dev, found.st_ino
        if any(process != os.getpid() and inherited == file for process, inherited in list(_open.values())):
            raise ForkedError(f"{path} was open when this process was forked; close it before the fork, or start the process with 'spawn'")
        _open[id(self)] = os.getpid(), file

    def close(self) -> None:
        """Close the file."""
        _open.pop(id(self), None)
        super().close()


def advice_on(error: BaseException, advice: Mapping[str, str] = DISK_ADVICE) -> str:
    """Return the advice for an error of SQLite, ``""`` without any."""
    return next((text for sign, text in advice.items() if sign in str(error)), "")


def file_identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode of the file at a path, None if there is no file. If they change, the file was replaced."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def file_size(path: Path) -> int:
    """Return the size of a file in bytes, 0 if there is none or it cannot be reached."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def check_not_cut(path: Path) -> None:
    """Check that no write-ahead log lies beside a missing or empty file: SQLite would delete it, or apply it to another file.

    Raises:
        sqlite3.DatabaseError: One does.
    """
    wal = Path(f"{path}-wal")
    if file_size(wal) and file_size(path) < SMALLEST_PAGE:  # in this order: a process that makes the file begins the -wal file later
        raise sqlite3.DatabaseError(f"it is missing or cut off, but {wal.name} holds entries")


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of a file that are in use."""
    query = "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
    return int(connection.execute(query).fetchone()[0])


def sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def connect(address: str, *, reads_only: bool = False) -> sqlite3.Connection:
    """Open the file of a URI.

    Transactions are begun and ended explicitly, any thread may use the connection, and deleted content leaves no bytes in unused pages.

    Raises:
        sqlite3.Error: The file cannot be opened. A file that is not a database is noticed by the first query.
        ForkedError: The file was open when this process was forked.
    """
    connection = sqlite3.connect(address, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, uri=True, factory=_Connection)
    try:
        connection.note()
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA cache_size = -{_READING_CACHE_KIB if reads_only else _CACHE_KIB}")
    except BaseException:
        connection.close()
        raise
    return connection


def write_ahead(connection: sqlite3.Connection) -> None:
    """Use a write-ahead log, synced at each commit; on file systems without support for it, SQLite's rollback journal.

    If several processes turn it on at once, SQLite refuses all but one without waiting; so this tries again.

    Raises:
        sqlite3.Error: The file cannot be written, or is locked for long.
    """
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if "lock" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(_RETRY_S)
    connection.execute("PRAGMA synchronous = FULL")


def empty_write_ahead(connection: sqlite3.Connection) -> bool:
    """Move the write-ahead log into the file and empty it: it holds the bytes of deleted content. Return False if a reader prevents that."""
    connection.execute(f"PRAGMA busy_timeout = {_EMPTYING_MS}")
    try:
        (is_held, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {1000 * _BUSY_S:.0f}")
    return not is_held


@contextmanager
def transaction(connection: sqlite3.Connection, *, writes: bool = True) -> Iterator[None]:
    """Commit the block's writes, whole or not at all; no other process writes meanwhile. Transactions do not nest.

    Without ``writes``, the block reads one state of the file, however many queries it runs.
    """
    try:
        connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # it had not begun, or some errors have rolled back already
            connection.execute("ROLLBACK")
        raise
