"""``knn``: what happened to the questions that are nearest.

The expected quality of a query x is the mean of its k nearest training queries N(x) by cosine, with c outcomes at the
candidate's mean added, so that few outcomes say little:

    q_m(x) = (sum of y_im over i in N(x) + c mean_m) / (|N(x)| + c)

Paper: Hu et al. 2024, "RouterBench" (arXiv:2403.12031), section 5, without the added outcomes.
"""

from __future__ import annotations

import attrs
import numpy as np
from aamc_lexical.quality import known_outcomes, near_count, nearest_rows, shrunken_means, unit_rows

from aamc_baselines.quality.examples import Examples, QualityFunction
from aamc_baselines.quality.utility_router import UtilityRouter
from aamc_sdk.batch import Floats
from aamc_sdk.config import option


@attrs.frozen(kw_only=True)
class Options:
    """Options of ``knn``."""

    neighbours: int = option(100, "training queries that count as near; never more than a fifth of all", at_least=1)
    shrinkage: float = option(10.0, "outcomes at the candidate's mean that are added to those of the neighbours", at_least=0)


@attrs.frozen(eq=False)
class NeighbourMeans(QualityFunction):
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
    def fit(cls, examples: Examples, options: Options, seed: int) -> NeighbourMeans:
        """Keep the rows."""
        near = near_count(options.neighbours, len(examples))
        rows = unit_rows(examples.features).astype(np.float32)
        return cls(rows, examples.quality.astype(np.float32), examples.means, np.array(near), np.array(options.shrinkage))

    def predict(self, features: Floats) -> Floats:
        """Return the shrunken mean of the neighbours, ``[B, M]``; the candidate's mean where nothing at all is known."""
        near = nearest_rows(unit_rows(features).astype(np.float32) @ self.rows.T, int(self.neighbours), ties=False)
        return shrunken_means(near, known_outcomes(self.quality.astype(np.float64)), self.means, float(self.shrinkage))


class Knn(UtilityRouter):
    """The mean outcome of the nearest training queries."""

    Config = Options
    Function = NeighbourMeans
