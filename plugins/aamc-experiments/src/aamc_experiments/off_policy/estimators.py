"""What another policy would have earned, from the log of one that draws: estimates by inverse propensity, with 95% intervals.

The log holds decisions i = 1..n: a candidate a_i drawn with the known probability mu(a_i | x_i), and what came of it, r_i. With
w_i = pi(a_i | x_i) / mu(a_i | x_i), the policy pi would have earned

    IPS    = mean of w_i r_i                                                                    (inverse propensity scoring)
    SNIPS  = sum of w_i r_i / sum of w_i                                                        (self-normalised)
    DR     = mean of  sum over a of pi(a | x_i) q(x_i, a)  +  w_i (r_i - q(x_i, a_i))           (doubly robust)

where q is an outcome model. All are right however wrong q is, where pi takes nothing that mu never takes. Each is a mean of
independent terms with known bounds, so :mod:`aamc_experiments.off_policy.betting` has its interval, and that of its difference to what
the logged policy itself earned, the plain mean of r_i.

Papers: Horvitz and Thompson 1952 (IPS); Swaminathan and Joachims 2015, "The Self-Normalized Estimator for Counterfactual Learning";
Dudik, Langford and Li 2011, "Doubly Robust Policy Evaluation and Learning"; Kish 1965 (effective sample size).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.off_policy.betting import interval
from aamc_sdk.types import Floats

MOST_UNSUPPORTED = 0.001
"""The greatest share of a policy's choices that the log may have no chance of showing; they may bias an estimate by as much."""
LEAST_EFFECTIVE = 20.0
"""The least expected effective sample size: below it an interval says next to nothing."""
FOLDS = 5
"""Parts of the log; the outcome model of each is fitted to the others."""
SHRINKAGE = 10.0
"""How many outcomes without any surprise a candidate's correction is averaged with."""
Term = Callable[[Floats, Floats | float, Floats, Floats], Floats]
"""An estimator's terms, of weights, outcomes, the outcome model at the choice, and its mean under the policy."""


@attrs.frozen(eq=False, slots=False)
class Choices:
    """Who was chosen, and what another policy would have chosen, in n decisions among K candidates.

    Attributes:
        chosen: ``[n]``.
        logged: The logged policy's probability of each candidate, ``[n, K]``.
        target: The other policy's, ``[n, K]``.
    """

    chosen: NDArray[np.intp]
    logged: Floats
    target: Floats

    @cached_property
    def ratios(self) -> Floats:
        """Return the weight that each candidate would have if it were chosen, ``[n, K]``; NaN where it cannot be."""
        return np.asarray(np.divide(self.target, self.logged, out=np.full(self.logged.shape, np.nan), where=self.logged > 0))

    @cached_property
    def weights(self) -> Floats:
        """Return each decision's importance weight, ``[n]``."""
        return np.asarray(self.ratios[np.arange(len(self.chosen)), self.chosen])

    @property
    def greatest_weight(self) -> float:
        """The greatest weight that any decision could have got."""
        return float(np.nanmax(self.ratios))

    @property
    def effective(self) -> float:
        """Kish's effective sample size of the weights as they came, 0 where all are 0."""
        squares = float(np.square(self.weights).sum())
        return float(self.weights.sum()) ** 2 / squares if squares > 0 else 0.0

    @property
    def expected_effective(self) -> float:
        """The effective sample size to expect of such a log before anything is drawn: n / mean of sum over a of pi^2 / mu."""
        mean_square = float(np.nansum(self.ratios * self.target, axis=1).mean())
        return len(self.chosen) / mean_square if mean_square > 0 else 0.0

    @property
    def unsupported(self) -> float:
        """The share of the other policy's choices that the logged one never takes there."""
        return float(self.target[self.logged <= 0].sum() / len(self.target))

    def take(self, rows: NDArray[np.bool_]) -> Choices:
        """Return some of the decisions."""
        return Choices(self.chosen[rows], self.logged[rows], self.target[rows])


def refusal(choices: Choices) -> str | None:
    """Return in words why the log cannot say what the policy would have earned, or None where it can.

    What decides is what could have been drawn, not what was: to refuse where few draws happened to agree would pick the lucky logs.
    """
    if choices.unsupported > MOST_UNSUPPORTED:
        return (
            f"no overlap: {choices.unsupported:.1%} of its choices are candidates that the logged policy never takes there; "
            "log with a router that draws, such as epsilon-greedy or canary"
        )
    expected = choices.expected_effective
    if expected < LEAST_EFFECTIVE or choices.effective == 0:
        return f"too little overlap: {len(choices.chosen)} decisions are worth {expected:.1f} of its own, and it takes {LEAST_EFFECTIVE:g}; log more"
    return None


@attrs.frozen
class Estimate:
    """What a policy would have earned on average, and how much more than the logged one did, with 95% intervals."""

    value: float
    ci95: list[float]
    difference: float
    difference_ci95: list[float]

    def within(self, low: float, high: float) -> Estimate:
        """Return the estimate, and cut off its interval what cannot be.

        One that cannot be itself, because chance gave great weights, keeps its interval: cut to a point, that would look certain.
        """
        possible = low <= self.value <= high
        return attrs.evolve(self, ci95=np.clip(self.ci95, low, high).tolist()) if possible else self


def estimate(values: Floats, choices: Choices, prior: Floats, low: float, high: float) -> dict[str, Estimate]:
    """Return what a policy would have earned, by estimator: ``ips``, ``snips`` and ``doubly_robust``.

    Args:
        values: What came of the decisions, ``[n]``.
        choices: The n decisions; :func:`refusal` has nothing against them.
        prior: What was expected of each candidate, ``[n, K]``; NaN where nothing was.
        low: The least possible value.
        high: The greatest.
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
    sizes = weights / choices.greatest_weight  # the weighted mean's own interval: decisions without weight say nothing
    exact = interval(values, low, high, sizes=sizes, effective=choices.expected_effective)
    found["snips"] = attrs.evolve(found["snips"], ci95=exact)
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
    return interval(terms, low, high, effective=choices.expected_effective)


def outcome_model(values: Floats, chosen: NDArray[np.intp], prior: Floats, low: float, high: float) -> Floats:
    """Return what to expect of each candidate in each decision, ``[n, K]``: what was expected then, corrected by what came.

    A candidate's correction is its mean surprise, shrunk towards none, in the other parts of the log. Where nothing was expected,
    the other parts' mean value stands in, so that the model is a shrunk mean for each candidate.
    """
    rows = np.arange(len(values))
    model = np.empty_like(prior)
    for fold in range(FOLDS):
        held, others = rows % FOLDS == fold, rows % FOLDS != fold
        expected = np.where(np.isnan(prior), values[others].mean(), prior)
        surprise = (values - expected[rows, chosen])[others]
        counts = np.bincount(chosen[others], minlength=prior.shape[1])
        correction = np.bincount(chosen[others], surprise, minlength=prior.shape[1]) / (counts + SHRINKAGE)
        model[held] = np.clip(expected[held] + correction, low, high)
    return model


def by_name(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, object]]:
    """Return estimates as plain mappings."""
    return {name: attrs.asdict(found) for name, found in estimates.items()}
