"""``knn``: the mean quality of the nearest training queries.

The expected quality of a query x is the mean of its k nearest training queries N(x) by cosine similarity, with c outcomes at the
candidate's mean added, so that few outcomes change little:

    q_m(x) = (sum of y_im over i in N(x) + c mean_m) / (|N(x)| + c)

Paper: Hu et al. 2024, "RouterBench" (arXiv:2403.12031), section 5, without the added outcomes.
"""

from __future__ import annotations

import attrs
import numpy as np
from aamc_lexical.quality import known_outcomes, near_count, nearest_rows, shrunken_means, unit_rows

from aamc_baselines.quality.examples import Examples, QualityFunction
from aamc_baselines.quality.utility_router import UtilityRouter
from aamc_sdk.config import option
from aamc_sdk.types import Floats


@attrs.frozen(kw_only=True)
class KnnOptions:
    """Options of ``knn``."""

    neighbours: int = option(100, "Number of nearest training queries; at most a fifth of all.", at_least=1)
    shrinkage: float = option(10.0, "Number of outcomes at the candidate's mean added to those of the neighbours.", at_least=0)


@attrs.frozen(eq=False)
class NeighbourMeans(QualityFunction):
    """The training rows themselves.

    Attributes:
        rows: Features of unit length, ``[N, D]``.
        quality: The outcomes, ``[N, M]``.
        means: The candidates' means, ``[M]``.
        neighbours: Number of nearest rows, ``[]``.
        shrinkage: Number of outcomes added at the mean, ``[]``.
    """

    rows: Floats
    quality: Floats
    means: Floats
    neighbours: Floats
    shrinkage: Floats

    @classmethod
    def fit(cls, examples: Examples, options: KnnOptions, seed: int) -> NeighbourMeans:
        """Keep the rows."""
        near = near_count(options.neighbours, len(examples))
        rows = unit_rows(examples.features).astype(np.float32)
        return cls(rows, examples.quality.astype(np.float32), examples.means, np.array(near), np.array(options.shrinkage))

    def predict(self, features: Floats) -> Floats:
        """Return the shrunken mean of the neighbours, ``[B, M]``; the candidate's mean without any outcome."""
        near = nearest_rows(unit_rows(features).astype(np.float32) @ self.rows.T, int(self.neighbours), ties=False)
        return shrunken_means(near, known_outcomes(self.quality.astype(np.float64)), self.means, float(self.shrinkage))


class Knn(UtilityRouter):
    """The mean outcome of the nearest training queries."""

    Config = KnnOptions
    Function = NeighbourMeans
