"""What every store that keeps its entries in a ledger has in common: how it writes."""

from __future__ import annotations

import abc
from collections.abc import Collection, Sequence
from typing import TypeVar

from aamc_sdk.errors import StoreError
from aamc_sdk.interfaces import Store
from aamc_sdk.log.jsonl import Entry
from aamc_sdk.log.rows import DECISION, FEEDBACK, Row, StoreOptions, attempt_row, decision_row, feedback_from, forgotten_as, unspoken
from aamc_sdk.log.rules import Ledger, Write, append, append_feedback
from aamc_sdk.types import Attempt, Feedback, Record

T = TypeVar("T")
MOST_VIEWS = 8
"""Routers whose state a log keeps; of more, those that were written longest ago go."""
MOST_AT_ONCE = 1000
"""Entries in one write; others' writes come between two of them."""


class LedgerStore(Store):
    """A store whose writes follow the log's rules; a subclass says how a write becomes durable, and reads in its own way."""

    Config = StoreOptions

    def decided(self, records: Sequence[Record]) -> None:
        """Append decisions with what they were made from; all or none."""
        rows = [decision_row(record, self.config.store_text) for record in records]
        self._append(rows)

    def attempted(self, attempt: Attempt) -> None:
        """Append a call; the same attempt twice counts once."""
        self._append([attempt_row(attempt)])

    def judged(self, feedback: Feedback, attempt: Attempt | None = None) -> bool:
        """Append feedback, and the call that came with it, both or none; False where the same feedback was there before."""
        return self.judged_all([(feedback, attempt)])[0]

    def judged_all(self, judgements: Sequence[tuple[Feedback, Attempt | None]]) -> list[bool]:
        """Append feedback in order, up to the first that is refused; return which of it is new."""
        new, refusal = self.add(judgements)
        if refusal is not None:
            raise refusal
        return new

    def add(self, entries: Sequence[Entry]) -> tuple[list[bool], StoreError | None]:
        """Append entries of any kind in order, up to the first that is refused; prompts are left out where the store keeps none.

        Returns:
            Which of them are new, and why the one after these was refused, if one was.
        """
        new: list[bool] = []
        for start in range(0, len(entries), MOST_AT_ONCE):
            some = [self._as_kept(entry) for entry in entries[start : start + MOST_AT_ONCE]]
            found, refusal = self._write(_appending(some))
            new += found
            if refusal is not None:
                return new, refusal
        return new, None

    def pending(self) -> Sequence[Feedback]:
        """Return the feedback whose decision has not come yet."""
        return [feedback_from(row) for row in self.waiting() if row.kind == FEEDBACK]

    def forgotten(self, users: Collection[str]) -> Collection[str]:
        """Return which of some users were forgotten."""
        known = self._forgotten_as()
        return {user for user in users if forgotten_as(user) in known} if known else ()

    @abc.abstractmethod
    def rows(self, after: int = 0, limit: int = 1000) -> Sequence[Row]:
        """Return at most ``limit`` entries after a position, as they are kept, in the order of the log."""

    @abc.abstractmethod
    def waiting(self) -> Sequence[Row]:
        """Return what waits for its decision."""

    @abc.abstractmethod
    def _forgotten_as(self) -> Collection[str]:
        """Return the digests of all users who were forgotten."""

    def _append(self, rows: Sequence[Row]) -> None:
        """Append decisions or attempts, all or none."""
        self._write(Write(lambda ledger: append(ledger, rows), [row.decision_id for row in rows]))

    def _as_kept(self, entry: Entry) -> Entry:
        if isinstance(entry, Row) and entry.kind == DECISION and not self.config.store_text:
            return unspoken(entry)
        return entry

    @abc.abstractmethod
    def _write(self, write: Write[T]) -> T:
        """Run a write on the ledger, alone, and return its result once that is durable.

        Raises:
            StoreError: The write was refused or failed, or the store is closed.
        """


def _appending(entries: Sequence[Entry]) -> Write[tuple[list[bool], StoreError | None]]:
    """Return a write of several entries, which says which are new, and why it ended early if it did."""

    def run(ledger: Ledger) -> tuple[list[bool], StoreError | None]:
        new: list[bool] = []
        try:
            for entry in entries:
                new += append(ledger, [entry]) if isinstance(entry, Row) else [append_feedback(ledger, *entry)]
        except StoreError as refusal:  # what stands before it stays, so this is no error of the write
            return new, refusal
        return new, None

    named = [(entry.decision_id, entry.id) if isinstance(entry, Row) else (entry[0].decision_id, entry[0].id) for entry in entries]
    return Write(run, [decision_id for decision_id, _ in named], [entry_id for _, entry_id in named])
