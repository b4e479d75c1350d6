"""Explanations of recorded decisions."""

from aamc_sdk.explain.explainer import explain
from aamc_sdk.explain.explanation import CandidateView, Explanation

__all__ = [
    "CandidateView",
    "Explanation",
    "explain",
]
