"""Feedback as rewards of Router-R1, for the fallback's learning: quality and cost in one number, as vLLM Semantic Router does."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from aamc_router_r1.reward import VSR, combine, size_cost
from aamc_sdk.types import Candidate, Experience, Feedback, ModelSpec, Pool

TOKENS = 1000
"""Tokens of an answer whose price per million is compared with the scale: 10 USD per million tokens get no cost reward."""


def rewarded(experience: Experience, pool: Pool, alpha: float, format_penalty: float) -> Experience:
    """Return an experience whose qualities are rewards R = (1 - alpha) quality + alpha R_cost, at least 0.

    R_cost is that of mode ``vsr``, with the candidate's price of a million answer tokens as its size. It does not depend on the call's own
    tokens, which the log may hold in another batch, so that a replay learns the same. A failed call is malformed.

    Args:
        experience: The experience.
        pool: The candidates, for their prices.
        alpha: Weight of the cost, from 0 to 1.
        format_penalty: Reward of a failed call.
    """
    chosen = {decision.id: decision.candidate for decision in experience.decisions}
    answered = {attempt.decision_id for attempt in experience.attempts if attempt.status == "ok"}
    failed = {attempt.decision_id for attempt in experience.attempts if attempt.status == "error"} - answered
    candidates = {candidate.name: candidate for candidate in pool}

    def of(given: Sequence[Feedback]) -> list[Feedback]:
        return [_rewarded(each, candidates.get(each.candidate or chosen.get(each.decision_id, "")), each.decision_id in failed) for each in given]

    def _rewarded(feedback: Feedback, candidate: Candidate | None, malformed: bool) -> Feedback:
        if feedback.quality is None:
            return feedback
        reward = combine(VSR, malformed, feedback.quality, price_reward(candidate), alpha, format_penalty).total
        return attrs.evolve(feedback, quality=min(1.0, max(0.0, reward)))

    return attrs.evolve(experience, feedback=of(experience.feedback), replaced=of(experience.replaced))


def price_reward(candidate: Candidate | None) -> float:
    """Return R_cost of an answer of ``TOKENS`` tokens; 0.5 if the candidate has no prices."""
    if not isinstance(candidate, ModelSpec) or candidate.prices is None:
        return 0.5
    return size_cost(candidate.prices.output * TOKENS / 1000)
