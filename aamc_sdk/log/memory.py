"""A log that lives as long as its process: ``memory:``."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from aamc_sdk.concurrency import ForkCheckedLock
from aamc_sdk.errors import StoreError
from aamc_sdk.log.delta_chain import deltas_after, extends_chain, replaces_deltas
from aamc_sdk.log.erasure import Erasure, erased_if_forgotten
from aamc_sdk.log.experience import Batch, replaced_rows, revised_ids
from aamc_sdk.log.options import LogOptions
from aamc_sdk.log.row_store import MAX_SNAPSHOTS, RowStore
from aamc_sdk.log.rows.decision_row import decision_row
from aamc_sdk.log.rows.row import DECISION, FEEDBACK, Row
from aamc_sdk.log.writes.excerpt import Excerpt, Write
from aamc_sdk.log.writes.rules import append, fits, warn_of_pending
from aamc_sdk.types import Decision, Query, Record, Records, Snapshot, StateDelta

T = TypeVar("T")
ROWS_AT_ONCE = 200
"""Decisions that become rows while the lock is held; other threads add theirs between two such parts."""
_PAUSE_S = 1e-4
"""Time between two parts, without which the reading thread would take the lock again before the threads that wait for it."""


class MemoryLog(Excerpt):
    """A whole log: an entry's position is its place in ``added``, from 1. Readers get copies, since a row keeps its parsed content once it is read.

    Attributes:
        snapshots: Snapshots by name, the one put last at the end.
        deltas: The chain of deltas by name, in order.
        epoch: Number of times that a user was forgotten.
        forgotten: The time at which each user was forgotten, by the user's digest.
    """

    def __init__(self) -> None:
        super().__init__((), ())
        self.snapshots: dict[str, Snapshot] = {}
        self.deltas: defaultdict[str, list[StateDelta]] = defaultdict(list)
        self.epoch = 0
        self.forgotten: dict[str, float] = {}
        self._positions: dict[str, int] = {}  # of the decisions
        self._unread: deque[tuple[Records, bool]] = deque()
        self._unread_ids: set[str] = set()

    def __len__(self) -> int:
        return len(self.added) + len(self._unread_ids)

    @property
    def unread(self) -> int:
        """The number of decisions that are not rows yet."""
        return len(self._unread_ids)

    def add_unread(self, records: Records, store_text: bool) -> bool:
        """Append decisions that become rows when the log is first read; return False, without a change, if one is known or could be refused."""
        ids = {decision.id for decision in records.decisions if decision.id not in self._positions and decision.id not in self._unread_ids}
        if len(ids) < len(records) or not all(map(_always_accepted, records.decisions, records.request.queries)):
            return False
        self._unread.append((records, store_text))
        self._unread_ids |= ids
        return True

    def read(self, limit: float = math.inf) -> None:
        """Turn unread decisions into rows, in whole batches as they were added, until their number reaches the limit."""
        while self._unread and limit > 0:
            records, store_text = self._unread[0]
            append(self, [decision_row(record, store_text) for record in records])
            self._unread.popleft()  # afterwards: an interrupt loses nothing, and what is known is not added again
            self._unread_ids.difference_update(decision.id for decision in records.decisions)
            limit -= len(records)

    def add(self, row: Row) -> None:
        """Add an entry at the log's next position."""
        (row,) = erased_if_forgotten([row], self.forgotten)
        if row.kind == DECISION:
            self._positions[row.id] = len(self.added) + 1  # first: after an interrupt in between, read adds the decision again
        super().add(row)

    def add_pending(self, row: Row) -> None:
        """Add a pending entry, which has no position yet."""
        super().add_pending(row)
        warn_of_pending([row])

    def drop(self, row: Row) -> None:
        """Delete a pending entry."""
        super().drop(row)
        self.dropped.clear()

    def batch(self, after: int, limit: int) -> Batch:
        """Return at most ``limit`` entries after a position, with the decisions that they refer to."""
        rows = [row.copy() for row in self.added[after : after + limit]]
        decisions = [self.added[position - 1].copy() for position in sorted({self._positions[row.decision_id] for row in rows})]
        revisions = [
            past.copy() for name in dict.fromkeys(revised_ids(rows)) for past in self.find(FEEDBACK, name) if past.key not in self.added_pending
        ]
        return Batch(after + len(rows), rows, decisions, self.epoch, None, replaced_rows(rows, revisions) if revisions else ())

    def erase(self, erasure: Erasure, after: int, limit: int) -> tuple[int, int]:
        """Erase at most ``limit`` decisions after a position; return how many, and the last one's position. The last ones begin a new epoch."""
        covered = (position for position in self._positions.values() if position > after and erasure.covers(self.added[position - 1]))
        positions = list(islice(covered, limit))
        for position in positions:
            row = erasure.applied(self.added[position - 1])
            self.added[position - 1] = self._known[row.kind, row.id][row.revision] = self._history[row.id][0] = row
        if len(positions) < limit:
            self.snapshots.clear()
            self.deltas.clear()
            self.epoch += 1
            self.forgotten[erasure.digest] = max(time.time(), erasure.latest, self.forgotten.get(erasure.digest, 0.0))
        return len(positions), positions[-1] if positions else after


class MemoryStore(RowStore):
    """Keeps the log in memory: for tests, and for logs that need not outlive their process."""

    Config = LogOptions
    persistent = False

    def __init__(self, url: str, config: Any) -> None:
        super().__init__(url, config)
        self._log = MemoryLog()
        self._lock = ForkCheckedLock("the decision log")
        self._closed = False

    def add_decisions(self, records: Sequence[Record]) -> Sequence[Decision]:
        """Append decisions, all or none; return the logged decisions."""
        if isinstance(records, Records):
            with self._lock.held:
                if self._open.add_unread(records, self.config.store_text):
                    return records.decisions
        return super().add_decisions(records)

    def _find(self, decision_id: str) -> Row | None:
        with self._reading() as log:
            found = log.find(DECISION, decision_id)
        return found[0].copy() if found else None

    def batch(self, after: int = 0, limit: int = 1000) -> Batch:
        """Return at most ``limit`` entries after a position as rows, with the decisions that they refer to."""
        with self._reading() as log:
            return log.batch(after, limit)

    def pending_rows(self) -> Sequence[Row]:
        """Return the entries whose decision is not in the log."""
        with self._counting() as log:
            return list(log.added_pending.values())

    def snapshot(self, name: str) -> Snapshot | None:
        """Return the snapshot of a name, or None."""
        return self._log.snapshots.get(name)

    def put_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Keep a snapshot, unless the log has one that is as new, or it is of a past epoch or apart from the chain of deltas."""
        with self._lock.held:
            log = self._open
            if snapshot.epoch != log.epoch:
                return
            known = log.snapshots.get(name)
            newer = known is None or known.position < snapshot.position
            afters = [delta.after for delta in log.deltas[name]]
            if newer and replaces_deltas(snapshot.position, afters, self._newest(name)):
                log.snapshots[name] = snapshot
                log.deltas[name] = [delta for delta in log.deltas[name] if delta.after >= snapshot.position]
            if name in log.snapshots:
                log.snapshots[name] = log.snapshots.pop(name)
            for oldest in list(log.snapshots)[:-MAX_SNAPSHOTS]:
                del log.snapshots[oldest]
                log.deltas.pop(oldest, None)

    def deltas(self, name: str, after: int, epoch: int) -> Sequence[StateDelta] | None:
        """Return the deltas that continue from a state of that name, in order; None if none does."""
        with self._lock.held:
            kept = list(self._log.deltas[name])
            return deltas_after(kept, after, self._newest(name)) if epoch == self._log.epoch else None

    def put_delta(self, name: str, delta: StateDelta) -> bool:
        """Keep a delta if it continues from the newest state; return whether it does."""
        with self._lock.held:
            fits = extends_chain(delta, self._newest(name), self._open.epoch)
            if fits:
                self._log.deltas[name].append(delta)
            return fits

    def _newest(self, name: str) -> int:
        """Return the position of the newest state of a name."""
        chain, snapshot = self._log.deltas[name], self._log.snapshots.get(name)
        return chain[-1].position if chain else 0 if snapshot is None else snapshot.position

    def close(self) -> None:
        """Refuse further writes."""
        self._closed = True

    def _erase(self, erasure: Erasure, after: int, limit: int) -> tuple[int, int]:
        with self._reading():
            return self._open.erase(erasure, after, limit)

    def _counts(self) -> tuple[int, int]:
        with self._counting() as log:
            return len(log), len(log.snapshots)

    def _forgotten_digests(self) -> Mapping[str, float]:
        return self._log.forgotten

    def _write(self, write: Write[T]) -> T:
        with self._reading():
            return write.run(self._open)

    @contextmanager
    def _reading(self) -> Iterator[MemoryLog]:
        """Lock the log, after all its decisions became rows."""
        for _ in range(self._log.unread // ROWS_AT_ONCE):
            with self._lock.held:
                self._log.read(ROWS_AT_ONCE)
            time.sleep(_PAUSE_S)
        with self._lock.held:
            self._log.read()
            yield self._log

    @contextmanager
    def _counting(self) -> Iterator[MemoryLog]:
        """Lock the log to count entries. Unread decisions become rows only if entries are pending, since they may be those decisions' entries."""
        if self._log.added_pending:
            with self._reading() as log:
                yield log
        else:
            with self._lock.held:
                yield self._log

    @property
    def _open(self) -> MemoryLog:
        """The log, for writing."""
        if self._closed:
            raise StoreError("the decision log is closed")
        return self._log


def _always_accepted(decision: Decision, query: Query) -> bool:
    """Return whether a decision cannot be refused: it has no notes, which must be of JSON's types, and no name that is too long."""
    return not decision.notes and all(map(fits, (decision.id, decision.candidate, decision.episode, query.user, query.tenant)))
