"""Export of a log's entries, all or some, to one file or one a partition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

import attrs

from aamc_sdk.log.exports.export_format import Export, ExportFormat, ExportWriter
from aamc_sdk.log.ledger_store import LedgerStore
from aamc_sdk.log.outcomes.row_outcomes import is_within
from aamc_sdk.log.rows.row import DECISION, Row, columns_of
from aamc_sdk.types import Partition


@attrs.frozen
class Selection:
    """A selection of a log's decisions; an attempt or feedback goes with its decision.

    Attributes:
        tenant: The tenant of the decisions; None for all.
        since: Time of the first decision, in seconds since the epoch; None for all.
        until: Time before which the decisions were made; None for all.
    """

    tenant: str | None = None
    since: float | None = None
    until: float | None = None

    @property
    def is_all(self) -> bool:
        """Whether all decisions are selected."""
        return self == Selection()

    def covers(self, row: Row) -> bool:
        """Return whether a decision is selected."""
        return is_within(row.time, self.since, self.until) and (self.tenant is None or columns_of(row)["tenant"] == self.tenant)

    def rows(self, store: LedgerStore) -> Iterator[tuple[int, Row]]:
        """Yield the entries on the selected decisions with their positions, in log order."""
        names: set[str] = set()
        for position, row in store.placed():
            if row.kind == DECISION and self.covers(row):
                names.add(row.id)
            if self.is_all or row.decision_id in names:
                yield position, row

    @property
    def file_name(self) -> str:
        """The name of a file of the selected decisions, without a suffix."""
        parts = ["log"]
        parts += [f"{label}-{_stamp(when)}" for label, when in (("since", self.since), ("until", self.until)) if when is not None]
        return "-".join([*parts, *([] if self.tenant is None else [f"tenant-{quote(self.tenant, safe='')}"])])


def export_files(store: LedgerStore, folder: Path, name: str, format_class: type[ExportFormat], selection: Selection) -> tuple[list[Path], int]:
    """Write the entries on the selected decisions to files: one for each partition of the log if all are selected, else one.

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
