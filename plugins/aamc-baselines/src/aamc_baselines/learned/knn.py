"""``knn``: what happened to the questions that are nearest.

The expected quality of a query x is the mean of its k nearest training queries N(x) by cosine, with c outcomes at the
candidate's mean added, so that few outcomes say little:

    q_m(x) = (sum of y_im over i in N(x) + c mean_m) / (|N(x)| + c)

Paper: Hu et al. 2024, "RouterBench" (arXiv:2403.12031), section 5, without the added outcomes.
"""

from __future__ import annotations

import attrs
import numpy as np

from aamc_baselines.quality.examples import Examples, QualityFunction
from aamc_baselines.quality.utility_router import UtilityRouter
from aamc_sdk.batch import Floats
from aamc_sdk.config import option

GREATEST_SHARE = 0.2
"""Of the training rows at most so many are near, however few there are."""


@attrs.frozen(kw_only=True)
class Options:
    """Options of ``knn``."""

    neighbours: int = option(100, "training queries that count as near; never more than a fifth of all", at_least=1)
    shrinkage: float = option(10.0, "outcomes at the candidate's mean that are added to those of the neighbours", at_least=0)


@attrs.frozen(eq=False)
class Neighbours(QualityFunction):
    """The training rows themselves.

    Attributes:
        rows: Of unit length, ``[N, D]``.
        quality: ``[N, M]``.
        means: The candidates' means, ``[M]``.
        neighbours: How many are near, ``[]``.
        shrinkage: How many outcomes at the mean are added, ``[]``.
    """

    rows: Floats
    quality: Floats
    means: Floats
    neighbours: Floats
    shrinkage: Floats

    @classmethod
    def fit(cls, examples: Examples, options: Options, seed: int) -> Neighbours:
        """Keep the rows."""
        near = max(1, min(options.neighbours, int(GREATEST_SHARE * len(examples))))
        rows = _unit(examples.features).astype(np.float32)
        return cls(rows, examples.quality.astype(np.float32), examples.means, np.array(near), np.array(options.shrinkage))

    def predict(self, features: Floats) -> Floats:
        """Return the shrunken mean of the neighbours, ``[B, M]``; the candidate's mean where nothing at all is known."""
        near = int(self.neighbours)
        likeness = _unit(features).astype(np.float32) @ self.rows.T
        nearest = np.argpartition(likeness, -near, axis=1)[:, -near:]  # features are finite, so none is NaN, which would count as near
        quality = self.quality[nearest].astype(np.float64)
        counts = np.isfinite(quality).sum(axis=1) + self.shrinkage
        sums = np.nansum(quality, axis=1) + self.shrinkage * self.means
        return np.asarray(np.divide(sums, counts, out=np.tile(self.means, (len(features), 1)), where=counts > 0))


def _unit(features: Floats) -> Floats:
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12))


class Knn(UtilityRouter):
    """The mean outcome of the nearest training queries."""

    Config = Options
    Function = Neighbours
