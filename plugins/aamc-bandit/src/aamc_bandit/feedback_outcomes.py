"""From feedback to verdicts: what it says of each candidate that it names, and how much it counts."""

from __future__ import annotations

from aamc_bandit.thompson.evidence import Verdict
from aamc_sdk.types import Feedback

TIE = 0.5
"""The quality that a tie says of both; what is better is a success."""


def weight_of(feedback: Feedback, implicit_weight: float) -> float:
    """Return how much feedback counts; what nobody gave on purpose counts ``implicit_weight`` times as much."""
    return feedback.weight * feedback.confidence * (implicit_weight if feedback.implicit else 1.0)


def judged(feedback: Feedback, served: str) -> list[tuple[str, float]]:
    """Return whom feedback names, with the quality that it says: of a comparison, one and zero, or a half each."""
    candidate = served if feedback.candidate is None else feedback.candidate
    if feedback.over is None:
        assert feedback.quality is not None
        return [(candidate, float(feedback.quality))]
    return [(candidate, TIE), (feedback.over, TIE)] if feedback.tie else [(candidate, 1.0), (feedback.over, 0.0)]


def verdict(candidate: str, quality: float, weight: float) -> Verdict:
    """Return what a quality from 0 to 1 says: so much of a win, and the rest of a loss."""
    return Verdict(candidate, weight * quality, weight * (1 - quality), success=quality > TIE)
