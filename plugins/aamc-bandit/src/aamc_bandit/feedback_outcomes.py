"""Converts feedback to the quality of each candidate that it names, and to a weight."""

from __future__ import annotations

from aamc_sdk.types import Feedback

TIE = 0.5
"""The quality of both candidates in a tie. A higher quality is a success."""


def feedback_weight(feedback: Feedback, implicit_weight: float) -> float:
    """Return the weight of feedback: weight times confidence, for implicit feedback also times ``implicit_weight``."""
    return feedback.weight * feedback.confidence * (implicit_weight if feedback.implicit else 1.0)


def candidate_qualities(feedback: Feedback, served: str) -> list[tuple[str, float]]:
    """Return each candidate that feedback names, with its quality.

    A comparison gives the winner 1 and the loser 0, or both :data:`TIE`.

    Args:
        feedback: A quality or a comparison.
        served: The candidate of feedback that names none.
    """
    candidate = served if feedback.candidate is None else feedback.candidate
    if feedback.over is None:
        assert feedback.quality is not None
        return [(candidate, float(feedback.quality))]
    return [(candidate, TIE), (feedback.over, TIE)] if feedback.tie else [(candidate, 1.0), (feedback.over, 0.0)]
