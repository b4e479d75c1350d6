"""The blend of experts, with weights from cross-validation ("stacking": Wolpert 1992, Breiman 1996).

Experts fitted without a training row predict it. The weights are non-negative, sum to one, and minimise the squared error of the
blended predictions. The level of a prediction, its mean over the candidates, and the contrast between candidates have separate
weights: the level explains most of the variance but does not affect a choice. The candidates' means are an expert too: if nothing
can be learned they get all the weight. :mod:`aamc_lexical.quality.shrinkage` measures how reliable the blend is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_lexical.quality.cross_validation import stacking_weights
from aamc_lexical.quality.experts import CategoryExpert, ClusterExpert, Expert, NeighbourExpert
from aamc_lexical.quality.shrinkage import DistanceShrinkage, level_and_contrast
from aamc_sdk.types import Floats

PARTS = ("level", "contrast")


@attrs.frozen(eq=False)
class Blend:
    """Experts and their weights.

    Attributes:
        experts: The experts by kind.
        weights: Weights of the levels and of the contrasts, of each expert and of the candidates' means, ``[2, E + 1]``.
        means: The candidates' means, ``[M]``.
        shrinkage: Shrinks predictions towards the means.
        measured_by: The kinds of the S experts that measure how far a query is from the training rows.
    """

    experts: Mapping[str, Expert]
    weights: Floats
    means: Floats
    shrinkage: DistanceShrinkage
    measured_by: Sequence[str] = (ClusterExpert.kind,)

    def __call__(self, embedding: Floats) -> Floats:
        """Return expected quality ``[B, M]``, within 0 and 1."""
        means = np.tile(self.means, (len(embedding), 1))
        highest = self.weights.max(axis=0)[:-1]  # an expert without weight is not computed
        predictions = [expert(embedding) if weight > 0 else means for expert, weight in zip(self.experts.values(), highest, strict=True)]
        return self.shrinkage(blended(np.stack((*predictions, means)), self.weights), means, distances(self.experts, self.measured_by, embedding))

    def figures(self) -> dict[str, Any]:
        """Return the weights of each part by expert, and its slopes near, far and twice as far."""
        names = (*self.experts, "mean")
        blend = {part: dict(zip(names, weights.tolist(), strict=True)) for part, weights in zip(PARTS, self.weights, strict=True)}
        return {"blend": blend, "trust": dict(zip(PARTS, self.shrinkage.slopes.T.tolist(), strict=True))}


def blended(predictions: Floats, weights: Floats) -> Floats:
    """Return the blend ``[N, M]``, within 0 and 1, of predictions ``[E, N, M]`` with weights of levels and contrasts ``[2, E]``."""
    parts = zip(weights, level_and_contrast(predictions), strict=True)
    return np.asarray(np.clip(sum(np.tensordot(weight, part, axes=1) for weight, part in parts), 0.0, 1.0))


def blended_by_others(predictions: Floats, quality: Floats, fold: NDArray[np.intp]) -> Floats:
    """Return the blend ``[N, M]``, the rows of each fold with weights from the other folds.

    Out-of-fold predictions of each expert are ``[E, N, M]``, outcomes ``[N, M]``, NaN where unknown, and the fold of each row ``[N]``.
    """
    result = np.empty(quality.shape)
    for number in np.unique(fold):
        held = fold == number
        result[held] = blended(predictions[:, held], blend_weights(predictions[:, ~held], quality[~held]))
    return result


def distances(experts: Mapping[str, Expert], measured_by: Sequence[str], embedding: Floats) -> Floats:
    """Return the distances of queries from the training rows by S experts, ``[B, S]``; 0 where there is no such expert."""
    measured = np.zeros((len(embedding), len(measured_by)))
    for column, kind in zip(measured.T, measured_by, strict=True):
        expert = experts.get(kind)
        if isinstance(expert, ClusterExpert | NeighbourExpert | CategoryExpert):
            column[:] = expert.distance(embedding)
    return measured


def blend_weights(predictions: Floats, quality: Floats) -> Floats:
    """Return the weights of levels and contrasts ``[2, E]`` of the least-squares blend, non-negative and with sum one.

    Out-of-fold predictions of each expert are ``[E, N, M]``, outcomes ``[N, M]``, NaN where unknown.
    """
    known = np.isfinite(quality)
    return stacking_weights(np.concatenate(level_and_contrast(predictions))[:, known].T, quality[known], blends=2)
