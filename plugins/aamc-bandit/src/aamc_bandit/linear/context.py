"""The context vector of a query: a few numbers from the estimates, and the category probabilities.

    x = (1, complexity - 1/2, tool use, reduced embedding, category probabilities)

Unknown numbers are 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import attrs
import numpy as np

from aamc_sdk.types import Estimates, Floats

MAX_CATEGORIES = 64
"""Maximum number of categories in the context; later ones are ignored."""
SCALARS = 3
"""The count of the first numbers of the context: one, complexity and tool use."""
MAX_FIT_ROWS = 1000
"""Maximum number of rows that the projection of embeddings is fitted on."""
_MIN_SINGULAR = 1e-9
"""Directions with a smaller share of the maximum singular value are rounding errors."""


@attrs.frozen(eq=False)
class EmbeddingProjection:
    """A linear map from embeddings of width D to p numbers, each of a variance near 1.

    Attributes:
        centre: ``[D]``.
        directions: ``[p, D]``.
    """

    centre: Floats
    directions: Floats

    @classmethod
    def fitted(cls, embedding: Floats, dimensions: int) -> EmbeddingProjection:
        """Return the projection on the first principal components of embeddings ``[N, D]``."""
        rows = np.unique(np.linspace(0, len(embedding) - 1, MAX_FIT_ROWS).astype(np.intp))  # of the whole table, which may be sorted by task
        units = _normalised(embedding[rows].astype(np.float64))
        centre = units.mean(axis=0)
        _, singular, directions = np.linalg.svd(units - centre, full_matrices=False)
        kept = np.flatnonzero(singular > _MIN_SINGULAR * singular.max(initial=0.0))[:dimensions]
        found = np.zeros((dimensions, embedding.shape[1]))
        found[: len(kept)] = directions[kept] * np.sqrt(len(units)) / singular[kept, None]
        return cls(centre, found)

    def __call__(self, embedding: Floats) -> Floats:
        """Return ``[B, p]``; zeros for an embedding of another width. Each row is bit-identical in any batch."""
        if embedding.shape[1] != len(self.centre):
            return np.zeros((len(embedding), len(self.directions)))
        units = _normalised(embedding.astype(np.float64)) - self.centre
        return np.asarray((units[:, None, :] * self.directions).sum(axis=2))


@lru_cache(8)
def random_projection(width: int, dimensions: int, seed: int) -> EmbeddingProjection:
    """Return a projection on random directions, for routers without a fitted one."""
    return EmbeddingProjection(np.zeros(width), np.random.default_rng((seed, width)).normal(size=(dimensions, width)))


def _normalised(embedding: Floats) -> Floats:
    """Return embeddings of length 1; those of length 0 stay unchanged."""
    length = np.sqrt((embedding**2).sum(axis=1, keepdims=True))
    return np.asarray(embedding / np.where(length > 0, length, 1.0))


@attrs.frozen(eq=False)
class QueryContext:
    """Maps estimates to context vectors of d numbers.

    Attributes:
        dimensions: The width of the reduced embedding.
        seed: The seed of the random projection.
        categories: The categories in the context.
        projection: Reduces the embedding; None uses a random projection.
    """

    dimensions: int
    seed: int
    categories: tuple[str, ...] = ()
    projection: EmbeddingProjection | None = None

    @property
    def width(self) -> int:
        """The length of the context vector, d."""
        return SCALARS + self.dimensions + len(self.categories)

    def fitted(self, embedding: Floats | None) -> QueryContext:
        """Return the context with a projection fitted to training rows ``[N, D]``."""
        if embedding is None or not self.dimensions:
            return self
        return attrs.evolve(self, projection=EmbeddingProjection.fitted(embedding, self.dimensions))

    def with_categories(self, names: Sequence[str]) -> QueryContext:
        """Return the context with new categories appended; they would have been 0 so far."""
        new = [name for name in names if name not in self.categories]
        return attrs.evolve(self, categories=(*self.categories, *new)[:MAX_CATEGORIES]) if new else self

    def __call__(self, estimates: Estimates) -> Floats:
        """Return ``[B, d]``."""
        numbers = np.empty((len(estimates), self.width))
        numbers[:, 0] = 1.0
        numbers[:, 1] = estimates.complexity - 0.5
        numbers[:, 2] = estimates.tool_use
        end = self.width - len(self.categories)
        numbers[:, SCALARS:end] = self._reduced(estimates.embedding)
        numbers[:, end:] = estimates.aligned(self.categories)
        numbers[np.isnan(numbers)] = 0.0
        return numbers

    def _reduced(self, embedding: Floats | None) -> Floats | float:
        if embedding is None or not self.dimensions:
            return 0.0
        if not np.isnan(embedding[:, -1:]).any():
            return self._projected(embedding)
        reduced, widths = np.zeros((len(embedding), self.dimensions)), np.isfinite(embedding).sum(axis=1)
        for width in np.unique(widths[widths > 0]):  # rows of several estimators; shorter embeddings are padded with NaN
            reduced[widths == width] = self._projected(embedding[widths == width, :width])
        return reduced

    def _projected(self, embedding: Floats) -> Floats:
        return (self.projection or random_projection(embedding.shape[1], self.dimensions, self.seed))(embedding)

    def to_arrays(self) -> dict[str, Any]:
        """Return categories and projection as arrays."""
        return {"categories": np.array(self.categories, dtype=np.str_)} | ({} if self.projection is None else attrs.asdict(self.projection))

    def from_arrays(self, arrays: Mapping[str, Any]) -> QueryContext:
        """Return the context with the categories and the projection of :meth:`to_arrays`'s result."""
        projection = EmbeddingProjection(arrays["centre"], arrays["directions"]) if "centre" in arrays else None
        return attrs.evolve(self, categories=tuple(arrays["categories"].tolist()), projection=projection)
