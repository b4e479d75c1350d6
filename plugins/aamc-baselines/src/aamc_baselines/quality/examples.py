"""The features of queries, training examples, and the base class of functions from features to each candidate's quality.

N training rows, B queries, D features, M candidates, K comparisons. A cell without an outcome is NaN and is left out.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from aamc_experiments.typical_outcomes import votes
from aamc_lexical.quality import Questions
from numpy.typing import NDArray

from aamc_sdk.errors import EstimatesError
from aamc_sdk.routing import encode_queries
from aamc_sdk.types import Dataset, Experience, Floats, Pool, Query, RoutingRequest, normalized_text

Indices = NDArray[np.intp]
MIN_DEVIATION = 1e-9
"""Features with a smaller standard deviation are not scaled."""


@attrs.frozen(eq=False)
class QueryFeatures:
    """The features of a query: its embedding, or without one its numbers and category probabilities.

    All features are divided by one number, which preserves the distances of an embedding.

    Attributes:
        embedded: Whether the features are the embedding, ``[]``.
        categories: The names of the categories, used without an embedding.
        center: The training means of the features, ``[D]``.
        scale: The root of their mean variance, ``[]``.
    """

    embedded: NDArray[np.bool_]
    categories: NDArray[np.str_]
    center: Floats
    scale: Floats

    @classmethod
    def fit(cls, request: RoutingRequest) -> QueryFeatures:
        """Fit the features to the training rows.

        Raises:
            EstimatesError: An embedding is not finite.
        """
        estimates = request.estimates
        bare = cls(np.array(estimates.embedding is not None), np.array(estimates.category_names, dtype=np.str_), np.zeros(()), np.ones(()))
        features = bare._raw(request)
        deviation = float(np.sqrt(features.var(axis=0).mean()))
        scale = deviation if deviation > MIN_DEVIATION else 1.0
        return attrs.evolve(bare, center=features.mean(axis=0), scale=np.array(scale))

    def __call__(self, request: RoutingRequest) -> Floats:
        """Return the features of a request's queries, ``[B, D]``.

        Raises:
            EstimatesError: The embedding is missing, not finite, or its width differs from that in training.
        """
        features = self._raw(request)
        if features.shape[1] != len(self.center):
            expected, got = len(self.center), features.shape[1]
            raise EstimatesError(f"this router was trained with an embedding of width {expected} and got {got}; use the estimator of its training")
        return np.asarray((features - self.center) / self.scale)

    def _raw(self, request: RoutingRequest) -> Floats:
        if not self.embedded:
            return encode_queries(request.queries, request.estimates, tuple(self.categories.tolist())).astype(np.float64)
        embedding = request.estimates.embedding
        if embedding is None:
            raise EstimatesError("this router was trained with an embedding and got none; use the estimator of its training (--estimator NAME)")
        finite = np.isfinite(embedding).all(axis=1)
        if not finite.all():
            raise EstimatesError(f"the embedding of query {int((~finite).argmax())} has NaN or infinite numbers; repair the estimator")
        return embedding.astype(np.float64)


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
        questions: The rows' questions.
        comparisons: Comparisons, for functions that learn from them.
    """

    features: Floats
    quality: Floats
    questions: Questions
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
        return Examples(self.features[rows], self.quality[rows], self.questions.take(rows), self.comparisons.take(rows, len(self)))


def examples_of(dataset: Dataset, pool: Pool, features: Floats) -> Examples:
    """Return the examples of training rows: outcomes of the M candidates and comparisons between them, with features ``[N, D]``."""
    unknown = np.full((len(dataset), len(pool)), np.nan)
    quality = unknown if dataset.outcomes is None else dataset.outcomes.known_quality
    comparisons = Comparisons.none() if dataset.experience is None else _comparisons(dataset.experience, pool.names, dataset.queries)
    return Examples(features, quality, Questions.of(dataset), comparisons)


def _comparisons(experience: Experience, names: Sequence[str], queries: Sequence[Query]) -> Comparisons:
    """Return the log's comparisons of known candidates on training questions, each at its first row, without held-out questions of the log."""
    rows = {normalized_text(query.text): row for row, query in reversed([*enumerate(queries)])}
    found = [
        (rows[text], names.index(vote.winner), names.index(vote.loser), vote.won, vote.weight)
        for vote in votes(experience)
        if (text := normalized_text(vote.query.text)) in rows and vote.winner in names and vote.loser in names
    ]
    return Comparisons(*(np.array(column) for column in zip(*found, strict=True))) if found else Comparisons.none()


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
