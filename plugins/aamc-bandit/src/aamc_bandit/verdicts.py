"""From feedback to verdicts: what it says of each candidate that it names."""

from __future__ import annotations

from aamc_bandit.evidence import Verdict
from aamc_sdk.types import Feedback

SUCCESS = 0.5
"""Quality from which a graded outcome is a success."""


def verdicts(feedback: Feedback, served: str, weight: float) -> list[Verdict]:
    """Return what feedback says of each candidate that it names: a graded quality of one, or a win or tie of one over another."""
    candidate = served if feedback.candidate is None else feedback.candidate
    if feedback.over is None:
        assert feedback.quality is not None
        return [graded(candidate, float(feedback.quality), weight)]
    won = 0.5 if feedback.tie else 1.0
    winner = Verdict(candidate, weight * won, weight * (1 - won), success=not feedback.tie)
    return [winner, Verdict(feedback.over, weight * (1 - won), weight * won, success=False)]


def graded(candidate: str, quality: float, weight: float) -> Verdict:
    """Return what a quality from 0 to 1 says: so much of a win, and the rest of a loss."""
    return Verdict(candidate, weight * quality, weight * (1 - quality), success=quality >= SUCCESS)
