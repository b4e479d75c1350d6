"""A log that lives as long as its process: ``memory:``."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from aamc_sdk.dataset import Experience
from aamc_sdk.errors import StoreError, UnknownDecisionError
from aamc_sdk.log import Record
from aamc_sdk.stores.joining import join
from aamc_sdk.stores.ledger import LedgerStore
from aamc_sdk.stores.records import DECISION, FEEDBACK, Row, feedback_from, record_from
from aamc_sdk.stores.rules import Ledger
from aamc_sdk.types import Feedback

T = TypeVar("T")


class _Lists:
    """The ledger in lists and mappings."""

    def __init__(self) -> None:
        self.log: list[Row] = []
        self.held: dict[tuple[str, str], Row] = {}
        self._positions: dict[tuple[str, str], int] = {}
        self._histories: defaultdict[str, list[Row]] = defaultdict(list)

    def find(self, kind: str, entry_id: str) -> Row | None:
        position = self._positions.get((kind, entry_id))
        return self.held.get((kind, entry_id)) if position is None else self.log[position]

    def history(self, decision_id: str) -> Sequence[Row]:
        return tuple(self._histories.get(decision_id, ()))

    def waiting(self, decision_id: str) -> Sequence[Row]:
        return [row for row in self.held.values() if row.decision_id == decision_id]

    def place(self, row: Row) -> None:
        self.held.pop((row.kind, row.id), None)
        self._positions[row.kind, row.id] = len(self.log)
        self.log.append(row)
        if row.kind != FEEDBACK:
            self._histories[row.decision_id].append(row)

    def hold(self, row: Row) -> None:
        self.held[row.kind, row.id] = row

    def decisions(self, stretch: Sequence[Row]) -> list[Row]:
        """Return the decisions that a stretch's entries are or name, in log order."""
        return [self.log[position] for position in sorted({self._positions[DECISION, row.decision_id] for row in stretch})]


class MemoryStore(LedgerStore):
    """Keeps the log in memory; for tests, and for what need not outlive its process."""

    def __init__(self, url: str, config: Any) -> None:
        super().__init__(url, config)
        self._ledger = _Lists()
        self._lock = threading.Lock()
        self._closed = False

    def record(self, decision_id: str) -> Record:
        """Return a decision with what it was made from."""
        with self._lock:
            row = self._ledger.find(DECISION, decision_id)
        if row is None:
            raise UnknownDecisionError(f"no decision of the log has the id {decision_id!r}")
        return record_from(row)

    def experience(self, after: int = 0, limit: int = 1000) -> Experience:
        """Return what the log holds after a position."""
        with self._lock:
            stretch = self._ledger.log[after : after + limit]
            decisions = self._ledger.decisions(stretch)
        return join(after + len(stretch), stretch, decisions)

    def pending(self) -> Sequence[Feedback]:
        """Return the feedback whose decision has not come yet."""
        with self._lock:
            return [feedback_from(row) for row in self._ledger.held.values() if row.kind == FEEDBACK]

    def close(self) -> None:
        """Refuse further writes."""
        self._closed = True

    def _write(self, write: Callable[[Ledger], T]) -> T:
        with self._lock:
            if self._closed:
                raise StoreError("the decision log is closed")
            return write(self._ledger)
