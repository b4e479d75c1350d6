"""An alarm when a candidate's recent quality leaves the interval that its earlier outcomes give.

With n outcomes in effect, a mean quality r whose expectation is m has a probability of at most exp(-n d(r, m)), where

    d(r, m) = r log(r / m) + (1 - r) log((1 - r) / (1 - m))                                                           (1)

(Hoeffding 1963, "Probability Inequalities for Sums of Bounded Random Variables", theorem 1). The recent quality is an average in
which each later outcome of the candidate multiplies the earlier ones by :data:`RECENT`. In the past quality it multiplies them by
:data:`PAST`, which is closer to 1; m comes from the difference of both, the outcomes before. So neither depends on how often other
candidates are chosen. n combines the effective numbers of both. Outcomes count by their weights in both means, so that hints of low
weight do not set them apart. The alarm is raised where n d(r, m) exceeds :data:`LOG_ODDS`.
"""

from __future__ import annotations

import math

import attrs

from aamc_bandit.thompson.beta_evidence import CandidateEvidence

LOG_ODDS = math.log(1e3)
"""The threshold of the alarm."""
MIN_RECENT, MIN_EARLIER = 25.0, 30.0
"""Minimum effective number of recent outcomes, and minimum weight of earlier ones, for an alarm."""


@attrs.frozen(kw_only=True)
class Drift:
    """A candidate whose recent quality left its interval.

    Attributes:
        candidate: Its name.
        category: The category of the outcomes; ``""`` for all.
        recent: The mean quality of the recent outcomes.
        low: The lower end of the interval.
        high: The upper end of the interval.
    """

    candidate: str
    category: str
    recent: float
    low: float
    high: float

    def __str__(self) -> str:
        where = f" in category {self.category!r}" if self.category else ""
        return (
            f"the recent quality of {self.candidate!r}{where} is {self.recent:.3f}, outside its interval of {self.low:.3f} to {self.high:.3f}; "
            "its provider may have changed it"
        )


def find_drift(candidate: str, category: str, known: CandidateEvidence) -> Drift | None:
    """Return the drift of a candidate with some evidence; None if its recent quality is inside its interval."""
    recent, earlier = effective_number(known), known.past_weight - known.recent_weight
    if recent < MIN_RECENT or earlier < MIN_EARLIER:
        return None
    quality = min(known.recent_quality / known.recent_weight, 1.0)  # not above 1 by rounding
    expected = min(max(known.past_quality - known.recent_quality, 0.0), earlier)
    mean = (expected + 1) / (earlier + 2)
    number = 1 / (1 / recent + 1 / earlier)
    if number * divergence(quality, mean) <= LOG_ODDS:
        return None
    low, high = (_end(mean, number, limit) for limit in (0.0, 1.0))
    return Drift(candidate=candidate, category=category, recent=quality, low=low, high=high)


def divergence(quality: float, mean: float) -> float:
    """Return equation (1); the mean is inside (0, 1)."""
    parts = ((quality, mean), (1 - quality, 1 - mean))
    return math.fsum(part * math.log(part / other) for part, other in parts if part > 0)


def effective_number(known: CandidateEvidence) -> float:
    """Return the number of equally weighted outcomes whose mean varies as much as that of the recent ones; 0 without any."""
    return known.recent_weight**2 / known.recent_squares if known.recent_squares else 0.0


def _end(mean: float, number: float, limit: float) -> float:
    """Return the end of the interval between the mean and ``limit``, by bisection."""
    inside, outside = mean, limit
    for _ in range(40):
        middle = (inside + outside) / 2
        if number * divergence(middle, mean) <= LOG_ODDS:
            inside = middle
        else:
            outside = middle
    return inside
