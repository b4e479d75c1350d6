"""A log that lives as long as its process: ``memory:``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from aamc_sdk.errors import StoreError, UnknownDecisionError
from aamc_sdk.interfaces import ProcessLock
from aamc_sdk.log.delta_chain import deltas_after, extends_chain, replaces_deltas
from aamc_sdk.log.erasure import Erasure
from aamc_sdk.log.experience import Batch
from aamc_sdk.log.ledger import Write
from aamc_sdk.log.ledger_store import MAX_SNAPSHOTS, LedgerStore
from aamc_sdk.log.memory.ledger import MemoryLedger
from aamc_sdk.log.name_lengths import fits
from aamc_sdk.log.options import LedgerOptions
from aamc_sdk.log.rows.row import Row
from aamc_sdk.log.rules import append_feedback
from aamc_sdk.types import Attempt, Decision, Experience, Feedback, Query, Record, Records, Snapshot, StateDelta

T = TypeVar("T")


class MemoryStore(LedgerStore):
    """Keeps the log in memory: for tests, and for logs that need not outlive their process."""

    Config = LedgerOptions
    persistent = False

    def __init__(self, url: str, config: Any) -> None:
        super().__init__(url, config)
        self._ledger = MemoryLedger()
        self._lock = ProcessLock("the decision log")
        self._closed = False

    def add_decisions(self, records: Sequence[Record]) -> Sequence[Decision]:
        """Append decisions, all or none; return each as it is in the log."""
        decisions = records.decisions if isinstance(records, Records) else [record.decision for record in records]
        queries = records.request.queries if isinstance(records, Records) else [record.query for record in records]
        ids = [decision.id for decision, query in zip(decisions, queries, strict=True) if _is_plain(decision, query)]
        with self._lock:
            added = len(ids) == len(decisions) and self._open.add_new_decisions(ids, records, self.config.store_text)
        return decisions if added else super().add_decisions(records)

    def add_feedback(self, feedback: Sequence[tuple[Feedback, Attempt | None]]) -> list[bool]:
        """Append feedback in order, up to the first that is refused; return which of it is new."""
        with self._lock:
            ledger = self._open
            new = [(attempt is None and ledger.add_new_feedback(item)) or append_feedback(ledger, item, attempt) for item, attempt in feedback]
        if self._ledger.pending_rows:
            self._expire_at_times(len(feedback))
        return new

    def record(self, decision_id: str) -> Record:
        """Return a decision's record."""
        with self._lock:
            record = self._ledger.record(decision_id)
        if record is None:
            raise UnknownDecisionError(f"no decision of the log has the id {decision_id!r}")
        return record

    def episode(self, episode_id: str) -> Sequence[Record]:
        """Return the records of an episode's decisions in log order."""
        with self._lock:
            return self._ledger.episode(episode_id)

    def experience(self, after: int = 0, limit: int = 1000) -> Experience:
        """Return at most ``limit`` entries after a position."""
        with self._lock:
            return self._ledger.experience(after, limit)

    def batch(self, after: int = 0, limit: int = 1000) -> Batch:
        """Return at most ``limit`` entries after a position as rows, with the decisions that they refer to."""
        with self._lock:
            return self._ledger.batch(after, limit)

    def pending_rows(self) -> Sequence[Row]:
        """Return the entries whose decision is not in the log."""
        with self._lock:
            return list(self._ledger.pending_rows.values())

    def snapshot(self, name: str) -> Snapshot | None:
        """Return the snapshot of a name, or None."""
        return self._ledger.snapshots.get(name)

    def put_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Keep a snapshot, unless the log has one that is as new, or it is of a past epoch or apart from the chain of changes."""
        with self._lock:
            ledger = self._open
            known = ledger.snapshots.get(name)
            newer = known is None or known.position < snapshot.position
            afters = [delta.after for delta in ledger.deltas[name]]
            if snapshot.epoch == ledger.epoch and newer and replaces_deltas(snapshot.position, afters, self._newest(name)):
                ledger.snapshots.pop(name, None)  # the newest stands last
                ledger.snapshots[name] = snapshot
                ledger.deltas[name] = [delta for delta in ledger.deltas[name] if delta.after >= snapshot.position]
            for oldest in list(ledger.snapshots)[:-MAX_SNAPSHOTS]:
                del ledger.snapshots[oldest]
                ledger.deltas.pop(oldest, None)

    def deltas(self, name: str, after: int, epoch: int) -> Sequence[StateDelta] | None:
        """Return the changes that continue from a state of that name, in order; None where nothing does."""
        with self._lock:
            kept = list(self._ledger.deltas[name])
            return deltas_after(kept, after, self._newest(name)) if epoch == self._ledger.epoch else None

    def put_delta(self, name: str, delta: StateDelta) -> bool:
        """Keep the changes of a state; return whether they continue from the newest."""
        with self._lock:
            fits = extends_chain(delta, self._newest(name), self._open.epoch)
            if fits:
                self._ledger.deltas[name].append(delta)
            return fits

    def _newest(self, name: str) -> int:
        """Return the position of the newest state of a name."""
        chain, snapshot = self._ledger.deltas[name], self._ledger.snapshots.get(name)
        return chain[-1].position if chain else 0 if snapshot is None else snapshot.position

    def close(self) -> None:
        """Refuse further writes."""
        self._closed = True

    def _erase(self, erasure: Erasure, after: int, limit: int) -> tuple[int, int]:
        with self._lock:
            return self._open.erase(erasure, after, limit)

    def _counts(self) -> tuple[int, int]:
        with self._lock:
            return len(self._ledger), len(self._ledger.snapshots)

    def _forgotten_digests(self) -> Mapping[str, float]:
        return self._ledger.forgotten

    def _write(self, write: Write[T]) -> T:
        with self._lock:
            return write.run(self._open)

    @property
    def _open(self) -> MemoryLedger:
        """The ledger, for writing."""
        if self._closed:
            raise StoreError("the decision log is closed")
        return self._ledger


def _is_plain(decision: Decision, query: Query) -> bool:
    """Return whether nothing of a decision can be refused: neither notes of no JSON type nor a name that is too long."""
    return not decision.notes and all(map(fits, (decision.id, decision.candidate, decision.episode, query.user, query.tenant)))
