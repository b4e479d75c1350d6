"""Off-policy estimators: the mean outcome of a policy, from the log of another one that draws, with 95% intervals.

The log holds decisions i = 1..n: a candidate a_i drawn with the known probability mu(a_i | x_i), and its outcome r_i. With
w_i = pi(a_i | x_i) / mu(a_i | x_i), the mean outcome of the policy pi is estimated by

    IPS    = mean of w_i r_i                                                                    (inverse propensity scoring)
    SNIPS  = sum of w_i r_i / sum of w_i                                                        (self-normalised)
    DR     = mean of  sum over a of pi(a | x_i) q(x_i, a)  +  w_i (r_i - q(x_i, a_i))           (doubly robust)

where q is an outcome model. All are valid for any q if pi chooses nothing that mu never chooses. Each is a mean of independent
terms with known bounds, so :mod:`aamc_experiments.off_policy.betting` gives its interval, and that of its difference to the
mean outcome of the logged policy.

Papers: Horvitz and Thompson 1952 (IPS); Swaminathan and Joachims 2015, "The Self-Normalized Estimator for Counterfactual Learning";
Dudik, Langford and Li 2011, "Doubly Robust Policy Evaluation and Learning"; Kish 1965 (effective sample size).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from functools import cached_property

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.off_policy.betting import mean_interval
from aamc_sdk.errors import quantity
from aamc_sdk.interfaces import Reward
from aamc_sdk.types import Floats, Outcomes


@attrs.frozen(eq=False)
class BoundedOutcome:
    """One kind of outcome of n decisions among K candidates.

    Attributes:
        values: The outcome of each decision, ``[n]``; NaN where unknown.
        prior: The expected outcome of each candidate, ``[n, K]``; NaN where unknown.
        low: The minimum possible value; NaN if no value is known.
        high: The maximum possible value; NaN if no value is known.
    """

    values: Floats
    prior: Floats
    low: float
    high: float

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether each decision has a known outcome, ``[n]``."""
        return np.isfinite(self.values)

    def take(self, rows: NDArray[np.bool_]) -> BoundedOutcome:
        """Return the outcomes of some of the decisions."""
        return attrs.evolve(self, values=self.values[rows], prior=self.prior[rows])


def bounded_outcomes(
    observed: Outcomes, expected: Outcomes, possible: NDArray[np.bool_], reward: Reward, preferences: Floats
) -> dict[str, BoundedOutcome]:
    """Return quality, cost, latency and utility of n decisions among K candidates, by name, each with the range of its possible values.

    Quality lies between 0 and 1. Costs and latencies have no known maximum, so their range is that of the recorded and expected
    values, extended by its width on both sides. A utility lies in the range of the rewards of the ends of these ranges; recorded
    utilities are no bounds, because the worst answers may not have come yet.

    Args:
        observed: The outcomes of the chosen candidates, ``[n, 1]``; NaN where unknown.
        expected: The expected outcomes of all candidates, ``[n, K]``; NaN where unknown.
        possible: Whether the logged policy could choose each candidate, ``[n, K]``.
        reward: The reward that makes utilities.
        preferences: The preference of each decision, ``[n, 3]``.
    """
    quality = BoundedOutcome(observed.known_quality[:, 0], expected.known_quality, 0.0, 1.0)
    cost = _unbounded(observed.cost_usd[:, 0], expected.cost_usd, possible)
    latency = _unbounded(observed.latency_ms[:, 0], expected.latency_ms, possible)
    utility = reward.scalar(observed, preferences)[:, 0]
    low, high = _ends(_corners([quality, cost, latency], reward, preferences)[np.isfinite(utility)])
    return {
        "quality": quality,
        "cost_usd": cost,
        "latency_ms": latency,
        "utility": BoundedOutcome(utility, reward.scalar(expected, preferences), low, high),
    }


def _unbounded(values: Floats, prior: Floats, possible: NDArray[np.bool_]) -> BoundedOutcome:
    """Return an outcome of at least 0 without a known maximum."""
    low, high = _ends(np.concatenate([values, prior[possible]]))
    width = high - low
    return BoundedOutcome(values, prior, max(low - width, 0.0), high + width)


def _corners(parts: list[BoundedOutcome], reward: Reward, preferences: Floats) -> Floats:
    """Return each decision's utility at all combinations of minimum and maximum quality, cost and latency, ``[n, 8]``."""
    ends = np.array(list(itertools.product(*((part.low, part.high) for part in parts))))
    corners = Outcomes(*(np.broadcast_to(column, (len(preferences), len(ends))) for column in ends.T))
    return reward.scalar(corners, preferences)


def _ends(values: Floats) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if known.size else (math.nan, math.nan)


MAX_UNSUPPORTED = 0.001
"""The maximum share of a policy's choices that the logged policy never makes; they may bias an estimate by as much."""
MIN_EFFECTIVE = 20.0
"""The minimum expected effective sample size; intervals of smaller ones are too wide to be of use."""
FOLDS = 5
"""The parts of the log; the outcome model of each part is fitted to the others."""
SHRINKAGE = 10.0
"""The number of zero residuals that a candidate's correction is averaged with."""
Term = Callable[[Floats, Floats | float, Floats, Floats], Floats]
"""Returns an estimator's terms, from weights, outcomes, the outcome model at the choice, and its mean under the policy."""


@attrs.frozen(eq=False, slots=False)
class Choices:
    """The choices of the logged policy and of another one, in n decisions among K candidates.

    Attributes:
        chosen: The position of the chosen candidate, ``[n]``.
        logged: The logged policy's probability of each candidate, ``[n, K]``.
        target: The other policy's probability of each candidate, ``[n, K]``.
    """

    chosen: NDArray[np.intp]
    logged: Floats
    target: Floats

    @cached_property
    def ratios(self) -> Floats:
        """The weight of each candidate if it is chosen, ``[n, K]``; NaN where it cannot be."""
        return np.asarray(np.divide(self.target, self.logged, out=np.full(self.logged.shape, np.nan), where=self.logged > 0))

    @cached_property
    def weights(self) -> Floats:
        """Each decision's importance weight, ``[n]``."""
        return np.asarray(self.ratios[np.arange(len(self.chosen)), self.chosen])

    @property
    def max_weight(self) -> float:
        """The maximum weight that any decision could have."""
        return float(np.nanmax(self.ratios))

    @property
    def effective(self) -> float:
        """Kish's effective sample size of the weights; 0 if all are 0."""
        squares = float(np.square(self.weights).sum())
        return float(self.weights.sum()) ** 2 / squares if squares > 0 else 0.0

    @property
    def expected_effective(self) -> float:
        """The effective sample size expected before the draws: n / mean of sum over a of pi^2 / mu."""
        mean_square = float(np.nansum(self.ratios * self.target, axis=1).mean())
        return len(self.chosen) / mean_square if mean_square > 0 else 0.0

    @property
    def unsupported(self) -> float:
        """The share of the other policy's choices that the logged policy never makes."""
        return float(self.target[self.logged <= 0].sum() / len(self.target))

    def take(self, rows: NDArray[np.bool_]) -> Choices:
        """Return some of the decisions."""
        return Choices(self.chosen[rows], self.logged[rows], self.target[rows])


def refusal(choices: Choices) -> str | None:
    """Return the reason that a log cannot evaluate the policy; None if it can.

    The criterion is the expected effective sample size, not the observed one: refusing logs whose draws happened to disagree
    would bias the estimates that are left.
    """
    if choices.unsupported > MAX_UNSUPPORTED:
        return (
            f"no overlap: {choices.unsupported:.1%} of its choices are candidates that the logged policy never takes there; "
            "log with a router that draws, such as epsilon-greedy or canary"
        )
    expected = choices.expected_effective
    if expected < MIN_EFFECTIVE or choices.effective == 0:
        logged = quantity(len(choices.chosen), "logged decision")
        return f"too little overlap: {logged}, but an effective sample size of {expected:.1f} instead of at least {MIN_EFFECTIVE:g}; log more"
    return None


@attrs.frozen
class Estimate:
    """The mean outcome of a policy, and its difference to that of the logged policy, with 95% intervals."""

    value: float
    ci95: list[float]
    difference: float
    difference_ci95: list[float]

    def within(self, low: float, high: float) -> Estimate:
        """Return the estimate with its interval cut to a range.

        An estimate outside the range, because of large weights, keeps its interval: cut to a point, it would look certain.
        """
        possible = low <= self.value <= high
        return attrs.evolve(self, ci95=np.clip(self.ci95, low, high).tolist()) if possible else self


def estimate(values: Floats, choices: Choices, prior: Floats, low: float, high: float) -> dict[str, Estimate]:
    """Return the estimates of a policy's mean outcome: ``ips``, ``snips`` and ``doubly_robust``.

    Args:
        values: The outcomes of the decisions, ``[n]``.
        choices: The n decisions, which :func:`refusal` accepts.
        prior: The expected outcome of each candidate, ``[n, K]``; NaN where unknown.
        low: The minimum possible outcome.
        high: The maximum possible outcome.
    """
    model = outcome_model(values, choices.chosen, prior, low, high)
    weights, mean_weight = choices.weights, float(choices.weights.mean())
    normalised = float((weights * values).mean()) / mean_weight

    def ips(weight: Floats, value: Floats | float, expected: Floats, policy: Floats) -> Floats:
        return np.asarray(weight * value)

    def snips(weight: Floats, value: Floats | float, expected: Floats, policy: Floats) -> Floats:
        return np.asarray(normalised + weight / mean_weight * (value - normalised))

    def doubly_robust(weight: Floats, value: Floats | float, expected: Floats, policy: Floats) -> Floats:
        return np.asarray(policy + weight * (value - expected))

    found = {term.__name__: _estimate(term, values, choices, model, low, high) for term in (ips, snips, doubly_robust)}
    sizes = weights / choices.max_weight  # the interval of a weighted mean, in which decisions of weight 0 do not count
    weighted = mean_interval(values, low, high, sizes=sizes, effective=choices.expected_effective)
    found["snips"] = attrs.evolve(found["snips"], ci95=weighted)
    return {name: figure.within(low, high) for name, figure in found.items()}


def _estimate(term: Term, values: Floats, choices: Choices, model: Floats, low: float, high: float) -> Estimate:
    policy = (choices.target * model).sum(axis=1)
    terms = term(choices.weights, values, model[np.arange(len(values)), choices.chosen], policy)
    corners = [(value, term(choices.ratios, value, model, policy[:, None])) for value in (low, high)]  # terms are linear in the value
    return Estimate(
        value=float(terms.mean()),
        ci95=_interval(terms, [corner for _, corner in corners], choices),
        difference=float((terms - values).mean()),
        difference_ci95=_interval(terms - values, [corner - value for value, corner in corners], choices),
    )


def _interval(terms: Floats, corners: list[Floats], choices: Choices) -> list[float]:
    low, high = float(np.nanmin(corners)), float(np.nanmax(corners))
    return mean_interval(terms, low, high, effective=choices.expected_effective)


def outcome_model(values: Floats, chosen: NDArray[np.intp], prior: Floats, low: float, high: float) -> Floats:
    """Return the outcome model, ``[n, K]``: the expected outcomes, corrected by the observed ones.

    A candidate's correction is its mean residual in the other parts of the log, shrunk towards 0. An unknown expectation is
    replaced by the mean outcome of the other parts, which makes the model a shrunk mean for each candidate.
    """
    rows = np.arange(len(values))
    model = np.empty_like(prior)
    for fold in range(FOLDS):
        held, others = rows % FOLDS == fold, rows % FOLDS != fold
        expected = np.where(np.isnan(prior), values[others].mean(), prior)
        residual = (values - expected[rows, chosen])[others]
        counts = np.bincount(chosen[others], minlength=prior.shape[1])
        correction = np.bincount(chosen[others], residual, minlength=prior.shape[1]) / (counts + SHRINKAGE)
        model[held] = np.clip(expected[held] + correction, low, high)
    return model


def by_name(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, object]]:
    """Return the estimates as JSON objects."""
    return {name: attrs.asdict(found) for name, found in estimates.items()}
