"""The router ``supervised``: a classifier predicts the best candidate from the query and the preference.

Multinomial logistic regression predicts the candidate with the maximum utility. Its inputs are the query's features z (numbers,
category probabilities, principal components of the embedding), multiplied by the weight of quality, and the preference itself:

    x = (w_q z, w, log((w_c + e) / (w_q + e)), log((w_l + e) / (w_q + e)))

At w_q = 0, where all queries have the same best candidate, the inputs depend on the preference only.

The weight of a training example, a query under a drawn preference, is the utility of the best candidate minus that of the average one. Candidates
without an outcome are left out. Only training needs scikit-learn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.config import option
from aamc_sdk.errors import CheckpointError, DataError, EstimatesError
from aamc_sdk.interfaces import Requirements, Reward, Router, Services, Training
from aamc_sdk.routing import encode_queries
from aamc_sdk.storage import read_arrays, write_arrays
from aamc_sdk.types import Dataset, Floats, RoutingRequest, Scores

FILE = "classifier.npz"
WEIGHT_FLOOR = 1e-3
"""The e of the inputs, which keeps the logarithm of a zero weight finite."""
ITERATIONS, TOLERANCE = 500, 1e-3
MIN_RATIO, MAX_RATIO = 0.003, 10.0
"""The range of the ratio of cost weight to quality weight for half of the training preferences."""
TIE = 1e-6
"""Utility of the full range of cost, which makes the cheaper of equally good candidates the best."""


@attrs.frozen(kw_only=True)
class SupervisedOptions:
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

    classes: NDArray[np.str_]
    categories: NDArray[np.str_]
    projection: Floats
    center: Floats
    spread: Floats
    coefficients: Floats
    intercepts: Floats


def query_features(request: RoutingRequest, categories: tuple[str, ...], projection: Floats) -> Floats:
    """Return the query's features before standardisation, ``[B, F]``.

    Raises:
        EstimatesError: The embedding's width differs from that in training.
    """
    features = encode_queries(request.queries, request.estimates, categories).astype(np.float64)
    if not projection.size:
        return features
    embedding, width = request.estimates.embedding, len(projection)
    if embedding is None or embedding.shape[1] != width:
        got = "none" if embedding is None else f"one of width {embedding.shape[1]}"
        raise EstimatesError(f"supervised was trained with an embedding of width {width} and got {got}; use the estimator that it was trained with")
    return np.column_stack((features, embedding @ projection))


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


class Supervised(Router):
    """Chooses the candidate that the classifier ranks first; unseen candidates rank last."""

    Config = SupervisedOptions
    requires = Requirements(outcomes=True, comparisons=True, training=True, cheap_rescoring=True)

    def __init__(self, config: Any, services: Services) -> None:
        super().__init__(config, services)
        self.classifier: Classifier | None = None

    def train(self, training: Training) -> dict[str, Any]:
        """Fit the classifier on a table of outcomes.

        Raises:
            DataError: The training data has no outcomes.
        """
        self.classifier = fit(training, self.config, self.services)
        return accuracy(self.classifier, training, self.config, self.services)

    def score(self, request: RoutingRequest) -> Scores:
        """Return each candidate's logit of being the best.

        Raises:
            EstimatesError: The router was not trained, or the embedding's width differs from that in training.
        """
        if self.classifier is None:
            raise EstimatesError("supervised is not trained; train it first (aamc train --router supervised) or give a run that has it")
        return Scores(logits(self.classifier, request))

    def save(self, folder: Path) -> None:
        """Write the classifier, if there is one."""
        if self.classifier is not None:
            write_arrays(folder / FILE, attrs.asdict(self.classifier, recurse=False))

    def load(self, folder: Path) -> None:
        """Read the classifier.

        Raises:
            CheckpointError: The file is missing or damaged.
        """
        saved = read_arrays(folder / FILE)
        try:
            self.classifier = Classifier(**saved)
        except TypeError as error:
            raise CheckpointError(f"{folder / FILE} does not hold a classifier ({error}); train again") from error


def fit(training: Training, options: SupervisedOptions, services: Services) -> Classifier:
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


def accuracy(classifier: Classifier, training: Training, options: SupervisedOptions, services: Services) -> dict[str, Any]:
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
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # it ships no types

    model = LogisticRegression(C=1 / (regularization * len(x)), max_iter=ITERATIONS, tol=TOLERANCE)
    model.fit(x, examples.best, sample_weight=examples.stake / examples.stake.mean())
    if classes == 2:  # scikit-learn returns only the second class's row
        return np.vstack((np.zeros_like(model.coef_), model.coef_)), np.concatenate(([0.0], model.intercept_))
    return model.coef_, model.intercept_
