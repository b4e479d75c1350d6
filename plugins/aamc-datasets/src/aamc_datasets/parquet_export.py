"""Export of a log's entries, all or some, to one Parquet file or one a partition.

Partitions are written from the newest: entries that came after their decision's partition had ended are known when that partition is written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path

import attrs

from aamc_datasets.parquet_files import ParquetWriter, read_decisions, source_of, writing
from aamc_sdk.errors import OutputError, StoreError
from aamc_sdk.log import DECISION, READ_AT_ONCE, Erasure, ExportedFile, ExportResult, Row, RowStore, Selection, still_has
from aamc_sdk.types import Partition

FORMAT = "parquet"
"""The name of the store that reads the files."""
_LATE_FIELDS = ("kind", "id", "decision_id", "candidate", "content", "time", "revision")
"""The fields of attempts and feedback; the others are of decisions."""
_LATE_COLUMNS = ", ".join(_LATE_FIELDS)


class DroppedError(Exception):
    """Raised when the log has dropped a decision that the earlier export has, so the file stays."""


class ChangedError(Exception):
    """Raised when retention drops decisions while they are written, so their later entries were not read."""


class OtherLogError(Exception):
    """Raised when the earlier export is of another log."""


@attrs.define
class EarlierExport:
    """Compares an earlier export with the log, both read once in the log's order.

    An entry keeps its position, and retention leaves gaps. So a position with another entry, or one that the log has not reached, is of another log.

    Attributes:
        decisions: The decisions of the file with their positions.
    """

    decisions: Iterator[tuple[int, Row]]
    _matched: bool = attrs.field(default=False, init=False)
    _next: tuple[int, Row] | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._next = next(self.decisions, None)

    def compare(self, position: int, row: Row) -> None:
        """Compare an entry of the log; positions ascend."""
        if self._next is None or self._next[0] > position:
            return
        at, decision = self._next
        if at < position:
            raise DroppedError
        if (row.kind, row.id, row.time) != (DECISION, decision.id, decision.time):
            raise OtherLogError
        self._matched = True
        self._next = next(self.decisions, None)

    def end(self, last: int) -> None:
        """Compare the rest of the file, when the entries up to a position were compared."""
        if self._next is not None:
            raise DroppedError if self._matched or self._next[0] <= last else OtherLogError


class LateEntries:
    """Attempts and feedback that came after their decision's partition had ended, in a temporary file of this process."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute(f"CREATE TABLE late (position INTEGER PRIMARY KEY, {_LATE_COLUMNS})")
        connection.execute("CREATE INDEX late_by_decision ON late (decision_id)")
        connection.execute("CREATE TABLE own (decision_id PRIMARY KEY) WITHOUT ROWID")
        connection.execute("BEGIN")

    @classmethod
    @contextmanager
    def temporary(cls) -> Iterator[LateEntries]:
        """Make an empty file, which is gone when the block ends."""
        try:
            with closing(sqlite3.connect("", isolation_level=None)) as connection:
                yield cls(connection)
        except sqlite3.Error as error:
            raise OutputError(f"cannot write a temporary file: {error}; free some space, or name another folder by TMPDIR") from error

    def add(self, position: int, row: Row) -> None:
        """Keep an entry."""
        values = [position, *(getattr(row, name) for name in _LATE_FIELDS)]
        self._connection.execute(f"REPLACE INTO late VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608  # constants

    def of(self, decisions: Collection[str]) -> Iterator[tuple[int, Row]]:
        """Yield the entries on some decisions with their positions, in log order."""
        self._connection.execute("DELETE FROM own")
        self._connection.executemany("INSERT INTO own VALUES (?)", ((name,) for name in decisions))
        found = self._connection.execute(f"SELECT position, {_LATE_COLUMNS} FROM late JOIN own USING (decision_id) ORDER BY position")  # noqa: S608  # constants
        for position, *values in found:
            yield position, Row(**dict(zip(_LATE_FIELDS, values, strict=True)))


def export_files(store: RowStore, folder: Path, selection: Selection) -> ExportResult:
    """Write the entries on the selected decisions to files: one for each partition of the log if all are selected, else one.

    The store remembers a file before it holds an entry. A file is written again if a user was forgotten or decisions were dropped meanwhile. An
    earlier file is only replaced by one that has all its decisions.

    Raises:
        StoreError: An earlier file is of another log, or has decisions that are not in the log; or the log has no decisions of the tenant.
    """
    exporter = _Exporter(store, folder.resolve(), selection, store.exports())
    end = store.position()  # first, so that the partitions have all decisions up to here
    nonempty = [each for each in store.partitions() if each.first <= (end if each.last is None else min(each.last, end))]
    partitions = nonempty if selection.is_all else []
    if not partitions:
        return exporter.write_selected()
    counts: dict[Path, int | None] = {}
    with LateEntries.temporary() as late:
        for partition in reversed(partitions):
            path, last = exporter.path(f"partition-{partition.number:06}"), end if partition.last is None else min(partition.last, end)
            counts[path] = exporter.write_partition(path, partition, last, late)
    paths = sorted(counts)
    written = {path: count for path in paths if (count := counts[path]) is not None}
    return ExportResult(list(written), sum(written.values()), [path for path in paths if path not in written and path.exists()])


@attrs.frozen
class _Exporter:
    """Writes files to a folder.

    Attributes:
        store: The log.
        folder: The folder.
        selection: The decisions to write.
        noted: The exports that the log knew before.
    """

    store: RowStore
    folder: Path
    selection: Selection
    noted: Collection[ExportedFile]

    def path(self, name: str) -> Path:
        """Return the path of a file."""
        return self.folder / f"{name}.parquet"

    def write_selected(self) -> ExportResult:
        """Write the selected entries to one file."""

        def write(out: ParquetWriter, earlier: EarlierExport) -> int:
            written = 0
            for position, row in self.selection.rows(self.store):
                earlier.compare(position, row)
                out.add(position, row)
                written += 1
            earlier.end(0)
            return written

        path = self.path(_file_name(self.selection))
        try:
            return ExportResult([path], self._write(path, write))
        except DroppedError as error:
            why = "retention has dropped them, or they are of another log"
            raise StoreError(f"{path} has decisions that are not in the log {self.store.name}: {why}; choose another folder") from error

    def write_partition(self, path: Path, partition: Partition, last: int, late: LateEntries) -> int | None:
        """Write a partition's entries, and keep those on earlier partitions for later.

        Args:
            path: The file.
            partition: The partition.
            last: The position of its last entry to write that is not late.
            late: Entries that came later.

        Returns:
            The number of entries; None if the file was not written, since retention has dropped decisions.
        """

        def write(out: ParquetWriter, earlier: EarlierExport) -> int:
            own: set[str] = set()
            written = 0
            for position, row in _entries(self.store, partition.first, last):
                earlier.compare(position, row)
                if row.kind == DECISION:
                    own.add(row.id)
                if row.decision_id in own:
                    out.add(position, row)
                    written += 1
                else:
                    late.add(position, row)
            earlier.end(last)
            if not own:
                raise DroppedError
            for position, row in late.of(own):
                out.add(position, row)
                written += 1
            return written

        try:
            return self._write(path, write)
        except DroppedError:
            return None

    def _write(self, path: Path, write: Callable[[ParquetWriter, EarlierExport], int]) -> int:
        """Write a file, and return the number of its entries."""
        export = ExportedFile(str(path), FORMAT)
        self.store.note_export(export)
        while True:
            epoch = self.store.batch(0, 1).epoch
            try:
                with writing(path, self.store.name) as out:
                    written = write(out, EarlierExport(self._decisions(path)))
                    self._check_unchanged(out)
            except ChangedError:
                continue
            except OtherLogError as error:
                if export not in self.noted:
                    self.store.discard_export(export)
                other = source_of(path)
                why = f"{path} is an export of another log{other and f', {other}'}, or of an earlier one of that name"
                raise StoreError(f"{why}, and was not replaced by one of {self.store.name}; choose another folder") from error
            self.store.note_export(export)  # again: forgetting a user meanwhile found no file, and so discarded it
            if self.store.batch(0, 1).epoch == epoch:
                return written

    def _check_unchanged(self, out: ParquetWriter) -> None:
        """Check that the log still has the written decisions.

        Raises:
            ChangedError: Retention has dropped some of them.
        """
        if out.first is not None and not still_has(self.store, out.first):
            raise ChangedError

    def _decisions(self, path: Path) -> Iterator[tuple[int, Row]]:
        """Yield the selected decisions of the earlier file; none where there is none. Forgetting a tenant leaves decisions without one."""
        if path.exists():
            yield from ((position, row) for position, row in read_decisions(path) if self.selection.covers(row))


def _entries(store: RowStore, first: int, last: int) -> Iterator[tuple[int, Row]]:
    """Yield the entries from one position to another."""
    after = first - 1
    while after < last and (batch := store.batch(after, min(READ_AT_ONCE, last - after))).position > after:
        yield from ((position, row) for position, row in batch.placed if position <= last)
        after = batch.position


def _file_name(selection: Selection) -> str:
    """Return the name of a file of the selected decisions, without a suffix; a tenant's digest stands for its name, which may be forgotten."""
    parts = ["log"]
    parts += [f"{label}-{_stamp(when)}" for label, when in (("since", selection.since), ("until", selection.until)) if when is not None]
    return "-".join([*parts, *([] if selection.tenant is None else [f"tenant-{Erasure(None, selection.tenant).digest[:16]}"])])


def _stamp(when: float) -> str:
    return datetime.fromtimestamp(when, timezone.utc).strftime("%Y%m%dT%H%M%SZ")
