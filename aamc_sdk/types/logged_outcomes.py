"""Logged outcomes: what the chosen candidate of each decision did, as arrays for off-policy use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import DataError
from aamc_sdk.types.arithmetic import Floats
from aamc_sdk.types.datasets import Experience
from aamc_sdk.types.decisions import average_weight, is_implicit
from aamc_sdk.types.outcome_columns import FIGURES, DecisionFields, OutcomeColumns


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
        join = OutcomeJoin(columns)
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


class OutcomeJoin:
    """Joins decisions with the attempts and the feedback that come after them in the log. Entries on other decisions are left out."""

    def __init__(self, columns: Iterable[str] = (), make_query: Callable[[Any], Any] | None = None) -> None:
        self._columns = OutcomeColumns(columns, make_query)
        self._rows: dict[str, int] = {}
        self._candidates: list[str] = []
        self._propensity: list[float] = []
        self._costs: dict[int, float] = {}
        self._latencies: dict[int, float] = {}
        self._tokens: dict[int, float] = {}
        self._served: dict[int, str] = {}
        self._answered: set[int] = set()
        self._failed: set[int] = set()
        self._feedback: dict[str, tuple[int, str | None, Any]] = {}

    @property
    def needs_fields(self) -> bool:
        """Whether a column was asked for that needs more of a decision than its id, candidate and propensity."""
        return bool(self._columns.asked)

    def add_decision(self, decision_id: str, candidate: str, propensity: float | None, fields: DecisionFields | None = None) -> None:
        """Add a decision; a known one counts once."""
        if decision_id in self._rows:
            return
        self._rows[decision_id] = len(self._candidates)
        self._candidates.append(candidate)
        self._propensity.append(math.nan if propensity is None else propensity)
        if fields is not None:
            self._columns.add(fields)

    def add_attempt(
        self, decision_id: str, candidate: str, status: str, cost_usd: float | None, latency_ms: float | None, output_tokens: float | None
    ) -> None:
        """Add a call; a later known figure of the chosen candidate takes the place of an earlier one."""
        row = self._rows.get(decision_id)
        if row is None:
            return
        if status == "ok":
            self._served[row] = candidate
            if candidate == self._candidates[row]:
                self._answered.add(row)
                for figure, figures in ((cost_usd, self._costs), (latency_ms, self._latencies), (output_tokens, self._tokens)):
                    if figure is not None and figure == figure:  # NaN is unequal to itself
                        figures[row] = figure
        elif status == "error" and candidate == self._candidates[row]:
            self._failed.add(row)

    def add_feedback(self, decision_id: str, feedback_id: str, candidate: str | None, feedback: Any) -> None:
        """Add feedback, or anything with the attributes ``quality``, ``over``, ``weight``, ``confidence`` and ``source``.

        A later revision takes the place of an earlier one.
        """
        row = self._rows.get(decision_id)
        if row is not None:
            self._feedback[feedback_id] = row, candidate, feedback

    def outcomes(self, failure_quality: float | None = 0.0) -> LoggedOutcomes:
        """Return the joined outcomes; a failed call without feedback has the quality ``failure_quality``, None for unknown."""
        quality, compared = self._judgements()
        judged, failed = ~np.isnan(quality), self._flags(self._failed - self._answered)
        if failure_quality is not None:
            quality[failed & ~judged] = failure_quality
        return LoggedOutcomes(
            list(self._rows),
            self._candidates,
            np.array(self._propensity, dtype=np.float64),
            quality,
            self._array(self._costs),
            self._array(self._latencies),
            self._array(self._tokens),
            judged=judged,
            failed=failed,
            fell_back=self._flags(row for row, served in self._served.items() if served != self._candidates[row]),
            compared=compared,
            **self._columns.finished(),
        )

    def _flags(self, rows: Iterable[int]) -> NDArray[np.bool_]:
        flags = np.zeros(len(self._rows), dtype=bool)
        flags[list(rows)] = True
        return flags

    def _array(self, figures: Mapping[int, float]) -> Floats:
        array = np.full(len(self._rows), np.nan)
        array[list(figures)] = list(figures.values())
        return array

    def _judgements(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Return each decision's mean quality, and whether feedback compares its candidates."""
        size = len(self._rows)
        sums: tuple[list[float], ...] = tuple([0.0] * size for _ in range(4))
        explicit, explicit_weight, implicit, implicit_weight = sums
        compared = np.zeros(size, dtype=bool)
        for row, candidate, feedback in self._feedback.values():
            if feedback.over is not None:
                compared[row] = True
            elif candidate == self._candidates[row]:
                weight = average_weight(feedback.weight, feedback.confidence)
                if is_implicit(feedback.source):
                    implicit[row] += feedback.quality * weight
                    implicit_weight[row] += weight
                else:
                    explicit[row] += feedback.quality * weight
                    explicit_weight[row] += weight
        quality, weights, inferred, inferred_weights = map(np.array, sums)
        with np.errstate(invalid="ignore"):  # 0 / 0 where there is no feedback
            return np.where(weights > 0, quality / weights, inferred / inferred_weights), compared
