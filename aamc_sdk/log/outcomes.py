"""Logged outcomes: decisions joined with their calls and their feedback as arrays."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any

import attrs
import msgspec
import numpy as np

from aamc_sdk.errors import DataError
from aamc_sdk.log.json_text import decoded
from aamc_sdk.log.outcome_columns import FIGURES, OutcomeColumns
from aamc_sdk.log.rows import ATTEMPT, DECISION, FEEDBACK, Row, columns_of, feedback_row
from aamc_sdk.types import Experience, LoggedOutcomes
from aamc_sdk.types.decisions import MAX_AVERAGE_WEIGHT, default_status, is_implicit

LoggedEntry = Sequence[Any]
"""An entry's kind, decision's id, own id, candidate, time, propensity, content as the store keeps it, embedding, and a call's status, cost, latency
and output tokens. Unrequested fields may be None. Without a status, the content is decoded."""
_NO_CALL = (None,) * 4
Unpack = Callable[[Sequence[Any]], Sequence[str | bytes]]
"""Returns contents, as the store keeps them, as JSON."""
JOINED_AT_ONCE = 500
"""Entries that are joined at once: few enough for the processor's cache."""


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


@attrs.define
class _JoinedDecision:
    """A decision, and what is known of its chosen candidate.

    Attributes:
        cost_usd: The last known cost of its successful calls, as are latency and output tokens.
        answered: Whether it had a successful call.
        errored: Whether it had a failed call.
        fell_back: Whether another candidate had the last successful call.
        feedback: The judged candidate and the judgement in its latest revision, by the feedback's id.
    """

    candidate: str
    propensity: float | None
    cost_usd: float = math.nan
    latency_ms: float = math.nan
    output_tokens: float = math.nan
    answered: bool = False
    errored: bool = False
    fell_back: bool = False
    feedback: dict[str, tuple[str, _FeedbackFields]] = attrs.field(factory=dict)

    def add_call(self, candidate: str, status: str, *figures: float | None) -> None:
        """Add a call with its ``FIGURES``."""
        chosen = candidate == self.candidate
        if status == "ok":
            self.fell_back = not chosen
        if status == "ok" and chosen:
            self.answered = True
            for name, figure in zip(FIGURES, figures, strict=True):
                if figure is not None:
                    setattr(self, name, figure)
        elif status == "error" and chosen:
            self.errored = True

    @property
    def compared(self) -> bool:
        """Whether feedback compares candidates."""
        return any(judgement.over is not None for _, judgement in self.feedback.values())

    @property
    def quality(self) -> float:
        """The mean quality of the chosen candidate by explicit feedback, else by implicit feedback; NaN without any."""
        for implicit in (False, True):
            weighed = total = 0.0
            for candidate, judgement in self.feedback.values():
                if candidate == self.candidate and judgement.quality is not None and is_implicit(judgement.source) == implicit:
                    weight = min(judgement.weight * judgement.confidence, MAX_AVERAGE_WEIGHT)
                    weighed += judgement.quality * weight
                    total += weight
            if total > 0:
                return weighed / total
        return math.nan


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
        self._range = since, until
        self._columns = OutcomeColumns(columns)
        self._decisions: dict[str, _JoinedDecision] = {}

    @property
    def needs_fields(self) -> bool:
        """Whether a column was asked for that needs more of a decision than its id, candidate and propensity."""
        return bool(self._columns.asked)

    def add_entries(self, entries: Iterable[LoggedEntry], unpack: Unpack = list) -> None:
        """Add entries in log order.

        Args:
            entries: The entries.
            unpack: Returns contents as JSON.
        """
        following = iter(entries)
        while batch := list(itertools.islice(following, JOINED_AT_ONCE)):
            self._add_decisions([entry for entry in batch if entry[0] == DECISION and is_within(entry[4], *self._range)], unpack)
            known = [entry for entry in batch if entry[0] != DECISION and entry[1] in self._decisions]
            contents = iter(unpack([entry[6] for entry in known if entry[8] is None]))
            for kind, decision_id, name, candidate, _, _, _, _, status, *figures in known:
                decision = self._decisions[decision_id]
                if kind == FEEDBACK:
                    decision.feedback[name] = candidate, decoded(_FEEDBACK, next(contents), name)
                elif status is not None:
                    decision.add_call(candidate, status, *figures)
                else:
                    call = decoded(_CALL, next(contents), name)
                    decision.add_call(candidate, call.status or default_status(call.error), call.cost_usd, call.latency_ms, call.output_tokens)

    def _add_decisions(self, entries: Sequence[LoggedEntry], unpack: Unpack) -> None:
        for _, _, name, candidate, _, propensity, *_ in entries:
            self._decisions[name] = _JoinedDecision(candidate, propensity)
        if self.needs_fields and entries:
            _, _, names, _, times, _, packed, embeddings, *_ = zip(*entries, strict=True)
            self._columns.add(names, times, unpack(packed), embeddings)

    def outcomes(self, failure_quality: float | None = 0.0) -> LoggedOutcomes:
        """Return the joined outcomes; a failed call without feedback has the quality ``failure_quality``, None for unknown."""
        found = self._decisions.values()
        failed = np.array([each.errored and not each.answered for each in found], dtype=bool)
        quality = np.array([each.quality for each in found], dtype=np.float64)
        judged = ~np.isnan(quality)
        if failure_quality is not None:
            quality[failed & ~judged] = failure_quality
        figures: dict[str, Any] = {name: np.array([getattr(each, name) for each in found], dtype=np.float64) for name in FIGURES}
        return LoggedOutcomes(
            decision_ids=list(self._decisions),
            candidates=[each.candidate for each in found],
            propensity=np.array([each.propensity for each in found], dtype=np.float64),  # None becomes NaN
            quality=quality,
            judged=judged,
            failed=failed,
            fell_back=np.array([each.fell_back for each in found], dtype=bool),
            compared=np.array([each.compared for each in found], dtype=bool),
            **figures,
            **self._columns.finished(),
        )


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
