"""What the learned routers have in common: functions from a query's features to each candidate's quality.

N training rows, B rows asked for, D features, M candidates, K comparisons. A cell without an outcome is NaN and is left out.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.batch import Floats

Indices = NDArray[np.intp]


@attrs.frozen(eq=False)
class Comparisons:
    """Who beat whom.

    Attributes:
        row: The training row that was answered, ``[K]``.
        winner: The candidate that did better, ``[K]``.
        loser: The other one, ``[K]``.
        won: 1, or 0.5 where they tied, ``[K]``.
        weight: How much each counts, ``[K]``.
    """

    row: Indices
    winner: Indices
    loser: Indices
    won: Floats
    weight: Floats

    @classmethod
    def none(cls) -> Comparisons:
        """Return no comparison."""
        nobody = np.empty(0, dtype=np.intp)
        return cls(nobody, nobody, nobody, np.empty(0), np.empty(0))

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: Indices, of: int) -> Comparisons:
        """Return the comparisons on some of ``of`` training rows, numbered as these are."""
        place = np.full(of, -1)
        place[rows] = np.arange(len(rows))
        kept = place[self.row] >= 0
        return Comparisons(place[self.row][kept], self.winner[kept], self.loser[kept], self.won[kept], self.weight[kept])


@attrs.frozen(eq=False)
class Examples:
    """What a quality function is fitted to.

    Attributes:
        features: Of the training queries, centred, of unit variance on average, ``[N, D]``.
        quality: ``[N, M]``, NaN where unknown.
        question: A number each, ``[N]``; rows of one number ask the same.
        comparisons: Who beat whom, for functions that learn from it.
    """

    features: Floats
    quality: Floats
    question: Indices
    comparisons: Comparisons = attrs.field(factory=Comparisons.none)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which outcomes there are, ``[N, M]``."""
        return np.isfinite(self.quality)

    @property
    def means(self) -> Floats:
        """Each candidate's mean quality, ``[M]``; the mean of all cells where it has none, one half where there are none."""
        counts, sums = self.known.sum(axis=0), np.nansum(self.quality, axis=0)
        overall = sums.sum() / counts.sum() if counts.any() else 0.5
        return np.where(counts > 0, sums / np.maximum(counts, 1), overall)

    def take(self, rows: Indices) -> Examples:
        """Return some rows."""
        return Examples(self.features[rows], self.quality[rows], self.question[rows], self.comparisons.take(rows, len(self)))


@attrs.frozen(eq=False)
class QualityFunction(abc.ABC):
    """Expects quality. A subclass is an attrs class whose fields are arrays: they are all that is kept of it."""

    @classmethod
    @abc.abstractmethod
    def fit(cls, examples: Examples, options: Any, seed: int) -> QualityFunction:
        """Fit it to training rows; all randomness follows from the seed."""

    @abc.abstractmethod
    def predict(self, features: Floats) -> Floats:
        """Return the expected quality ``[B, M]`` of ``[B, D]`` features."""

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Return what it is made of, by the name of its field."""
        return attrs.asdict(self, recurse=False)
