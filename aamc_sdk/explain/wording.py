"""An explanation in plain sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from aamc_sdk.types import Estimates

if TYPE_CHECKING:
    from aamc_sdk.explain.explanation import CandidateView, Explanation

OBJECTIVES = ("quality", "cost", "latency")
"""The objectives, in the order of a preference's weights."""


def in_words(explanation: Explanation) -> str:
    """Return why the decision was made: what was seen, what was weighed, who lost on what, and what would have changed it."""
    record = explanation.record
    sentences = [_seen(record.estimates), _weighed(record.decision.preference.array), _chosen(explanation), *_rest(explanation)]
    return " ".join(sentence for sentence in sentences if sentence)


def _seen(estimates: Estimates) -> str:
    seen = []
    if not math.isnan(estimates.complexity[0]):
        seen.append(f"complexity {estimates.complexity[0]:.2f} of 1")
    if estimates.category_names and not np.isnan(estimates.categories[0]).any():
        top = int(estimates.categories[0].argmax())
        seen.append(f"category {estimates.category_names[top]} ({estimates.categories[0][top]:.0%} sure)")
    if not math.isnan(estimates.tool_use[0]):
        seen.append(f"a {estimates.tool_use[0]:.0%} chance that tools are needed")
    return f"The estimator saw {_listed(seen)}." if seen else "No estimator described the request."


def _weighed(weights: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    return f"The preference weighed {_listed([f'{name} {weight:.3g}' for name, weight in zip(OBJECTIVES, weights, strict=True)])}."


def _chosen(explanation: Explanation) -> str:
    decision = explanation.record.decision
    view = explanation.view(decision.candidate)
    if decision.probabilities:
        how = "was drawn" if math.isnan(decision.propensity) else f"was drawn with probability {decision.propensity:.3g}"
    else:
        how = "has the greatest utility" if explanation.greatest == decision.candidate else "was chosen"
    return f"{decision.candidate} {how}{_expectations(view)}."


def _expectations(view: CandidateView) -> str:
    parts = [
        "" if math.isnan(view.quality) else f"quality {view.quality:.3f}",
        "" if math.isnan(view.cost_usd) else f"cost ${view.cost_usd:.3g}",
        "" if math.isnan(view.latency_ms) else f"latency {view.latency_ms:,.0f} ms",
    ]
    known = [part for part in parts if part]
    return f": expected {_listed(known)}" if known else ""


def _rest(explanation: Explanation) -> list[str]:
    if explanation.runner_up is None:
        return ["No other candidate was allowed."]
    runner_up = explanation.view(explanation.runner_up)
    if explanation.greatest == explanation.runner_up:
        tied = runner_up.utility == explanation.view(explanation.record.decision.candidate).utility
        place = "is as good" if tied else "would come first now"
        return [f"By utility alone {runner_up.name} {place}{_expectations(runner_up)}."]
    return [f"The runner-up was {runner_up.name}{_expectations(runner_up)}.", _loss(explanation), _flip(explanation)]


def _loss(explanation: Explanation) -> str:
    if explanation.lost_on is None:
        return "It lost on none of the objectives by what is expected; the router itself judged it lower."
    chosen, runner_up = (explanation.view(str(name)) for name in (explanation.record.decision.candidate, explanation.runner_up))
    behind = chosen.contributions[explanation.lost_on] - runner_up.contributions[explanation.lost_on]
    return f"It lost on {explanation.lost_on}, which put it {behind:.3g} behind in utility."


def _flip(explanation: Explanation) -> str:
    if explanation.flip_preference is None:
        return "No preference was found at which it would have won."
    weights = ",".join(f"{weight:.6g}" for weight in explanation.flip_preference.array)
    return f"It would have won at the preference {weights}."


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
