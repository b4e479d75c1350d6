"""Logged outcomes: decisions joined with their attempts and feedback, as arrays."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import DataError
from aamc_sdk.log.rows.json_text import damage_errors, decode_entry
from aamc_sdk.log.rows.row import ATTEMPT, DECISION, FEEDBACK, Row, columns_of, feedback_row
from aamc_sdk.types import Experience, Floats, LoggedOutcomes
from aamc_sdk.types.decisions import MAX_AVERAGE_WEIGHT, default_status, is_implicit

OutcomeFields = Sequence[Any]
"""The fields of an entry that outcomes are made of: kind, decision's id, own id, candidate, time, propensity, content as the store keeps it,
embedding, and an attempt's status, cost, latency and output tokens. Fields that are not needed may be None. If an attempt's status is None, its four
fields are read from the content."""
_NO_ATTEMPT = (None,) * 4
UnpackContents = Callable[[Sequence[Any]], Sequence[str | bytes]]
"""Returns contents as JSON, from the form in which the store keeps them."""
FIGURES = ("cost_usd", "latency_ms", "output_tokens")
"""The figures of an attempt that outcomes have."""
JOINED_AT_ONCE = 500
"""Entries that are joined at once: few enough to stay in the processor's cache."""
_FAILED, _ANSWERED = 1, 2
_STATUS = {"error": _FAILED, "ok": _ANSWERED}


class _Columns(NamedTuple):
    """The fields of entries of one kind, each as a column, in the order of ``OutcomeFields``."""

    kind: Sequence[str]
    decision_id: Sequence[str]
    id: Sequence[str]
    candidate: Sequence[Any]
    time: Sequence[float]
    propensity: Sequence[float | None]
    content: Sequence[Any]
    embedding: Sequence[bytes | None]
    status: Sequence[str | None]
    cost_usd: Sequence[float | None]
    latency_ms: Sequence[float | None]
    output_tokens: Sequence[float | None]

    def where(self, kept: Sequence[bool]) -> _Columns:
        """Return some of the entries."""
        return _Columns(*(list(itertools.compress(column, kept)) for column in self))


_NO_ENTRIES = _Columns(*[()] * len(_Columns._fields))


class ContentReader(Protocol):
    """Reads the contents of the decisions whose outcomes are read.

    Attributes:
        needs_embeddings: Whether it reads embeddings.
    """

    needs_embeddings: bool

    def add(self, ids: Sequence[str], times: Sequence[float], contents: Sequence[str | bytes], embeddings: Sequence[bytes | None]) -> None:
        """Read the next n decisions, in log order.

        Args:
            ids: Their ids.
            times: Their times, in seconds since the epoch.
            contents: Their contents, as JSON in text or UTF-8, see :class:`aamc_sdk.log.DecisionContent`.
            embeddings: Their queries' embeddings as little-endian float32; None for none, or if they are not needed.

        Raises:
            ValueError: A content is damaged.
        """


class _FeedbackFields(msgspec.Struct, gc=False):
    """The fields of feedback that outcomes need."""

    quality: float | None = None
    over: str | None = None
    confidence: float = 1.0
    weight: float = 1.0
    source: str = "explicit"


class _AttemptFields(msgspec.Struct, gc=False):
    """The fields of an attempt that outcomes need."""

    error: str | None = None
    status: str | None = None
    cost_usd: float | None = None
    latency_ms: float | None = None
    output_tokens: float | None = None


_ATTEMPT, _FEEDBACK = msgspec.json.Decoder(_AttemptFields), msgspec.json.Decoder(_FeedbackFields)


class _Attempts(NamedTuple):
    """The attempts, A of them, in log order.

    Attributes:
        row: Row of the attempt's decision, ``[A]``.
        chosen: Whether the attempt called the chosen candidate, ``[A]``.
        status: ``_FAILED``, ``_ANSWERED``, or 0 for another status, ``[A]``.
        cost_usd: Cost in USD, ``[A]``.
        latency_ms: Latency in milliseconds, ``[A]``.
        output_tokens: Output tokens, ``[A]``.
    """

    row: NDArray[np.intp]
    chosen: NDArray[np.bool_]
    status: NDArray[np.int8]
    cost_usd: Floats
    latency_ms: Floats
    output_tokens: Floats

    def latest(self, size: int, figures: Floats) -> Floats:
        """Return the last known figure of each decision's successful attempts on the chosen candidate, ``[size]``; NaN if there is none."""
        known = self.chosen & (self.status == _ANSWERED) & ~np.isnan(figures)
        found = np.full(size, np.nan)
        found[self.row[known]] = figures[known]  # of several, numpy assigns the last
        return found

    def spent(self, size: int, figures: Floats) -> Floats:
        """Return :meth:`latest` plus the known figures of each decision's failed attempts on the chosen candidate, ``[size]``.

        If none was successful, it is the sum over the failed attempts; NaN if none of them has a figure.
        """
        lost = self.chosen & (self.status == _FAILED) & ~np.isnan(figures)
        sums = np.bincount(self.row[lost], figures[lost], minlength=size)
        begun = self.failed(size) & (np.bincount(self.row[lost], minlength=size) > 0)
        return np.where(begun, 0.0, self.latest(size, figures)) + sums

    def failed(self, size: int) -> NDArray[np.bool_]:
        """Return whether attempts on each decision's chosen candidate failed and none was successful, ``[size]``."""
        found = np.zeros(size, dtype=bool)
        found[self.row[self.chosen & (self.status == _FAILED)]] = True
        found[self.row[self.chosen & (self.status == _ANSWERED)]] = False
        return found

    def fell_back(self, size: int) -> NDArray[np.bool_]:
        """Return whether each decision's last successful attempt called a candidate other than the chosen one, ``[size]``."""
        found, answered = np.zeros(size, dtype=bool), self.status == _ANSWERED
        found[self.row[answered]] = ~self.chosen[answered]
        return found


class _Feedback(NamedTuple):
    """F pieces of feedback in log order.

    Attributes:
        row: Row of the feedback's decision, ``[F]``.
        chosen: Whether it judges the chosen candidate, ``[F]``.
        compares: Whether it compares two candidates, ``[F]``.
        implicit: Whether its source is implicit, ``[F]``.
        quality: Quality from 0 to 1, ``[F]``; NaN if it gives none.
        weight: Weight in a mean, ``[F]``.
    """

    row: NDArray[np.intp]
    chosen: NDArray[np.bool_]
    compares: NDArray[np.bool_]
    implicit: NDArray[np.bool_]
    quality: Floats
    weight: Floats

    def means(self, size: int, implicit: bool) -> Floats:
        """Return the mean quality of each decision by explicit or by implicit feedback, ``[size]``; NaN if there is none."""
        which = self.chosen & ~self.compares & (self.implicit == implicit)
        weighed = np.bincount(self.row[which], self.quality[which] * self.weight[which], minlength=size)
        total = np.bincount(self.row[which], self.weight[which], minlength=size)
        means: Floats = np.divide(weighed, total, out=np.full(size, np.nan), where=total > 0)
        return means


def outcome_fields(row: Row) -> OutcomeFields:
    """Return a row's fields for :class:`OutcomeJoin`."""
    propensity = columns_of(row)["propensity"] if row.kind == DECISION else None
    return (row.kind, row.decision_id, row.id, row.candidate, row.time, propensity, row.content, row.embedding, *_NO_ATTEMPT)


class OutcomeJoin:
    """Joins decisions with the attempts and the feedback that come after them in the log. Entries on other decisions are left out.

    The arguments are those of :meth:`aamc_sdk.log.RowStore.outcomes`.

    Attributes:
        needs_contents: Whether entries of decisions must have their content.
        needs_embeddings: Whether entries of decisions must have their embedding.

    Raises:
        DataError: A time is not a number.
    """

    def __init__(self, since: float | None = None, until: float | None = None, reader: ContentReader | None = None) -> None:
        for name, limit in (("since", since), ("until", until)):
            if limit is not None and not (isinstance(limit, Real) and limit == limit):  # NaN
                raise DataError(f"{name} must be seconds since the epoch, such as time.time() - 86400, or None, not {limit!r}")
        self.since, self.until = (None if limit is None else float(limit) for limit in (since, until))  # SQLite does not take NumPy's numbers
        self._reader = reader
        self.needs_contents = reader is not None
        self.needs_embeddings = reader is not None and reader.needs_embeddings
        self._rows: dict[str, int] = {}
        self._candidates: list[str] = []
        self._propensity: list[Floats] = [np.zeros(0)]
        self._attempts: list[_Attempts] = []
        self._feedback: list[_Feedback] = []
        self._latest: dict[str, int] = {}  # the place of the latest revision of feedback, by id
        self._judged = 0

    def add_entries(self, entries: Iterable[OutcomeFields], unpack: UnpackContents = list) -> None:
        """Add entries in log order; ``unpack`` returns their contents as JSON.

        Raises:
            StoreError: An entry is damaged.
        """
        remaining = iter(entries)
        while batch := list(itertools.islice(remaining, JOINED_AT_ONCE)):
            of_kind: dict[str, list[OutcomeFields]] = {DECISION: [], ATTEMPT: [], FEEDBACK: []}
            try:
                for entry in batch:
                    of_kind[entry[0]].append(entry)
            except KeyError:
                with damage_errors(entry[2]):
                    raise ValueError(f"its kind is {entry[0]!r}") from None
            for kind, add in ((DECISION, self._add_decisions), (ATTEMPT, self._add_attempts), (FEEDBACK, self._add_feedback)):
                try:
                    if of_kind[kind]:
                        add(_Columns(*zip(*of_kind[kind], strict=True)), unpack)
                except (AttributeError, TypeError, ValueError):
                    for entry in of_kind[kind]:  # one at a time, to name the damaged one
                        with damage_errors(entry[2]):
                            add(_Columns(*zip(entry, strict=True)), unpack)
                    raise

    def _add_decisions(self, entries: _Columns, unpack: UnpackContents) -> None:
        since, until = self.since, self.until
        if (since is not None and min(entries.time) < since) or (until is not None and max(entries.time) >= until):
            entries = entries.where([is_within(time, since, until) for time in entries.time])
        self._rows.update(zip(entries.id, itertools.count(len(self._candidates)), strict=False))
        self._candidates += entries.candidate
        self._propensity.append(np.array(entries.propensity, dtype=np.float64))  # None becomes NaN
        if self._reader is not None:
            self._reader.add(entries.id, entries.time, unpack(entries.content), entries.embedding)

    def _add_attempts(self, entries: _Columns, unpack: UnpackContents) -> None:
        """Add attempts; a later known figure of the chosen candidate replaces an earlier one."""
        rows, entries = self._known(entries)
        status: Sequence[str | None] = entries.status
        figures: Sequence[Sequence[float | None]] = [getattr(entries, name) for name in FIGURES]
        if None in status:
            attempts = [decode_entry(content, _ATTEMPT, name) for content, name in zip(unpack(entries.content), entries.id, strict=True)]
            status = [each.status or default_status(each.error) for each in attempts]
            figures = [[getattr(each, name) for each in attempts] for name in FIGURES]
        ends = np.fromiter((_STATUS.get(each or "", 0) for each in status), np.int8, len(rows))
        self._attempts.append(_Attempts(*self._about(rows, entries.candidate), ends, *(np.array(each, dtype=np.float64) for each in figures)))

    def _add_feedback(self, entries: _Columns, unpack: UnpackContents) -> None:
        """Add feedback; a later revision replaces an earlier one."""
        rows, entries = self._known(entries)
        feedback = [decode_entry(content, _FEEDBACK, name) for content, name in zip(unpack(entries.content), entries.id, strict=True)]
        implicit = {source: is_implicit(source) for source in {each.source for each in feedback}}
        self._latest.update(zip(entries.id, itertools.count(self._judged), strict=False))
        self._judged += len(rows)
        self._feedback.append(
            _Feedback(
                *self._about(rows, entries.candidate),
                np.array([each.over is not None for each in feedback], dtype=bool),
                np.array([implicit[each.source] for each in feedback], dtype=bool),
                np.array([each.quality for each in feedback], dtype=np.float64),
                np.minimum([each.weight * each.confidence for each in feedback], MAX_AVERAGE_WEIGHT),
            )
        )

    def outcomes(self, failure_quality: float | None = 0.0) -> LoggedOutcomes:
        """Return the joined outcomes; without feedback, a decision whose attempts failed has the quality ``failure_quality``, None for unknown."""
        self._add_attempts(_NO_ENTRIES, list)  # so that there is something to join
        self._add_feedback(_NO_ENTRIES, list)
        attempts = _Attempts(*map(np.concatenate, zip(*self._attempts, strict=True)))
        feedback = _Feedback(*map(np.concatenate, zip(*self._feedback, strict=True)))
        latest = np.fromiter(self._latest.values(), np.intp, len(self._latest))
        feedback = _Feedback._make(values[latest] for values in feedback)
        size = len(self._rows)
        explicit = feedback.means(size, implicit=False)
        quality = np.where(np.isnan(explicit), feedback.means(size, implicit=True), explicit)
        judged, failed, cost_usd = ~np.isnan(quality), attempts.failed(size), attempts.spent(size, attempts.cost_usd)
        if failure_quality is not None:
            quality[failed & ~judged] = failure_quality
        compared = np.zeros(size, dtype=bool)
        compared[feedback.row[feedback.compares]] = True
        return LoggedOutcomes(
            list(self._rows),
            self._candidates,
            np.concatenate(self._propensity),
            quality,
            np.where(failed & np.isnan(cost_usd), 0.0, cost_usd),  # a failed call without a cost was free
            attempts.spent(size, attempts.latency_ms),
            attempts.latest(size, attempts.output_tokens),
            judged=judged,
            failed=failed,
            fell_back=attempts.fell_back(size),
            compared=compared,
        )

    def _known(self, entries: _Columns) -> tuple[list[int], _Columns]:
        """Return the entries whose decision is known, after the rows of these decisions."""
        rows = list(map(self._rows.get, entries.decision_id))
        known = [row is not None for row in rows]
        return [row for row in rows if row is not None], entries if all(known) else entries.where(known)

    def _about(self, rows: Sequence[int], candidates: Sequence[str | None]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return the rows of decisions as an array, and whether each candidate is the chosen one."""
        chosen = map(operator.eq, candidates, map(self._candidates.__getitem__, rows))
        return np.array(rows, dtype=np.intp), np.fromiter(chosen, bool, len(rows))


def outcomes_of(experience: Experience, failure_quality: float | None = 0.0) -> LoggedOutcomes:
    """Return the outcomes of a whole log's decisions; ``failure_quality`` is that of failed ones without feedback, None for unknown."""
    nothing = ("", None)  # neither a content nor an embedding
    join = OutcomeJoin()
    join.add_entries(
        (DECISION, each.id, each.id, each.candidate, each.time, each.propensity, *nothing, *_NO_ATTEMPT) for each in experience.decisions
    )
    join.add_entries(
        (ATTEMPT, each.decision_id, "", each.candidate, 0.0, None, *nothing, each.status, each.cost_usd, each.latency_ms, each.output_tokens)
        for each in experience.attempts
    )
    join.add_entries(map(outcome_fields, map(feedback_row, experience.feedback)))
    return join.outcomes(failure_quality)


def is_within(time: float, since: float | None, until: float | None) -> bool:
    """Return whether a time is at ``since`` or later and before ``until``."""
    return (since is None or time >= since) and (until is None or time < until)
