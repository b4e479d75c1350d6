"""Which entries of a log are exported, and how they are divided among files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

import attrs

from aamc_sdk.log.export_format import Export, ExportFormat, ExportWriter
from aamc_sdk.log.ledger_store import LedgerStore
from aamc_sdk.log.rows import DECISION, Row, columns_of
from aamc_sdk.types import Partition, is_within


@attrs.frozen
class Selection:
    """Which decisions of a log are meant; an attempt or feedback goes with its decision.

    Attributes:
        tenant: Those of a tenant; None for all.
        since: Those made at that time or later, in seconds since the epoch; None for all.
        until: Those made before that time; None for all.
    """

    tenant: str | None = None
    since: float | None = None
    until: float | None = None

    @property
    def is_all(self) -> bool:
        """Whether all decisions are meant."""
        return self == Selection()

    def covers(self, row: Row) -> bool:
        """Return whether a decision is one of them."""
        return is_within(row.time, self.since, self.until) and (self.tenant is None or columns_of(row)["tenant"] == self.tenant)

    def rows(self, store: LedgerStore) -> Iterator[tuple[int, Row]]:
        """Yield the entries on these decisions with their positions, in log order."""
        names: set[str] = set()
        for position, row in store.placed():
            if row.kind == DECISION and self.covers(row):
                names.add(row.id)
            if self.is_all or row.decision_id in names:
                yield position, row

    @property
    def file_name(self) -> str:
        """A name for a file of these decisions, without a suffix."""
        parts = ["log"]
        parts += [f"{label}-{_stamp(when)}" for label, when in (("since", self.since), ("until", self.until)) if when is not None]
        return "-".join([*parts, *([] if self.tenant is None else [f"tenant-{quote(self.tenant, safe='')}"])])


def export_files(store: LedgerStore, folder: Path, name: str, format_class: type[ExportFormat], selection: Selection) -> tuple[list[Path], int]:
    """Write the entries on some decisions to files: one for each partition of the log, or one where only some decisions are meant.

    The store remembers the files before they hold an entry. If a user is forgotten meanwhile, they are written again.

    Returns:
        The files, and the number of entries.
    """
    partitions = store.partitions() if selection.is_all else ()
    names = [f"partition-{partition.number:06}" for partition in partitions] or [selection.file_name]
    paths = [folder.resolve() / f"{each}.{format_class.suffix}" for each in names]
    for path in paths:
        store.note_export(Export(str(path), name))
    while True:
        epoch = store.batch(0, 1).epoch
        with ExitStack() as files:
            writers = [files.enter_context(format_class.writer(path)) for path in paths]
            written = _write(store, selection, partitions, writers)
        if store.batch(0, 1).epoch == epoch:
            return paths, written


def _write(store: LedgerStore, selection: Selection, partitions: Sequence[Partition], writers: list[ExportWriter]) -> int:
    places: dict[str, int] = {}
    written = 0
    for position, row in selection.rows(store):
        if row.kind == DECISION:
            places[row.id] = _place(partitions, position)
        place = places.get(row.decision_id)
        if place is not None:  # the rest of a decision that retention was dropping
            writers[place].add(position, row)
            written += 1
    return written


def _place(partitions: Sequence[Partition], position: int) -> int:
    """Return the place of the partition of a decision; the newest takes those that were made meanwhile."""
    return max(sum(partition.first <= position for partition in partitions) - 1, 0)


def _stamp(when: float) -> str:
    return datetime.fromtimestamp(when, timezone.utc).strftime("%Y%m%dT%H%M%SZ")
