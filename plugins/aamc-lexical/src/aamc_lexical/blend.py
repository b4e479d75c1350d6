"""The blend of experts, with weights from cross-validation ("stacking": Wolpert 1992, Breiman 1996).

Each training row is predicted by experts that were fitted without it. The weights are those, none negative and one in sum,
that bring the blend of these predictions closest to the outcomes. The candidates' means take part as an expert of their
own: where nothing can be learned they get the weight, and the blend does not depend on the query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_lexical.experts import Expert
from aamc_sdk.batch import Floats

_SUM_TO_ONE = 1e3
"""How many times the root of the number of cells an error in the weights' sum counts as much as one in a cell."""


@attrs.frozen(eq=False)
class Blend:
    """Experts and their weights.

    Attributes:
        experts: By kind.
        weights: Of each expert in turn, then of the candidates' means, ``[E + 1]``.
        means: The candidates' means, ``[M]``.
    """

    experts: Mapping[str, Expert]
    weights: Floats
    means: Floats

    def __call__(self, embedding: Floats) -> Floats:
        """Return expected quality ``[B, M]``, within 0 and 1."""
        parts = [weight * expert(embedding) for expert, weight in zip(self.experts.values(), self.weights[:-1], strict=True) if weight > 0]
        return np.asarray(np.clip(sum(parts, start=np.tile(self.weights[-1] * self.means, (len(embedding), 1))), 0.0, 1.0))


def stacking_weights(predictions: Sequence[Floats], quality: Floats) -> Floats:
    """Return non-negative weights, one in sum, of the predictions' least-squares blend, ``[E]``.

    Args:
        predictions: Of each expert, ``[N, M]``, out of fold.
        quality: What came of it, ``[N, M]``, NaN where unknown.
    """
    from scipy.optimize import nnls  # type: ignore[import-untyped]  # scipy ships no types

    known = np.isfinite(quality)
    cells = np.column_stack([prediction[known] for prediction in predictions])
    penalty = _SUM_TO_ONE * np.sqrt(max(len(cells), 1))
    weights, _ = nnls(np.vstack((cells, np.full((1, len(predictions)), penalty))), np.append(quality[known], penalty))
    return np.asarray(weights / weights.sum())


def fold_of(texts: Sequence[str], folds: int, seed: int) -> NDArray[np.intp]:
    """Return each row's fold, ``[N]``: folds of equal size, and a text that stands twice in one of them."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    place = np.random.default_rng(seed).permutation(len(numbers))
    return np.asarray([place[numbers[text]] % folds for text in texts], dtype=np.intp)
