"""Reading a log entry by entry as rows, whatever store keeps it."""

from __future__ import annotations

from collections.abc import Iterator

from aamc_sdk.interfaces import Store
from aamc_sdk.log.experience import Batch
from aamc_sdk.log.ledger_store import READ_AT_ONCE, LedgerStore
from aamc_sdk.log.rows.attempt_row import attempt_row
from aamc_sdk.log.rows.decision_row import decision_row
from aamc_sdk.log.rows.feedback_row import feedback_row
from aamc_sdk.types import Attempt


def read_batches(store: Store, after: int = 0, at_once: int = READ_AT_ONCE) -> Iterator[Batch]:
    """Yield the entries after a position in batches, with the decisions that they refer to; at least one batch, which may be empty."""
    while True:
        batch = _batch_of(store, after, at_once)
        yield batch
        if batch.position <= after:
            return
        after = batch.position


def _batch_of(store: Store, after: int, at_once: int) -> Batch:
    if isinstance(store, LedgerStore):
        return store.batch(after, at_once)
    found = store.experience(after, at_once)
    decisions = [decision_row(record, store_text=True) for record in found.records or map(store.record, (each.id for each in found.decisions))]
    own = decisions[len(decisions) - found.made :]
    entries = [attempt_row(entry) if isinstance(entry, Attempt) else feedback_row(entry) for entry in found.entries]
    replaced = [feedback_row(feedback) for feedback in found.replaced]
    return Batch(found.position, [*own, *entries], decisions, found.epoch, found.follows, replaced, last=found.last, start=found.start)
