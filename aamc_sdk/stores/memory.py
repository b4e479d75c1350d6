"""A log that lives as long as its process: ``memory:``."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from aamc_sdk.dataset import Experience
from aamc_sdk.errors import StoreError, UnknownDecisionError
from aamc_sdk.log import Record, Records, View
from aamc_sdk.stores.joining import join
from aamc_sdk.stores.ledger import MOST_VIEWS, LedgerStore
from aamc_sdk.stores.records import ATTEMPT, DECISION, FEEDBACK, Row, decision_row, erased, feedback_from, record_from, user_of
from aamc_sdk.stores.rules import Ledger
from aamc_sdk.types import Feedback

T = TypeVar("T")


Unwritten = tuple[Sequence[Record], int, bool]
"""A batch of records, a place in it, and whether texts are kept: a decision that nobody has asked for yet."""


class _Lists:
    """The ledger in lists and mappings. Decisions become rows when they are first read, since most never are."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], Row] = {}
        self.views: dict[str, View] = {}
        self.epoch = 0
        self._log: list[Row | Unwritten] = []
        self._positions: dict[tuple[str, str], int] = {}
        self._attempts: defaultdict[str, list[Row]] = defaultdict(list)

    def note(self, ids: Sequence[str], records: Sequence[Record], store_text: bool) -> bool:
        """Place decisions as they are; return whether that was possible: they are new, and nothing waits for them."""
        keys = {(DECISION, decision_id): place for place, decision_id in enumerate(ids, len(self._log))}
        if self.held or len(keys) < len(ids) or any(key in self._positions for key in keys):
            return False
        self._log += [(records, place, store_text) for place in range(len(ids))]
        self._positions |= keys
        return True

    def stretch(self, after: int, limit: int) -> list[Row]:
        """Return at most ``limit`` entries after a position."""
        return [self._row(position) for position in range(after, min(after + limit, len(self._log)))]

    def find(self, kind: str, entry_id: str) -> Row | None:
        position = self._positions.get((kind, entry_id))
        return self.held.get((kind, entry_id)) if position is None else self._row(position)

    def history(self, decision_id: str) -> Sequence[Row]:
        decision = self.find(DECISION, decision_id)
        return () if decision is None else (decision, *self._attempts.get(decision_id, ()))

    def waiting(self, decision_id: str) -> Sequence[Row]:
        return [row for row in self.held.values() if row.decision_id == decision_id]

    def place(self, row: Row) -> None:
        self.held.pop((row.kind, row.id), None)
        self._positions[row.kind, row.id] = len(self._log)
        self._log.append(row)
        if row.kind == ATTEMPT:
            self._attempts[row.decision_id].append(row)

    def hold(self, row: Row) -> None:
        self.held[row.kind, row.id] = row

    def decisions(self, stretch: Sequence[Row]) -> list[Row]:
        """Return the decisions that a stretch's entries are or name, in log order."""
        return [self._row(position) for position in sorted({self._positions[DECISION, row.decision_id] for row in stretch})]

    def forget(self, user: str) -> int:
        """Erase a user's decisions; return how many they are."""
        rows = {position: self._row(position) for (kind, _), position in self._positions.items() if kind == DECISION}
        asked = {position: erased(row) for position, row in rows.items() if user_of(row) == user}
        for position, row in asked.items():
            self._log[position] = row
        self.views.clear()
        self.epoch += 1
        return len(asked)

    def _row(self, position: int) -> Row:
        entry = self._log[position]
        if isinstance(entry, tuple):
            records, place, store_text = entry
            entry = self._log[position] = decision_row(records[place], store_text)
        return entry


class MemoryStore(LedgerStore):
    """Keeps the log in memory; for tests, and for what need not outlive its process."""

    def __init__(self, url: str, config: Any) -> None:
        super().__init__(url, config)
        self._ledger = _Lists()
        self._lock = threading.Lock()
        self._closed = False

    def decided(self, records: Sequence[Record]) -> None:
        """Append decisions with what they were made from; all or none."""
        decisions = records.decisions if isinstance(records, Records) else [record.decision for record in records]
        ids = [decision.id for decision in decisions]
        noted = not any(decision.notes for decision in decisions)  # notes of no JSON type are refused at once
        if not (noted and self._write(lambda _: self._ledger.note(ids, records, self.config.store_text))):
            super().decided(records)

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
            stretch = self._ledger.stretch(after, limit)
            decisions, epoch = self._ledger.decisions(stretch), self._ledger.epoch
        return join(after + len(stretch), stretch, decisions, epoch)

    def pending(self) -> Sequence[Feedback]:
        """Return the feedback whose decision has not come yet."""
        with self._lock:
            return [feedback_from(row) for row in self._ledger.held.values() if row.kind == FEEDBACK]

    def view(self, name: str) -> View | None:
        """Return what was kept under a name, or None."""
        return self._ledger.views.get(name)

    def keep_view(self, name: str, view: View) -> None:
        """Keep what a router has learned."""
        with self._lock:
            views = self._ledger.views
            known = views.get(name)
            if view.epoch == self._ledger.epoch and (known is None or known.position < view.position):
                views.pop(name, None)  # the newest stands last
                views[name] = view
            for oldest in list(views)[:-MOST_VIEWS]:
                del views[oldest]

    def forget(self, user: str) -> int:
        """Erase a user's decisions; return how many they are."""
        with self._lock:
            return self._ledger.forget(user)

    def close(self) -> None:
        """Refuse further writes."""
        self._closed = True

    def _write(self, write: Callable[[Ledger], T]) -> T:
        with self._lock:
            if self._closed:
                raise StoreError("the decision log is closed")
            return write(self._ledger)
