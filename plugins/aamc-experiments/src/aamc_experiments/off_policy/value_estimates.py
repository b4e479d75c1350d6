"""Off-policy estimates: the mean outcome of a policy, from the log of another one that draws, with 95% intervals.

The log holds decisions i = 1..n: a candidate a_i drawn with the known probability mu(a_i | x_i), and its outcome r_i. With
w_i = pi(a_i | x_i) / mu(a_i | x_i), the mean outcome of the policy pi is estimated by

    IPS    = mean of w_i r_i                                                                    (inverse propensity scoring)
    SNIPS  = sum of w_i r_i / sum of w_i                                                        (self-normalised)
    DR     = mean of  sum over a of pi(a | x_i) q(x_i, a)  +  w_i (r_i - q(x_i, a_i))           (doubly robust)

where q is an outcome model. All are valid for any q if pi chooses nothing that mu never chooses. Each is a mean of independent
terms with known bounds, so :mod:`aamc_experiments.off_policy.betting` gives its interval, and that of its difference to the
mean outcome of the logged policy. Weights are not clipped: a log without enough overlap is refused instead
(:mod:`aamc_experiments.off_policy.overlap`).

Papers: Horvitz and Thompson 1952 (IPS); Swaminathan and Joachims 2015, "The Self-Normalized Estimator for Counterfactual Learning";
Dudik, Langford and Li 2011, "Doubly Robust Policy Evaluation and Learning".
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.off_policy.betting import mean_interval
from aamc_experiments.off_policy.overlap import Choices
from aamc_sdk.types import Floats

FOLDS = 5
"""The parts of the log; the outcome model of each part is fitted to the others."""
SHRINKAGE = 10.0
"""The number of zero residuals that a candidate's correction is averaged with."""
Term = Callable[[Floats, Floats | float, Floats, Floats], Floats]
"""Returns an estimator's terms, from weights, outcomes, the outcome model at the choice, and its mean under the policy."""


@attrs.frozen
class Estimate:
    """The mean outcome of a policy, and its difference to that of the logged policy, with 95% intervals."""

    value: float
    ci95: list[float]
    difference: float
    difference_ci95: list[float]

    def within(self, low: float, high: float, further: float) -> Estimate:
        """Return the estimate with its intervals cut to the values and differences that outcomes in a range can have.

        Differences may be larger than the range by ``further``.

        An estimate outside the range, because of large weights, keeps its intervals: cut to a point, it would look certain.
        """
        if not low <= self.value <= high:
            return self
        width = high - low + further
        return attrs.evolve(self, ci95=np.clip(self.ci95, low, high).tolist(), difference_ci95=np.clip(self.difference_ci95, -width, width).tolist())


def estimate(values: Floats, choices: Choices, prior: Floats, low: float, high: float, logged: Floats | None = None) -> dict[str, Estimate]:
    """Return the estimates of a policy's mean outcome: ``ips``, ``snips`` and ``doubly_robust``.

    Args:
        values: The outcomes of the decisions, ``[n]``.
        choices: The n decisions, which :func:`refusal` accepts.
        prior: The expected outcome of each candidate, ``[n, K]``; NaN where unknown.
        low: The minimum possible outcome.
        high: The maximum possible outcome.
        logged: The outcomes with the logged policy, ``[n]``, where the decision itself took another cost or time; None for ``values``.
    """
    added = np.zeros(len(values)) if logged is None else values - logged
    model = outcome_model(values, choices.chosen, prior, low, high)
    weights, mean_weight = choices.weights, float(choices.weights.mean())
    normalised = float((weights * values).mean()) / mean_weight

    def ips(weight: Floats, value: Floats | float, expected: Floats, policy: Floats) -> Floats:
        return np.asarray(weight * value)

    def snips(weight: Floats, value: Floats | float, expected: Floats, policy: Floats) -> Floats:
        return np.asarray(normalised + weight / mean_weight * (value - normalised))

    def doubly_robust(weight: Floats, value: Floats | float, expected: Floats, policy: Floats) -> Floats:
        return np.asarray(policy + weight * (value - expected))

    found = {term.__name__: _estimate(term, values, added, choices, model, low, high) for term in (ips, snips, doubly_robust)}
    sizes = weights / choices.max_weight  # the interval of a weighted mean, in which decisions of weight 0 do not count
    weighted = mean_interval(values, low, high, sizes=sizes, effective=choices.expected_effective)
    found["snips"] = attrs.evolve(found["snips"], ci95=weighted)
    return {name: figure.within(low, high, float(np.abs(added).max())) for name, figure in found.items()}


def _estimate(term: Term, values: Floats, added: Floats, choices: Choices, model: Floats, low: float, high: float) -> Estimate:
    policy = (choices.target * model).sum(axis=1)
    terms = term(choices.weights, values, model[np.arange(len(values)), choices.chosen], policy)
    corners = [(value, term(choices.ratios, value, model, policy[:, None])) for value in (low, high)]  # terms are linear in the value
    return Estimate(
        value=float(terms.mean()),
        ci95=_interval(terms, [corner for _, corner in corners], choices),
        difference=float((terms - values + added).mean()),
        difference_ci95=_interval(terms - values + added, [corner - value + added[:, None] for value, corner in corners], choices),
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
