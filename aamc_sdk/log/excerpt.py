"""The part of a log that a group of writes looks at: read at once, changed in memory, and written at once.

Asking a database for each fact on its own costs a round trip each; the log's rules ask for five
or six of them a write.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from aamc_sdk.log.rows import FEEDBACK, Row


class Excerpt:
    """A ledger (see :class:`aamc_sdk.log.Ledger`) of some decisions and all that the rules ask of them.

    Args:
        placed: Entries that have their place, in log order: the decisions, their attempts, and the feedback whose ids are written.
        waiting: Entries that wait for the decisions, in the order in which they came.

    Attributes:
        placed: What gets the log's next positions, in this order: new entries, and those that waited.
        held: New entries that wait.
    """

    def __init__(self, placed: Iterable[Row], waiting: Iterable[Row]) -> None:
        self.placed: list[Row] = []
        self.held: dict[tuple[str, str], Row] = {}
        self._known: dict[tuple[str, str], Row] = {}
        self._history: defaultdict[str, list[Row]] = defaultdict(list)
        self._waiting: defaultdict[str, dict[tuple[str, str], Row]] = defaultdict(dict)
        for row in placed:
            self._note(row)
        for row in waiting:
            self._wait(row)

    def find(self, kind: str, entry_id: str) -> Row | None:
        """Return the entry of that kind and id, whether it has its place or waits."""
        return self._known.get((kind, entry_id))

    def history(self, decision_id: str) -> Sequence[Row]:
        """Return a decision and the attempts that have followed it, in log order."""
        return self._history[decision_id]

    def waiting(self, decision_id: str) -> Sequence[Row]:
        """Return what waits for a decision, in the order in which it came."""
        return list(self._waiting[decision_id].values())

    def place(self, row: Row) -> None:
        """Give an entry the log's next position, whether it is new or waited."""
        self.held.pop((row.kind, row.id), None)
        self._waiting[row.decision_id].pop((row.kind, row.id), None)
        self.placed.append(row)
        self._note(row)

    def hold(self, row: Row) -> None:
        """Keep a new entry without a position."""
        self.held[row.kind, row.id] = row
        self._wait(row)

    def _note(self, row: Row) -> None:
        self._known[row.kind, row.id] = row
        if row.kind != FEEDBACK:
            self._history[row.decision_id].append(row)

    def _wait(self, row: Row) -> None:
        self._known[row.kind, row.id] = row
        self._waiting[row.decision_id][row.kind, row.id] = row
