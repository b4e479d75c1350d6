"""Explanations of decisions, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from aamc_sdk.storage import plain
from aamc_sdk.types import Preference, Record

OBJECTIVES = ("quality", "cost", "latency")
"""The objectives, in the order of a preference's weights."""


@attrs.frozen
class CandidateView:
    """A candidate at the time of the decision; unknown values are NaN.

    Attributes:
        name: The candidate's name.
        quality: Expected quality.
        cost_usd: Expected cost in USD.
        latency_ms: Expected latency in ms, waiting included.
        utility: The router's utility, on which the decision rests; NaN if the candidate was masked or no utility was recorded.
        expected_reward: The reward of the expected outcome under the preference; for comparison only.
        contributions: The terms of ``expected_reward`` (weight times reward), by objective; NaN where unknown.
        masked_why: Why the candidate was not allowed; None if it was.
    """

    name: str
    quality: float
    cost_usd: float
    latency_ms: float
    utility: float
    expected_reward: float
    contributions: Mapping[str, float]
    masked_why: str | None


@attrs.frozen
class Explanation:
    """An explanation of a decision.

    Attributes:
        record: The record of the decision.
        candidates: A view of each candidate.
        runner_up: The best of the other allowed candidates; None if there is no other.
        lost_on: The objective on which the chosen candidate's contribution exceeds the runner-up's most; None if it exceeds on none.
        flip_preference: The preference nearest to the given one at which the runner-up has the maximum utility; None if none was
            found or searched.
        flip_searched: Whether such a preference was searched.
        why: The explanation in words.
    """

    record: Record
    candidates: tuple[CandidateView, ...]
    runner_up: str | None
    lost_on: str | None
    flip_preference: Preference | None
    flip_searched: bool
    why: str = ""

    def view(self, name: str) -> CandidateView:
        """Return a candidate's view."""
        return next(view for view in self.candidates if view.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Return the document of ``aamc route --json`` in JSON types; unknown values are None."""
        decision, estimates, flip = self.record.decision, self.record.estimates, self.flip_preference
        document = {
            "schema": 1,
            "id": decision.id,
            "candidate": decision.candidate,
            "propensity": decision.propensity,
            "preference": decision.preference.array,
            "estimates": {
                "complexity": estimates.complexity[0],
                "categories": dict(zip(estimates.category_names, estimates.categories[0], strict=True)),
                "tool_use": estimates.tool_use[0],
            },
            "candidates": [attrs.asdict(view) for view in self.candidates],
            "runner_up": self.runner_up,
            "lost_on": self.lost_on,
            "flip_preference": None if flip is None else flip.array,
            "why": self.why,
        }
        return dict(plain(document))
