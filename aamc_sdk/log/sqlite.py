"""The default log: one SQLite file, ``sqlite:PATH``.

Writes go through one thread that commits them in groups (write-ahead log, synced at each commit:
acknowledged entries survive a crash). Reads use connections of their own and never wait for
writes. Several processes may share a file. A file that cannot be written can be read with the option ``read_only``.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs

from aamc_sdk.config import option
from aamc_sdk.errors import StoreAwayError, StoreError, UnknownDecisionError
from aamc_sdk.log.experience import Batch
from aamc_sdk.log.group_commit import GroupCommit, run_writes
from aamc_sdk.log.ledger_store import LedgerStore
from aamc_sdk.log.outcomes import RowOutcomes
from aamc_sdk.log.rows import Row, StoreOptions, record_from
from aamc_sdk.log.rules import Write
from aamc_sdk.log.sqlite_file import connect, snapshot, transaction
from aamc_sdk.log.sqlite_table import Table, check_prepared, prepare
from aamc_sdk.types import Experience, LoggedOutcomes, Record, Snapshot

T = TypeVar("T")
logger = logging.getLogger(__name__)
_CHECKPOINT_MS = 1000
_ADVICE = {
    "not a database": "it is no decision log or is damaged; it was left as it is: choose another path",
    "malformed": "it is damaged and was left as it is: restore a copy, or choose another path",
    "unable to open": "its folder must exist and be writable, which SQLite needs even for reading while a -wal file exists: "
    "choose another path (--store sqlite:PATH)",
    "readonly": "it cannot be written: choose another path (--store sqlite:PATH), or only read it by ?read_only=true",
    "locked": "another process has locked it; try again",
}


@attrs.frozen(kw_only=True)
class SqliteOptions(StoreOptions):
    """The options of the log in a file."""

    read_only: bool = option(False, "Whether the file is only read, as on a medium that cannot be written.")


class SqliteStore(LedgerStore):
    """Keeps the log in a file.

    Raises:
        StoreError: The file cannot be opened, is no log, or has a newer version. It is never overwritten.
    """

    Config = SqliteOptions

    def __init__(self, url: str, config: Any) -> None:
        super().__init__(url, config)
        name = url.partition(":")[2]
        if not name:
            raise StoreError(f"a store in a file needs its path, such as sqlite:state.db, not {url!r}")
        self.path = Path(name)
        self._opened = self.path.resolve()
        self._copies = contextlib.ExitStack()
        if config.read_only and self._has_changes() and not Path(f"{self._opened}-shm").exists():
            self._opened = self._copied()
        with self._explained():
            connection = connect(self._address("ro" if config.read_only else "rwc"))
            try:
                (check_prepared if config.read_only else prepare)(connection, self.path)
            except BaseException:
                connection.close()
                self._copies.close()
                raise
        self._connection = connection
        self._copies.callback(connection.close)
        self._file = self._file_now()
        self._writer = GroupCommit(self._commit, self._copies.close)

    def record(self, decision_id: str) -> Record:
        """Return a decision's record."""
        with self._reading() as table:
            row = table.find(decision_id)
        if row is None:
            raise UnknownDecisionError(f"no decision of the log {self.path} has the id {decision_id!r}")
        return record_from(row)

    def experience(self, after: int = 0, limit: int = 1000) -> Experience:
        """Return at most ``limit`` entries after a position."""
        return self.batch(after, limit).experience()

    def batch(self, after: int = 0, limit: int = 1000) -> Batch:
        """Return at most ``limit`` entries after a position as rows, with the decisions that they refer to."""
        with self._reading() as table:
            return table.batch(after, limit)

    def episode(self, episode_id: str) -> Sequence[Record]:
        """Return the records of an episode's decisions in log order."""
        with self._reading() as table:
            rows = table.episode(episode_id)
        return [record_from(row) for row in rows]

    def outcomes(self, since: float | None = None, until: float | None = None, columns: Collection[str] = ()) -> LoggedOutcomes:
        """Return propensities and outcomes of decisions as arrays, from columns; contents are read only where a column needs them."""
        found = RowOutcomes(columns)
        with self._reading() as table:
            table.add_outcomes(found, since, until)
        return found.outcomes()

    def rows(self, after: int = 0, limit: int = 1000) -> Sequence[Row]:
        """Return at most ``limit`` entries after a position, as they are kept."""
        with self._reading() as table:
            return table.rows(after, limit)

    def pending_rows(self) -> Sequence[Row]:
        """Return the entries whose decision is not in the log."""
        with self._reading() as table:
            return table.pending()

    def snapshot(self, name: str) -> Snapshot | None:
        """Return the snapshot of a name, or None."""
        with self._reading() as table:
            return table.snapshot(name)

    def put_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Keep a snapshot; a log that is only read keeps none, and a restart learns again."""
        if self.config.read_only:
            return
        with self._connected() as connection, transaction(connection):
            Table(connection).put_snapshot(name, snapshot)

    def forget(self, user: str) -> int:
        """Erase a user's decisions; return how many they are.

        Their bytes are gone when this returns, from the write-ahead log too, unless another reader holds the log: then a warning says so.
        """
        decisions = super().forget(user)
        with self._connected() as connection:
            connection.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_MS}")  # writers wait as long
            (held_up, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if held_up:
            advice = "forget the user again when no program reads the log"
            logger.warning("%s is being read, so erased bytes are still in %s-wal; %s", self.path, self.path, advice)
        return decisions

    def _erase(self, user: str, limit: int) -> int:
        with self._connected() as connection, transaction(connection):
            return Table(connection).erase(user, limit)

    def _counts(self) -> tuple[int, int]:
        with self._reading() as table:
            return table.position, table.snapshot_count

    def _forgotten_digests(self) -> Mapping[str, float]:
        with self._reading() as table:
            return table.forgotten_digests()

    def close(self) -> None:
        """Finish the writes, then close the file."""
        self._writer.close()

    def _write(self, write: Write[T]) -> T:
        return self._writer.run(write)

    def _commit(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        if self._file_now() != self._file:
            raise StoreAwayError(f"the decision log {self.path} was removed or replaced while it was open: nothing was written; open it again")
        with self._explained(), transaction(self._connection):
            table = Table(self._connection)
            excerpt = table.excerpt(writes)
            results = run_writes(writes, excerpt)
            table.write(excerpt)
        return results

    def _file_now(self) -> tuple[int, int] | None:
        """Return device and inode of the file at the path, None if there is no file."""
        try:
            found = self._opened.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    @contextlib.contextmanager
    def _connected(self, mode: str = "rw") -> Iterator[sqlite3.Connection]:
        """Open a connection for one task."""
        with self._explained(), contextlib.closing(connect(self._address(mode))) as connection:
            yield connection

    def _address(self, mode: str) -> str:
        """Return the URI to open the file with.

        SQLite makes a file of its own beside a write-ahead log. On a medium that cannot be written, there is one only while another machine
        writes; else the write-ahead log is empty, and the file is opened as one that does not change.
        """
        address = f"{self._opened.as_uri()}?mode="
        if not self.config.read_only:
            return address + mode
        return f"{address}ro" if self._has_changes() else f"{address}ro&immutable=1"

    def _has_changes(self) -> bool:
        """Return whether the write-ahead log beside the file holds changes."""
        try:
            return Path(f"{self._opened}-wal").stat().st_size > 0
        except FileNotFoundError:
            return False

    def _copied(self) -> Path:
        """Copy the file and its write-ahead log to a temporary folder, where SQLite can join them; return the copy's path."""
        folder = Path(self._copies.enter_context(tempfile.TemporaryDirectory(prefix="aamc-log-")))
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{self._opened}{suffix}", folder / f"log.db{suffix}")
        return folder / "log.db"

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Table]:
        """Open a connection that sees one state of the file, however many queries it runs."""
        with self._connected("ro") as connection, snapshot(connection):
            yield Table(connection)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._refusal(error) from error

    def _refusal(self, error: sqlite3.Error) -> StoreError:
        advice = next((advice for sign, advice in _ADVICE.items() if sign in str(error)), "nothing was written")
        kind = StoreAwayError if isinstance(error, sqlite3.OperationalError) else StoreError  # other errors are about the content
        refused = kind(f"the decision log {self.path} cannot be used ({error}): {advice}")
        refused.__cause__ = error
        return refused
