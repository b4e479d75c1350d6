"""The decisions of a log as arrays: those that estimates can be made from, and the reasons why others cannot be used.

An outcome belongs to the candidate that served, a propensity to the candidate that was chosen. So a decision counts only if both
are the same, or if the log has the chosen candidate's failed call, whose quality is an option: after any other fallback the chosen
candidate has no outcome, and the serving one has no known probability.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.interfaces import Store
from aamc_sdk.types import Attempt, Decision, Experience, Feedback, Floats, Outcomes, Record, call_failed, chosen_figure, chosen_quality

BATCH = 1000
"""The maximum number of log entries that are read at a time."""
LEFT_OUT = {
    "propensity_unknown": "the router could not know its propensity",
    "fallback": "another candidate served than the one chosen",
    "only_compared": "feedback only compares candidates",
    "not_judged": "no feedback on quality",
}
"""The reasons why a decision does not count; of several reasons the first holds."""


@attrs.frozen(eq=False)
class DecisionHistory:
    """A decision with its record, and with its attempts and the latest revision of each piece of feedback, in log order.

    ``failure_quality`` is the quality of a failed call of the chosen candidate without feedback; None for unknown.
    """

    record: Record
    attempts: list[Attempt] = attrs.field(factory=list)
    feedback: list[Feedback] = attrs.field(factory=list)
    failure_quality: float | None = 0.0

    @property
    def decision(self) -> Decision:
        """The decision."""
        return self.record.decision

    @property
    def probabilities(self) -> Mapping[str, float] | None:
        """The probability of each candidate by name; None if not known."""
        decision = self.decision
        if decision.probabilities:
            return None if math.isnan(decision.propensity) else decision.probabilities
        return {decision.candidate: 1.0} if decision.propensity == 1 else None

    @property
    def fell_back(self) -> bool:
        """Whether another candidate than the chosen one served."""
        served = [attempt.candidate for attempt in self.attempts if attempt.status == "ok"]
        return bool(served) and served[-1] != self.decision.candidate

    @property
    def quality(self) -> float:
        """The quality of the chosen candidate's answer; NaN if unknown."""
        return chosen_quality(self.decision, self.attempts, self.feedback, self.failure_quality)

    def measured(self, figure: str) -> float:
        """Return the last known ``cost_usd`` or ``latency_ms`` of the chosen candidate's successful calls, else NaN."""
        return chosen_figure(self.decision, self.attempts, figure)

    @property
    def left_out(self) -> str | None:
        """The reason why the decision does not count, a key of ``LEFT_OUT``; None if it counts."""
        if self.probabilities is None:
            return "propensity_unknown"
        if self.fell_back and (self.failure_quality is None or not call_failed(self.decision, self.attempts)):
            return "fallback"
        if not math.isnan(self.quality):
            return None
        return "only_compared" if any(feedback.over is not None for feedback in self.feedback) else "not_judged"


@attrs.frozen(eq=False)
class LoggedDecisions:
    """The n decisions of a log that count, among all K candidates that any of them had.

    Attributes:
        records: The records of the decisions, in log order.
        candidates: The names of the candidates, K of them.
        chosen: The position of the chosen candidate, ``[n]``.
        probabilities: The probability of each candidate, ``[n, K]``.
        expected: The expected outcomes, ``[n, K]``; NaN where unknown.
        quality: The qualities, ``[n]``.
        cost_usd: The measured costs, else those expected from prices at that time, ``[n]``; NaN if neither is known.
        latency_ms: The latencies, likewise.
        measured: The number of measured costs and latencies.
        total: The number of decisions in the log.
        failed: The number of decisions that count although their call failed.
        left_out: The number of decisions that do not count, by reason.
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
    failed: int
    left_out: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.records)

    @property
    def has_texts(self) -> bool:
        """Whether the log keeps the text of every request."""
        return all(record.query.text for record in self.records)

    def columns(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Return the positions of candidates among all, ``[len(names)]``."""
        places = {name: place for place, name in enumerate(self.candidates)}
        return np.array([places[name] for name in names], dtype=np.intp)


def read_batches(store: Store) -> Iterator[Experience]:
    """Yield the entries of a log in batches, from the first entry on."""
    position = 0
    while (experience := store.experience(position, BATCH)).position > position:
        position = experience.position
        yield experience


def read_histories(store: Store, failure_quality: float | None = 0.0) -> list[DecisionHistory]:
    """Return all decisions of a log with the attempts and feedback that followed, in the order of the decisions."""
    found: dict[str, DecisionHistory] = {}
    for experience in read_batches(store):
        for record in experience.records or [store.record(decision.id) for decision in experience.decisions]:
            found.setdefault(record.decision.id, DecisionHistory(record, failure_quality=failure_quality))
        for attempt in experience.attempts:
            found[attempt.decision_id].attempts.append(attempt)
        for feedback in experience.feedback:
            earlier = found[feedback.decision_id].feedback
            earlier[:] = [*(other for other in earlier if other.id != feedback.id), feedback]  # a later revision replaces the earlier one
    return list(found.values())


def read_log(store: Store, failure_quality: float | None = 0.0) -> LoggedDecisions:
    """Return the decisions of a log that count; a failed call without feedback has the quality ``failure_quality``, None for unknown."""
    histories = read_histories(store, failure_quality)
    reasons = [history.left_out for history in histories]
    counted = [history for history, reason in zip(histories, reasons, strict=True) if reason is None]
    records = [history.record for history in counted]
    candidates = tuple(dict.fromkeys(name for record in records for name in record.candidates))
    places = {name: place for place, name in enumerate(candidates)}
    expected = Outcomes(*(_expected(records, places, figure) for figure in ("known_quality", "cost_usd", "latency_ms")))
    probabilities = np.zeros((len(records), len(candidates)))
    for row, history in enumerate(counted):
        for name, probability in (history.probabilities or {}).items():
            probabilities[row, places[name]] = probability
    chosen = np.array([places[history.decision.candidate] for history in counted], dtype=np.intp)
    measured = {figure: np.array([history.measured(figure) for history in counted]) for figure in ("cost_usd", "latency_ms")}
    rows = np.arange(len(records))
    return LoggedDecisions(
        records=records,
        candidates=candidates,
        chosen=chosen,
        probabilities=probabilities,
        expected=expected,
        quality=np.array([history.quality for history in counted]),
        cost_usd=_known(measured["cost_usd"], expected.cost_usd[rows, chosen]),
        latency_ms=_known(measured["latency_ms"], expected.latency_ms[rows, chosen]),
        measured={figure: int(np.isfinite(values).sum()) for figure, values in measured.items()},
        total=len(histories),
        failed=sum(call_failed(history.decision, history.attempts) for history in counted),
        left_out={reason: reasons.count(reason) for reason in LEFT_OUT},
    )


def _expected(records: Sequence[Record], places: Mapping[str, int], figure: str) -> Floats:
    """Return an expected figure of all candidates, ``[n, K]``; NaN for candidates that a decision did not have."""
    values = np.full((len(records), len(places)), np.nan)
    for row, record in enumerate(records):
        values[row, [places[name] for name in record.candidates]] = getattr(record.expected, figure)[0]
    return values


def _known(measured: Floats, expected: Floats) -> Floats:
    return np.where(np.isnan(measured), expected, measured)
