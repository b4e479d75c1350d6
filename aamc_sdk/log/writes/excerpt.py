"""A part of the log in memory: the rules read it, and change it by writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import attrs

from aamc_sdk.log.rows.row import FEEDBACK, Row

T = TypeVar("T")


class Excerpt:
    """The entries on some decisions, and the changes that writes make to them. Only one thread at a time uses it.

    A database is read once and written once for each group of writes; a query for each fact would cost a round trip each.

    Args:
        placed: Entries of the log that have a position, in log order: the decisions, their attempts, and the feedback whose ids are written.
        pending: Entries of the log that are pending until these decisions come, in order of arrival.

    Attributes:
        added: The entries that get the log's next positions, in this order: new ones, and ones that were pending.
        added_pending: New entries that are pending, by key.
        dropped: Pending entries of the log to delete.
    """

    def __init__(self, placed: Iterable[Row], pending: Iterable[Row]) -> None:
        self.added: list[Row] = []
        self.added_pending: dict[tuple[str, str, int], Row] = {}
        self.dropped: list[Row] = []
        self._known: defaultdict[tuple[str, str], dict[int, Row]] = defaultdict(dict)
        self._history: defaultdict[str, list[Row]] = defaultdict(list)
        self._pending: defaultdict[str, dict[tuple[str, str, int], Row]] = defaultdict(dict)
        for row in placed:
            self._index_placed(row)
        for row in pending:
            self._index_pending(row)

    def find(self, kind: str, entry_id: str) -> Sequence[Row]:
        """Return all revisions of the entry of that kind and id, placed or pending, the lowest first."""
        known = self._known.get((kind, entry_id), {})
        return [known[revision] for revision in sorted(known)]

    def history(self, decision_id: str) -> Sequence[Row]:
        """Return a decision and its placed attempts in log order."""
        return self._history.get(decision_id, ())

    def pending(self, decision_id: str) -> Sequence[Row]:
        """Return the entries that are pending until a decision comes, in order of arrival."""
        return list(self._pending.get(decision_id, {}).values())

    def add(self, row: Row) -> None:
        """Add an entry at the log's next position."""
        self._remove_pending(row)
        self.added.append(row)
        self._index_placed(row)

    def add_pending(self, row: Row) -> None:
        """Add a pending entry, which has no position yet."""
        self.added_pending[row.key] = row
        self._index_pending(row)

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
            self.added_pending.pop(row.key, None)
            waiting.pop(row.key, None)
            if not waiting:
                del self._pending[row.decision_id]

    def _index_placed(self, row: Row) -> None:
        self._known[row.kind, row.id][row.revision] = row
        if row.kind != FEEDBACK:
            self._history[row.decision_id].append(row)

    def _index_pending(self, row: Row) -> None:
        self._known[row.kind, row.id][row.revision] = row
        self._pending[row.decision_id][row.key] = row


@attrs.frozen
class Write(Generic[T]):
    """A change of the log.

    Attributes:
        run: Makes the change and returns its result. It checks everything before the first change, so a StoreError leaves the excerpt as it was.
        decisions: Ids of the decisions whose entries it reads or adds.
        feedback: Ids of the feedback that it reads or adds.
        appended: The rows of a write that only appends feedback, or only decisions; empty for other writes. A store on a server may insert
            them without reading the log first, if all are new. The result is then True for each piece of feedback, None for each decision.
    """

    run: Callable[[Excerpt], T]
    decisions: Sequence[str]
    feedback: Sequence[str] = ()
    appended: Sequence[Row] = ()
