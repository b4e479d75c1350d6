"""What every store that keeps its entries in a ledger has in common: how it writes."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import TypeVar

from aamc_sdk.interfaces import Store
from aamc_sdk.log import Record
from aamc_sdk.stores.records import StoreOptions, attempt_row, decision_row
from aamc_sdk.stores.rules import Ledger, append, append_feedback
from aamc_sdk.types import Attempt, Feedback

T = TypeVar("T")
MOST_VIEWS = 8
"""Routers whose state a log keeps; of more, those that were written longest ago go."""


class LedgerStore(Store):
    """A store whose writes follow the log's rules; a subclass says how a write becomes durable, and reads in its own way."""

    Config = StoreOptions

    def decided(self, records: Sequence[Record]) -> None:
        """Append decisions with what they were made from; all or none."""
        rows = [decision_row(record, self.config.store_text) for record in records]
        self._write(lambda ledger: append(ledger, rows))

    def attempted(self, attempt: Attempt) -> None:
        """Append a call; the same attempt twice counts once."""
        self._write(lambda ledger: append(ledger, [attempt_row(attempt)]))

    def judged(self, feedback: Feedback, attempt: Attempt | None = None) -> bool:
        """Append feedback, and the call that came with it, both or none; False where the same feedback was there before."""
        return self._write(lambda ledger: append_feedback(ledger, feedback, attempt))

    @abc.abstractmethod
    def _write(self, write: Callable[[Ledger], T]) -> T:
        """Run a write on the ledger, alone, and return its result once that is durable.

        Args:
            write: Checks first and writes then, so when it raises a StoreError it has changed nothing.

        Raises:
            StoreError: The write was refused or failed, or the store is closed.
        """
