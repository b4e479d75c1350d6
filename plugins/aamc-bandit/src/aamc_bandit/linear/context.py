"""What the linear router sees of a query: a few numbers from the estimates, and the categories.

    x = (1, complexity - 1/2, tool use, reduced embedding, category probabilities)

What an estimator does not say counts as 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import attrs
import numpy as np

from aamc_sdk.types import Estimates, Floats

MOST_CATEGORIES = 64
"""Categories that get a number of their own; the first ones heard of."""
PLAIN = ("one", "complexity", "tool_use")
"""The first numbers."""
ROWS_FITTED = 1000
"""Most rows that the directions of the embedding are fitted on."""
_LEAST_SPREAD = 1e-9
"""Directions in which embeddings vary by less, as a share of the greatest, are rounding."""


@attrs.frozen(eq=False)
class Projection:
    """From an embedding of width D to p numbers, each of a variance near one.

    Attributes:
        centre: ``[D]``.
        directions: ``[p, D]``.
    """

    centre: Floats
    directions: Floats

    @classmethod
    def fitted(cls, embedding: Floats, dimensions: int) -> Projection:
        """Return the directions in which embeddings ``[N, D]`` vary most: their principal components."""
        units = _to_units(embedding[:ROWS_FITTED].astype(np.float64))
        centre = units.mean(axis=0)
        _, spread, directions = np.linalg.svd(units - centre, full_matrices=False)
        kept = np.flatnonzero(spread > _LEAST_SPREAD * spread.max(initial=0.0))[:dimensions]
        found = np.zeros((dimensions, embedding.shape[1]))
        found[: len(kept)] = directions[kept] * np.sqrt(len(units)) / spread[kept, None]
        return cls(centre, found)

    def __call__(self, embedding: Floats) -> Floats:
        """Return ``[B, p]``; zeros for an embedding of another width. No row depends on those beside it, to the last bit."""
        if embedding.shape[1] != len(self.centre):
            return np.zeros((len(embedding), len(self.directions)))
        units = _to_units(embedding.astype(np.float64)) - self.centre
        return np.asarray((units[:, None, :] * self.directions).sum(axis=2))


@lru_cache(8)
def random_projection(width: int, dimensions: int, seed: int) -> Projection:
    """Return random directions, for while none are fitted."""
    return Projection(np.zeros(width), np.random.default_rng((seed, width)).normal(size=(dimensions, width)))


def _to_units(embedding: Floats) -> Floats:
    """Return embeddings of length one; one of length zero stays what it is."""
    length = np.sqrt((embedding**2).sum(axis=1, keepdims=True))
    return np.asarray(embedding / np.where(length > 0, length, 1.0))


@attrs.frozen(eq=False)
class Context:
    """Makes d numbers of a query's estimates.

    Attributes:
        dimensions: Numbers that the embedding is reduced to.
        seed: Of the random directions.
        categories: Those that have a number of their own.
        projection: How the embedding is reduced; in random directions when None.
    """

    dimensions: int
    seed: int
    categories: tuple[str, ...] = ()
    projection: Projection | None = None

    @property
    def width(self) -> int:
        """How many numbers there are, d."""
        return len(PLAIN) + self.dimensions + len(self.categories)

    def each(self, by_kind: Mapping[str, float]) -> Floats:
        """Return a value for each number ``[d]``, given one for each of ``PLAIN``, for ``embedding`` and for ``category``."""
        kinds = (*PLAIN, *["embedding"] * self.dimensions, *["category"] * len(self.categories))
        return np.array([by_kind[kind] for kind in kinds])

    def fitted(self, embedding: Floats | None) -> Context:
        """Return the context whose directions are those of training rows ``[N, D]``."""
        if embedding is None or not self.dimensions:
            return self
        return attrs.evolve(self, projection=Projection.fitted(embedding, self.dimensions))

    def hearing_of(self, names: Sequence[str]) -> Context:
        """Return the context in which new categories have numbers too, at the end: these would have been 0 so far."""
        new = [name for name in names if name not in self.categories]
        return attrs.evolve(self, categories=(*self.categories, *new)[:MOST_CATEGORIES]) if new else self

    def __call__(self, estimates: Estimates) -> Floats:
        """Return ``[B, d]``."""
        numbers = np.empty((len(estimates), self.width))
        numbers[:, 0] = 1.0
        numbers[:, 1] = estimates.complexity - 0.5
        numbers[:, 2] = estimates.tool_use
        end = self.width - len(self.categories)
        numbers[:, len(PLAIN) : end] = self._reduced(estimates.embedding)
        numbers[:, end:] = estimates.aligned(self.categories)
        numbers[np.isnan(numbers)] = 0.0
        return numbers

    def _reduced(self, embedding: Floats | None) -> Floats | float:
        """Return ``[B, p]``, or the number that all of these are."""
        if embedding is None or not self.dimensions:
            return 0.0
        if not np.isnan(embedding[:, -1:]).any():
            return self._projected(embedding)
        reduced, widths = np.zeros((len(embedding), self.dimensions)), np.isfinite(embedding).sum(axis=1)
        for width in np.unique(widths[widths > 0]):  # of several estimators; a shorter embedding ends in NaN
            reduced[widths == width] = self._projected(embedding[widths == width, :width])
        return reduced

    def _projected(self, embedding: Floats) -> Floats:
        return (self.projection or random_projection(embedding.shape[1], self.dimensions, self.seed))(embedding)

    def state(self) -> dict[str, Any]:
        """Return as arrays what :meth:`restored` takes."""
        return {"categories": np.array(self.categories, dtype=np.str_)} | ({} if self.projection is None else attrs.asdict(self.projection))

    def restored(self, state: Mapping[str, Any]) -> Context:
        """Return the context whose :meth:`state` this is."""
        projection = Projection(state["centre"], state["directions"]) if "centre" in state else None
        return attrs.evolve(self, categories=tuple(state["categories"].tolist()), projection=projection)
