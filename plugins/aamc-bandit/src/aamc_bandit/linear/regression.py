"""Bayesian linear regression with known noise: sufficient statistics of outcomes, and their posterior.

With theta ~ N(mu, sigma^2 Lambda^-1) and outcomes y = theta x + e, e ~ N(0, sigma^2), each of weight w, the posterior is

    theta ~ N(P^-1 (Lambda mu + b), sigma^2 P^-1),   P = Lambda + A,   A = sum of w x x^T,   b = sum of w y x       (1)

An outcome is a rank-one update of A and b. Discounting multiplies both by gamma^w before each update: with weights of 1 the outcome
before the last counts gamma, and the one before that gamma^2. The prior is never discounted.

Papers: Agrawal and Goyal 2013, "Thompson Sampling for Contextual Bandits with Linear Payoffs", ICML; for discounting, Russac et
al. 2019, "Weighted Linear Bandits for Non-Stationary Environments", NeurIPS.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from aamc_sdk.types import Floats


@attrs.define(eq=False)
class SufficientStatistics:
    """Statistics of the outcomes of one candidate, or of M candidates; then all arrays have a first axis of length M.

    Attributes:
        precision: A in equation (1), ``[d, d]``.
        response: b, ``[d]``.
        count: The sum of the weights, discounted like A and b, ``[]``.
        clock: The sum of the weights of added outcomes, ``[]``: an outcome's age is the difference since.
    """

    precision: Floats
    response: Floats
    count: Floats
    clock: Floats = attrs.field(factory=lambda: np.zeros(()))

    @classmethod
    def zeros(cls, width: int) -> SufficientStatistics:
        """Return the statistics of no outcomes, for contexts of ``width`` numbers."""
        return cls(np.zeros((width, width)), np.zeros(width), np.zeros(()))

    @classmethod
    def stacked(cls, each: Sequence[SufficientStatistics], width: int) -> SufficientStatistics:
        """Return the statistics of M candidates, each of ``width`` numbers, as one."""
        shapes = (width, width), (width,), (), ()
        columns = zip(*((one.precision, one.response, one.count, one.clock) for one in each), strict=True) if each else ((), (), (), ())
        return cls(*(np.array(column).reshape(len(each), *shape) for column, shape in zip(columns, shapes, strict=True)))

    def add(self, x: Floats, y: float, weight: float, discount: float) -> None:
        """Add an outcome ``y`` with context ``x`` ``[d]``, after discounting the earlier ones by ``discount`` to the power of ``weight``."""
        kept = discount**weight
        self.precision *= kept
        self.response *= kept
        self.count, self.clock = self.count * kept, self.clock + weight
        self.revise(x, y, weight)

    def revise(self, x: Floats, y: float, weight: float) -> None:
        """Add an outcome without discounting the others; with a negative weight, take it back."""
        self.precision += (weight * x)[:, None] * x
        self.response += (weight * y) * x
        self.count = np.maximum(self.count + weight, 0.0)  # not below 0 by rounding

    def widened(self, width: int) -> SufficientStatistics:
        """Return the statistics for contexts of ``width`` numbers, whose additional numbers were 0 so far."""
        more = width - len(self.response)
        return SufficientStatistics(np.pad(self.precision, (0, more)), np.pad(self.response, (0, more)), self.count, self.clock)


@attrs.frozen(eq=False)
class CoefficientPosterior:
    """The posterior of the coefficients of M candidates.

    Attributes:
        mean: ``[M, d]``.
        covariance: In units of the noise's variance, ``[M, d, d]``.
    """

    mean: Floats
    covariance: Floats

    @classmethod
    def of(cls, statistics: SufficientStatistics, prior_mean: Floats, prior_precision: Floats) -> CoefficientPosterior:
        """Apply equation (1) to the statistics of M candidates, with prior means mu ``[M, d]`` and the diagonal of Lambda ``[d]``."""
        covariance = np.linalg.inv(statistics.precision + np.diag(prior_precision))
        response = statistics.response + prior_precision * prior_mean
        return cls((covariance @ response[..., None])[..., 0], covariance)

    def predict(self, x: Floats) -> tuple[Floats, Floats]:
        """Return mean and variance of theta x for contexts ``[B, d]``, ``[B, M]`` each; the variance in units of the noise's."""
        variance = ((x @ self.covariance) * x).sum(axis=-1).T
        return x @ self.mean.T, np.maximum(variance, 0.0)
