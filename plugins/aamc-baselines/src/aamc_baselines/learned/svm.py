"""``svm``: a support vector machine for each candidate, with probabilities.

A linear machine separates a candidate's successes from its failures (w_m minimises |w|^2 / 2 + C sum of max(0, 1 - t w x)^2,
t = 1 or -1). Platt's sigmoid, fitted to the margins of held-out rows, turns its margin into a probability:

    q_m(x) = sigmoid(o_m + b_m + s_m (w_m x + c_m))

A quality between 0 and 1 counts as that share of a success and the rest of a failure; o_m is the score of the candidate's
mean, s_m and b_m have standard normal priors around zero.

Papers: Cortes and Vapnik 1995, "Support-Vector Networks", Machine Learning 20; Platt 1999, "Probabilistic Outputs for Support
Vector Machines", Advances in Large Margin Classifiers.
"""

from __future__ import annotations

import attrs
import numpy as np
from aamc_lexical.quality import fold_of

from aamc_baselines.quality.examples import Examples, Indices, QualityFunction
from aamc_baselines.quality.likelihood import Parameters, map_estimate, negative_log_likelihood, offsets
from aamc_baselines.quality.utility_router import UtilityRouter
from aamc_sdk.config import option
from aamc_sdk.types import Floats, sigmoid

ITERATIONS = 100
"""Maximum iterations for the sigmoids, two parameters per candidate."""


@attrs.frozen(kw_only=True)
class SvmOptions:
    """Options of ``svm``."""

    # beyond these limits liblinear never ends: squares of C become 0 or infinite
    C: float = option(1e-4, "Weight of a row's error against the margin, for features of unit variance.", at_least=1e-100, at_most=1e100)
    folds: int = option(3, "Folds for the held-out margins.", at_least=2)


@attrs.frozen(eq=False)
class Margins(QualityFunction):
    """Coefficients ``[D, M]`` and intercepts ``[M]`` of the calibrated margins."""

    coefficients: Floats
    intercepts: Floats

    @classmethod
    def fit(cls, examples: Examples, options: SvmOptions, seed: int) -> Margins:
        """Fit the sigmoids by cross-validation, then the machines to all rows."""
        margin = np.zeros(examples.quality.shape)
        fold = fold_of(examples.questions, options.folds, seed)
        for number in range(options.folds):
            held = np.flatnonzero(fold == number)
            weight, bias = _machines(examples.take(np.flatnonzero(fold != number)), options.C, seed)
            margin[held] = examples.features[held] @ weight + bias
        slope, offset = _sigmoids(margin, examples)
        weight, bias = _machines(examples, options.C, seed)
        return cls(weight * slope, bias * slope + offset)

    def predict(self, features: Floats) -> Floats:
        """Return ``[B, M]``."""
        return sigmoid(features @ self.coefficients + self.intercepts)


def _machines(examples: Examples, penalty: float, seed: int) -> tuple[Floats, Floats]:
    """Return each candidate's machine, ``[D, M]`` and ``[M]``; zeros without both successes and failures."""
    from sklearn.svm import LinearSVC  # type: ignore[import-untyped]  # scikit-learn ships no types

    weight, bias = np.zeros((examples.features.shape[1], examples.quality.shape[1])), np.zeros(examples.quality.shape[1])
    for m, quality in enumerate(examples.quality.T):
        succeeded, failed = np.flatnonzero(quality > 0), np.flatnonzero(quality < 1)
        if not (len(succeeded) and len(failed)):
            continue
        rows: Indices = np.concatenate((succeeded, failed))
        target = np.repeat((1, -1), (len(succeeded), len(failed)))
        counts = np.concatenate((quality[succeeded], 1 - quality[failed]))
        machine = LinearSVC(C=penalty, dual=False, random_state=seed).fit(examples.features[rows], target, sample_weight=counts)
        weight[:, m], bias[m] = machine.coef_[0], machine.intercept_[0]
    return weight, bias


def _sigmoids(margin: Floats, examples: Examples) -> tuple[Floats, Floats]:
    """Return the slope and the offset of each candidate's sigmoid, ``[M]`` both."""
    base = offsets(examples)

    def loss_and_gradient(at: Parameters) -> tuple[float, Parameters]:
        loss, pull = negative_log_likelihood(base + at["offset"] + at["slope"] * margin, examples)
        return loss, {"offset": pull.sum(axis=0), "slope": (pull * margin).sum(axis=0)}

    start = {"offset": np.zeros(len(base)), "slope": np.zeros(len(base))}
    found = map_estimate(loss_and_gradient, start, {"offset": 1.0, "slope": 1.0}, ITERATIONS)
    return found["slope"], base + found["offset"]


class Svm(UtilityRouter):
    """A linear support vector machine for each candidate's success."""

    Config = SvmOptions
    Function = Margins
