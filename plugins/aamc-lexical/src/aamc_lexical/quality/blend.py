"""The blend of experts, with weights from cross-validation ("stacking": Wolpert 1992, Breiman 1996).

Each training row is predicted by experts that were fitted without it. The weights are those, none negative and one in sum,
that bring the blend of these predictions closest to the outcomes. The level of a prediction, its mean over the candidates,
and the contrast between them have weights of their own: how hard a question is makes up most of what can be foretold, and
nothing of what a choice depends on. The candidates' means take part as an expert of their own: where nothing can be learned
they get the weight, and the blend does not depend on the query. How much of what it says beside the means is to be trusted,
:mod:`aamc_lexical.quality.trust` measures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_lexical.quality.experts import ClusterExpert, Expert
from aamc_lexical.quality.stacking import stacking_weights
from aamc_lexical.quality.trust import Trust, level_and_contrast
from aamc_sdk.batch import Floats

PARTS = ("level", "contrast")


@attrs.frozen(eq=False)
class Blend:
    """Experts and their weights.

    Attributes:
        experts: By kind.
        weights: Of the levels, then of the contrasts, of each expert in turn and of the candidates' means, ``[2, E + 1]``.
        means: The candidates' means, ``[M]``.
        trust: How much the rest counts beside the means.
    """

    experts: Mapping[str, Expert]
    weights: Floats
    means: Floats
    trust: Trust

    def __call__(self, embedding: Floats) -> Floats:
        """Return expected quality ``[B, M]``, within 0 and 1."""
        means = np.tile(self.means, (len(embedding), 1))
        greatest = self.weights.max(axis=0)[:-1]  # an expert without weight is not asked
        predictions = [expert(embedding) if weight > 0 else means for expert, weight in zip(self.experts.values(), greatest, strict=True)]
        return self.trust(blended(np.stack((*predictions, means)), self.weights), means, distance(self.experts, embedding))

    def figures(self) -> dict[str, Any]:
        """Return the weights of each part by expert, and how much of the part is trusted near, far, and as far again."""
        names = (*self.experts, "mean")
        blend = {part: dict(zip(names, weights.tolist(), strict=True)) for part, weights in zip(PARTS, self.weights, strict=True)}
        return {"blend": blend, "trust": dict(zip(PARTS, self.trust.slopes.T.tolist(), strict=True))}


def blended(predictions: Floats, weights: Floats) -> Floats:
    """Return the blend ``[N, M]``, within 0 and 1, of predictions ``[E, N, M]`` by weights of their levels and contrasts ``[2, E]``."""
    parts = zip(weights, level_and_contrast(predictions), strict=True)
    return np.asarray(np.clip(sum(np.tensordot(weight, part, axes=1) for weight, part in parts), 0.0, 1.0))


def blended_by_others(predictions: Floats, quality: Floats, fold: NDArray[np.intp]) -> Floats:
    """Return the blend ``[N, M]`` of each fold's rows by the weights of the other folds, which have not seen their outcomes.

    Args:
        predictions: Of each expert, ``[E, N, M]``, out of fold.
        quality: What came of it, ``[N, M]``, NaN where unknown.
        fold: Of each row, ``[N]``.
    """
    result = np.empty(quality.shape)
    for number in np.unique(fold):
        held = fold == number
        result[held] = blended(predictions[:, held], blend_weights(predictions[:, ~held], quality[~held]))
    return result


def distance(experts: Mapping[str, Expert], embedding: Floats) -> Floats:
    """Return how far queries are from the experts' nearest cluster, ``[B]``; 0 where they have none."""
    clusters = experts.get(ClusterExpert.kind)
    return clusters.distance(embedding) if isinstance(clusters, ClusterExpert) else np.zeros(len(embedding))


def blend_weights(predictions: Floats, quality: Floats) -> Floats:
    """Return the weights of levels and of contrasts ``[2, E]``, non-negative and each one in sum, of the least-squares blend.

    Args:
        predictions: Of each expert, ``[E, N, M]``, out of fold.
        quality: What came of it, ``[N, M]``, NaN where unknown.
    """
    known = np.isfinite(quality)
    return stacking_weights(np.concatenate(level_and_contrast(predictions))[:, known].T, quality[known], blends=2)
