"""``mf``: matrix factorization.

Candidates and queries get vectors in one small space, and a candidate's score is their product:

    q_m(x) = sigmoid(o_m + b_m + <v_m, W x>)

o_m is the score of the candidate's mean; V and W have normal priors of precision alpha, which together penalise the nuclear
norm of their product. RouteLLM fits such scores to comparisons by Bradley-Terry; here they are fitted to outcomes, comparisons
or both, see :mod:`aamc_baselines.quality.likelihood`.

Paper: Ong et al. 2024, "RouteLLM: Learning to Route LLMs with Preference Data" (arXiv:2406.18665), section 4.2.
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
class MfOptions:
    """Options of ``mf``."""

    rank: int = option(8, "Dimensions of the shared space of candidates and queries.", at_least=1)
    alpha: float = option(200.0, "Prior precision of the vectors, for features of unit variance.", above=0)
    iterations: int = option(200, "Maximum iterations of the optimiser.", at_least=1)


@attrs.frozen(eq=False)
class Factors(QualityFunction):
    """The candidates' vectors ``[M, R]``, the projection of queries ``[D, R]``, and intercepts ``[M]``."""

    candidates: Floats
    projection: Floats
    intercepts: Floats

    @classmethod
    def fit(cls, examples: Examples, options: MfOptions, seed: int) -> Factors:
        """Maximise the posterior, starting from small random factors."""
        features, base = examples.features, offsets(examples)

        def loss_and_gradient(at: Parameters) -> tuple[float, Parameters]:
            queries = features @ at["projection"]
            loss, pull = negative_log_likelihood(base + at["bias"] + queries @ at["candidates"].T, examples)
            gradient = {"bias": pull.sum(axis=0), "candidates": pull.T @ queries, "projection": features.T @ (pull @ at["candidates"])}
            return loss, gradient

        rng = np.random.default_rng(seed)
        start = {
            "bias": np.zeros(len(base)),
            "candidates": rng.normal(size=(len(base), options.rank)),
            "projection": rng.normal(size=(features.shape[1], options.rank)) / features.shape[1],
        }
        found = map_estimate(loss_and_gradient, start, {"bias": 1.0, "candidates": options.alpha, "projection": options.alpha}, options.iterations)
        return cls(found["candidates"], found["projection"], base + found["bias"])

    def predict(self, features: Floats) -> Floats:
        """Return ``[B, M]``."""
        return sigmoid(features @ self.projection @ self.candidates.T + self.intercepts)


class Mf(UtilityRouter):
    """Matrix factorization, from outcomes or comparisons."""

    Config = MfOptions
    requires = Requirements(training=True, cheap_rescoring=True)
    Function = Factors
