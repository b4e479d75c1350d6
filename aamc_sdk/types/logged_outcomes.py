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

    All figures are those of the chosen candidate. After a fallback it has no quality, and no cost or latency of a successful call.

    Attributes:
        decision_ids: The decisions' ids, N of them.
        candidates: The chosen candidates' names, N of them.
        propensity: Probability of each draw, ``[N]``; never use a decision where it is NaN off-policy.
        quality: Mean quality, from 0 to 1, ``[N]``: by weight times confidence, of explicit feedback, else of implicit feedback.
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
    def of(cls, batches: Iterable[Experience], since: float | None = None, until: float | None = None) -> LoggedOutcomes:
        """Join batches of a log.

        Args:
            batches: The whole log, in log order.
            since: Time of the first decision to return, in seconds since the epoch; None for the first of the log.
            until: Time before which decisions are returned; None for all.
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
        calls = [_calls(decision, attempts.get(decision.id, ())) for decision in decisions.values()]
        return cls(
            decision_ids=list(decisions),
            candidates=[decision.candidate for decision in decisions.values()],
            propensity=np.array([decision.propensity for decision in decisions.values()]),
            quality=np.array([_quality(decision, feedback.get(decision.id, {}).values()) for decision in decisions.values()]),
            cost_usd=np.array([_last_known([call.cost_usd for call in made]) for made in calls]),
            latency_ms=np.array([_last_known([call.latency_ms for call in made]) for made in calls]),
            output_tokens=np.array(
                [_last_known([math.nan if call.output_tokens is None else call.output_tokens for call in made]) for made in calls]
            ),
        )


def _calls(decision: Decision, attempts: Iterable[Attempt]) -> list[Attempt]:
    """Return the successful calls of the chosen candidate."""
    return [attempt for attempt in attempts if attempt.status == "ok" and attempt.candidate == decision.candidate]


def _quality(decision: Decision, feedback: Iterable[Feedback]) -> float:
    """Return the mean quality of the chosen candidate's answer."""
    judged = [item for item in feedback if item.candidate == decision.candidate and item.quality is not None and item.weight * item.confidence > 0]
    counted = [item for item in judged if not item.implicit] or judged
    weights = [item.weight * item.confidence for item in counted]
    return float(np.average([item.quality or 0.0 for item in counted], weights=weights)) if counted else math.nan


def _last_known(values: Sequence[float]) -> float:
    return next((value for value in reversed(values) if not math.isnan(value)), math.nan)
