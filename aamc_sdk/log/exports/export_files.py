"""Export of a log's entries, all or some, to one file or one a partition."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import attrs

from aamc_sdk.errors import StoreError
from aamc_sdk.log.exports.earlier_export import DroppedError, EarlierExport, OtherLogError
from aamc_sdk.log.exports.export_format import Export, ExportFormat, ExportWriter
from aamc_sdk.log.exports.late_entries import LateEntries, late_entries
from aamc_sdk.log.exports.selection import Selection
from aamc_sdk.log.ledger_store import READ_AT_ONCE, LedgerStore
from aamc_sdk.log.rows.row import DECISION, Row
from aamc_sdk.types import Partition


@attrs.frozen
class Exported:
    """The result of an export.

    Attributes:
        files: The files that were written.
        entries: The number of entries in them.
        kept: Files of an earlier export that stay as they are, since the log has dropped some of their decisions.
    """

    files: Sequence[Path]
    entries: int
    kept: Sequence[Path] = ()


def export_files(store: LedgerStore, folder: Path, name: str, format_class: type[ExportFormat], selection: Selection) -> Exported:
    """Write the entries on the selected decisions to files: one for each partition of the log if all are selected, else one.

    The store remembers a file before it holds an entry. A file is written again if a user was forgotten meanwhile. An earlier file is only replaced
    by one that has all its decisions.

    Raises:
        StoreError: An earlier file is of another log, or has decisions that are not in the log; or the log has no decisions of the tenant.
    """
    exporter = _Exporter(store, folder.resolve(), name, format_class, selection, store.exports())
    end = store.position()  # first, so that the partitions have all decisions up to here
    partitions = [each for each in store.partitions() if each.first <= end] if selection.is_all else []
    if not partitions:
        return exporter.write_selected()
    counts: dict[Path, int | None] = {}
    with late_entries() as late:
        for partition in reversed(partitions):  # the newest first: then the late entries on a partition are known when it is written
            path, last = exporter.path(f"partition-{partition.number:06}"), end if partition.last is None else min(partition.last, end)
            counts[path] = exporter.write_partition(path, partition, last, late)
    paths = sorted(counts)
    written = {path: count for path in paths if (count := counts[path]) is not None}
    return Exported(list(written), sum(written.values()), [path for path in paths if path not in written and path.exists()])


@attrs.frozen
class _Exporter:
    """Writes files of one format to a folder.

    Attributes:
        store: The log.
        folder: The folder.
        format: The name of the format.
        format_class: The format.
        selection: The decisions to write.
        noted: The exports that the log knew before.
    """

    store: LedgerStore
    folder: Path
    format: str
    format_class: type[ExportFormat]
    selection: Selection
    noted: Collection[Export]

    def path(self, name: str) -> Path:
        """Return the path of a file."""
        return self.folder / f"{name}.{self.format_class.suffix}"

    def write_selected(self) -> Exported:
        """Write the selected entries to one file."""

        def write(out: ExportWriter, earlier: EarlierExport) -> int:
            written = 0
            for position, row in self.selection.rows(self.store):
                earlier.compare(position, row)
                out.add(position, row)
                written += 1
            earlier.end(0)
            return written

        path = self.path(self.selection.file_name)
        try:
            return Exported([path], self._write(path, write))
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

        def write(out: ExportWriter, earlier: EarlierExport) -> int:
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

    def _write(self, path: Path, write: Callable[[ExportWriter, EarlierExport], int]) -> int:
        """Write a file, and return the number of its entries."""
        export = Export(str(path), self.format)
        if not self.store.remembers_export(export):
            self.store.note_export(export)
        is_remembered = self.store.remembers_export(export)
        while True:
            epoch = self.store.batch(0, 1).epoch
            try:
                with self.format_class.writer(path, self.store.name) as out:
                    written = write(out, EarlierExport(self._decisions(path)))
            except OtherLogError as error:
                if export not in self.noted:
                    self.store.discard_export(export)
                other = self.format_class.source(path)
                why = f"{path} is an export of another log{other and f', {other}'}, or of an earlier one of that name"
                raise StoreError(f"{why}, and was not replaced by one of {self.store.name}; choose another folder") from error
            if is_remembered and not self.store.remembers_export(export):  # forgetting a user did not find the file, which was not there yet
                self.store.note_export(export)
            if self.store.batch(0, 1).epoch == epoch:
                return written

    def _decisions(self, path: Path) -> Iterator[tuple[int, Row]]:
        """Yield the selected decisions of the earlier file; none where there is none. Forgetting a tenant leaves decisions without one."""
        if path.exists():
            yield from ((position, row) for position, row in self.format_class.decisions(path) if self.selection.covers(row))


def _entries(store: LedgerStore, first: int, last: int) -> Iterator[tuple[int, Row]]:
    """Yield the entries from one position to another."""
    after = first - 1
    while after < last and (batch := store.batch(after, min(READ_AT_ONCE, last - after))).position > after:
        yield from ((position, row) for position, row in batch.placed if position <= last)
        after = batch.position
