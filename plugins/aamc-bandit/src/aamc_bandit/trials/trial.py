"""Is the candidate of a canary, or the router in a shadow, better? A test that may be looked at after every feedback.

For a decision with outcome r in [0, 1], where a was drawn with probability mu(a | x), let

    g = (p_c(a | x) - p_s(a | x)) / mu(a | x),    d = (r - b) g,

with p_c and p_s the candidate's and the stable router's choices, and b the mean of the outcomes before it. Since g has mean 0
whatever b is, d has the mean of what the candidate would have earned less what the stable router would have: also where traffic,
share or the models themselves change over time, and without any noise where both choose alike. Betting against the mean of d
(:mod:`aamc_experiments.off_policy.betting`) gives an interval that holds at all times together. In a shadow mu = p_s.

Bets need a bound of |g| that is known before the request comes. A canary's share gives one: 1 / share or 1 / (1 - share), the greater. A
shadow has none but what it has met: a decision whose |g| could have been greater than any before it raises the bound for those that
follow, and is itself left out, whatever came of it. So a shadow's interval speaks of the requests that were compared.

A decision's first judgement counts, since a later one would change what was looked at already. If who gets judged depended on who
was chosen, g would not have mean 0; the same betting finds that out, and then there is no verdict.

Papers: Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro 2022, "Anytime-valid off-policy inference for contextual bandits";
Howard, Ramdas, McAuliffe and Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np
from aamc_experiments.off_policy import log_wealth, lower_bound_at_any_time, stretches

from aamc_bandit.trials import canary, shadow
from aamc_sdk.interfaces import Store
from aamc_sdk.types import ROUNDING, Decision, Feedback, Floats

SUSPICION = math.log(2 / 0.001)
"""The log-wealth at which judgements are found to depend on who was chosen: one false alarm in a thousand trials."""
PRIOR_MEAN = 0.5
"""What outcomes are compared with before there are any; it counts as one outcome."""
LEAST_BOUND = 1.0
"""The least bound of |g|: the difference itself is one of qualities from 0 to 1."""


@attrs.frozen
class Judgement:
    """A judged decision of a trial.

    Attributes:
        quality: What it earned, from 0 to 1.
        stable: p_s / mu of the chosen candidate: its weight in what the stable router earns.
        candidate: p_c / mu.
        bound: What |g| cannot exceed, at least 1.
    """

    quality: float
    stable: float
    candidate: float
    bound: float


@attrs.define(eq=False)
class Trial:
    """A candidate's trial, as far as it has come.

    Attributes:
        kind: ``"canary"`` or ``"shadow"``.
        stable: What the serving router is called.
        candidate: What the other one is called.
        judgements: In the order in which they came.
        served: How many decisions each router served; in a shadow all are the stable one's.
        left_out: How many decisions could not be compared, by reason.
        bound: What |g| of the next one cannot exceed if it is to be compared, as far as that is known before it comes.
    """

    kind: str
    stable: str
    candidate: str
    judgements: list[Judgement] = attrs.field(factory=list)
    served: Counter[str] = attrs.field(factory=Counter)
    left_out: Counter[str] = attrs.field(factory=Counter)
    bound: float = LEAST_BOUND

    def add(self, judgement: Judgement, known_bound: float = LEAST_BOUND) -> None:
        """Compare a judged decision, unless its |g| could have been greater than what was known beforehand.

        Args:
            judgement: Its own bound is the greatest |g| that this decision's draw could have given.
            known_bound: What |g| of no decision could exceed then.
        """
        self.bound = max(self.bound, known_bound)
        if judgement.bound > self.bound * (1 + ROUNDING):
            self.bound = judgement.bound
            self.left_out["beyond_bound"] += 1
        else:
            self.judgements.append(attrs.evolve(judgement, bound=self.bound))

    def verdict(self) -> dict[str, Any]:
        """Return what the trial says: the qualities, their difference with an interval, ``better``, ``worse``, or ``no difference yet``."""
        figures = {
            "quality": {"stable": _weighted(self.judgements, "stable"), "candidate": _weighted(self.judgements, "candidate")},
            "difference": None,
            "ci95": None,
        }
        if all(judgement.stable == judgement.candidate for judgement in self.judgements):
            why = "nothing to compare: " + ("both routers chose alike" if self.judgements else "no judged decision that both could have made")
            return {**figures, "verdict": None, "why": why}
        gains, differences, low = terms(self.judgements)
        if max(log_wealth(side * gains, low, 0.0).max() for side in (1.0, -1.0)) >= SUSPICION:
            return {**figures, "verdict": None, "why": "who is judged depends on who was chosen, so the judged decisions cannot be compared"}
        least, greatest = (side * lower_bound_at_any_time(side * differences, low, -1.0, 1.0) for side in (1.0, -1.0))
        if least > greatest:
            return {
                **figures,
                "verdict": None,
                "why": "the difference itself has changed on the way, so no one figure fits all feedback; begin a new trial",
            }
        verdict = "better" if least > 0 else "worse" if greatest < 0 else "no difference yet"
        why = f"the candidate's quality is {differences.mean():+.3f} beside the stable router's (95% {least:+.3f} to {greatest:+.3f}, at any time)"
        return {**figures, "difference": float(differences.mean()), "ci95": [least, greatest], "verdict": verdict, "why": why}


def terms(judgements: list[Judgement]) -> tuple[Floats, Floats, Floats]:
    """Return g, d, and what neither can be below, ``[n]`` each."""
    quality = np.array([judgement.quality for judgement in judgements])
    gains = np.array([judgement.candidate - judgement.stable for judgement in judgements])
    bounds = np.array([judgement.bound for judgement in judgements])
    before = (PRIOR_MEAN + np.cumsum(quality) - quality) / (1 + np.arange(len(quality)))
    return gains, (quality - before) * gains, -bounds


def _weighted(judgements: list[Judgement], role: str) -> float | None:
    """Return a router's self-normalised mean quality, or None where no decision is like its own."""
    weights = np.array([getattr(judgement, role) for judgement in judgements])
    quality = np.array([judgement.quality for judgement in judgements])
    return float(weights @ quality / weights.sum()) if weights.sum() > 0 else None


def trials(store: Store) -> list[Trial]:
    """Return every trial of a log, in the order in which they began."""
    found: dict[tuple[str, str, str], Trial] = {}
    for decision, judgement in _first_judgements(store):
        for kind, note in _notes(decision):
            key = (kind, note["stable"]["router"], note["candidate"]["router"])
            trial = found.setdefault(key, Trial(*key))
            if judgement is None:
                trial.served[canary.served_by(decision) or "stable"] += 1
            else:
                compared = _compared(kind, note, decision, judgement)
                if isinstance(compared, str):
                    trial.left_out[compared] += 1
                else:
                    trial.add(compared, _known_bound(kind, note))
    return list(found.values())


def _first_judgements(store: Store) -> Iterator[tuple[Decision, Feedback | None]]:
    """Yield each decision when it was made, and again with its first judgement that counts, when that came."""
    made, judged = set[str](), set[str]()
    for experience in stretches(store):
        decisions = {decision.id: decision for decision in experience.decisions}
        for decision in experience.decisions:
            if decision.id not in made:
                made.add(decision.id)
                yield decision, None
        for feedback in experience.feedback:
            decision = decisions[feedback.decision_id]
            if decision.id not in judged and feedback.quality is not None and feedback.weight * feedback.confidence > 0:
                judged.add(decision.id)
                yield decision, feedback


def _notes(decision: Decision) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for kind in (canary.NOTE, shadow.NOTE):
        if kind in decision.notes:
            yield kind, decision.notes[kind]


def _known_bound(kind: str, note: Mapping[str, Any]) -> float:
    """Return what |g| cannot exceed, whatever the request: a canary's share says it, except where one of the two never serves."""
    share = note["share"] if kind == canary.NOTE else 0.0
    return max(1 / share, 1 / (1 - share)) if 0 < share < 1 else LEAST_BOUND


def _compared(kind: str, note: Mapping[str, Any], decision: Decision, feedback: Feedback) -> Judgement | str:
    """Return a judged decision as it is compared, or why it cannot be."""
    if feedback.candidate != decision.candidate:
        return "fallback"
    if math.isnan(decision.propensity):
        return "propensity_unknown"
    candidate = note["candidate"].get("probabilities")
    if not candidate:
        return "candidate_failed"
    drawn = decision.probabilities or {decision.candidate: 1.0}
    possible = {name: probability for name, probability in drawn.items() if probability > 0}
    stable = note["stable"]["probabilities"] if kind == canary.NOTE else possible
    if not {*stable, *candidate} <= possible.keys():
        return "no_overlap"
    gains = [(candidate.get(name, 0.0) - stable.get(name, 0.0)) / probability for name, probability in possible.items()]
    chosen = possible[decision.candidate]
    return Judgement(
        quality=feedback.quality or 0.0,
        stable=stable.get(decision.candidate, 0.0) / chosen,
        candidate=candidate.get(decision.candidate, 0.0) / chosen,
        bound=max(map(abs, gains)),
    )
