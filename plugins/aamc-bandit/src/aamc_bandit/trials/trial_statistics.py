"""Sequential test of a challenger against the stable one, from the log; valid after every feedback.

For a decision with outcome r in [0, 1], where a was drawn with probability mu(a | x), let

    g = (p_c(a | x) - p_s(a | x)) / mu(a | x),    d = (r - b) g,

with the choice probabilities p_c and p_s of the challenger and the stable router, and b the mean of the earlier outcomes. Since g
has mean 0 for any b, the mean of d is the expected outcome of the challenger minus that of the stable one. This also
holds while traffic, share or models change, and decisions with p_c = p_s add no noise. Betting against the mean of d
(:func:`aamc_experiments.off_policy.lower_bound_at_any_time`) gives an interval that holds at all times together. In a shadow,
mu = p_s.

Bets need a bound of |g| that is known before the request. A canary's share gives one: the maximum of 1 / share and
1 / (1 - share). A shadow uses the maximum so far: a decision whose |g| could have exceeded it raises the bound for later
decisions and is left out, whatever its outcome. A shadow's interval therefore describes the compared requests only.

If users were assigned to the routers (``by_user``), the decisions of one user share one random assignment: the user's first decision with
feedback counts, with the mixture over the assignment as mu.

A decision with one allowed candidate, such as a model that the request names, is not a choice of the routers and does not count.

The first feedback on a decision counts, since a later one would change results that were already looked at. A hint, which is implicit feedback of
a confidence below 1, does not count: the test could not replace it by the rating that follows. If the chosen candidate's call
failed and another one served, a decision with feedback has the outcome 0. A failure without feedback does not count, since all
failures are known, but often only some answers have feedback. If the
probability of feedback depended on the chosen candidate, g would not have mean 0; betting on g detects that, and there is no
verdict.

Papers: Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro 2022, "Anytime-valid off-policy inference for contextual bandits";
Howard, Ramdas, McAuliffe and Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences".
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, NamedTuple

import attrs
import numpy as np
from aamc_experiments.off_policy import log_wealth, lower_bound_at_any_time

from aamc_bandit.trials.trial_notes import CANARY, NotedDecision, TrialNote
from aamc_sdk.types import ROUNDING, Floats

BIAS_LOG_WEALTH = math.log(2 / 0.001)
"""The log-wealth at which feedback counts as dependent on the chosen candidate: one false alarm in a thousand trials."""
PRIOR_MEAN = 0.5
"""The mean outcome b before any outcome; it counts as one outcome."""
MIN_BOUND = 1.0
"""The minimum bound of |g|; differences of qualities are at most 1."""


class JudgedDecision(NamedTuple):
    """A decision of a trial with feedback.

    Attributes:
        quality: Its outcome, from 0 to 1.
        stable: p_s / mu of the chosen candidate, its weight in the stable router's mean quality.
        candidate: p_c / mu of the chosen candidate.
        bound: An upper bound of |g|, at least 1.
    """

    quality: float
    stable: float
    candidate: float
    bound: float


@attrs.define(eq=False)
class Trial:
    """The decisions with feedback of one pair of routers.

    Attributes:
        kind: ``"canary"`` or ``"shadow"``.
        stable: The stable router's label.
        candidate: The challenger's label.
        stable_version: A digest of the stable router's options and state before it served; ``""`` in logs of version 0.1.
        candidate_version: The same digest of the challenger: a retrained one at the same path is another trial.
        judgements: The compared decisions, in the order of their feedback.
        served: The number of decisions that each router served, without those of one allowed candidate; in a shadow, the stable router serves all.
        left_out: The number of decisions that could not be compared, by reason.
        bound: The bound of |g| for the next decision.
        ended: Why the trial has ended by itself; None for one that has not.
        users: Digests of the users who counted, where users were assigned to the routers.
    """

    kind: str
    stable: str
    candidate: str
    judgements: list[JudgedDecision] = attrs.field(factory=list)
    served: Counter[str] = attrs.field(factory=Counter)
    left_out: Counter[str] = attrs.field(factory=Counter)
    bound: float = MIN_BOUND
    ended: str | None = None
    stable_version: str = attrs.field(default="", kw_only=True)
    candidate_version: str = attrs.field(default="", kw_only=True)
    users: set[str] = attrs.field(factory=set, kw_only=True)

    @property
    def name(self) -> str:
        """The name that option ``trial`` gives it; ``""`` for none."""
        return self.candidate_version.partition("/")[2]

    def add(self, judgement: JudgedDecision, known_bound: float = MIN_BOUND) -> None:
        """Add a decision with feedback, or leave it out if its |g| could have exceeded the bound known beforehand.

        The decision's own bound is the maximum |g| over its possible candidates; ``known_bound`` holds for every request.
        """
        self.bound = max(self.bound, known_bound)
        if judgement.bound > self.bound * (1 + ROUNDING):
            self.bound = judgement.bound
            self.left_out["beyond_bound"] += 1
        else:
            self.judgements.append(judgement._replace(bound=self.bound))

    def verdict(self) -> dict[str, Any]:
        """Return qualities, their difference with a 95% interval, ``verdict`` and ``why``, as ``aamc canary --json`` prints them."""
        figures = {
            "quality": {"stable": _weighted(self.judgements, "stable"), "candidate": _weighted(self.judgements, "candidate")},
            "difference": None,
            "ci95": None,
        }
        if all(judgement.stable == judgement.candidate for judgement in self.judgements):
            why = "both routers made the same choices" if self.judgements else "no decision with feedback that both routers could have made"
            return {**figures, "verdict": None, "why": f"nothing to compare: {why}"}
        gains, differences, minimum = betting_terms(self.judgements)
        if max(log_wealth(side * gains, minimum, 0.0).max() for side in (1.0, -1.0)) >= BIAS_LOG_WEALTH:
            return {**figures, "verdict": None, "why": "feedback depends on the chosen candidate, so the decisions cannot be compared"}
        low, high = (side * lower_bound_at_any_time(side * differences, minimum, -1.0, 1.0) for side in (1.0, -1.0))
        if low > high:
            why = "the difference has changed during the trial, so no single figure fits all feedback; start a new trial"
            return {**figures, "verdict": None, "why": why}
        verdict = "better" if low > 0 else "worse" if high < 0 else "no difference yet"
        why = f"the challenger's quality minus the stable router's is {differences.mean():+.3f} (95% {low:+.3f} to {high:+.3f}, at any time)"
        return {**figures, "difference": float(differences.mean()), "ci95": [low, high], "verdict": verdict, "why": why}


def known_bound(kind: str, note: TrialNote) -> float:
    """Return a bound of |g| for every request: a canary's share gives one, unless one of the routers never serves."""
    share = note.share if kind == CANARY else 0.0
    return max(1 / share, 1 / (1 - share)) if 0 < share < 1 else MIN_BOUND


def compare(kind: str, note: TrialNote, decision: NotedDecision, judged: str, quality: float) -> JudgedDecision | str:
    """Return a decision with feedback as it is compared, or the reason why it cannot be compared."""
    if judged != decision.candidate:
        return "fallback"
    if decision.propensity is None or math.isnan(decision.propensity):
        return "propensity_unknown"
    candidate = note.candidate.probabilities
    if not candidate:
        return "candidate_failed"
    drawn = _mixture(note) if note.role is not None else decision.probabilities or {decision.candidate: 1.0}
    possible = {name: probability for name, probability in drawn.items() if probability > 0}
    stable = (note.stable.probabilities or {}) if kind == CANARY else possible
    if not candidate.keys() | stable.keys() <= possible.keys():
        return "no_overlap"
    bound = max(abs((candidate.get(name, 0.0) - stable.get(name, 0.0)) / probability) for name, probability in possible.items())
    chosen = possible[decision.candidate]
    return JudgedDecision(quality, stable.get(decision.candidate, 0.0) / chosen, candidate.get(decision.candidate, 0.0) / chosen, bound)


def trial_document(trial: Trial) -> dict[str, Any]:
    """Return a trial with its verdict, as ``aamc canary --json`` prints it."""
    fields = attrs.asdict(trial, filter=attrs.filters.exclude("judgements", "users"))
    judged = len(trial.judgements) + sum(trial.left_out.values())
    return {**fields, "trial": trial.name, "judged": judged, "compared": len(trial.judgements), **trial.verdict()}


def betting_terms(judgements: list[JudgedDecision]) -> tuple[Floats, Floats, Floats]:
    """Return g, d, and the lower bound of both, ``[n]`` each."""
    quality, stable, candidate, bounds = np.array(judgements, dtype=np.float64).reshape(-1, 4).T
    gains = candidate - stable
    before = (PRIOR_MEAN + np.cumsum(quality) - quality) / (1 + np.arange(len(quality)))
    return gains, (quality - before) * gains, -bounds


def _mixture(note: TrialNote) -> dict[str, float]:
    """Return the choice probabilities of a canary's decision before its user was assigned to a router."""
    stable, candidate, share = note.stable.probabilities or {}, note.candidate.probabilities or {}, note.share
    return {name: (1 - share) * stable.get(name, 0.0) + share * candidate.get(name, 0.0) for name in {**stable, **candidate}}


def _weighted(judgements: list[JudgedDecision], role: str) -> float | None:
    """Return a router's self-normalised mean quality, or None without any decision that it could have made."""
    weights = np.array([getattr(judgement, role) for judgement in judgements])
    quality = np.array([judgement.quality for judgement in judgements])
    return float(weights @ quality / weights.sum()) if weights.sum() > 0 else None
