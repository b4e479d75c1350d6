"""``irt``: multidimensional item response theory.

Questions are items with a difficulty and a discrimination in each of K abilities, both read from their features; candidates
are persons with abilities:

    q_m(x) = sigmoid(a(x) theta_m - b(x)),    a(x) = softplus(A x),    b(x) = B x

Discriminations are positive, so a higher ability never lowers the quality. The prior of theta_m is normal around the ability
with the candidate's mean quality on a question without features; the priors of A and B are normal around zero.

Papers: Reckase 2009, "Multidimensional Item Response Theory"; Song et al. 2025, "IRT-Router: Effective and Interpretable
Multi-LLM Routing via Item Response Theory" (arXiv:2506.01048), the MIRT variant.
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
class IrtOptions:
    """Options of ``irt``."""

    dimensions: int = option(16, "Number of abilities.", at_least=1)
    alpha: float = option(300.0, "Prior precision of discriminations and difficulties, for features of unit variance.", above=0)
    spread: float = option(0.15, "Prior standard deviation of the candidates' abilities.", above=0)
    iterations: int = option(200, "Maximum iterations of the optimiser.", at_least=1)


@attrs.frozen(eq=False)
class ItemResponse(QualityFunction):
    """Abilities ``[M, K]``, and the coefficients of discriminations ``[D, K]`` and difficulties ``[D]``."""

    abilities: Floats
    discrimination: Floats
    difficulty: Floats

    @classmethod
    def fit(cls, examples: Examples, options: IrtOptions, seed: int) -> ItemResponse:
        """Maximise the posterior, starting from random abilities."""
        features = examples.features
        average = offsets(examples)[:, None] / (options.dimensions * np.log(2.0))  # softplus(0) = log 2

        def loss_and_gradient(at: Parameters) -> tuple[float, Parameters]:
            slope, abilities = features @ at["discrimination"], average + at["abilities"]
            positive = np.logaddexp(0.0, slope)
            loss, pull = negative_log_likelihood(positive @ abilities.T - (features @ at["difficulty"])[:, None], examples)
            gradient = {
                "abilities": pull.T @ positive,
                "discrimination": features.T @ (pull @ abilities * sigmoid(slope)),
                "difficulty": -features.T @ pull.sum(axis=1),
            }
            return loss, gradient

        shape = (features.shape[1], options.dimensions)
        abilities = options.spread * np.random.default_rng(seed).normal(size=(len(average), options.dimensions))
        start = {"abilities": abilities, "discrimination": np.zeros(shape), "difficulty": np.zeros(shape[0])}
        precision = {"abilities": options.spread**-2, "discrimination": options.alpha, "difficulty": options.alpha}
        found = map_estimate(loss_and_gradient, start, precision, options.iterations)
        return cls(average + found["abilities"], found["discrimination"], found["difficulty"])

    def predict(self, features: Floats) -> Floats:
        """Return ``[B, M]``."""
        discrimination = np.logaddexp(0.0, features @ self.discrimination)
        return sigmoid(discrimination @ self.abilities.T - (features @ self.difficulty)[:, None])


class Irt(UtilityRouter):
    """Multidimensional item response theory."""

    Config = IrtOptions
    requires = Requirements(training=True, cheap_rescoring=True)
    Function = ItemResponse
