"""The log's rules, the same for every store that keeps its entries in a ledger.

An entry has an id: the same id with the same content counts once, with other content it is
refused. What names a decision that has not come waits, and gets its place right after it; what turns
out not to fit it goes on waiting, until other content comes under its id.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import attrs

from aamc_sdk.errors import StoreError, nearest, one_of
from aamc_sdk.log.rows import ATTEMPT, DECISION, FEEDBACK, Row, attempt_row, feedback_row
from aamc_sdk.types import Attempt, Feedback

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Ledger(Protocol):
    """A log's storage, as these rules need it. Only one thread at a time uses it."""

    def find(self, kind: str, entry_id: str) -> Row | None:
        """Return the entry of that kind and id, whether it has its place or waits."""

    def history(self, decision_id: str) -> Sequence[Row]:
        """Return a decision and the attempts that have followed it, in log order; nothing before it has come."""

    def waiting(self, decision_id: str) -> Sequence[Row]:
        """Return what waits for a decision, in the order in which it came."""

    def place(self, row: Row) -> None:
        """Give an entry the log's next position, whether it is new, waited, or replaces one that waited."""

    def hold(self, row: Row) -> None:
        """Keep a new entry without a position."""


@attrs.frozen
class Write(Generic[T]):
    """A change of the log.

    Attributes:
        run: Makes it. It checks first and writes then, so when it raises a StoreError it has changed nothing.
        decisions: Ids of the decisions whose entries it looks at or adds.
        feedback: Ids of the feedback that it looks at or adds.
    """

    run: Callable[[Ledger], T]
    decisions: Sequence[str]
    feedback: Sequence[str] = ()


def append(ledger: Ledger, rows: Sequence[Row]) -> list[bool]:
    """Append entries, all or none; return which of them are new.

    Everything is checked before anything is written, so a refusal leaves the ledger as it was.

    Raises:
        StoreError: An id is known with other content, or an entry does not fit its decision.
    """
    ids = [(row.kind, row.id) for row in rows]
    if len(set(ids)) < len(ids):
        (kind, twice), _ = Counter(ids).most_common(1)[0]
        raise StoreError(f"two entries of one batch have the same id, {kind} {twice!r}; give each an id of its own")
    new = [_is_new(ledger, row) for row in rows]
    fresh = [row for row, is_new in zip(rows, new, strict=True) if is_new]
    for row in fresh:
        _check(row, ledger.history(row.decision_id))
    for row in fresh:
        _append(ledger, row)
    return new


def append_feedback(ledger: Ledger, feedback: Feedback, attempt: Attempt | None) -> bool:
    """Append feedback, and before it the call that came with it, both or none; return whether the feedback is new.

    Raises:
        StoreError: An id is known with other content, or the feedback does not fit its decision.
    """
    rows = [feedback_row(feedback)]
    if attempt is not None:
        numbered = attrs.evolve(attempt, n=_number(ledger, feedback))
        rows.insert(0, attempt_row(numbered, feedback.id))
    return append(ledger, rows)[-1]


def _number(ledger: Ledger, feedback: Feedback) -> int:
    """Return the number of the call that came with feedback: the one that it has already, or the decision's next."""
    entries = (*ledger.history(feedback.decision_id), *ledger.waiting(feedback.decision_id))
    attempts = [row.fields for row in entries if row.kind == ATTEMPT]
    own = [attempt["n"] for attempt in attempts if attempt.get("feedback") == feedback.id]
    return own[0] if own else 1 + max((attempt["n"] for attempt in attempts), default=-1)


def _is_new(ledger: Ledger, row: Row) -> bool:
    known = ledger.find(row.kind, row.id)
    if known is None or known.content == row.content:
        return known is None
    if known in ledger.waiting(row.decision_id) and ledger.history(row.decision_id):
        return True  # its decision came and it did not fit: it gives way
    raise StoreError(f"{row.kind} {row.id!r} is in the log with other content; give the new one an id of its own")


def _check(row: Row, history: Sequence[Row]) -> None:
    if row.kind == DECISION or not history:
        return
    known, loser = history[0].fields["candidates"], row.fields.get("over")
    for name in (row.candidate, loser):
        if name and name not in known:
            raise StoreError(f"decision {row.decision_id!r} had no candidate {name!r}{nearest(name, known)} (it had {one_of(known)})")
    if loser and loser == _whom(row, history):
        raise StoreError(f"a candidate cannot beat itself: {loser!r} is winner and loser of feedback {row.id!r}")


def _append(ledger: Ledger, row: Row) -> None:
    history = ledger.history(row.decision_id)
    if row.kind == DECISION:
        ledger.place(row)
        for waited in ledger.waiting(row.id):
            _release(ledger, waited)
    elif history:
        ledger.place(attrs.evolve(row, candidate=_whom(row, history)))
    else:
        ledger.hold(row)


def _release(ledger: Ledger, row: Row) -> None:
    history = ledger.history(row.decision_id)
    try:
        _check(row, history)
    except StoreError as error:  # the decision itself is right, so it must not fail; this stays listed as pending
        logger.warning("%s %s goes on waiting, until it is given anew: %s", row.kind, row.id, error)
    else:
        ledger.place(attrs.evolve(row, candidate=_whom(row, history)))


def _whom(row: Row, history: Sequence[Row]) -> str:
    """Return whom an entry is about: for feedback and its call the candidate that served, for another attempt the chosen one."""
    if row.candidate:
        return row.candidate
    served = [past.candidate for past in history if past.kind == ATTEMPT and past.fields["error"] is None]
    judges = row.kind == FEEDBACK or "feedback" in row.fields
    return served[-1] if served and judges else history[0].candidate
