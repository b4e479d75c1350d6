"""Logged outcomes: what the chosen candidate of each decision did, as arrays for off-policy use."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import DataError
from aamc_sdk.types.arithmetic import Floats
from aamc_sdk.types.datasets import Experience
from aamc_sdk.types.decisions import average_weight, is_implicit
from aamc_sdk.types.outcome_columns import CHUNK, FIGURES, DecisionFields, OutcomeColumns


@attrs.frozen(eq=False)
class LoggedOutcomes:
    """The outcomes of N decisions, in log order; NaN where a number is unknown.

    All figures are those of the chosen candidate. After a fallback it has no cost or latency of a successful call.

    Attributes:
        decision_ids: The decisions' ids, N of them.
        candidates: The chosen candidates' names, N of them.
        propensity: Probability of each draw, ``[N]``; never use a decision where it is NaN off-policy.
        quality: Quality, from 0 to 1, ``[N]``: the mean of explicit feedback, or of implicit feedback if there is no other, by
            :attr:`Feedback.average_weight`. Without feedback, a failed call has the quality 0.
        cost_usd: Cost of the last successful call in USD, ``[N]``.
        latency_ms: Latency of the last successful call in milliseconds, ``[N]``.
        output_tokens: Output tokens of the last successful call, ``[N]``.
        judged: Whether feedback gives the quality, ``[N]``.
        failed: Whether calls of the chosen candidate failed and none was successful, ``[N]``.
        fell_back: Whether another candidate than the chosen one served, ``[N]``.
        compared: Whether feedback compares candidates, ``[N]``.
        names: The candidates of all decisions that asked columns are about, K of them.
        category_names: The categories of all estimates, C of them.
        pools: The different lists of candidates that the decisions had.
        pool: For each decision, the place of its list in ``pools``, ``[N]``.
        columns: The columns that were asked for, by name, see :data:`OUTCOME_COLUMNS`.
    """

    decision_ids: Sequence[str]
    candidates: Sequence[str]
    propensity: Floats
    quality: Floats
    cost_usd: Floats
    latency_ms: Floats
    output_tokens: Floats
    judged: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    fell_back: NDArray[np.bool_]
    compared: NDArray[np.bool_]
    names: tuple[str, ...] = ()
    category_names: tuple[str, ...] = ()
    pools: Sequence[tuple[str, ...]] = ()
    pool: NDArray[np.intp] = attrs.field(factory=lambda: np.zeros(0, np.intp))
    columns: Mapping[str, Any] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self.decision_ids)

    def __getitem__(self, name: str) -> Any:
        """Return a column that was asked for.

        Raises:
            DataError: It was not asked for.
        """
        if name not in self.columns:
            raise DataError(f"the column {name!r} was not asked for: outcomes(columns=({name!r}, ...))")
        return self.columns[name]

    @classmethod
    def of(
        cls,
        batches: Iterable[Experience],
        since: float | None = None,
        until: float | None = None,
        failure_quality: float | None = 0.0,
        columns: Iterable[str] = (),
    ) -> LoggedOutcomes:
        """Join batches of a log.

        Args:
            batches: The whole log, in log order.
            since: Time of the first decision to return, in seconds since the epoch; None for the first of the log.
            until: Time before which decisions are returned; None for all.
            failure_quality: The quality of a failed call without feedback; None for unknown.
            columns: The columns to add, see :data:`OUTCOME_COLUMNS`; they need the batches' records.

        Raises:
            DataError: A column is unknown.
        """
        join = OutcomeJoin(OutcomeColumns(columns))
        for batch in batches:
            records = batch.records if join.needs_fields else [None] * len(batch.decisions)
            for decision, record in zip(batch.decisions, records, strict=True):
                if (since is None or decision.time >= since) and (until is None or decision.time < until):
                    fields = None if record is None else DecisionFields.of(record)
                    join.add_decision(decision.id, decision.candidate, decision.propensity, fields)
            for attempt in batch.attempts:
                join.add_attempt(attempt.decision_id, attempt.candidate, attempt.status, *(getattr(attempt, name) for name in FIGURES))
            for feedback in batch.feedback:
                join.add_feedback(feedback.decision_id, feedback.id, feedback.candidate, feedback)
        return join.outcomes(failure_quality)


_FAILED, _ANSWERED = 1, 2
_STATUS = {"error": _FAILED, "ok": _ANSWERED}
_Call = tuple[int, bool, str, "float | None", "float | None", "float | None"]


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
        """Return which decisions have some calls and have not some others, ``[size]``."""
        found = np.zeros(size, dtype=bool)
        found[self.row[true]] = True
        found[self.row[unless]] = False
        return found

    def fell_back(self, size: int) -> NDArray[np.bool_]:
        """Return whether the last successful call of each decision was of another candidate than the chosen one, ``[size]``."""
        found, answered = np.zeros(size, dtype=bool), self.status == _ANSWERED
        found[self.row[answered]] = ~self.chosen[answered]
        return found


class OutcomeJoin:
    """Joins decisions with the attempts and the feedback that come after them in the log. Entries on other decisions are left out."""

    def __init__(self, columns: OutcomeColumns) -> None:
        self._columns = columns
        self._rows: dict[str, int] = {}
        self._candidates: list[str] = []
        self._propensity: list[float] = []
        self._calls: list[_Call] = []
        self._joined_calls: list[_Calls] = []
        self._feedback: dict[str, tuple[int, str | None, Any]] = {}

    @property
    def needs_fields(self) -> bool:
        """Whether a column was asked for that needs more of a decision than its id, candidate and propensity."""
        return bool(self._columns.asked)

    def add_decision(self, decision_id: str, candidate: str, propensity: float | None, decision: Any = None) -> None:
        """Add a decision, with what its columns are read from where they were asked for; a known one counts once."""
        if decision_id in self._rows:
            return
        self._rows[decision_id] = len(self._candidates)
        self._candidates.append(candidate)
        self._propensity.append(math.nan if propensity is None else propensity)
        if decision is not None:
            self._columns.add(decision)

    def add_attempt(
        self, decision_id: str, candidate: str, status: str, cost_usd: float | None, latency_ms: float | None, output_tokens: float | None
    ) -> None:
        """Add a call; a later known figure of the chosen candidate takes the place of an earlier one."""
        row = self._rows.get(decision_id)
        if row is not None:
            self._calls.append((row, candidate == self._candidates[row], status, cost_usd, latency_ms, output_tokens))
            if len(self._calls) == CHUNK:
                self._join_calls()

    def add_feedback(self, decision_id: str, feedback_id: str, candidate: str | None, feedback: Any) -> None:
        """Add feedback, or anything with the attributes ``quality``, ``over``, ``weight``, ``confidence`` and ``source``.

        A later revision takes the place of an earlier one.
        """
        row = self._rows.get(decision_id)
        if row is not None:
            self._feedback[feedback_id] = row, candidate, feedback

    def outcomes(self, failure_quality: float | None = 0.0) -> LoggedOutcomes:
        """Return the joined outcomes; a failed call without feedback has the quality ``failure_quality``, None for unknown."""
        self._join_calls()
        calls = _Calls(*map(np.concatenate, zip(*self._joined_calls, strict=True)))
        (quality, compared), size = self._judgements(), len(self._rows)
        judged, failed = ~np.isnan(quality), calls.flags(size, (calls.status == _FAILED) & calls.chosen, (calls.status == _ANSWERED) & calls.chosen)
        if failure_quality is not None:
            quality[failed & ~judged] = failure_quality
        return LoggedOutcomes(
            list(self._rows),
            self._candidates,
            np.array(self._propensity, dtype=np.float64),
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

    def _join_calls(self) -> None:
        """Turn the calls that were added into arrays."""
        calls, self._calls = self._calls, []
        rows, chosen, status, *figures = zip(*calls, strict=True) if calls else ((),) * 6
        numbers = np.fromiter((_STATUS.get(each, 0) for each in status), np.int8, len(calls))
        arrays = (np.array(each, dtype=np.float64) for each in figures)  # None becomes NaN
        self._joined_calls.append(_Calls(np.array(rows, dtype=np.intp), np.array(chosen, dtype=bool), numbers, *arrays))

    def _judgements(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Return each decision's mean quality, and whether feedback compares its candidates."""
        size, compared = len(self._rows), np.zeros(len(self._rows), dtype=bool)
        compared[[row for row, _, feedback in self._feedback.values() if feedback.over is not None]] = True
        chosen = self._candidates
        given = [(row, each) for row, candidate, each in self._feedback.values() if each.over is None and candidate == chosen[row]]
        rows, feedback = np.array([row for row, _ in given], dtype=np.intp), [each for _, each in given]
        weights = np.array([average_weight(each.weight, each.confidence) for each in feedback], dtype=np.float64)
        qualities = np.array([each.quality for each in feedback], dtype=np.float64)
        implicit = np.array([is_implicit(each.source) for each in feedback], dtype=bool)
        means = []
        for which in (~implicit, implicit):
            weighed = np.bincount(rows[which], qualities[which] * weights[which], minlength=size)
            total = np.bincount(rows[which], weights[which], minlength=size)
            means.append(np.divide(weighed, total, out=np.full(size, np.nan), where=total > 0))
        explicit, inferred = means
        return np.where(np.isnan(explicit), inferred, explicit), compared
