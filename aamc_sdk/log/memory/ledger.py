"""The ledger in lists and mappings.

Entries are kept as they came, and become rows (JSON, as databases keep them) when a rule or a reader needs that: most entries never do,
since most are new and their decision is in the log.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Sequence

import attrs

from aamc_sdk.log.erasure import Erasure, erased_if_forgotten
from aamc_sdk.log.experience import Batch, joined, replaced_rows, revised_ids
from aamc_sdk.log.name_lengths import FITTING_CHARACTERS
from aamc_sdk.log.rows.attempt_row import attempt_from
from aamc_sdk.log.rows.decision_row import decision_row, record_from, without_text
from aamc_sdk.log.rows.feedback_row import feedback_from, feedback_row
from aamc_sdk.log.rows.row import ATTEMPT, DECISION, FEEDBACK, Row
from aamc_sdk.log.rules import warn_of_pending
from aamc_sdk.types import Attempt, Experience, Feedback, Record, Records, Snapshot, StateDelta

Key = tuple[str, str, int]
"""An entry's kind, id and revision."""


@attrs.frozen(eq=False)
class UnreadRecords:
    """Decisions that were added together and not read yet; the object stands at the position of each.

    Attributes:
        first: The position of the first.
        records: The decisions' records.
        store_text: Whether texts are kept.
    """

    first: int
    records: Sequence[Record]
    store_text: bool


class MemoryLedger:
    """A ledger (see :class:`aamc_sdk.log.Ledger`); positions are places in a list.

    Attributes:
        pending_rows: Entries whose decision is not in the log, in order of arrival.
        snapshots: Snapshots by name, the newest last.
        epoch: Number of times that a user was forgotten.
        forgotten: The time at which each user was forgotten, by the user's digest.
        deltas: The chain of deltas by name, in order.
    """

    def __init__(self) -> None:
        self.pending_rows: dict[Key, Row] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.deltas: defaultdict[str, list[StateDelta]] = defaultdict(list)
        self.epoch = 0
        self.forgotten: dict[str, float] = {}  # digests and times
        self._log: list[UnreadRecords | Record | Feedback | Row] = []
        self._positions: defaultdict[str, dict[str, int]] = defaultdict(dict)  # by kind, by id: of the latest revision
        self._replaced: defaultdict[tuple[str, str], list[int]] = defaultdict(list)  # by kind and id: of earlier revisions
        self._rows: dict[int, Row] = {}
        self._attempts: defaultdict[str, list[Row]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._log)

    def add_new_decisions(self, ids: Sequence[str], records: Sequence[Record], store_text: bool) -> bool:
        """Place decisions as they are; return whether that was possible: they are new, nothing is pending, and no user was forgotten."""
        known, first = self._positions[DECISION], len(self._log)
        if self.pending_rows or self.forgotten or len(set(ids)) < len(ids) or not known.keys().isdisjoint(ids):
            return False
        known.update(zip(ids, itertools.count(first)))
        self._log.extend(itertools.repeat(UnreadRecords(first, records, store_text), len(ids)))
        return True

    def add_new_feedback(self, feedback: Feedback) -> bool:
        """Place feedback as it is; return whether that was possible: it is new, and fits a decision without attempts."""
        known, decided = self._positions[FEEDBACK], self._positions[DECISION].get(feedback.decision_id)
        if decided is None or feedback.id in known or feedback.decision_id in self._attempts or len(feedback.id) > FITTING_CHARACTERS:
            return False
        if self.pending_rows and self._pending_revisions(FEEDBACK, feedback.id):
            return False
        candidates, chosen = self._choice(decided)
        candidate = feedback.candidate or chosen
        if candidate not in candidates or feedback.over == candidate or (feedback.over is not None and feedback.over not in candidates):
            return False
        known[feedback.id] = len(self._log)
        self._log.append(feedback)
        return True

    def find(self, kind: str, entry_id: str) -> Sequence[Row]:
        """Return the entry of that kind and id, placed or pending, with all its revisions."""
        latest = self._positions[kind].get(entry_id)
        placed = [] if latest is None else [self._row(position) for position in (*self._replaced.get((kind, entry_id), ()), latest)]
        if kind == DECISION or not self.pending_rows:
            return placed
        pending = self._pending_revisions(kind, entry_id)
        return sorted(placed + pending, key=lambda row: row.revision) if pending else placed

    def history(self, decision_id: str) -> Sequence[Row]:
        """Return a decision and its placed attempts in log order."""
        decision = self._positions[DECISION].get(decision_id)
        return () if decision is None else (self._row(decision), *self._attempts.get(decision_id, ()))

    def pending(self, decision_id: str) -> Sequence[Row]:
        """Return the entries that are pending until a decision comes, in order of arrival."""
        return [row for row in self.pending_rows.values() if row.decision_id == decision_id]

    def place(self, row: Row) -> None:
        """Give an entry the log's next position."""
        (row,) = erased_if_forgotten([row], self.forgotten)
        self.pending_rows.pop(row.key, None)
        earlier = self._positions[row.kind].get(row.id)
        if earlier is not None:
            self._replaced[row.kind, row.id].append(earlier)
        self._positions[row.kind][row.id] = len(self._log)
        self._log.append(row)
        if row.kind == ATTEMPT:
            self._attempts[row.decision_id].append(row)

    def hold(self, row: Row) -> None:
        """Keep a new entry without a position."""
        self.pending_rows[row.key] = row
        warn_of_pending([row])

    def drop(self, row: Row) -> None:
        """Delete a pending entry."""
        del self.pending_rows[row.key]

    def record(self, decision_id: str) -> Record | None:
        """Return a decision's record, or None if the decision is unknown."""
        position = self._positions[DECISION].get(decision_id)
        return None if position is None else self._record(position)

    def episode(self, episode_id: str) -> list[Record]:
        """Return the records of an episode in log order."""
        positions = self._positions[DECISION].values()
        return [self._record(position) for position in positions if self._episode(position) == episode_id]

    def experience(self, after: int, limit: int) -> Experience:
        """Return at most ``limit`` entries after a position."""
        end = max(after, min(after + limit, len(self._log)))
        entries = self._log[after:end]
        of_decisions = [self._decision_position(position) for position in range(after, end)]
        known = [self._entry(entry) for entry in entries]
        later = [entry for entry in known if entry is not None]
        records = [self._record(position) for position in sorted(set(of_decisions))]
        experience = joined(end, [record.decision.id for record in records], records, later, len(known) - len(later), self.epoch)
        return attrs.evolve(experience, replaced=list(map(feedback_from, self._replaced_in(after, end)))) if self._replaced else experience

    def batch(self, after: int, limit: int) -> Batch:
        """Return at most ``limit`` entries after a position as rows, with the decisions that they refer to."""
        end = max(after, min(after + limit, len(self._log)))
        rows = [self._row(position) for position in range(after, end)]
        decisions = [self._row(position) for position in sorted({self._decision_position(position) for position in range(after, end)})]
        return Batch(end, rows, decisions, self.epoch, None, self._replaced_in(after, end) if self._replaced else ())

    def erase(self, erasure: Erasure, after: int, limit: int) -> tuple[int, int]:
        """Erase at most ``limit`` decisions after a position; return how many, and the last one's position. The last ones begin a new epoch."""
        user, tenant = erasure.user, erasure.tenant
        queries = ((position, self._record(position).query) for position in self._positions[DECISION].values() if position >= after)
        found = (place for place, query in queries if user in (None, query.user) and tenant in (None, query.tenant))
        positions = list(itertools.islice(found, limit))
        for position in positions:
            self._log[position] = erasure.applied(self._row(position))
            self._rows.pop(position, None)
        if len(positions) < limit:
            self.snapshots.clear()
            self.epoch += 1
            self.forgotten[erasure.digest] = max(time.time(), erasure.latest, self.forgotten.get(erasure.digest, 0.0))
            self.deltas.clear()
        return len(positions), 1 + positions[-1] if positions else after

    def _pending_revisions(self, kind: str, entry_id: str) -> list[Row]:
        if kind != FEEDBACK:
            row = self.pending_rows.get((kind, entry_id, 0))
            return [] if row is None else [row]
        return [row for row in self.pending_rows.values() if row.kind == kind and row.id == entry_id]

    def _replaced_in(self, after: int, end: int) -> list[Row]:
        """Return the revisions that feedback between two positions replaced."""
        rows = [self._row(position) for position in range(after, end) if _is_feedback(self._log[position])]
        revisions = [row for name in dict.fromkeys(revised_ids(rows)) for row in self.find(FEEDBACK, name)]
        return replaced_rows(rows, [row for row in revisions if row.key not in self.pending_rows])

    def _decision_position(self, position: int) -> int:
        """Return the position of the decision that an entry is or refers to."""
        entry = self._log[position]
        return self._positions[DECISION][entry.decision_id] if isinstance(entry, Row | Feedback) else position

    def _choice(self, position: int) -> tuple[Sequence[str], str]:
        """Return a decision's candidates, and the chosen one."""
        entry = self._log[position]
        if isinstance(entry, UnreadRecords) and isinstance(entry.records, Records):
            return entry.records.request.pool.names, entry.records.decisions[position - entry.first].candidate
        record = self._record(position)
        return record.candidates, record.decision.candidate

    def _episode(self, position: int) -> str | None:
        entry = self._log[position]
        if isinstance(entry, UnreadRecords) and isinstance(entry.records, Records):
            return entry.records.decisions[position - entry.first].episode
        return self._record(position).decision.episode

    def _record(self, position: int) -> Record:
        entry = self._log[position]
        if isinstance(entry, Row):
            return record_from(entry)
        if isinstance(entry, UnreadRecords):
            record = entry.records[position - entry.first]
            self._log[position] = entry = record if entry.store_text else without_text(record)
        assert isinstance(entry, Record)
        return entry

    def _entry(self, entry: object) -> Attempt | Feedback | None:
        """Return an attempt or feedback; None for a decision. Feedback without a candidate gets the chosen one, since no attempt preceded it."""
        if isinstance(entry, Feedback):
            return entry if entry.candidate is not None else attrs.evolve(entry, candidate=self._judged_candidate(entry))
        if isinstance(entry, Row) and entry.kind != DECISION:
            return attempt_from(entry) if entry.kind == ATTEMPT else feedback_from(entry)
        return None

    def _judged_candidate(self, feedback: Feedback) -> str:
        return feedback.candidate or self._choice(self._positions[DECISION][feedback.decision_id])[1]

    def _row(self, position: int) -> Row:
        """Return an entry as databases keep it."""
        entry = self._log[position]
        if isinstance(entry, Row):
            return entry
        if position not in self._rows:
            if isinstance(entry, Feedback):
                self._rows[position] = attrs.evolve(feedback_row(entry), candidate=self._judged_candidate(entry))
            else:
                self._rows[position] = decision_row(self._record(position), store_text=True)
        return self._rows[position]


def _is_feedback(entry: object) -> bool:
    return isinstance(entry, Feedback) or (isinstance(entry, Row) and entry.kind == FEEDBACK)
