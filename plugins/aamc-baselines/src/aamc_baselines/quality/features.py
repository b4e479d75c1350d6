"""The features of queries and the examples of training rows, as arrays for quality functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_baselines.quality.examples import Comparisons, Examples
from aamc_sdk.errors import EstimatesError
from aamc_sdk.routing import encode_queries
from aamc_sdk.types import Dataset, Experience, Floats, Pool, RoutingRequest, question, votes

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
            EstimatesError: The embedding is missing, not finite or of another width than in training.
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

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return its arrays by field name."""
        return attrs.asdict(self, recurse=False)


def examples_of(dataset: Dataset, pool: Pool, features: Floats) -> Examples:
    """Return the examples of training rows: outcomes of the M candidates and comparisons between them, with features ``[N, D]``."""
    numbers: dict[str, int] = {}
    asked = np.array([numbers.setdefault(question(query), len(numbers)) for query in dataset.queries], dtype=np.intp)
    unknown = np.full((len(dataset), len(pool)), np.nan)
    quality = unknown if dataset.outcomes is None else dataset.outcomes.known_quality
    _, first = np.unique(asked, return_index=True)
    rows = {text: int(first[number]) for text, number in numbers.items()}
    comparisons = Comparisons.none() if dataset.experience is None else _comparisons(dataset.experience, pool.names, rows)
    return Examples(features, quality, asked, comparisons)


def _comparisons(experience: Experience, names: Sequence[str], rows: dict[str, int]) -> Comparisons:
    """Return the log's comparisons of known candidates on training questions, without held-out questions of the log."""
    found = [
        (rows[text], names.index(vote.winner), names.index(vote.loser), vote.won, vote.weight)
        for vote in votes(experience)
        if (text := question(vote.query)) in rows and vote.winner in names and vote.loser in names
    ]
    return Comparisons(*(np.array(column) for column in zip(*found, strict=True))) if found else Comparisons.none()
