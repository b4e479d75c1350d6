"""What every store that keeps its entries in a ledger has in common: how it writes."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import TypeVar

from aamc_sdk.interfaces import Store
from aamc_sdk.log import Record
from aamc_sdk.stores.records import Row, StoreOptions, attempt_row, decision_row, feedback_row
from aamc_sdk.stores.rules import Ledger, append
from aamc_sdk.types import Attempt, Feedback

T = TypeVar("T")


class LedgerStore(Store):
    """A store whose writes follow the log's rules; a subclass says how a write becomes durable, and reads in its own way."""

    Config = StoreOptions

    def decided(self, records: Sequence[Record]) -> None:
        """Append decisions with what they were made from; all or none."""
        self._append([decision_row(record, self.config.store_text) for record in records])

    def attempted(self, attempt: Attempt) -> None:
        """Append a call; the same attempt twice counts once."""
        self._append([attempt_row(attempt)])

    def judged(self, feedback: Feedback, attempt: Attempt | None = None) -> bool:
        """Append feedback, and the call that came with it, both or none; False where the same feedback was there before."""
        before = [] if attempt is None else [attempt_row(attempt)]
        return self._append([*before, feedback_row(feedback)])[-1]

    def _append(self, rows: Sequence[Row]) -> list[bool]:
        return self._write(lambda ledger: append(ledger, rows))

    @abc.abstractmethod
    def _write(self, write: Callable[[Ledger], T]) -> T:
        """Run a write on the ledger, alone, and return its result once that is durable.

        Args:
            write: Checks first and writes then, so when it raises a StoreError it has changed nothing.

        Raises:
            StoreError: The write was refused or failed, or the store is closed.
        """
