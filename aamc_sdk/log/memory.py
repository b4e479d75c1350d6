"""A log that lives as long as its process: ``memory:``."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

from aamc_sdk.errors import StoreError, UnknownDecisionError
from aamc_sdk.log.ledger_store import MOST_VIEWS, LedgerStore
from aamc_sdk.log.memory_ledger import Lists
from aamc_sdk.log.rows import Row
from aamc_sdk.log.rules import Write, append_feedback
from aamc_sdk.types import Attempt, Experience, Feedback, Record, Records, Snapshot

T = TypeVar("T")


class MemoryStore(LedgerStore):
    """Keeps the log in memory; for tests, and for what need not outlive its process."""

    def __init__(self, url: str, config: Any) -> None:
        super().__init__(url, config)
        self._ledger = Lists()
        self._lock = threading.Lock()
        self._closed = False

    def decided(self, records: Sequence[Record]) -> None:
        """Append decisions with what they were made from; all or none."""
        decisions = records.decisions if isinstance(records, Records) else [record.decision for record in records]
        ids = [decision.id for decision in decisions if not decision.notes]  # notes of no JSON type are refused at once
        with self._lock:
            noted = len(ids) == len(decisions) and self._open.note_decisions(ids, records, self.config.store_text)
        if not noted:
            super().decided(records)

    def judged_all(self, judgements: Sequence[tuple[Feedback, Attempt | None]]) -> list[bool]:
        """Append feedback in order, up to the first that is refused; return which of it is new."""
        with self._lock:
            ledger = self._open
            return [
                (attempt is None and ledger.note_feedback(feedback)) or append_feedback(ledger, feedback, attempt) for feedback, attempt in judgements
            ]

    def record(self, decision_id: str) -> Record:
        """Return a decision with what it was made from."""
        with self._lock:
            record = self._ledger.record(decision_id)
        if record is None:
            raise UnknownDecisionError(f"no decision of the log has the id {decision_id!r}")
        return record

    def experience(self, after: int = 0, limit: int = 1000) -> Experience:
        """Return what the log holds after a position."""
        with self._lock:
            return self._ledger.experience(after, limit)

    def rows(self, after: int = 0, limit: int = 1000) -> Sequence[Row]:
        """Return at most ``limit`` entries after a position, as they are kept."""
        with self._lock:
            return self._ledger.rows(after, limit)

    def waiting(self) -> Sequence[Row]:
        """Return what waits for its decision."""
        with self._lock:
            return list(self._ledger.held.values())

    def view(self, name: str) -> Snapshot | None:
        """Return what was kept under a name, or None."""
        return self._ledger.views.get(name)

    def keep_view(self, name: str, view: Snapshot) -> None:
        """Keep what a router has learned."""
        with self._lock:
            ledger = self._open
            known = ledger.views.get(name)
            if view.epoch == ledger.epoch and (known is None or known.position < view.position):
                ledger.views.pop(name, None)  # the newest stands last
                ledger.views[name] = view
            for oldest in list(ledger.views)[:-MOST_VIEWS]:
                del ledger.views[oldest]

    def forget(self, user: str) -> int:
        """Erase a user's decisions; return how many they are."""
        with self._lock:
            return self._open.forget(user)

    def _forgotten_as(self) -> Collection[str]:
        return self._ledger.forgotten

    def close(self) -> None:
        """Refuse further writes."""
        self._closed = True

    def _write(self, write: Write[T]) -> T:
        with self._lock:
            return write.run(self._open)

    @property
    def _open(self) -> Lists:
        """The ledger, to be written to."""
        if self._closed:
            raise StoreError("the decision log is closed")
        return self._ledger
