"""Training of the classifier of ``supervised``, the only part that needs scikit-learn.

The weight of an example is the utility of the best candidate minus that of the average one. Candidates without an outcome are left out.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # it ships no types

from aamc_baselines.supervised.classifier import Classifier, Options, inputs, logits, query_features
from aamc_sdk.errors import DataError, EstimatesError
from aamc_sdk.interfaces import Reward, Services, Training
from aamc_sdk.types import Dataset, Floats, RoutingRequest

ITERATIONS, TOLERANCE = 500, 1e-3
MIN_RATIO, MAX_RATIO = 0.003, 10.0
"""The range of the ratio of cost weight to quality weight for half of the training preferences."""
TIE = 1e-6
"""Utility of the full range of cost, which makes the cheaper of equally good candidates the best."""


def fit(training: Training, options: Options, services: Services) -> Classifier:
    """Fit the classifier to the best candidates of training rows under drawn preferences.

    Raises:
        DataError: There is no row with a known outcome.
        EstimatesError: The request is missing.
    """
    if training.request is None:
        raise EstimatesError("supervised needs the training rows as a router sees them (Training.request)")
    rng = np.random.default_rng(services.seed)
    categories = training.request.estimates.category_names
    projection = _principal_components(training.request.estimates.embedding, options.components)
    examples = _examples(training.request, training.dataset, options.samples, services.reward, rng)
    features = query_features(examples.request, categories, projection)
    center, spread = features.mean(axis=0), features.std(axis=0)
    spread[spread < 1e-9] = 1.0
    x = inputs((features - center) / spread, examples.request.preferences)
    coefficients, intercepts = _regress(x, examples, options.regularization)
    return Classifier(
        classes=np.array(training.request.pool.names)[np.unique(examples.best)],
        categories=np.array(categories, dtype=np.str_),
        projection=projection,
        center=center,
        spread=spread,
        coefficients=coefficients,
        intercepts=intercepts,
    )


def accuracy(classifier: Classifier, training: Training, options: Options, services: Services) -> dict[str, Any]:
    """Return the accuracy of the classifier on training and validation rows, among candidates with known outcomes.

    A split without outcomes has no figure.
    """
    splits = {"train": (training.request, training.dataset), "validation": (training.validation_request, training.validation)}
    figures: dict[str, Any] = {}
    for split, (request, dataset) in splits.items():
        if request is None or dataset is None or not _usable(request, dataset).any():
            continue
        rng = np.random.default_rng((services.seed, 1))
        examples = _examples(request, dataset, min(options.samples, 10 * len(request)), services.reward, rng)
        named = np.where(examples.request.mask, logits(classifier, examples.request), -np.inf).argmax(axis=1)
        figures[f"{split}_accuracy"] = float((named == examples.best).mean())
    return figures


@attrs.frozen(eq=False)
class _Examples:
    """Pairs of a query and a preference: the request, the best candidate ``[N]`` and the weight ``[N]``.

    The request's mask allows only candidates with known outcomes.
    """

    request: RoutingRequest
    best: NDArray[np.intp]
    stake: Floats


def _examples(request: RoutingRequest, dataset: Dataset, samples: int, reward: Reward, rng: np.random.Generator) -> _Examples:
    """Pair rows that have an outcome with sampled preferences; only allowed candidates with known outcomes can be the best."""
    usable = _usable(request, dataset)
    rows = np.flatnonzero(usable.any(axis=1))
    if dataset.outcomes is None or not rows.size:
        raise DataError("supervised learns from outcomes, and no training row has one; use an environment or dataset that gives them")
    rows = rng.permutation(np.resize(rows, samples))
    seen = attrs.evolve(request.take(rows), preferences=sample_preferences(samples, rng), mask=usable[rows])
    outcomes = dataset.outcomes.take(rows)
    relative_cost = outcomes.cost_usd / max(float(np.nanmax(outcomes.cost_usd)), np.finfo(float).tiny)
    utility = np.where(seen.mask, reward.scalar(outcomes, seen.preferences) - TIE * relative_cost, -np.inf)
    best = utility.argmax(axis=1)
    average = np.where(seen.mask, utility, 0.0).sum(axis=1) / seen.mask.sum(axis=1)
    return _Examples(seen, best, utility[np.arange(samples), best] - average + TIE)


def _usable(request: RoutingRequest, dataset: Dataset) -> NDArray[np.bool_]:
    """Return whether each candidate is allowed and has an outcome, ``[Q, M]``."""
    known = np.False_ if dataset.outcomes is None else dataset.outcomes.known
    return np.asarray(request.mask & known)


def sample_preferences(count: int, rng: np.random.Generator) -> Floats:
    """Return preferences ``[count, 3]``: half uniform on the simplex, half of quality and cost with log-uniform ratios."""
    anywhere = rng.dirichlet(np.ones(3), size=count)
    ratios = np.exp(rng.uniform(np.log(MIN_RATIO), np.log(MAX_RATIO), size=count))
    on_edge = np.column_stack((np.ones(count), ratios, np.zeros(count))) / (1 + ratios)[:, None]
    return np.where(rng.random((count, 1)) < 0.5, anywhere, on_edge)


def _principal_components(embedding: Floats | None, count: int) -> Floats:
    """Return the directions of maximum variance, ``[D, count]``; an empty array without an embedding."""
    if embedding is None or not count:
        return np.empty((0, 0))
    centered = embedding.astype(np.float64) - embedding.mean(axis=0)
    _, directions = np.linalg.eigh(centered.T @ centered)
    return directions[:, ::-1][:, :count]


def _regress(x: Floats, examples: _Examples, regularization: float) -> tuple[Floats, Floats]:
    """Return the coefficients ``[K, F]`` and intercepts ``[K]`` of the classes that occur."""
    classes = len(np.unique(examples.best))
    if classes == 1:  # a single class needs no fit
        return np.zeros((1, x.shape[1])), np.zeros(1)
    model = LogisticRegression(C=1 / (regularization * len(x)), max_iter=ITERATIONS, tol=TOLERANCE)
    model.fit(x, examples.best, sample_weight=examples.stake / examples.stake.mean())
    if classes == 2:  # scikit-learn returns only the second class's row
        return np.vstack((np.zeros_like(model.coef_), model.coef_)), np.concatenate(([0.0], model.intercept_))
    return model.coef_, model.intercept_
