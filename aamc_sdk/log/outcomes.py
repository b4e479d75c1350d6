"""Logged outcomes: decisions joined with their calls and their feedback as arrays, a batch of columns at a time."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import DataError
from aamc_sdk.log.json_text import damaged, damages, decoded
from aamc_sdk.log.outcome_columns import FIGURES, OutcomeColumns
from aamc_sdk.log.rows import ATTEMPT, DECISION, FEEDBACK, Row, columns_of, feedback_row
from aamc_sdk.types import Experience, Floats, LoggedOutcomes
from aamc_sdk.types.decisions import MAX_AVERAGE_WEIGHT, default_status, is_implicit

LoggedEntry = Sequence[Any]
"""An entry's kind, decision's id, own id, candidate, time, propensity, content as the store keeps it, embedding, and a call's status, cost, latency
and output tokens. Unrequested fields may be None. Without a status, the content is decoded."""
_FIELDS, _NO_CALL = 12, (None,) * 4
Unpack = Callable[[Sequence[Any]], Sequence[str | bytes]]
"""Returns contents, as the store keeps them, as JSON."""
JOINED_AT_ONCE = 500
"""Entries that are joined at once: few enough for the processor's cache."""
_FAILED, _ANSWERED = 1, 2
_STATUS = {"error": _FAILED, "ok": _ANSWERED}


class _FeedbackFields(msgspec.Struct, gc=False):
    """The parts of feedback that outcomes need."""

    quality: float | None = None
    over: str | None = None
    confidence: float = 1.0
    weight: float = 1.0
    source: str = "explicit"


class _Call(msgspec.Struct, gc=False):
    """The parts of an attempt that outcomes need."""

    error: str | None = None
    status: str | None = None
    cost_usd: float | None = None
    latency_ms: float | None = None
    output_tokens: float | None = None


_CALL, _FEEDBACK = msgspec.json.Decoder(_Call), msgspec.json.Decoder(_FeedbackFields)


class _Calls(NamedTuple):
    """Calls in the order of the log, A of them: the decisions' rows, whether the chosen candidate was called, and how the calls ended."""

    row: NDArray[np.intp]
    chosen: NDArray[np.bool_]
    status: NDArray[np.int8]
    cost_usd: Floats
    latency_ms: Floats
    output_tokens: Floats

    def latest(self, size: int, figures: Floats) -> Floats:
        """Return the last known figure of the successful calls of each decision's chosen candidate, ``[size]``."""
        known = self.chosen & (self.status == _ANSWERED) & ~np.isnan(figures)
        found = np.full(size, np.nan)
        found[self.row[known]] = figures[known]  # of several, numpy assigns the last
        return found

    def flags(self, size: int, true: NDArray[np.bool_], unless: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return ``[size]``, true for decisions with a call in ``true`` and no call in ``unless``."""
        found = np.zeros(size, dtype=bool)
        found[self.row[true]] = True
        found[self.row[unless]] = False
        return found

    def fell_back(self, size: int) -> NDArray[np.bool_]:
        """Return whether the last successful call of each decision was of another candidate than the chosen one, ``[size]``."""
        found, answered = np.zeros(size, dtype=bool), self.status == _ANSWERED
        found[self.row[answered]] = ~self.chosen[answered]
        return found


class _FeedbackArrays(NamedTuple):
    """Feedback in the order of the log, F pieces: the decisions' rows, and the quality of a candidate."""

    row: NDArray[np.intp]
    chosen: NDArray[np.bool_]
    compares: NDArray[np.bool_]
    implicit: NDArray[np.bool_]
    quality: Floats
    weight: Floats

    def means(self, size: int, implicit: bool) -> Floats:
        """Return the mean quality of each decision by explicit or by implicit feedback, ``[size]``; NaN where there is none."""
        which = self.chosen & ~self.compares & (self.implicit == implicit)
        weighed = np.bincount(self.row[which], self.quality[which] * self.weight[which], minlength=size)
        total = np.bincount(self.row[which], self.weight[which], minlength=size)
        means: Floats = np.divide(weighed, total, out=np.full(size, np.nan), where=total > 0)
        return means


def logged_entry(row: Row) -> LoggedEntry:
    """Return a row as :class:`RowOutcomes` takes it."""
    propensity = columns_of(row)["propensity"] if row.kind == DECISION else None
    return (row.kind, row.decision_id, row.id, row.candidate, row.time, propensity, row.content, row.embedding, *_NO_CALL)


class RowOutcomes:
    """Joins decisions with the attempts and the feedback that come after them in the log. Entries on other decisions are left out.

    Args:
        columns: The columns that are asked for.
        since: Time of the first decisions to join, in seconds since the epoch; None for all.
        until: Time before which decisions are joined; None for all.

    Raises:
        DataError: A time is no number, or a column is unknown.
    """

    def __init__(self, columns: Iterable[str] = (), since: float | None = None, until: float | None = None) -> None:
        for name, limit in (("since", since), ("until", until)):
            if limit is not None and not (isinstance(limit, Real) and limit == limit):  # NaN
                raise DataError(f"{name} must be seconds since the epoch, such as time.time() - 86400, or None, not {limit!r}")
        self.since, self.until = (None if limit is None else float(limit) for limit in (since, until))  # NumPy's numbers are no numbers to SQLite
        self._columns = OutcomeColumns(columns)
        self._rows: dict[str, int] = {}
        self._candidates: list[str] = []
        self._propensity: list[Floats] = [np.zeros(0)]
        self._calls: list[_Calls] = []
        self._feedback: list[_FeedbackArrays] = []
        self._latest: dict[str, int] = {}  # the place of the latest revision of feedback, by id
        self._judged = 0

    @property
    def needs_fields(self) -> bool:
        """Whether a column was asked for that needs more of a decision than its id, candidate and propensity."""
        return bool(self._columns.asked)

    def add_entries(self, entries: Iterable[LoggedEntry], unpack: Unpack = list) -> None:
        """Add entries in log order.

        Args:
            entries: The entries.
            unpack: Returns contents as JSON.

        Raises:
            StoreError: An entry is damaged.
        """
        remaining = iter(entries)
        while batch := list(itertools.islice(remaining, JOINED_AT_ONCE)):
            of_kind: dict[str, list[LoggedEntry]] = {DECISION: [], ATTEMPT: [], FEEDBACK: []}
            try:
                for entry in batch:
                    of_kind[entry[0]].append(entry)
            except KeyError as error:
                raise damaged(entry[2], ValueError(f"its kind is {entry[0]!r}")) from error
            for kind, add in ((DECISION, self._add_decisions), (ATTEMPT, self._add_attempts), (FEEDBACK, self._add_feedback)):
                try:
                    if of_kind[kind]:
                        add(zip(*of_kind[kind], strict=True), unpack)
                except (AttributeError, TypeError, ValueError):
                    for entry in of_kind[kind]:  # one at a time, to name the damaged one
                        with damages(entry[2]):
                            add(zip(entry, strict=True), unpack)
                    raise

    def _add_decisions(self, columns: Iterable[Sequence[Any]], unpack: Unpack) -> None:
        _, _, ids, candidates, times, propensity, packed, embeddings, *_ = columns
        since, until = self.since, self.until
        if (since is not None and min(times) < since) or (until is not None and max(times) >= until):
            within = [is_within(time, since, until) for time in times]
            given = (ids, candidates, times, propensity, packed, embeddings)
            ids, candidates, times, propensity, packed, embeddings = (list(itertools.compress(each, within)) for each in given)
        self._rows.update(zip(ids, itertools.count(len(self._candidates)), strict=False))
        self._candidates += candidates
        self._propensity.append(np.array(propensity, dtype=np.float64))  # None becomes NaN
        if self.needs_fields:
            self._columns.add(ids, times, unpack(packed), embeddings)

    def _add_attempts(self, columns: Iterable[Sequence[Any]], unpack: Unpack) -> None:
        """Add calls; a later known figure of the chosen candidate takes the place of an earlier one."""
        rows, ids, candidates, _, _, packed, _, status, *figures = self._known(columns)
        if None in status:
            calls = [decoded(_CALL, content, name) for content, name in zip(unpack(packed), ids, strict=True)]
            status = [call.status or default_status(call.error) for call in calls]
            figures = [[getattr(call, name) for call in calls] for name in FIGURES]
        ends = np.fromiter((_STATUS.get(each, 0) for each in status), np.int8, len(rows))
        self._calls.append(_Calls(*self._about(rows, candidates), ends, *(np.array(each, dtype=np.float64) for each in figures)))

    def _add_feedback(self, columns: Iterable[Sequence[Any]], unpack: Unpack) -> None:
        """Add feedback; a later revision takes the place of an earlier one."""
        rows, ids, candidates, _, _, packed, *_ = self._known(columns)
        feedback = [decoded(_FEEDBACK, content, name) for content, name in zip(unpack(packed), ids, strict=True)]
        implicit = {source: is_implicit(source) for source in {each.source for each in feedback}}
        self._latest.update(zip(ids, itertools.count(self._judged), strict=False))
        self._judged += len(rows)
        self._feedback.append(
            _FeedbackArrays(
                *self._about(rows, candidates),
                np.array([each.over is not None for each in feedback], dtype=bool),
                np.array([implicit[each.source] for each in feedback], dtype=bool),
                np.array([each.quality for each in feedback], dtype=np.float64),
                np.minimum([each.weight * each.confidence for each in feedback], MAX_AVERAGE_WEIGHT),
            )
        )

    def outcomes(self, failure_quality: float | None = 0.0) -> LoggedOutcomes:
        """Return the joined outcomes; a failed call without feedback has the quality ``failure_quality``, None for unknown."""
        self._add_attempts([()] * _FIELDS, list)  # so that there is something to join
        self._add_feedback([()] * _FIELDS, list)
        calls = _Calls(*map(np.concatenate, zip(*self._calls, strict=True)))
        feedback = _FeedbackArrays(*map(np.concatenate, zip(*self._feedback, strict=True)))
        latest = np.fromiter(self._latest.values(), np.intp, len(self._latest))
        feedback = _FeedbackArrays._make(values[latest] for values in feedback)
        size = len(self._rows)
        explicit = feedback.means(size, implicit=False)
        quality = np.where(np.isnan(explicit), feedback.means(size, implicit=True), explicit)
        judged, failed = ~np.isnan(quality), calls.flags(size, (calls.status == _FAILED) & calls.chosen, (calls.status == _ANSWERED) & calls.chosen)
        if failure_quality is not None:
            quality[failed & ~judged] = failure_quality
        compared = np.zeros(size, dtype=bool)
        compared[feedback.row[feedback.compares]] = True
        return LoggedOutcomes(
            list(self._rows),
            self._candidates,
            np.concatenate(self._propensity),
            quality,
            calls.latest(size, calls.cost_usd),
            calls.latest(size, calls.latency_ms),
            calls.latest(size, calls.output_tokens),
            judged=judged,
            failed=failed,
            fell_back=calls.fell_back(size),
            compared=compared,
            **self._columns.finished(),
        )

    def _known(self, columns: Iterable[Sequence[Any]]) -> list[Any]:
        """Return the rows of the decisions, and the columns after them, of the entries whose decision is known."""
        _, decision_ids, *others = columns
        rows = list(map(self._rows.get, decision_ids))
        if None not in rows:
            return [rows, *others]
        known = [row is not None for row in rows]
        return [list(itertools.compress(column, known)) for column in (rows, *others)]

    def _about(self, rows: Sequence[int], candidates: Sequence[str | None]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return the rows of decisions as an array, and whether each candidate is the chosen one."""
        chosen = map(operator.eq, candidates, map(self._candidates.__getitem__, rows))
        return np.array(rows, dtype=np.intp), np.fromiter(chosen, bool, len(rows))


def outcomes_of(experience: Experience, failure_quality: float | None = 0.0) -> LoggedOutcomes:
    """Return the outcomes of a whole log's decisions.

    Args:
        experience: The log.
        failure_quality: The quality of a failed call without feedback; None for unknown.
    """
    nothing = ("", None)  # neither a content nor an embedding
    join = RowOutcomes()
    join.add_entries((DECISION, each.id, each.id, each.candidate, each.time, each.propensity, *nothing, *_NO_CALL) for each in experience.decisions)
    join.add_entries(
        (ATTEMPT, each.decision_id, "", each.candidate, 0.0, None, *nothing, each.status, each.cost_usd, each.latency_ms, each.output_tokens)
        for each in experience.attempts
    )
    join.add_entries(map(logged_entry, map(feedback_row, experience.feedback)))
    return join.outcomes(failure_quality)


def is_within(time: float, since: float | None, until: float | None) -> bool:
    """Return whether a time is at ``since`` or later and before ``until``."""
    return (since is None or time >= since) and (until is None or time < until)
