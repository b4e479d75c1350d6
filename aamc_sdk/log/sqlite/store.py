"""The default log: one SQLite file, ``sqlite:PATH``.

Writes are committed in groups, on the thread of the group's first writer (write-ahead log, synced at each commit:
acknowledged entries survive a crash; with ``durability=relaxed`` synced at most 50 ms after it). Reads use connections of their own and never
wait for writes. Several processes may share a file. A file that cannot be written can be read with the option ``read_only``.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs

from aamc_sdk.config import option
from aamc_sdk.errors import StoreAwayError, StoreError
from aamc_sdk.log.erasure import Erasure
from aamc_sdk.log.experience import Batch
from aamc_sdk.log.options import StoreOptions
from aamc_sdk.log.outcomes import OutcomeJoin
from aamc_sdk.log.retention.expiry import renewed_since
from aamc_sdk.log.retention.partitioned_store import PartitionedStore
from aamc_sdk.log.row_store import ExportedFile
from aamc_sdk.log.rows.row import Row
from aamc_sdk.log.sqlite.file import (
    DISK_ADVICE,
    SMALLEST_PAGE,
    advice_on,
    check_not_cut,
    connect,
    empty_write_ahead,
    file_identity,
    file_size,
    sync,
    transaction,
    used_bytes,
)
from aamc_sdk.log.sqlite.partitions import Partitions
from aamc_sdk.log.sqlite.schema import check_prepared, make, prepare
from aamc_sdk.log.sqlite.states import States
from aamc_sdk.log.sqlite.table import EntryTable, TableCache
from aamc_sdk.log.writes.excerpt import Write
from aamc_sdk.log.writes.group_commit import GroupCommit, run_writes
from aamc_sdk.types import Aggregate, Partition, Snapshot, StateDelta

T = TypeVar("T")
logger = logging.getLogger(__name__)
SYNC_S = 0.05
"""Time after a commit at which it is on disk at the latest, with ``durability=relaxed``."""
DROPPED_AT_ONCE = 250
"""Decisions that one transaction drops: writers wait that long."""
_IDLE_CONNECTIONS = 4
_PAGES_AT_ONCE = 1000
_FREE_SHARE = 1 / 16
"""Share of free pages at which the file is made smaller, although nothing was dropped: that was interrupted."""
_ADVICE = {
    "not a database": "it is not a decision log, or is damaged; it was left as it is: choose another path",
    "malformed": "it is damaged and was left as it is: restore a copy, or choose another path",
    "unable to open": "its folder must exist and be writable, which SQLite needs even for reading while a -wal file exists: "
    "choose another path (--store sqlite:PATH)",
    "readonly": "it cannot be written: choose another path (--store sqlite:PATH), or only read it by ?read_only=true",
    **DISK_ADVICE,
    "locked": "another process has locked it; try again",
}
_READ_ONLY_ADVICE = {
    **_ADVICE,
    "unable to open": "there is no such file, or it cannot be read; read_only makes none: check the path",
    "readonly": "it is opened only for reading: make its file and folder writable, and leave out read_only",
}


@attrs.frozen(kw_only=True)
class SqliteOptions(StoreOptions):
    """The options of the log in a file."""

    read_only: bool = option(False, "Whether the file is only read, for example on a read-only mount.")


class SqliteStore(PartitionedStore):
    """Keeps the log in a file.

    Raises:
        StoreError: The file cannot be opened, is not a log, or has a newer version. It is never overwritten.
    """

    Config = SqliteOptions

    def __init__(self, url: str, config: Any) -> None:
        super().__init__(url, config)
        name = url.partition(":")[2]
        if not name:
            raise StoreError(f"a store in a file needs its path, such as sqlite:state.db, not {url!r}")
        self.path = Path(name)
        self._opened = self.path.resolve()
        self._resources = contextlib.ExitStack()
        self._file: tuple[int, int] | None = None
        try:
            self._connection = self._connect()
        except BaseException:
            self._resources.close()
            raise
        self._file = file_identity(self._opened)
        self._write_cache, self._read_cache = TableCache(), TableCache()
        self._idle: list[sqlite3.Connection] = []
        relaxed = config.durability == "relaxed" and not config.read_only
        self._writer = GroupCommit(self._commit, self._resources.close, self._sync if relaxed else None, SYNC_S)
        if not config.read_only:
            self._start_retention()

    @classmethod
    def exists(cls, url: str) -> bool:
        """Return whether the file of a URL exists and is not empty: opening an empty file would turn it into a log."""
        path = url.partition(":")[2]
        return not path or any(place.is_file() and place.stat().st_size > 0 for place in (Path(path), Path(f"{path}-wal")))

    def _connect(self) -> sqlite3.Connection:
        """Open the connection for writing, or the only one of a read-only store; ``_resources`` closes it."""
        with self._store_errors():
            check_not_cut(self._opened)
        if self.config.read_only and self._has_changes() and not Path(f"{self._opened}-shm").exists():
            self._opened = self._copied()
        with self._store_errors():
            if not self.config.read_only:
                self._make_if_missing()
            connection = self._resources.enter_context(contextlib.closing(connect(self._address("rw"))))
            (check_prepared if self.config.read_only else prepare)(connection, self.path)
            if self.config.durability == "relaxed" and not self.config.read_only:
                connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def _make_if_missing(self) -> None:
        """Make the file if there is none.

        Raises:
            StoreError: It is too short for a log, which is made whole; SQLite takes such a file for an empty database.
        """
        if not self._opened.exists():
            make(self._opened)
        elif self._opened.is_file() and (size := file_size(self._opened)) < SMALLEST_PAGE:
            wrong = "too short for a log; choose another path" if size else "empty; delete it or choose another path"
            raise StoreError(f"the file {self.path} is {wrong}")

    def batch(self, after: int = 0, limit: int = 1000) -> Batch:
        """Return at most ``limit`` entries after a position as rows, with the decisions that they refer to."""
        with self._reading() as table:
            return table.batch(after, limit)

    def _find(self, decision_id: str) -> Row | None:
        with self._reading() as table:
            return table.find(decision_id)

    def _find_episode(self, episode_id: str) -> Sequence[Row]:
        with self._reading() as table:
            return table.episode(episode_id)

    def _add_outcomes(self, found: OutcomeJoin) -> None:
        with self._reading() as table:
            table.add_outcomes(found)

    def pending_rows(self) -> Sequence[Row]:
        """Return the entries whose decision is not in the log."""
        with self._reading() as table:
            return table.pending()

    def snapshot(self, name: str) -> Snapshot | None:
        """Return the snapshot of a name, or None."""
        with self._reading_connection() as connection:
            return States(connection).snapshot(name)

    def put_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Keep a snapshot; a log that is only read keeps none, and a restart learns again."""
        self._change_if_writable(lambda connection: States(connection).put_snapshot(name, snapshot))

    def deltas(self, name: str, after: int, epoch: int) -> Sequence[StateDelta] | None:
        """Return the deltas that continue from a state of that name, in order; None if none does."""
        with self._reading_connection() as connection:
            return States(connection).deltas(name, after, epoch)

    def put_delta(self, name: str, delta: StateDelta) -> bool:
        """Keep a delta if it continues from the newest state; return whether it does. A log that is only read keeps none."""
        return bool(self._change_if_writable(lambda connection: States(connection).put_delta(name, delta)))

    def partitions(self) -> Sequence[Partition]:
        """Return the log's partitions, the oldest first."""
        with self._reading_connection() as connection:
            return Partitions(connection).all()

    def aggregates(self) -> Sequence[Aggregate]:
        """Return sums over the decisions that retention has dropped."""
        with self._reading_connection() as connection:
            return Partitions(connection).aggregates()

    def _retain(self) -> int:
        """Drop the oldest partitions, and make the file smaller; a repetition completes it."""
        if self.config.read_only:
            return 0
        decisions = super()._retain()
        self._vacuum(at_once=decisions > 0)
        return decisions

    def _begin_partition(self, number: int, begun: float) -> None:
        self._change_if_writable(lambda connection: Partitions(connection).begin(number, begun))

    def _oldest_to_drop(self) -> Partition | None:
        with self._reading_connection() as connection:
            return Partitions(connection).oldest_to_drop(self.config.retention)

    def _drop_part(self, oldest: Partition) -> int | None:
        """Drop some decisions between two groups of writes, then pause for as long as that took, so that other writers get the file."""
        begun, since = time.monotonic(), renewed_since(self.config.retention, time.time())
        dropped = self._change(lambda connection: Partitions(connection).drop(oldest, DROPPED_AT_ONCE, since))
        self._ending.wait(time.monotonic() - begun)
        return dropped

    def _drop_expired(self) -> None:
        self._change_if_writable(lambda connection: Partitions(connection).drop_expired(self.config.retention))

    def _vacuum(self, at_once: bool) -> None:
        """Return free pages to the disk. Files that earlier versions made keep them for later entries."""
        with self._reading_connection() as connection:
            mode, free, pages = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("auto_vacuum", "freelist_count", "page_count"))
        if mode == 0 or not (at_once or free > _FREE_SHARE * pages):
            return
        while free > 0 and not self._ending.is_set():
            begun = time.monotonic()
            self._writer.run(self._free_pages)
            free -= _PAGES_AT_ONCE
            self._ending.wait(time.monotonic() - begun)

    def forget(self, user: str | None, tenant: str | None = None) -> int:
        """Erase decisions of a user, a tenant, or a user within a tenant; return their number.

        Their bytes are gone when this returns, from the write-ahead log too, unless another reader holds the log: then a warning says so.
        """
        decisions = super().forget(user, tenant)
        with self._store_errors(), contextlib.closing(connect(self._address("rw"))) as connection:
            is_empty = empty_write_ahead(connection)
        if not is_empty:
            advice = "forget the user again when no program reads the log"
            logger.warning("%s is being read, so erased bytes are still in %s-wal; %s", self.path, self.path, advice)
        return decisions

    def _erase(self, erasure: Erasure, after: int, limit: int) -> tuple[int, int]:
        def erase(connection: sqlite3.Connection) -> tuple[int, int]:
            count, position = EntryTable(connection).erase(erasure, after, limit)
            if count < limit:
                States(connection).forget()
                if erasure.user is None:
                    Partitions(connection).erase_tenant(erasure.tenant)
            return count, position

        return self._change(erase)

    def exports(self) -> Sequence[ExportedFile]:
        """Return the files that entries of this log were exported to."""
        with self._reading_connection() as connection:
            return [ExportedFile(*found) for found in connection.execute("SELECT path, format FROM exports ORDER BY path")]

    def note_export(self, export: ExportedFile) -> None:
        """Record a file to which entries are exported; a read-only log records nothing."""
        if self.config.read_only:
            super().note_export(export)
            return
        self._change(lambda connection: connection.execute("REPLACE INTO exports VALUES (?, ?)", (export.path, export.format)))

    def discard_export(self, export: ExportedFile) -> None:
        """Stop remembering an exported file."""
        self._change_if_writable(lambda connection: connection.execute("DELETE FROM exports WHERE path = ?", (export.path,)))

    def _counts(self) -> tuple[int, int]:
        with self._reading_connection() as connection:
            table = EntryTable(connection)
            return table.position, States(connection).counts()[0]

    def _pending_counts(self) -> tuple[int, int]:
        with self._reading() as table:
            return table.pending_counts()

    def _free_pages(self) -> None:
        with self._store_errors():
            self._connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")  # execute takes one step, and frees one page

    def _own_health(self) -> Mapping[str, float]:
        with self._reading_connection() as connection:
            table, divided = EntryTable(connection), Partitions(connection)
            start, _, dropped = table.bounds()
            return {
                "placed": table.position - dropped,
                "start": start,
                "partitions": len(divided.all()),
                "size_bytes": used_bytes(connection),
                "floors_to_clean": States(connection).counts()[1],
            }

    def process_health(self) -> Mapping[str, float]:
        """Return the numbers of this process's entries that could not be logged, and that wait for their commit."""
        return {**super().process_health(), "queued": self._writer.queued}

    def _forgotten_digests(self) -> Mapping[str, float]:
        with self._reading() as table:
            return table.forgotten_digests()

    def close(self) -> None:
        """Finish the writes, then close the file."""
        self._stop_retention()
        if not self._writer.forked:
            self._close_idle()
        self._writer.close()

    def _write(self, write: Write[T]) -> T:
        return self._writer.run(write)

    def _commit(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        try:
            with self._writing() as connection:
                table = EntryTable(connection, self._write_cache)
                excerpt = table.excerpt(writes)
                results = run_writes(writes, excerpt)
                table.write(excerpt, self.config.retention)
        except BaseException:
            self._write_cache = TableCache()  # it may know templates that were not kept
            raise
        return results

    def _sync(self) -> None:
        """Flush committed transactions to the disk."""
        with contextlib.suppress(FileNotFoundError):  # a file system without write-ahead logs
            sync(Path(f"{self._opened}-wal"))  # SQLite locks other files, whose locks this would break

    def _change(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Make a change in a transaction between two groups of writes, and return its result."""

        def run() -> T:
            with self._writing() as connection:
                return change(connection)

        return self._writer.run(run)

    def _change_if_writable(self, change: Callable[[sqlite3.Connection], T]) -> T | None:
        """Make a change as :meth:`_change` does; a log that is only read stays as it is."""
        return None if self.config.read_only else self._change(change)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction of the writer's connection."""
        if file_identity(self._opened) != self._file:
            raise StoreAwayError(f"{self._replaced}: nothing was written; open it again")
        with self._store_errors(), transaction(self._connection):
            yield self._connection

    @property
    def _replaced(self) -> str:
        return f"the decision log {self.path} was removed or replaced while it was open"

    def _address(self, mode: str) -> str:
        """Return the URI to open the file with; a read-only store ignores ``mode``.

        A read-only store opens the file as immutable, unless another process has left changes in its write-ahead log: SQLite reads these only with
        a shared-memory file, which it cannot write on a read-only medium.
        """
        address = f"{self._opened.as_uri()}?mode="
        if not self.config.read_only:
            return address + mode
        return f"{address}ro" if self._has_changes() else f"{address}ro&immutable=1"

    def _has_changes(self) -> bool:
        """Return whether the write-ahead log next to the file holds changes."""
        return file_size(Path(f"{self._opened}-wal")) > 0

    def _copied(self) -> Path:
        """Copy the file and its write-ahead log to a temporary folder, where SQLite can join them; return the copy's path."""
        folder = Path(self._resources.enter_context(tempfile.TemporaryDirectory(prefix="aamc-log-")))
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{self._opened}{suffix}", folder / f"log.db{suffix}")
        return folder / "log.db"

    @contextlib.contextmanager
    def _reading(self) -> Iterator[EntryTable]:
        """Read the entries in one state of the file, however many queries it takes."""
        with self._reading_connection() as connection:
            yield EntryTable(connection, self._read_cache)

    @contextlib.contextmanager
    def _reading_connection(self) -> Iterator[sqlite3.Connection]:
        """Take a connection that sees one state of the file, however many queries it runs.

        Some stay open for the next reads, since opening one takes longer than most reads. Read-only stores reopen the file each time, because the
        address depends on the -wal file.
        """
        with self._store_errors():
            connection = self._idle_connection() or connect(self._address("ro"), reads_only=True)
            try:
                with transaction(connection, writes=False):
                    yield connection
                is_kept = not (self._ending.is_set() or self.config.read_only or len(self._idle) >= _IDLE_CONNECTIONS)
            except BaseException:
                connection.close()
                raise
            if not is_kept:
                connection.close()
                return
            self._idle.append(connection)
            if self._ending.is_set() and not self._writer.forked:  # the store was closed meanwhile
                self._close_idle()

    def _close_idle(self) -> None:
        """Close the idle connections."""
        with contextlib.suppress(IndexError):  # another thread closed the last one
            while self._idle:
                self._idle.pop().close()

    def _idle_connection(self) -> sqlite3.Connection | None:
        """Return an idle connection to the file that is at the path now; None if there is none, or in a forked child."""
        while self._idle and not self._writer.forked:
            with contextlib.suppress(IndexError):  # another thread took the last one
                connection = self._idle.pop()
                if file_identity(self._opened) == self._file:
                    return connection
                connection.close()
        return None

    @contextlib.contextmanager
    def _store_errors(self) -> Iterator[None]:
        """Raise the block's errors of SQLite as errors of the store, with advice."""
        try:
            yield
        except sqlite3.Error as error:
            if self._file not in (None, file_identity(self._opened)):
                raise StoreAwayError(f"{self._replaced}: open it again") from error
            advice = advice_on(error, _READ_ONLY_ADVICE if self.config.read_only else _ADVICE) or "nothing was written"
            kind = StoreAwayError if isinstance(error, sqlite3.OperationalError) else StoreError  # other errors are about the content
            raise kind(f"the decision log {self.path} cannot be used ({error}): {advice}") from error
