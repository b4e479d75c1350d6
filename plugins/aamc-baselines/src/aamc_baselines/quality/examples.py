"""Training examples, and the base class of functions from a query's features to each candidate's quality.

N training rows, B queries, D features, M candidates, K comparisons. A cell without an outcome is NaN and is left out.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types import Floats

Indices = NDArray[np.intp]


@attrs.frozen(eq=False)
class Comparisons:
    """Pairwise comparisons of candidates.

    Attributes:
        row: The training row, ``[K]``.
        winner: The better candidate, ``[K]``.
        loser: The other candidate, ``[K]``.
        won: 1, or 0.5 for a tie, ``[K]``.
        weight: The weight of the comparison, ``[K]``.
    """

    row: Indices
    winner: Indices
    loser: Indices
    won: Floats
    weight: Floats

    @classmethod
    def none(cls) -> Comparisons:
        """Return an empty set of comparisons."""
        empty = np.empty(0, dtype=np.intp)
        return cls(empty, empty, empty, np.empty(0), np.empty(0))

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: Indices, of: int) -> Comparisons:
        """Return the comparisons on a subset of ``of`` training rows, renumbered to the subset."""
        place = np.full(of, -1)
        place[rows] = np.arange(len(rows))
        kept = place[self.row] >= 0
        return Comparisons(place[self.row][kept], self.winner[kept], self.loser[kept], self.won[kept], self.weight[kept])


@attrs.frozen(eq=False)
class Examples:
    """The training data of a quality function.

    Attributes:
        features: Features of the training queries, centred and of unit variance on average, ``[N, D]``.
        quality: The outcomes, ``[N, M]``, NaN where unknown.
        question: The number of each row's question, ``[N]``; equal for spellings of one question.
        comparisons: Comparisons, for functions that learn from them.
    """

    features: Floats
    quality: Floats
    question: Indices
    comparisons: Comparisons = attrs.field(factory=Comparisons.none)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether each outcome is known, ``[N, M]``."""
        return np.isfinite(self.quality)

    @property
    def means(self) -> Floats:
        """Each candidate's mean quality, ``[M]``; without outcomes the mean of all cells, or 0.5."""
        counts, sums = self.known.sum(axis=0), np.nansum(self.quality, axis=0)
        overall = sums.sum() / counts.sum() if counts.any() else 0.5
        return np.where(counts > 0, sums / np.maximum(counts, 1), overall)

    def take(self, rows: Indices) -> Examples:
        """Return a subset of the rows."""
        return Examples(self.features[rows], self.quality[rows], self.question[rows], self.comparisons.take(rows, len(self)))


@attrs.frozen(eq=False)
class QualityFunction(abc.ABC):
    """Predicts quality. A subclass is an attrs class whose fields are arrays; only these are saved."""

    @classmethod
    @abc.abstractmethod
    def fit(cls, examples: Examples, options: Any, seed: int) -> QualityFunction:
        """Return a function fitted to training rows, with all randomness from the seed."""

    @abc.abstractmethod
    def predict(self, features: Floats) -> Floats:
        """Return the expected quality ``[B, M]`` of ``[B, D]`` features."""

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Return its arrays by field name."""
        return attrs.asdict(self, recurse=False)
