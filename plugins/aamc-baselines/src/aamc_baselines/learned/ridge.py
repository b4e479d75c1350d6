"""``ridge``: a linear function for each candidate.

    q_m(x) = mean_m + w_m x,    w_m = argmin over w of sum_i (y_im - mean_m - w x_i)^2 + alpha |w|^2

The sum is over the rows with an outcome of candidate m and is not divided by their number, so with few rows w_m is near zero.

Paper: Hoerl and Kennard 1970, "Ridge Regression: Biased Estimation for Nonorthogonal Problems", Technometrics 12.
"""

from __future__ import annotations

import attrs
import numpy as np
from aamc_lexical.quality import ridge_coefficients

from aamc_baselines.quality.examples import Examples, QualityFunction
from aamc_baselines.quality.utility_router import UtilityRouter
from aamc_sdk.config import option
from aamc_sdk.types import Floats


@attrs.frozen(kw_only=True)
class RidgeOptions:
    """Options of ``ridge``."""

    alpha: float = option(2000.0, "Penalty on squared coefficients, for features of unit variance.", above=0)


@attrs.frozen(eq=False)
class Linear(QualityFunction):
    """Coefficients ``[D, M]`` and intercepts ``[M]``."""

    coefficients: Floats
    intercepts: Floats

    @classmethod
    def fit(cls, examples: Examples, options: RidgeOptions, seed: int) -> Linear:
        """Solve the normal equations of each candidate."""
        means = examples.means
        return cls(ridge_coefficients(examples.features, examples.quality, means, options.alpha), means)

    def predict(self, features: Floats) -> Floats:
        """Return ``[B, M]``; values may lie outside 0 to 1."""
        return np.asarray(features @ self.coefficients + self.intercepts)


class Ridge(UtilityRouter):
    """Ridge regression of each candidate's quality."""

    Config = RidgeOptions
    Function = Linear
