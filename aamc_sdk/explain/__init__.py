"""Explanations of recorded decisions."""

from aamc_sdk.explain.explanation import CandidateView, Explanation, explain

__all__ = [
    "CandidateView",
    "Explanation",
    "explain",
]
