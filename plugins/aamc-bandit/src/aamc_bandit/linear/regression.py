"""Bayesian linear regression with known noise: what outcomes teach, and the posterior that follows.

With theta ~ N(mu, sigma^2 Lambda^-1) and outcomes y = theta x + e, e ~ N(0, sigma^2), each of weight w, the posterior is

    theta ~ N(P^-1 (Lambda mu + b), sigma^2 P^-1),   P = Lambda + A,   A = sum of w x x^T,   b = sum of w y x       (1)

An outcome is a rank-one update of A and b. Discounting multiplies both by gamma before each of them,
so that the one before the last counts gamma, the one before it gamma^2; the prior is never forgotten.

Paper: Agrawal and Goyal 2013, "Thompson Sampling for Contextual Bandits with Linear Payoffs", ICML; discounted: Russac et al. 2019,
"Weighted Linear Bandits for Non-Stationary Environments", NeurIPS.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from aamc_sdk.types import Floats


@attrs.define(eq=False)
class Evidence:
    """What outcomes taught of one candidate, or of M, whose arrays then begin with M.

    Attributes:
        precision: A in equation (1), ``[d, d]``.
        response: b, ``[d]``.
        count: The sum of the weights, discounted like the rest, ``[]``.
    """

    precision: Floats
    response: Floats
    count: Floats

    @classmethod
    def none(cls, width: int) -> Evidence:
        """Return what nothing teaches."""
        return cls(np.zeros((width, width)), np.zeros(width), np.zeros(()))

    @classmethod
    def stacked(cls, each: Sequence[Evidence], width: int) -> Evidence:
        """Return the evidence of M candidates, of d numbers each, as one."""
        shapes = (width, width), (width,), ()
        columns = zip(*((one.precision, one.response, one.count) for one in each), strict=True) if each else ((), (), ())
        return cls(*(np.array(column).reshape(len(each), *shape) for column, shape in zip(columns, shapes, strict=True)))

    def add(self, x: Floats, y: float, weight: float, discount: float) -> None:
        """Take in an outcome ``y`` of context ``x`` ``[d]``."""
        self.precision *= discount
        self.response *= discount
        self.precision += (weight * x)[:, None] * x
        self.response += (weight * y) * x
        self.count = self.count * discount + weight

    def widened(self, width: int) -> Evidence:
        """Return the same with contexts that have more numbers, which were 0 so far."""
        more = width - len(self.response)
        return Evidence(np.pad(self.precision, (0, more)), np.pad(self.response, (0, more)), self.count)


def solve(evidence: Evidence, prior_precision: Floats) -> Floats:
    """Return the posterior means ``[M, d]`` from evidence on M candidates, whose prior means are 0."""
    return np.asarray(np.linalg.solve(evidence.precision + np.diag(prior_precision), evidence.response[..., None])[..., 0])


@attrs.frozen(eq=False)
class Posterior:
    """Of the coefficients of M candidates.

    Attributes:
        mean: ``[M, d]``.
        covariance: In units of the noise's variance, ``[M, d, d]``.
    """

    mean: Floats
    covariance: Floats

    @classmethod
    def of(cls, evidence: Evidence, prior_mean: Floats, prior_precision: Floats) -> Posterior:
        """Apply equation (1).

        Args:
            evidence: Of M candidates.
            prior_mean: mu, ``[M, d]``.
            prior_precision: The diagonal of Lambda, ``[d]``.
        """
        covariance = np.linalg.inv(evidence.precision + np.diag(prior_precision))
        response = evidence.response + prior_precision * prior_mean
        return cls((covariance @ response[..., None])[..., 0], covariance)

    def predict(self, x: Floats) -> tuple[Floats, Floats]:
        """Return the mean and the variance, in units of the noise's, of theta x for contexts ``[B, d]``, each ``[B, M]``."""
        variance = ((x @ self.covariance) * x).sum(axis=-1).T
        return x @ self.mean.T, np.maximum(variance, 0.0)
