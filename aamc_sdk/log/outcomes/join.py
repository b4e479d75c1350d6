"""Joins decisions with their calls and their feedback."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aamc_sdk.log.outcomes.columns import FIGURES, OutcomeColumns
from aamc_sdk.types import Floats, LoggedOutcomes
from aamc_sdk.types.decisions import MAX_AVERAGE_WEIGHT, is_implicit

_FAILED, _ANSWERED = 1, 2
_STATUS = {"error": _FAILED, "ok": _ANSWERED}


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
        """Return whether each decision has a call in ``true`` and none in ``unless``, ``[size]``."""
        found = np.zeros(size, dtype=bool)
        found[self.row[true]] = True
        found[self.row[unless]] = False
        return found

    def fell_back(self, size: int) -> NDArray[np.bool_]:
        """Return whether the last successful call of each decision was of another candidate than the chosen one, ``[size]``."""
        found, answered = np.zeros(size, dtype=bool), self.status == _ANSWERED
        found[self.row[answered]] = ~self.chosen[answered]
        return found


class _Judgements(NamedTuple):
    """Feedback in the order of the log, F pieces: the decisions' rows, and the judgement of the chosen candidate."""

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


class OutcomeJoin:
    """Joins decisions with the attempts and the feedback that come after them in the log. Entries on other decisions are left out."""

    def __init__(self, columns: OutcomeColumns) -> None:
        self._columns = columns
        self._rows: dict[str, int] = {}
        self._candidates: list[str] = []
        self._propensity: list[Floats] = [np.zeros(0)]
        self._calls: list[_Calls] = []
        self._judgements: list[_Judgements] = []
        self._latest: dict[str, int] = {}  # the place of the latest revision of feedback, by id
        self._judged = 0

    def __contains__(self, decision_id: str) -> bool:
        return decision_id in self._rows

    @property
    def needs_fields(self) -> bool:
        """Whether a column was asked for that needs more of a decision than its id, candidate and propensity."""
        return bool(self._columns.asked)

    def add_decisions(self, ids: Sequence[str], candidates: Sequence[str], propensity: Sequence[float | None], decisions: Any = ()) -> None:
        """Add new decisions, with the source of their columns if any was requested."""
        self._rows.update(zip(ids, itertools.count(len(self._candidates)), strict=False))
        self._candidates += candidates
        self._propensity.append(np.array(propensity, dtype=np.float64))  # None becomes NaN
        if self.needs_fields:
            self._columns.add(decisions)

    def add_attempts(self, decision_ids: Sequence[str], candidates: Sequence[str], status: Sequence[str], *figures: Sequence[float | None]) -> None:
        """Add calls with their ``FIGURES``; a later known figure of the chosen candidate takes the place of an earlier one."""
        rows, candidates, status, *known = self._known(decision_ids, candidates, status, *figures)
        ends = np.fromiter((_STATUS.get(each, 0) for each in status), np.int8, len(rows))
        self._calls.append(_Calls(*self._about(rows, candidates), ends, *(np.array(each, dtype=np.float64) for each in known)))

    def add_feedback(self, decision_ids: Sequence[str], ids: Sequence[str], candidates: Sequence[str | None], feedback: Sequence[Any]) -> None:
        """Add feedback, or anything with the attributes ``quality``, ``over``, ``weight``, ``confidence`` and ``source``.

        A later revision takes the place of an earlier one.
        """
        rows, ids, candidates, feedback = self._known(decision_ids, ids, candidates, feedback)
        implicit = {source: is_implicit(source) for source in {each.source for each in feedback}}
        self._latest.update(zip(ids, itertools.count(self._judged), strict=False))
        self._judged += len(rows)
        self._judgements.append(
            _Judgements(
                *self._about(rows, candidates),
                np.array([each.over is not None for each in feedback], dtype=bool),
                np.array([implicit[each.source] for each in feedback], dtype=bool),
                np.array([each.quality for each in feedback], dtype=np.float64),
                np.minimum([each.weight * each.confidence for each in feedback], MAX_AVERAGE_WEIGHT),
            )
        )

    def outcomes(self, failure_quality: float | None = 0.0) -> LoggedOutcomes:
        """Return the joined outcomes; a failed call without feedback has the quality ``failure_quality``, None for unknown."""
        self.add_attempts(*[()] * (3 + len(FIGURES)))  # so that there is something to join
        self.add_feedback((), (), (), ())
        calls = _Calls(*map(np.concatenate, zip(*self._calls, strict=True)))
        judgements = _Judgements(*map(np.concatenate, zip(*self._judgements, strict=True)))
        latest = np.fromiter(self._latest.values(), np.intp, len(self._latest))
        judgements = _Judgements._make(values[latest] for values in judgements)
        size = len(self._rows)
        explicit = judgements.means(size, implicit=False)
        quality = np.where(np.isnan(explicit), judgements.means(size, implicit=True), explicit)
        judged, failed = ~np.isnan(quality), calls.flags(size, (calls.status == _FAILED) & calls.chosen, (calls.status == _ANSWERED) & calls.chosen)
        if failure_quality is not None:
            quality[failed & ~judged] = failure_quality
        compared = np.zeros(size, dtype=bool)
        compared[judgements.row[judgements.compares]] = True
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

    def _known(self, decision_ids: Sequence[str], *columns: Sequence[Any]) -> list[Any]:
        """Return the rows of the decisions, and the columns, of the entries whose decision is known."""
        rows = list(map(self._rows.get, decision_ids))
        if None not in rows:
            return [rows, *columns]
        known = [row is not None for row in rows]
        return [list(itertools.compress(column, known)) for column in (rows, *columns)]

    def _about(self, rows: Sequence[int], candidates: Sequence[str | None]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return the rows of decisions as an array, and whether each candidate is the chosen one."""
        chosen = map(operator.eq, candidates, map(self._candidates.__getitem__, rows))
        return np.array(rows, dtype=np.intp), np.fromiter(chosen, bool, len(rows))
