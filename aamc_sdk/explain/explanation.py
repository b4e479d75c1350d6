"""Explanations: why a decision was made, in figures and in words."""

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
    """A candidate as the router saw it; figures are NaN where unknown.

    Attributes:
        name: The candidate's name.
        quality: Expected quality.
        cost_usd: Expected cost in USD.
        latency_ms: Expected latency in ms, waiting included.
        utility: The router's own score, which decided; NaN where the candidate was not allowed or no score was recorded.
        expected_reward: The reward of the expected outcome under the preference, which is not what decided.
        contributions: The terms of ``expected_reward`` (weight times reward), by objective; 0 where unknown.
        masked_why: Why the candidate was not allowed; None where it was.
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
    """Why a decision was made.

    Attributes:
        record: The decision with everything that it was made from.
        candidates: Each candidate as the router saw it.
        runner_up: The best of the other allowed candidates; None where no other was allowed.
        lost_on: The objective on which the chosen candidate's contribution exceeds the runner-up's most; None where it exceeds on none.
        flip_preference: The preference nearest to the given one at which the runner-up has the maximum utility; None where none was
            found or searched.
        flip_searched: Whether it was searched.
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
        """Return the document that ``aamc route --json`` prints: JSON's own types, null where unknown."""
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
