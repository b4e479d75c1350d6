"""A part of the log in memory, as the rules need it, and changes of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import attrs

from aamc_sdk.log.rows import DECISION, FEEDBACK, Row

T = TypeVar("T")


class Excerpt:
    """The entries on some decisions; only one thread at a time uses it.

    A database is read once and written once for each group of writes; a query for each fact would cost a round trip each.

    Args:
        placed: Entries with a position, in log order: the decisions, their attempts, and the feedback whose ids are written.
        pending: Entries that are pending until these decisions come, in order of arrival.

    Attributes:
        placed: The entries that get the log's next positions, in this order: new ones, and ones that were pending.
        held: New entries that are pending.
        dropped: Pending entries to delete.
    """

    def __init__(self, placed: Iterable[Row], pending: Iterable[Row]) -> None:
        self.placed: list[Row] = []
        self.held: dict[tuple[str, str, int], Row] = {}
        self.dropped: list[Row] = []
        self._known: defaultdict[tuple[str, str], dict[int, Row]] = defaultdict(dict)
        self._history: defaultdict[str, list[Row]] = defaultdict(list)
        self._pending: defaultdict[str, dict[tuple[str, str, int], Row]] = defaultdict(dict)
        for row in placed:
            self._add_placed(row)
        for row in pending:
            self._add_pending(row)

    @property
    def is_empty(self) -> bool:
        """Whether there are no entries."""
        return not self._known

    def find(self, kind: str, entry_id: str) -> Sequence[Row]:
        """Return the entry of that kind and id, placed or pending, with all its revisions."""
        known = self._known.get((kind, entry_id), {})
        return [known[revision] for revision in sorted(known)]

    def history(self, decision_id: str) -> Sequence[Row]:
        """Return a decision and its placed attempts in log order."""
        return self._history.get(decision_id, ())

    def pending(self, decision_id: str) -> Sequence[Row]:
        """Return the entries that are pending until a decision comes, in order of arrival."""
        return list(self._pending.get(decision_id, {}).values())

    def place(self, row: Row) -> None:
        """Give an entry the log's next position."""
        self._remove_pending(row)
        self.placed.append(row)
        self._add_placed(row)

    def hold(self, row: Row) -> None:
        """Keep a new entry without a position."""
        self.held[row.key] = row
        self._add_pending(row)

    def drop(self, row: Row) -> None:
        """Delete a pending entry."""
        self._remove_pending(row)
        revisions = self._known[row.kind, row.id]
        revisions.pop(row.revision, None)
        if not revisions:
            del self._known[row.kind, row.id]
        self.dropped.append(row)

    def _remove_pending(self, row: Row) -> None:
        if waiting := self._pending.get(row.decision_id):
            self.held.pop(row.key, None)
            waiting.pop(row.key, None)
            if not waiting:
                del self._pending[row.decision_id]

    def _add_placed(self, row: Row) -> None:
        self._known[row.kind, row.id][row.revision] = row
        if row.kind != FEEDBACK:
            self._history[row.decision_id].append(row)

    def _add_pending(self, row: Row) -> None:
        self._known[row.kind, row.id][row.revision] = row
        self._pending[row.decision_id][row.key] = row


@attrs.frozen
class Write(Generic[T]):
    """A change of the log.

    Attributes:
        run: Makes the change. It checks first and writes then, so after a StoreError nothing is changed.
        decisions: Ids of the decisions whose entries it reads or adds.
        feedback: Ids of the feedback that it reads or adds.
        alone: The rows that it adds, if it adds only feedback, or only decisions for which a known id is the only possible refusal. Its result
            is then that of adding feedback, or for each id the decision already in the log, None if there is none.
    """

    run: Callable[[Excerpt], T]
    decisions: Sequence[str]
    feedback: Sequence[str] = ()
    alone: Sequence[Row] = ()


def plain_decisions(writes: Sequence[Write[Any]]) -> Sequence[Row]:
    """Return the decisions of writes that add only decisions, all with different ids; nothing for other writes."""
    if not all(write.alone and write.alone[0].kind == DECISION for write in writes):
        return ()
    rows = [row for write in writes for row in write.alone]
    return rows if len({row.id for row in rows}) == len(rows) else ()
