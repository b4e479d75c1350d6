"""Logged outcomes: what the chosen candidate of each decision did, as arrays for off-policy use."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import attrs
import numpy as np

from aamc_sdk.types.arithmetic import Floats
from aamc_sdk.types.datasets import Experience
from aamc_sdk.types.decisions import Attempt, Decision, Feedback


@attrs.frozen(eq=False)
class LoggedOutcomes:
    """The outcomes of N decisions, in log order; NaN where a number is unknown.

    All figures are those of the chosen candidate. After a fallback it has no cost or latency of a successful call.

    Attributes:
        decision_ids: The decisions' ids, N of them.
        candidates: The chosen candidates' names, N of them.
        propensity: Probability of each draw, ``[N]``; never use a decision where it is NaN off-policy.
        quality: Quality, from 0 to 1, ``[N]``, see :func:`chosen_quality`.
        cost_usd: Cost of the last successful call in USD, ``[N]``.
        latency_ms: Latency of the last successful call in milliseconds, ``[N]``.
        output_tokens: Output tokens of the last successful call, ``[N]``.
    """

    decision_ids: Sequence[str]
    candidates: Sequence[str]
    propensity: Floats
    quality: Floats
    cost_usd: Floats
    latency_ms: Floats
    output_tokens: Floats

    def __len__(self) -> int:
        return len(self.decision_ids)

    @classmethod
    def of(
        cls, batches: Iterable[Experience], since: float | None = None, until: float | None = None, failure_quality: float | None = 0.0
    ) -> LoggedOutcomes:
        """Join batches of a log.

        Args:
            batches: The whole log, in log order.
            since: Time of the first decision to return, in seconds since the epoch; None for the first of the log.
            until: Time before which decisions are returned; None for all.
            failure_quality: The quality of a failed call without feedback; None for unknown.
        """
        decisions: dict[str, Decision] = {}
        attempts: dict[str, list[Attempt]] = {}
        feedback: dict[str, dict[str, Feedback]] = {}
        for batch in batches:
            for decision in batch.decisions:
                if (since is None or decision.time >= since) and (until is None or decision.time < until):
                    decisions.setdefault(decision.id, decision)
            for attempt in batch.attempts:
                attempts.setdefault(attempt.decision_id, []).append(attempt)
            for judgement in batch.feedback:  # a later revision takes the place of an earlier one
                feedback.setdefault(judgement.decision_id, {})[judgement.id] = judgement
        histories = [(each, attempts.get(each.id, ()), feedback.get(each.id, {}).values()) for each in decisions.values()]
        return cls(
            decision_ids=list(decisions),
            candidates=[decision.candidate for decision in decisions.values()],
            propensity=np.array([decision.propensity for decision in decisions.values()]),
            quality=np.array([chosen_quality(decision, calls, given, failure_quality) for decision, calls, given in histories]),
            cost_usd=np.array([chosen_figure(decision, calls, "cost_usd") for decision, calls, _ in histories]),
            latency_ms=np.array([chosen_figure(decision, calls, "latency_ms") for decision, calls, _ in histories]),
            output_tokens=np.array([chosen_figure(decision, calls, "output_tokens") for decision, calls, _ in histories]),
        )


def call_failed(decision: Decision, attempts: Iterable[Attempt]) -> bool:
    """Return whether calls of the chosen candidate failed and none was successful."""
    statuses = {attempt.status for attempt in attempts if attempt.candidate == decision.candidate}
    return "error" in statuses and "ok" not in statuses


def chosen_quality(decision: Decision, attempts: Iterable[Attempt], feedback: Iterable[Feedback], failure_quality: float | None) -> float:
    """Return the quality of the chosen candidate's answer; NaN if unknown.

    The mean of explicit feedback, or of implicit feedback if there is no other, by weight times confidence. Without feedback, a failed call
    has the quality ``failure_quality``.
    """
    own = [item for item in feedback if item.candidate == decision.candidate]
    judged = [item for item in own if item.quality is not None and item.weight * item.confidence > 0]
    counted = [item for item in judged if not item.implicit] or judged
    if not counted:
        return failure_quality if failure_quality is not None and call_failed(decision, attempts) else math.nan
    return float(np.average([item.quality or 0.0 for item in counted], weights=[item.weight * item.confidence for item in counted]))


def chosen_figure(decision: Decision, attempts: Sequence[Attempt], figure: str) -> float:
    """Return the last known figure of the chosen candidate's successful calls, such as ``cost_usd`` or ``output_tokens``, else NaN."""
    calls = [getattr(attempt, figure) for attempt in attempts if attempt.status == "ok" and attempt.candidate == decision.candidate]
    return next((float(value) for value in reversed(calls) if value is not None and not math.isnan(value)), math.nan)
