"""The blend of experts, with weights from cross-validation ("stacking": Wolpert 1992, Breiman 1996).

Each training row is predicted by experts that were fitted without it. The weights are those, none negative and one in sum,
that bring the blend of these predictions closest to the outcomes. The level of a prediction, its mean over the candidates,
and the contrast between them have weights of their own: how hard a question is makes up most of what can be foretold, and
nothing of what a choice depends on. The candidates' means take part as an expert of their own: where nothing can be learned
they get the weight, and the blend does not depend on the query. How much of what it says beside the means is to be trusted,
:mod:`aamc_lexical.quality.trust` measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_lexical.quality.experts import Clusters, Expert
from aamc_lexical.quality.trust import Trust, level_and_contrast
from aamc_sdk.batch import Floats

PARTS = ("level", "contrast")
_SUM_TO_ONE = 1e3
"""How many times the root of the number of cells an error in the weights' sum counts as much as one in a cell."""


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
        result[held] = blended(predictions[:, held], stacking_weights(predictions[:, ~held], quality[~held]))
    return result


def distance(experts: Mapping[str, Expert], embedding: Floats) -> Floats:
    """Return how far queries are from the experts' nearest cluster, ``[B]``; 0 where they have none."""
    clusters = experts.get(Clusters.kind)
    return clusters.distance(embedding) if isinstance(clusters, Clusters) else np.zeros(len(embedding))


def stacking_weights(predictions: Floats, quality: Floats) -> Floats:
    """Return the weights of levels and of contrasts ``[2, E]``, non-negative and each one in sum, of the least-squares blend.

    Args:
        predictions: Of each expert, ``[E, N, M]``, out of fold.
        quality: What came of it, ``[N, M]``, NaN where unknown.
    """
    from scipy.optimize import nnls  # type: ignore[import-untyped]  # scipy ships no types

    known = np.isfinite(quality)
    cells = np.concatenate(level_and_contrast(predictions))[:, known].T
    penalty = _SUM_TO_ONE * np.sqrt(max(len(cells), 1))
    sums = np.kron(np.eye(2), np.ones(len(predictions)))
    weights = nnls(np.vstack((cells, penalty * sums)), np.append(quality[known], (penalty, penalty)))[0].reshape(2, -1)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def fold_of(texts: Sequence[str], folds: int, seed: int) -> NDArray[np.intp]:
    """Return each row's fold, ``[N]``: folds of equal size, and a text that stands twice in one of them."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    place = np.random.default_rng(seed).permutation(len(numbers))
    return np.asarray([place[numbers[text]] % folds for text in texts], dtype=np.intp)
