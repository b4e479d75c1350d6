"""Batches of the log, and the experience that routers learn from: decisions, attempts and feedback joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, TypeVar, overload

import attrs

from aamc_sdk.log.rows.decision_row import record_from
from aamc_sdk.log.rows.row import ATTEMPT, DECISION, FEEDBACK, Row, attempt_from, feedback_from
from aamc_sdk.types import Attempt, Estimates, Experience, Feedback, Record

T = TypeVar("T")


class LazySequence(Sequence[T]):
    """A sequence whose items are made from those of ``sources`` each time they are read."""

    def __init__(self, sources: Sequence[Any], make: Callable[[Any], T]) -> None:
        self._sources, self._make = sources, make

    def __len__(self) -> int:
        return len(self._sources)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> LazySequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | LazySequence[T]:
        return LazySequence(self._sources[index], self._make) if isinstance(index, slice) else self._make(self._sources[index])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return repr(list(self))

    def __reduce__(self) -> tuple[type[list[T]], tuple[list[T]]]:
        return list, (list(self),)


@attrs.frozen
class Batch:
    """Successive entries of the log and the entries that belong to them.

    Attributes:
        position: The log's position at which the batch ends.
        rows: The entries.
        decisions: The decisions that they are or refer to, in log order.
        epoch: Number of times that a user was forgotten.
        follows: Name of the entry before the batch; ``""``: the batch starts with the first entry, or entries were lost; None where it is
            unknown: retention dropped the entry, or the store does not say.
        replaced: The revisions of feedback that entries of the batch replaced.
        last: Name of the entry at the position. None: that of the last row, or, if the batch is empty, of the entry before it.
        start: The position of the last entry that retention has dropped, 0 for none.
        positions: The position of each entry; without any, the last ones up to ``position``.
    """

    position: int
    rows: Sequence[Row]
    decisions: Sequence[Row]
    epoch: int
    follows: str | None
    replaced: Sequence[Row] = ()
    last: str | None = None
    start: int = 0
    positions: Sequence[int] = ()

    @property
    def placed(self) -> Iterable[tuple[int, Row]]:
        """The entries with their positions."""
        return zip(self.positions or range(self.position - len(self.rows) + 1, self.position + 1), self.rows, strict=True)

    def experience(self) -> Experience:
        """Return the batch as an experience, whose records are made when they are read.

        Each attempt and each piece of feedback is in exactly one batch. A decision is in every batch with an entry on it; ``made`` counts those whose
        own entry it is.
        """
        records = LazySequence(range(len(self.decisions)), cache(lambda number: record_from(self.decisions[number])))
        entries: list[Attempt | Feedback] = []
        entries_before = []
        for row in self.rows:
            if row.kind == DECISION:
                entries_before.append(len(entries))
            else:
                entries.append(attempt_from(row) if row.kind == ATTEMPT else feedback_from(row))
        return Experience(
            position=self.position,
            queries=LazySequence(records, lambda record: record.query),
            estimates=cache(lambda: Estimates.stack([record.estimates for record in records])),
            decisions=LazySequence(records, lambda record: record.decision),
            entries=entries,
            made=len(entries_before),
            epoch=self.epoch,
            expected_quality=LazySequence(records, _expected_quality),
            records=records,
            decision_ids=[row.id for row in self.decisions],
            follows=self.follows,
            last=self.last or (self.rows[-1].name if self.rows else self.follows),
            replaced=[feedback_from(row) for row in self.replaced],
            start=self.start,
            entries_before=entries_before,
        )


def followed(after: int, name: str | None, start: int, position: int) -> str | None:
    """Return :attr:`Batch.follows` of a batch after a position; ``name`` is that of the log's entry there, None without one.

    ``start`` is the position of the last entry that retention has dropped, ``position`` the last one that the log has given out.
    """
    if name is None:
        return None if start > 0 and after <= position else ""
    return name


def revised_ids(rows: Iterable[Row]) -> list[str]:
    """Return the ids of the feedback in some entries that replaced an earlier revision."""
    return [row.id for row in rows if row.kind == FEEDBACK and row.revision > 0]


def replaced_rows(rows: Sequence[Row], revisions: Sequence[Row]) -> list[Row]:
    """Return the revision that each entry replaced, among all placed revisions of the same feedback."""
    earlier = [[past for past in revisions if past.id == row.id and past.revision < row.revision] for row in rows if row.kind == FEEDBACK]
    return [max(found, key=lambda row: row.revision) for found in earlier if found]


def _expected_quality(record: Record) -> dict[str, float]:
    quality = record.expected.quality
    return {} if quality is None else dict(zip(record.candidates, quality[0].tolist(), strict=True))
