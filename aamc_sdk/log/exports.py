"""Exports of a log: the selected decisions, and the formats of plugins for them."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from aamc_sdk.errors import StoreError
from aamc_sdk.log.erasure import Erasure
from aamc_sdk.log.outcomes import is_within
from aamc_sdk.log.row_store import RowStore
from aamc_sdk.log.rows.row import DECISION, Row, columns_of


@attrs.frozen
class Selection:
    """A selection of a log's decisions, with their attempts and feedback.

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

    def rows(self, store: RowStore) -> Iterator[tuple[int, Row]]:
        """Yield the entries on the selected decisions with their positions, in log order.

        Raises:
            StoreError: The log has no such decisions of the tenant, whose name may be mistyped.
        """
        if self.is_all:
            yield from store.placed()
            return
        names: set[str] = set()
        for position, row in store.placed():
            if row.kind == DECISION and self.covers(row):
                names.add(row.id)
            if row.decision_id in names:
                yield position, row
        if self.tenant is not None and not names:
            when = "" if self == Selection(self.tenant) else " in that range of time"
            raise StoreError(f"the log {store.name} has no decisions of the tenant {self.tenant!r}{when}; nothing was exported")


def still_has(store: RowStore, first: int) -> bool:
    """Return whether a log still has all decisions from a decision's position on: retention drops them in this order, each with all its entries."""
    return next((position for position, _ in store.batch(first - 1, 1).placed), None) == first


@attrs.frozen
class ExportResult:
    """The result of an export.

    Attributes:
        files: The files that were written.
        entries: The number of entries in them.
        kept: Files of an earlier export that stay as they are, since the log has dropped some of their decisions.
    """

    files: Sequence[Path]
    entries: int
    kept: Sequence[Path] = ()


class ExportFormat(abc.ABC):
    """The part of a store class that writes files which the store then reads."""

    @classmethod
    @abc.abstractmethod
    def export(cls, store: RowStore, folder: Path, selection: Selection) -> ExportResult:
        """Write the entries on the selected decisions to files of a folder, which the log remembers (:meth:`RowStore.note_export`).

        Raises:
            StoreError: An earlier file is of another log, or has decisions that are not in the log; or the log has no decisions of the tenant.
        """

    @classmethod
    @abc.abstractmethod
    def erase(cls, path: Path, erasure: Erasure) -> int:
        """Rewrite a file without the erased decisions, and remove what killed processes left of it; return their number.

        Raises:
            DataError: There is no such file, or it is not of this format.
        """
