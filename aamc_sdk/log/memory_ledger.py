"""The ledger in lists and mappings.

What is logged is kept as it came, and becomes a row (JSON, as databases keep it) when a rule asks
for that: most entries never do, since most are new and the decision that they name is there.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence

import attrs

from aamc_sdk.log.experience import experience_of
from aamc_sdk.log.rows import (
    ATTEMPT,
    DECISION,
    FEEDBACK,
    Row,
    attempt_from,
    decision_row,
    erased,
    feedback_from,
    feedback_row,
    forgotten_as,
    record_from,
    without_text,
)
from aamc_sdk.types import Experience, Feedback, Record, Records, Snapshot

Key = tuple[str, str]
"""An entry's kind and id."""


@attrs.frozen(eq=False)
class Unread:
    """Decisions that came together and that nobody has asked for yet; it stands at the position of each.

    Attributes:
        first: The position of the first.
        records: The decisions with what they were made from.
        store_text: Whether texts are kept.
    """

    first: int
    records: Sequence[Record]
    store_text: bool


class Lists:
    """A ledger (see :class:`aamc_sdk.log.Ledger`); positions are places in a list.

    Attributes:
        held: What waits for its decision, in the order in which it came.
        views: What was made of the log, those that were written last at the end.
        epoch: How often somebody was forgotten.
        forgotten: Digests of who they were.
    """

    def __init__(self) -> None:
        self.held: dict[Key, Row] = {}
        self.views: dict[str, Snapshot] = {}
        self.epoch = 0
        self.forgotten: set[str] = set()
        self._log: list[Unread | Record | Feedback | Row] = []
        self._positions: defaultdict[str, dict[str, int]] = defaultdict(dict)  # by kind, by id
        self._rows: dict[int, Row] = {}
        self._attempts: defaultdict[str, list[Row]] = defaultdict(list)

    def note_decisions(self, ids: Sequence[str], records: Sequence[Record], store_text: bool) -> bool:
        """Place decisions as they are; return whether that was possible: they are new, and nothing waits for them."""
        known, first = self._positions[DECISION], len(self._log)
        if self.held or len(set(ids)) < len(ids) or not known.keys().isdisjoint(ids):
            return False
        known.update(zip(ids, itertools.count(first)))
        self._log.extend(itertools.repeat(Unread(first, records, store_text), len(ids)))
        return True

    def note_feedback(self, feedback: Feedback) -> bool:
        """Place feedback as it is; return whether that was possible: it is new, and fits a decision that nobody has attempted."""
        known, decided = self._positions[FEEDBACK], self._positions[DECISION].get(feedback.decision_id)
        if decided is None or feedback.id in known or (FEEDBACK, feedback.id) in self.held or feedback.decision_id in self._attempts:
            return False
        candidates, chosen = self._choice(decided)
        whom = feedback.candidate or chosen
        if whom not in candidates or feedback.over == whom or (feedback.over is not None and feedback.over not in candidates):
            return False
        known[feedback.id] = len(self._log)
        self._log.append(feedback)
        return True

    def find(self, kind: str, entry_id: str) -> Row | None:
        """Return the entry of that kind and id, whether it has its place or waits."""
        position = self._positions[kind].get(entry_id)
        return self.held.get((kind, entry_id)) if position is None else self._row(position)

    def history(self, decision_id: str) -> Sequence[Row]:
        """Return a decision and the attempts that have followed it, in log order."""
        decision = self.find(DECISION, decision_id)
        return () if decision is None else (decision, *self._attempts.get(decision_id, ()))

    def waiting(self, decision_id: str) -> Sequence[Row]:
        """Return what waits for a decision, in the order in which it came."""
        return [row for row in self.held.values() if row.decision_id == decision_id]

    def place(self, row: Row) -> None:
        """Give an entry the log's next position, whether it is new or waited."""
        self.held.pop((row.kind, row.id), None)
        self._positions[row.kind][row.id] = len(self._log)
        self._log.append(row)
        if row.kind == ATTEMPT:
            self._attempts[row.decision_id].append(row)

    def hold(self, row: Row) -> None:
        """Keep a new entry without a position."""
        self.held[row.kind, row.id] = row

    def record(self, decision_id: str) -> Record | None:
        """Return a decision, or None where there is none."""
        position = self._positions[DECISION].get(decision_id)
        return None if position is None else self._record(position)

    def experience(self, after: int, limit: int) -> Experience:
        """Return at most ``limit`` entries after a position."""
        end = max(after, min(after + limit, len(self._log)))
        stretch = self._log[after:end]
        of_decisions = [self._of_decision(position) for position in range(after, end)]
        attempts = [attempt_from(entry) for entry in stretch if isinstance(entry, Row) and entry.kind == ATTEMPT]
        feedback = [self._feedback(entry) for entry in stretch if _is_feedback(entry)]
        records = [self._record(position) for position in sorted(set(of_decisions))]
        return experience_of(end, records, attempts, feedback, len(stretch) - len(attempts) - len(feedback), self.epoch)

    def rows(self, after: int, limit: int) -> list[Row]:
        """Return at most ``limit`` entries after a position, as databases keep them."""
        return [self._row(position) for position in range(after, min(after + limit, len(self._log)))]

    def forget(self, user: str) -> int:
        """Erase a user's decisions; return how many they are."""
        asked = [position for position in self._positions[DECISION].values() if self._record(position).query.user == user]
        for position in asked:
            self._log[position] = erased(self._row(position))
            self._rows.pop(position, None)
        self.views.clear()
        self.epoch += 1
        self.forgotten.add(forgotten_as(user))
        return len(asked)

    def _of_decision(self, position: int) -> int:
        """Return the position of the decision that an entry is or names."""
        entry = self._log[position]
        return self._positions[DECISION][entry.decision_id] if isinstance(entry, Row | Feedback) else position

    def _choice(self, position: int) -> tuple[Sequence[str], str]:
        """Return among whom a decision was made, and who was chosen."""
        entry = self._log[position]
        if isinstance(entry, Unread) and isinstance(entry.records, Records):
            return entry.records.request.pool.names, entry.records.decisions[position - entry.first].candidate
        record = self._record(position)
        return record.candidates, record.decision.candidate

    def _record(self, position: int) -> Record:
        entry = self._log[position]
        if isinstance(entry, Row):
            return record_from(entry)
        if isinstance(entry, Unread):
            record = entry.records[position - entry.first]
            self._log[position] = entry = record if entry.store_text else without_text(record)
        assert isinstance(entry, Record)
        return entry

    def _feedback(self, entry: object) -> Feedback:
        """Return feedback with whom it judges, who is the chosen one where it came without: nobody was attempted then."""
        if isinstance(entry, Row):
            return feedback_from(entry)
        assert isinstance(entry, Feedback)
        return entry if entry.candidate is not None else attrs.evolve(entry, candidate=self._whom(entry))

    def _whom(self, feedback: Feedback) -> str:
        return feedback.candidate or self._choice(self._positions[DECISION][feedback.decision_id])[1]

    def _row(self, position: int) -> Row:
        """Return an entry as databases keep it."""
        entry = self._log[position]
        if isinstance(entry, Row):
            return entry
        if position not in self._rows:
            if isinstance(entry, Feedback):
                self._rows[position] = attrs.evolve(feedback_row(entry), candidate=self._whom(entry))
            else:
                self._rows[position] = decision_row(self._record(position), store_text=True)
        return self._rows[position]


def _is_feedback(entry: object) -> bool:
    return isinstance(entry, Feedback) or (isinstance(entry, Row) and entry.kind == FEEDBACK)
