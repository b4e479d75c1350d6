"""Ways to expect each candidate's quality from a query's embedding, each a few lines of numpy.

Outcomes are noisy, and a few hundred rows of a kind are few, so each expert smooths strongly; see the blend in
:mod:`aamc_lexical.quality.blend`. Cells without an outcome are NaN and are left out. N rows, M candidates, D embedding width.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Protocol

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_lexical.heads.head_weights import HeadWeights
from aamc_lexical.quality.smoothing import known_outcomes, near_count, nearest_rows, ridge_coefficients, shrunken_means, unit_rows
from aamc_sdk.batch import Floats

PSEUDO_COUNT = 10.0
"""How many outcomes at the candidate's mean are added to each group's: groups with few outcomes shrink towards it."""
RIDGE_PENALTY = 1000.0
"""The penalty on squared coefficients, for embeddings of unit variance and quality from 0 to 1."""

QUERIES_PER_BATCH = 256
"""How many queries' similarities to all training rows are held in memory."""


class Expert(Protocol):
    """Something that expects quality, made of arrays alone."""

    def __call__(self, embedding: Floats) -> Floats:
        """Return expected quality ``[B, M]`` of ``[B, D]`` embeddings."""


def candidate_means(quality: Floats) -> Floats:
    """Return each candidate's mean of ``[N, M]`` known qualities, ``[M]``; one half where there is none."""
    known = np.isfinite(quality)
    counts = known.sum(axis=0)
    return np.where(counts > 0, np.where(known, quality, 0.0).sum(axis=0) / np.maximum(counts, 1), 0.5)


def group_means(membership: Floats, quality: Floats) -> Floats:
    """Return the shrunken mean quality of each group, ``[G, M]``.

    Args:
        membership: How much each row belongs to each group, ``[G, N]``.
        quality: ``[N, M]``, NaN where unknown.
    """
    known = np.isfinite(quality)
    sums = membership @ np.where(known, quality, 0.0) + PSEUDO_COUNT * candidate_means(quality)
    return np.asarray(sums / (membership @ known.astype(np.float64) + PSEUDO_COUNT))


@attrs.frozen(eq=False)
class NeighbourExpert:
    """The mean of the nearest training rows by cosine, shrunken towards the candidate's mean."""

    kind: ClassVar[str] = "neighbours"
    rows: Floats
    quality: Floats
    k: NDArray[np.int64]

    @classmethod
    def fit(cls, embedding: Floats, quality: Floats, k: int) -> NeighbourExpert:
        """Keep N rows; never more than a fifth of them count as near."""
        return cls(unit_rows(embedding).astype(np.float32), quality.astype(np.float32), np.array(near_count(k, len(embedding))))

    def __call__(self, embedding: Floats) -> Floats:
        """Return expected quality ``[B, M]``."""
        starts = range(0, max(len(embedding), 1), QUERIES_PER_BATCH)
        return np.concatenate([self._of_few(embedding[start : start + QUERIES_PER_BATCH]) for start in starts])

    def _of_few(self, embedding: Floats) -> Floats:
        near = nearest_rows(unit_rows(embedding).astype(np.float32) @ self.rows.T, int(self.k), ties=True)
        return shrunken_means(near, self._outcomes, self._means, PSEUDO_COUNT)

    @cached_property
    def _outcomes(self) -> NDArray[np.float32]:
        return known_outcomes(self.quality)

    @cached_property
    def _means(self) -> Floats:
        return candidate_means(self.quality)


@attrs.frozen(eq=False)
class ClusterExpert:
    """The mean of the query's cluster, shrunken towards the candidate's mean."""

    kind: ClassVar[str] = "clusters"
    centres: Floats
    means: Floats

    @classmethod
    def fit(cls, embedding: Floats, quality: Floats, count: int, seed: int) -> ClusterExpert:
        """Group N rows by k-means, into at most a tenth as many clusters as there are rows."""
        from sklearn.cluster import KMeans  # type: ignore[import-untyped]  # scikit-learn ships no types

        clusters = max(1, min(count, len(embedding) // 10))
        found = KMeans(clusters, random_state=seed).fit(embedding)
        membership = (found.labels_ == np.arange(clusters)[:, None]).astype(np.float64)
        return cls(found.cluster_centers_, group_means(membership, quality))

    def __call__(self, embedding: Floats) -> Floats:
        """Return expected quality ``[B, M]``."""
        return np.asarray(self.means[self.nearest(embedding)])

    def nearest(self, embedding: Floats) -> NDArray[np.intp]:
        """Return each query's cluster, ``[B]``."""
        return np.asarray(self._squared_distances(embedding).argmin(axis=1))

    def distance(self, embedding: Floats) -> Floats:
        """Return how far each query is from its cluster's centre, ``[B]``."""
        return np.asarray(np.sqrt(np.maximum(self._squared_distances(embedding).min(axis=1), 0.0)))

    def _squared_distances(self, embedding: Floats) -> Floats:
        points = embedding.astype(np.float64)
        return np.asarray((points**2).sum(axis=1)[:, None] + (self.centres**2).sum(axis=1) - 2.0 * points @ self.centres.T)


@attrs.frozen(eq=False)
class RidgeExpert:
    """Linear in the embedding, with a penalty that keeps it near the candidate's mean."""

    kind: ClassVar[str] = "ridge"
    coefficients: Floats
    intercepts: Floats

    @classmethod
    def fit(cls, embedding: Floats, quality: Floats) -> RidgeExpert:
        """Solve for each candidate on the rows where it has an outcome."""
        means = candidate_means(quality)
        return cls(ridge_coefficients(embedding.astype(np.float64), quality, means, RIDGE_PENALTY), means)

    def __call__(self, embedding: Floats) -> Floats:
        """Return expected quality ``[B, M]``."""
        return np.asarray(embedding.astype(np.float64) @ self.coefficients + self.intercepts)


@attrs.frozen(eq=False)
class CategoryExpert:
    """The mean of each category, shrunken towards the candidate's mean, weighted by the category head's probabilities."""

    kind: ClassVar[str] = "categories"
    means: Floats
    heads: HeadWeights

    @classmethod
    def fit(cls, category: NDArray[np.int64], quality: Floats, heads: HeadWeights, categories: int) -> CategoryExpert:
        """Take means over the rows of each annotated category."""
        membership = (category == np.arange(categories)[:, None]).astype(np.float64)
        return cls(group_means(membership, quality), heads)

    def __call__(self, embedding: Floats) -> Floats:
        """Return expected quality ``[B, M]``."""
        return np.asarray(self.heads(embedding).categories @ self.means)


@attrs.frozen(eq=False)
class HeadExpert:
    """What the quality head says."""

    kind: ClassVar[str] = "head"
    heads: HeadWeights

    def __call__(self, embedding: Floats) -> Floats:
        """Return expected quality ``[B, M]``."""
        quality = self.heads(embedding).quality
        return np.empty((len(embedding), 0)) if quality is None else quality
