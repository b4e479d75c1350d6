"""Explanations of decisions, in numbers and in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

from aamc_sdk.errors import UnknownCandidateError
from aamc_sdk.messages import check_known
from aamc_sdk.storage import plain
from aamc_sdk.types import Estimates, Preference, Record
from aamc_sdk.types.checks import known

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
    quality: float = attrs.field(eq=known)
    cost_usd: float = attrs.field(eq=known)
    latency_ms: float = attrs.field(eq=known)
    utility: float = attrs.field(eq=known)
    expected_reward: float = attrs.field(eq=known)
    contributions: Mapping[str, float] = attrs.field(hash=False)
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
        """Return a candidate's view; an UnknownCandidateError if the decision did not have it."""
        views = {view.name: view for view in self.candidates}
        check_known([name], views, f"decision {self.record.decision.id!r} had no candidate", UnknownCandidateError, "it had")
        return views[name]

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


def in_words(explanation: Explanation) -> str:
    """Return the explanation in sentences: estimates, preference, choice, runner-up, flip preference, masked candidates, and the router's note."""
    record = explanation.record
    own = record.decision.notes.get("why")
    weighed = [f"{name} {weight:.3g}" for name, weight in zip(OBJECTIVES, record.decision.preference.array, strict=True)]
    sentences = [_estimates(record.estimates), f"The preference weighed {_enumeration(weighed)}.", _choice(explanation)]
    sentences += [*_alternative(explanation), _not_allowed(record)]
    sentences += [own] if isinstance(own, str) else []
    return " ".join(sentence for sentence in sentences if sentence)


def _estimates(estimates: Estimates) -> str:
    seen = []
    if not math.isnan(estimates.complexity[0]):
        seen.append(f"complexity {estimates.complexity[0]:.2f} of 1")
    if estimates.category_names and not np.isnan(estimates.categories[0]).any():
        top = int(estimates.categories[0].argmax())
        seen.append(f"category {estimates.category_names[top]} ({estimates.categories[0][top]:.0%} sure)")
    if not math.isnan(estimates.tool_use[0]):
        seen.append(f"a {estimates.tool_use[0]:.0%} chance that tools are needed")
    if seen:
        return f"The estimator saw {_enumeration(seen)}."
    return "The estimator gave no complexity, category or need for tools." if estimates.fingerprint else "No estimator described the request."


def _choice(explanation: Explanation) -> str:
    decision = explanation.record.decision
    view = explanation.view(decision.candidate)
    if decision.probabilities:
        how = "was drawn" if math.isnan(decision.propensity) else f"was drawn with probability {decision.propensity:.3g}"
    elif any(other.utility > view.utility for other in explanation.candidates) or math.isnan(view.utility):
        how = "was chosen"
    else:
        equal = [other.name for other in explanation.candidates if other.utility == view.utility and other is not view]
        tie = f", as {'does' if len(equal) == 1 else 'do'} {_enumeration(equal)}; the first of them in the pool is chosen" if equal else ""
        how = f"has the maximum utility, {view.utility:.4g}{tie}"
    floor = explanation.record.quality_floor
    missed = "" if floor is None or not view.quality < floor else f" It misses the quality floor of {floor:g}, which no allowed candidate reaches."
    return f"{decision.candidate} {how}{_expectations(view)}.{missed}"


def _expectations(view: CandidateView) -> str:
    parts = [
        "" if math.isnan(view.quality) else f"quality {view.quality:.3f}",
        "" if math.isnan(view.cost_usd) else f"cost ${view.cost_usd:.3g}",
        "" if math.isnan(view.latency_ms) else f"latency {view.latency_ms:,.0f} ms",
    ]
    known = [part for part in parts if part]
    return f": expected {_enumeration(known)}" if known else ""


def _alternative(explanation: Explanation) -> list[str]:
    if explanation.runner_up is None:
        if len(explanation.candidates) == 1:
            return ["There is no other candidate."]
        is_masked = len(explanation.record.masked_why) >= len(explanation.candidates) - 1
        return ["No other candidate was allowed." if is_masked else "The log has no figures that compare the other candidates."]
    chosen, runner_up = explanation.view(explanation.record.decision.candidate), explanation.view(explanation.runner_up)
    return [_runner_up(chosen, runner_up), _reward_comparison(explanation, chosen, runner_up), _flip(explanation)]


def _not_allowed(record: Record) -> str:
    names: dict[str, list[str]] = {}
    for name, why in record.masked_why.items():
        names.setdefault(why, []).append(name)
    return f"Not allowed: {'; '.join(f'{_enumeration(masked)} ({why})' for why, masked in names.items())}." if names else ""


def _runner_up(chosen: CandidateView, runner_up: CandidateView) -> str:
    if math.isnan(runner_up.utility):
        return f"The next candidate was {runner_up.name}{_expectations(runner_up)}; no utilities were recorded."
    relation = f"The runner-up was {runner_up.name}, with the utility"
    if runner_up.utility == chosen.utility:
        relation = f"{runner_up.name} has the same utility,"
    elif runner_up.utility > chosen.utility:
        relation = f"{runner_up.name} has a higher utility,"
    return f"{relation} {runner_up.utility:.4g}{_expectations(runner_up)}."


def _reward_comparison(explanation: Explanation, chosen: CandidateView, runner_up: CandidateView) -> str:
    """Return the comparison of expected rewards; it never claims a lead that the numbers contradict."""
    ahead = chosen.expected_reward - runner_up.expected_reward
    if math.isnan(ahead):
        return ""
    shown = f"{chosen.expected_reward:.4g}", f"{runner_up.expected_reward:.4g}"
    rewards, is_equal = " against ".join(shown), shown[0] == shown[1]
    if ahead < 0 and not is_equal:
        how = ", too," if runner_up.utility > chosen.utility else " alone"
        reason = "; the router's own utility decided" if chosen.utility > runner_up.utility else ""
        return f"By expected reward{how} {runner_up.name} is ahead ({chosen.name} {rewards}){reason}."
    if explanation.lost_on is None or is_equal:
        return f"Their expected rewards are equal ({rewards})."
    behind = chosen.contributions[explanation.lost_on] - runner_up.contributions[explanation.lost_on]
    return f"{runner_up.name} loses most on {explanation.lost_on}: {behind:.3g}. Its total expected reward is {shown[1]}, against {shown[0]}."


def _flip(explanation: Explanation) -> str:
    if explanation.flip_preference is not None:
        weights = ",".join(f"{weight:.6g}" for weight in explanation.flip_preference.array)
        return f"{explanation.runner_up} would have won at the preference {weights}."
    return f"No preference was found at which {explanation.runner_up} would have won." if explanation.flip_searched else ""


def _enumeration(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
