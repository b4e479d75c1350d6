"""``logistic``: the sigmoid of a linear function for each candidate.

    q_m(x) = sigmoid(o_m + b_m + w_m x)

o_m is the score of the candidate's mean; w_m has a normal prior of precision alpha, b_m one of precision 1. A quality between
0 and 1 counts as that share of a success. It also learns from comparisons; see :mod:`aamc_baselines.quality.likelihood`.

Paper: Cox 1958, "The Regression Analysis of Binary Sequences", Journal of the Royal Statistical Society B 20.
"""

from __future__ import annotations

import attrs
import numpy as np

from aamc_baselines.quality.examples import Examples, QualityFunction
from aamc_baselines.quality.likelihood import Parameters, map_estimate, negative_log_likelihood, offsets
from aamc_baselines.quality.utility_router import UtilityRouter
from aamc_sdk import Requirements
from aamc_sdk.config import option
from aamc_sdk.types import Floats, sigmoid


@attrs.frozen(kw_only=True)
class LogisticOptions:
    """Options of ``logistic``."""

    alpha: float = option(300.0, "Prior precision of the coefficients, for features of unit variance.", above=0)
    iterations: int = option(200, "Maximum iterations of the optimiser.", at_least=1)


@attrs.frozen(eq=False)
class LinearScore(QualityFunction):
    """Coefficients ``[D, M]`` and intercepts ``[M]`` of the score."""

    coefficients: Floats
    intercepts: Floats

    @classmethod
    def fit(cls, examples: Examples, options: LogisticOptions, seed: int) -> LinearScore:
        """Maximise the posterior."""
        features, base = examples.features, offsets(examples)

        def loss_and_gradient(at: Parameters) -> tuple[float, Parameters]:
            loss, pull = negative_log_likelihood(base + at["bias"] + features @ at["weight"], examples)
            return loss, {"bias": pull.sum(axis=0), "weight": features.T @ pull}

        start = {"bias": np.zeros(len(base)), "weight": np.zeros((features.shape[1], len(base)))}
        found = map_estimate(loss_and_gradient, start, {"bias": 1.0, "weight": options.alpha}, options.iterations)
        return cls(found["weight"], base + found["bias"])

    def predict(self, features: Floats) -> Floats:
        """Return ``[B, M]``."""
        return sigmoid(features @ self.coefficients + self.intercepts)


class Logistic(UtilityRouter):
    """Logistic regression of each candidate's quality."""

    Config = LogisticOptions
    requires = Requirements(training=True, cheap_rescoring=True)
    Function = LinearScore
