"""A selection of a log's decisions: all of them, those of a tenant, or those of some time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from urllib.parse import quote

import attrs

from aamc_sdk.errors import StoreError
from aamc_sdk.log.ledger_store import LedgerStore
from aamc_sdk.log.outcomes.row_outcomes import is_within
from aamc_sdk.log.rows.row import DECISION, Row, columns_of


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

    @property
    def file_name(self) -> str:
        """The name of a file of the selected decisions, without a suffix."""
        parts = ["log"]
        parts += [f"{label}-{_stamp(when)}" for label, when in (("since", self.since), ("until", self.until)) if when is not None]
        return "-".join([*parts, *([] if self.tenant is None else [f"tenant-{quote(self.tenant, safe='')}"])])


def _stamp(when: float) -> str:
    return datetime.fromtimestamp(when, timezone.utc).strftime("%Y%m%dT%H%M%SZ")
