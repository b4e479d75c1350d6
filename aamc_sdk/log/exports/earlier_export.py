"""Comparison of a log with an earlier export of it, whose file only a file with the same decisions may replace."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from aamc_sdk.log.rows.row import DECISION, Row


class DroppedError(Exception):
    """Raised when the log has dropped a decision that the earlier export has, so the file stays."""


class OtherLogError(Exception):
    """Raised when the earlier export is of another log."""


@attrs.define
class EarlierExport:
    """Compares an earlier export with the log, both read once in the log's order.

    An entry keeps its position, and retention leaves gaps. So a position with another entry, or one that the log has not reached, is of another log.

    Attributes:
        decisions: The decisions of the file with their positions.
    """

    decisions: Iterator[tuple[int, Row]]
    _matched: bool = attrs.field(default=False, init=False)
    _next: tuple[int, Row] | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._next = next(self.decisions, None)

    def compare(self, position: int, row: Row) -> None:
        """Compare an entry of the log; positions ascend."""
        if self._next is None or self._next[0] > position:
            return
        at, decision = self._next
        if at < position:
            raise DroppedError
        if (row.kind, row.id, row.time) != (DECISION, decision.id, decision.time):
            raise OtherLogError
        self._matched = True
        self._next = next(self.decisions, None)

    def end(self, last: int) -> None:
        """Compare the rest of the file, when the entries up to a position were compared."""
        if self._next is not None:
            raise DroppedError if self._matched or self._next[0] <= last else OtherLogError
