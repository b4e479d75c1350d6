"""From the decision log to arrays: the decisions that estimates can be made from, and why the others cannot.

An outcome belongs to the candidate that served, a propensity to the one that was chosen. So a decision counts only if both are
one: after a fallback the chosen candidate has no outcome, and the one that served has no known probability of serving. Those
left out are failures of the chosen candidate, so what is estimated holds of requests that it answered.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.interfaces import Store
from aamc_sdk.types import Attempt, Decision, Experience, Feedback, Floats, Outcomes, Record

STRETCH = 1000
"""Entries of the log that are read at once."""
LEFT_OUT = {
    "propensity_unknown": "the router could not know its propensity",
    "fallback": "another candidate served than the one chosen",
    "only_compared": "feedback only compares candidates",
    "not_judged": "no feedback on quality",
}
"""Why a decision does not count; of several reasons the first."""


@attrs.frozen(eq=False)
class Story:
    """A decision with what it was made from, and what followed it so far, in log order."""

    record: Record
    attempts: list[Attempt] = attrs.field(factory=list)
    feedback: list[Feedback] = attrs.field(factory=list)

    @property
    def decision(self) -> Decision:
        """What was decided."""
        return self.record.decision

    @property
    def probabilities(self) -> Mapping[str, float] | None:
        """With which probability each candidate was chosen, by name, or None where that is not known."""
        decision = self.decision
        if decision.probabilities:
            return None if math.isnan(decision.propensity) else decision.probabilities
        return {decision.candidate: 1.0} if decision.propensity == 1 else None

    @property
    def fell_back(self) -> bool:
        """Whether another candidate than the chosen one served."""
        served = [attempt.candidate for attempt in self.attempts if attempt.error is None]
        return bool(served) and served[-1] != self.decision.candidate

    @property
    def judgements(self) -> list[Feedback]:
        """The feedback on the chosen candidate's quality that counts for something."""
        mine = (feedback for feedback in self.feedback if feedback.candidate == self.decision.candidate)
        return [feedback for feedback in mine if feedback.quality is not None and feedback.weight * feedback.confidence > 0]

    @property
    def quality(self) -> float:
        """What the chosen candidate's answer was worth, NaN where nobody said.

        What was said on purpose comes before what was only inferred; of either, the mean by weight times confidence.
        """
        judgements = self.judgements
        counted = [feedback for feedback in judgements if not feedback.implicit] or judgements
        weights = [feedback.weight * feedback.confidence for feedback in counted]
        return float(np.average([feedback.quality or 0.0 for feedback in counted], weights=weights)) if counted else math.nan

    def measured(self, figure: str) -> float:
        """Return ``cost_usd`` or ``latency_ms`` of the chosen candidate's last call that has it, else NaN."""
        calls = (getattr(attempt, figure) for attempt in self.attempts if attempt.candidate == self.decision.candidate and attempt.error is None)
        return next((value for value in reversed(list(calls)) if not math.isnan(value)), math.nan)

    @property
    def left_out(self) -> str | None:
        """Why it does not count, one of ``LEFT_OUT``, or None where it does."""
        if self.probabilities is None:
            return "propensity_unknown"
        if self.fell_back:
            return "fallback"
        if self.judgements:
            return None
        return "only_compared" if any(feedback.over is not None for feedback in self.feedback) else "not_judged"


@attrs.frozen(eq=False)
class LoggedDecisions:
    """The n decisions of a log that count, among all K candidates that any of them had.

    Attributes:
        records: What they were made from, in log order.
        candidates: The candidates' names, K of them.
        chosen: Who was chosen, ``[n]``.
        probabilities: With which probability each was, ``[n, K]``.
        expected: What was expected of each, ``[n, K]``; NaN where nothing was.
        quality: What came of them, ``[n]``.
        cost_usd: Likewise, as measured, else as expected from prices then; NaN where neither is known.
        latency_ms: Likewise.
        measured: How many costs and latencies were measured.
        total: How many decisions the log holds.
        left_out: How many of them do not count, by reason.
    """

    records: Sequence[Record]
    candidates: tuple[str, ...]
    chosen: NDArray[np.intp]
    probabilities: Floats
    expected: Outcomes
    quality: Floats
    cost_usd: Floats
    latency_ms: Floats
    measured: Mapping[str, int]
    total: int
    left_out: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.records)

    def columns(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Return where candidates stand among all, ``[len(names)]``."""
        places = {name: place for place, name in enumerate(self.candidates)}
        return np.array([places[name] for name in names], dtype=np.intp)


def stretches(store: Store) -> Iterator[Experience]:
    """Yield what a log holds, from its first entry on, so much at a time."""
    position = 0
    while (experience := store.experience(position, STRETCH)).position > position:
        position = experience.position
        yield experience


def stories(store: Store) -> Iterator[Story]:
    """Yield each decision of a log with all that followed it, in the order in which they were made."""
    found: dict[str, Story] = {}
    for experience in stretches(store):
        for record in experience.records or [store.record(decision.id) for decision in experience.decisions]:
            found.setdefault(record.decision.id, Story(record))
        for attempt in experience.attempts:
            found[attempt.decision_id].attempts.append(attempt)
        for feedback in experience.feedback:
            found[feedback.decision_id].feedback.append(feedback)
    yield from found.values()


def read_log(store: Store) -> LoggedDecisions:
    """Return the decisions of a log that count."""
    everything = list(stories(store))
    reasons = [story.left_out for story in everything]
    counted = [story for story, reason in zip(everything, reasons, strict=True) if reason is None]
    records = [story.record for story in counted]
    candidates = tuple(dict.fromkeys(name for record in records for name in record.candidates))
    places = {name: place for place, name in enumerate(candidates)}
    expected = Outcomes(*(_spread(records, places, figure) for figure in ("known_quality", "cost_usd", "latency_ms")))
    probabilities = np.zeros((len(records), len(candidates)))
    for row, story in enumerate(counted):
        for name, probability in (story.probabilities or {}).items():
            probabilities[row, places[name]] = probability
    chosen = np.array([places[story.decision.candidate] for story in counted], dtype=np.intp)
    measured = {figure: np.array([story.measured(figure) for story in counted]) for figure in ("cost_usd", "latency_ms")}
    rows = np.arange(len(records))
    return LoggedDecisions(
        records=records,
        candidates=candidates,
        chosen=chosen,
        probabilities=probabilities,
        expected=expected,
        quality=np.array([story.quality for story in counted]),
        cost_usd=_known(measured["cost_usd"], expected.cost_usd[rows, chosen]),
        latency_ms=_known(measured["latency_ms"], expected.latency_ms[rows, chosen]),
        measured={figure: int(np.isfinite(values).sum()) for figure, values in measured.items()},
        total=len(everything),
        left_out={reason: reasons.count(reason) for reason in LEFT_OUT},
    )


def _spread(records: Sequence[Record], places: Mapping[str, int], figure: str) -> Floats:
    """Return a figure of what was expected, ``[n, K]``, NaN for candidates that a decision did not have."""
    values = np.full((len(records), len(places)), np.nan)
    for row, record in enumerate(records):
        values[row, [places[name] for name in record.candidates]] = getattr(record.expected, figure)[0]
    return values


def _known(measured: Floats, expected: Floats) -> Floats:
    return np.where(np.isnan(measured), expected, measured)
