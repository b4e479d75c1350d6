"""``mlp``: a neural network with one hidden layer that all candidates share.

    q_m(x) = sigmoid(o_m + b_m + v_m tanh(W x + c))

o_m is the score of the candidate's mean; V and W have normal priors of precision alpha ("weight decay"), b and c of 1. Library
implementations cannot leave out cells without an outcome.

Paper: Hu et al. 2024, "RouterBench" (arXiv:2403.12031), section 5.
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
class MlpOptions:
    """Options of ``mlp``."""

    hidden: int = option(32, "Units of the hidden layer.", at_least=1)
    alpha: float = option(200.0, "Prior precision of the weights, for features of unit variance.", above=0)
    iterations: int = option(200, "Maximum iterations of the optimiser.", at_least=1)


@attrs.frozen(eq=False)
class HiddenLayer(QualityFunction):
    """Weights ``[D, H]`` and biases ``[H]`` of the hidden layer, weights ``[H, M]`` and biases ``[M]`` of the output."""

    hidden: Floats
    hidden_bias: Floats
    output: Floats
    output_bias: Floats

    @classmethod
    def fit(cls, examples: Examples, options: MlpOptions, seed: int) -> HiddenLayer:
        """Maximise the posterior, starting from random weights."""
        features, base = examples.features, offsets(examples)

        def loss_and_gradient(at: Parameters) -> tuple[float, Parameters]:
            units = np.tanh(features @ at["hidden"] + at["hidden_bias"])
            loss, pull = negative_log_likelihood(base + at["output_bias"] + units @ at["output"], examples)
            back = pull @ at["output"].T * (1.0 - units**2)
            gradient = {
                "hidden": features.T @ back,
                "hidden_bias": back.sum(axis=0),
                "output": units.T @ pull,
                "output_bias": pull.sum(axis=0),
            }
            return loss, gradient

        rng, width = np.random.default_rng(seed), features.shape[1]
        start = {
            "hidden": rng.normal(size=(width, options.hidden)) / np.sqrt(width),
            "hidden_bias": np.zeros(options.hidden),
            "output": rng.normal(size=(options.hidden, len(base))) / np.sqrt(options.hidden),
            "output_bias": np.zeros(len(base)),
        }
        precision = {"hidden": options.alpha, "hidden_bias": 1.0, "output": options.alpha, "output_bias": 1.0}
        found = map_estimate(loss_and_gradient, start, precision, options.iterations)
        return cls(found["hidden"], found["hidden_bias"], found["output"], base + found["output_bias"])

    def predict(self, features: Floats) -> Floats:
        """Return ``[B, M]``."""
        return sigmoid(np.tanh(features @ self.hidden + self.hidden_bias) @ self.output + self.output_bias)


class Mlp(UtilityRouter):
    """A neural network with one hidden layer."""

    Config = MlpOptions
    requires = Requirements(training=True, cheap_rescoring=True)
    Function = HiddenLayer
