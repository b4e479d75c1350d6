"""The classifier of ``supervised``: predicts the best candidate from the query and the preference.

Multinomial logistic regression predicts the candidate with the maximum utility. Its inputs are the query's features z (numbers,
category probabilities, principal components of the embedding), multiplied by the weight of quality, and the preference itself:

    x = (w_q z, w, log((w_c + e) / (w_q + e)), log((w_l + e) / (w_q + e)))

At w_q = 0, where all queries have the same best candidate, the inputs depend on the preference only.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from aamc_sdk.config import option
from aamc_sdk.errors import EstimatesError
from aamc_sdk.routing import encode_queries
from aamc_sdk.types import Estimates, Floats, RoutingRequest

WEIGHT_FLOOR = 1e-3
"""The e of the inputs, which keeps the logarithm of a zero weight finite."""


@attrs.frozen(kw_only=True)
class Options:
    """Options of ``supervised``."""

    components: int = option(32, "Principal components of the embedding in the inputs.", at_least=0)
    samples: int = option(40_000, "Training examples: pairs of a query and a preference.", at_least=1)
    regularization: float = option(1e-4, "L2 penalty on the coefficients, per example.", above=0)


@attrs.frozen(eq=False, kw_only=True)
class Classifier:
    """A trained classifier: K classes, C categories, D embedding width, F features of a query.

    Attributes:
        classes: Names of the candidates that were best in at least one example, ``[K]``.
        categories: The categories' names, ``[C]``.
        projection: From the embedding to its principal components, ``[D, components]``.
        center: Means of the query's features, ``[F]``.
        spread: Standard deviations of the features, ``[F]``.
        coefficients: ``[K, F + 5]``.
        intercepts: ``[K]``.
    """

    classes: np.ndarray[Any, np.dtype[np.str_]]
    categories: np.ndarray[Any, np.dtype[np.str_]]
    projection: Floats
    center: Floats
    spread: Floats
    coefficients: Floats
    intercepts: Floats


def query_features(request: RoutingRequest, categories: tuple[str, ...], projection: Floats) -> Floats:
    """Return the query's features before standardisation, ``[B, F]``.

    Raises:
        EstimatesError: The embedding has another width than in training.
    """
    features = encode_queries(request.queries, request.estimates, categories).astype(np.float64)
    if not projection.size:
        return features
    embedding = _embedding(request.estimates, len(projection))
    return np.column_stack((features, embedding @ projection))


def _embedding(estimates: Estimates, width: int) -> Floats:
    embedding = estimates.embedding
    if embedding is None or embedding.shape[1] != width:
        got = "none" if embedding is None else f"one of width {embedding.shape[1]}"
        raise EstimatesError(f"supervised was trained with an embedding of width {width} and got {got}; use the estimator that it was trained with")
    return embedding


def inputs(features: Floats, preferences: Floats) -> Floats:
    """Return the classifier's inputs from standardised features ``[B, F]`` and preferences ``[B, 3]``: ``[B, F + 5]``."""
    floored = preferences + WEIGHT_FLOOR
    ratios = np.log(floored[:, 1:] / floored[:, :1])
    return np.column_stack((preferences[:, :1] * features, preferences, ratios))


def logits(classifier: Classifier, request: RoutingRequest) -> Floats:
    """Return the logit of each candidate of the request to be the best, ``[B, M]``."""
    features = query_features(request, tuple(classifier.categories.tolist()), classifier.projection)
    standard = (features - classifier.center) / classifier.spread
    by_class = inputs(standard, request.preferences) @ classifier.coefficients.T + classifier.intercepts
    never_best = by_class.min(axis=1, keepdims=True) - 1.0
    known = {name: k for k, name in enumerate(classifier.classes.tolist())}
    columns = [by_class[:, [known[name]]] if name in known else never_best for name in request.pool.names]
    return np.concatenate(columns, axis=1)
