"""Experts that predict each candidate's quality from a query's embedding.

Outcomes are noisy and similar rows are few, so each expert smooths strongly;
:mod:`aamc_lexical.quality.blend` combines them. Cells without an outcome are NaN and are left out. N rows, M candidates, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import ClassVar, Protocol

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_lexical.heads.head_weights import HeadWeights
from aamc_lexical.heads.targets import Targets
from aamc_lexical.quality.smoothing import known_outcomes, least_squares, mean_cosine, near_count, nearest_rows, shrunken_means, unit_rows
from aamc_sdk.types import Floats

PSEUDO_COUNT = 10.0
"""Number of outcomes at the candidate's mean added to each group, so that groups with few outcomes shrink towards it."""
MAX_LANDMARKS = 1000
MIN_WIDTH = 1e-6
"""The minimum squared width of a kernel, for training texts that are all alike."""
JITTER = 1e-3
"""Added to the diagonal of a kernel expert's system of equations, which equal landmarks would make singular."""
NEAREST = 10
"""Number of training rows that say how familiar a query is."""
QUERIES_PER_BATCH = 256
"""Number of queries compared with all training rows at once, to bound the memory."""


class Expert(Protocol):
    """Predicts quality; consists of arrays only."""

    def __call__(self, embedding: Floats) -> Floats:
        """Return expected quality ``[B, M]`` of ``[B, D]`` embeddings."""


def candidate_means(quality: Floats) -> Floats:
    """Return each candidate's mean ``[M]`` of the known qualities ``[N, M]``; 0.5 without any."""
    known = np.isfinite(quality)
    counts = known.sum(axis=0)
    return np.where(counts > 0, np.where(known, quality, 0.0).sum(axis=0) / np.maximum(counts, 1), 0.5)


def group_means(membership: Floats, quality: Floats) -> Floats:
    """Return the shrunken mean quality of each group, ``[G, M]``.

    The membership of each row in each group is ``[G, N]``, the quality ``[N, M]``, NaN where unknown.
    """
    known = np.isfinite(quality)
    sums = membership @ np.where(known, quality, 0.0) + PSEUDO_COUNT * candidate_means(quality)
    return np.asarray(sums / (membership @ known.astype(np.float64) + PSEUDO_COUNT))


def in_batches(embedding: Floats, function: Callable[[NDArray[np.float32]], Floats]) -> Floats:
    """Return the concatenated results of a function of unit rows ``[b, D]``."""
    starts = range(0, max(len(embedding), 1), QUERIES_PER_BATCH)
    return np.concatenate([function(unit_rows(embedding[start : start + QUERIES_PER_BATCH]).astype(np.float32)) for start in starts])


@attrs.frozen(eq=False)
class NeighbourExpert:
    """The mean of the nearest training rows by cosine, shrunken towards the candidate's mean."""

    kind: ClassVar[str] = "neighbours"
    rows: Floats
    quality: Floats
    k: NDArray[np.int64]

    @classmethod
    def fit(cls, embedding: Floats, quality: Floats, k: int) -> NeighbourExpert:
        """Keep N rows; at most a fifth of them count as near."""
        return cls(unit_rows(embedding).astype(np.float32), quality.astype(np.float32), np.array(near_count(k, len(embedding))))

    def __call__(self, embedding: Floats) -> Floats:
        """Return expected quality ``[B, M]``."""
        return in_batches(embedding, lambda rows: self._of_similar(rows @ self.rows.T))

    def distance(self, embedding: Floats) -> Floats:
        """Return one minus the mean cosine of each query to its nearest training rows, ``[B]``."""
        return in_batches(embedding, lambda rows: 1.0 - mean_cosine(rows @ self.rows.T, NEAREST))

    def _of_similar(self, similarity: Floats) -> Floats:
        return shrunken_means(nearest_rows(similarity, int(self.k), ties=True), self._outcomes, self._means, PSEUDO_COUNT)

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
        """Group N rows by k-means into at most N / 10 clusters."""
        from sklearn.cluster import KMeans  # type: ignore[import-untyped]  # scikit-learn ships no types

        clusters = max(1, min(count, len(embedding) // 10))
        if clusters > 1:
            clusters = min(clusters, len(np.unique(embedding, axis=0)))  # repeated questions are one point
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
        """Return the distance of each query from its cluster's centre, ``[B]``."""
        return np.asarray(np.sqrt(np.maximum(self._squared_distances(embedding).min(axis=1), 0.0)))

    def _squared_distances(self, embedding: Floats) -> Floats:
        points = embedding.astype(np.float64)
        return np.asarray((points**2).sum(axis=1)[:, None] + (self.centres**2).sum(axis=1) - 2.0 * points @ self.centres.T)


@attrs.frozen(eq=False)
class RidgeExpert:
    """A linear function of the embedding, in checkpoints of earlier versions."""

    kind: ClassVar[str] = "ridge"
    coefficients: Floats
    intercepts: Floats

    def __call__(self, embedding: Floats) -> Floats:
        """Return expected quality ``[B, M]``."""
        return np.asarray(embedding.astype(np.float64) @ self.coefficients + self.intercepts)


@attrs.frozen(eq=False)
class CategoryExpert:
    """The mean of each category, shrunken towards the candidate's mean and weighted by the predicted category probabilities."""

    kind: ClassVar[str] = "categories"
    means: Floats
    heads: HeadWeights

    @classmethod
    def fit(cls, targets: Targets, heads: HeadWeights) -> CategoryExpert:
        """Compute the means of each annotated category."""
        membership = (targets.category == np.arange(len(targets.category_names))[:, None]).astype(np.float64)
        return cls(group_means(membership, targets.quality), heads)

    def __call__(self, embedding: Floats) -> Floats:
        """Return expected quality ``[B, M]``."""
        return np.asarray(self.heads(embedding).categories @ self.means)

    def distance(self, embedding: Floats) -> Floats:
        """Return the entropy of each query's predicted category, ``[B]``."""
        categories = self.heads(embedding).categories
        return np.asarray(-(categories * np.log(np.maximum(categories, np.finfo(np.float64).tiny))).sum(axis=1))


@attrs.frozen(eq=False)
class HeadExpert:
    """The output of the quality head."""

    kind: ClassVar[str] = "head"
    heads: HeadWeights

    def __call__(self, embedding: Floats) -> Floats:
        """Return expected quality ``[B, M]``."""
        quality = self.heads(embedding).quality
        return np.empty((len(embedding), 0)) if quality is None else quality


@attrs.frozen(eq=False)
class KernelExpert:
    r"""Corrects the categories' means by kernel ridge regression on their residuals.

    For unit embeddings :math:`u`, landmarks :math:`l` and the median squared distance :math:`\rho` between landmarks,

    .. math:: \hat q_m(u) = b_m(u) + \sum_l w_{lm} k(u, l), \qquad k(u, l) = \exp(-\lVert u - l \rVert^2 / (s \rho))

    where :math:`w` minimises the squared errors plus :math:`\lambda w^\top K w`, with the kernel K of the landmarks and the noise :math:`\lambda`,
    and :math:`b` is the prediction of the categories, or the candidate's mean without categories. The correction fades away from the training rows.
    Two widths suit different numbers of rows. Landmarks are a sample of the training rows (Nyström: Williams & Seeger 2001), which bounds the time
    of a prediction. L landmarks.

    Attributes:
        landmarks: Unit rows, ``[L, D]``.
        coefficients: The weights of the landmarks, ``[L, M]``.
        width: The squared width of the kernel, ``[]``.
        means: The candidates' means, ``[M]``.
        categories: Predicts the base; None without categories.
    """

    kind: ClassVar[str]
    scale: ClassVar[float]
    """The squared width in medians of the squared distance between training rows."""
    noise: ClassVar[float]
    """The variance of an outcome's noise relative to that of the correction."""
    landmarks: NDArray[np.float32]
    coefficients: NDArray[np.float32]
    width: NDArray[np.float64]
    means: Floats
    categories: CategoryExpert | None = None

    @classmethod
    def fit(cls, embedding: Floats, quality: Floats, categories: CategoryExpert | None, seed: int) -> KernelExpert:
        """Fit the correction to N rows."""
        rows = unit_rows(embedding).astype(np.float32)
        landmarks = rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:MAX_LANDMARKS])]
        width = cls.scale * float(np.median(_squared_distances(landmarks, landmarks)))
        no_correction = np.zeros((len(landmarks), quality.shape[1]), np.float32)
        bare = cls(landmarks, no_correction, np.array(max(width, MIN_WIDTH)), candidate_means(quality), categories)
        penalty = cls.noise * bare._kernel(landmarks).astype(np.float64) + JITTER * np.eye(len(landmarks))
        coefficients = least_squares(bare._kernel(rows), quality - bare._base(embedding), penalty)
        return attrs.evolve(bare, coefficients=coefficients.astype(np.float32))

    def __call__(self, embedding: Floats) -> Floats:
        """Return expected quality ``[B, M]``."""
        return np.asarray(self._base(embedding) + in_batches(embedding, lambda rows: self._kernel(rows) @ self.coefficients))

    def _base(self, embedding: Floats) -> Floats:
        return np.tile(self.means, (len(embedding), 1)) if self.categories is None else self.categories(embedding)

    def _kernel(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the kernel of unit rows and landmarks, ``[B, L]``."""
        return np.asarray(np.exp(_squared_distances(rows, self.landmarks) / np.float32(-self.width)))


@attrs.frozen(eq=False)
class BroadExpert(KernelExpert):
    """A smooth correction, the better one for hundreds of rows."""

    kind: ClassVar[str] = "broad"
    scale: ClassVar[float] = 0.5
    noise: ClassVar[float] = 4.0


@attrs.frozen(eq=False)
class LocalExpert(KernelExpert):
    """A correction by similar rows, the better one for thousands of rows."""

    kind: ClassVar[str] = "local"
    scale: ClassVar[float] = 0.25
    noise: ClassVar[float] = 8.0


def _squared_distances(rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the squared distances of unit rows, ``[B, L]``."""
    return np.asarray(np.maximum(2 - 2 * (rows @ others.T), 0))
