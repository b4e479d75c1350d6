"""The base class of learned routers: the maximum utility with the predicted quality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_baselines.quality.examples import Examples, QualityFunction, QueryFeatures, examples_of
from aamc_sdk import Requirements
from aamc_sdk.errors import CheckpointError, DataError, EstimatesError
from aamc_sdk.interfaces import Router, Services, Training
from aamc_sdk.storage import read_arrays, under, write_arrays
from aamc_sdk.types import Dataset, Floats, Pool, RoutingRequest, Scores

FILE = "quality.npz"
ROWS_PER_BATCH = 1024
"""Rows predicted together, to bound the memory of neighbours and trees."""


@attrs.frozen(eq=False)
class TrainedQuality:
    """A trained quality function with its features and candidates.

    Attributes:
        candidates: The names of the training candidates, in order.
        features: The features of a query.
        function: Predicts their quality.
    """

    candidates: tuple[str, ...]
    features: QueryFeatures
    function: QualityFunction

    def quality(self, request: RoutingRequest) -> Floats:
        """Return the expected quality of a request's candidates, ``[B, M]``, within 0 and 1.

        An unseen candidate has the quality that the request expects, else the mean of the training candidates.
        """
        features = self.features(request)
        batches = [self.function.predict(features[start : start + ROWS_PER_BATCH]) for start in range(0, len(features), ROWS_PER_BATCH)]
        known = np.clip(np.concatenate([np.empty((0, len(self.candidates))), *batches]), 0.0, 1.0)
        expected = request.expected.known_quality
        unseen = np.where(np.isfinite(expected), expected, known.mean(axis=1, keepdims=True))
        columns = [known[:, self.candidates.index(name)] if name in self.candidates else unseen[:, m] for m, name in enumerate(request.pool.names)]
        return np.stack(columns, axis=1)


class UtilityRouter(Router):
    """Computes the reward with the quality that its function predicts.

    Attributes:
        Function: The quality function; its ``fit`` reads the router's options.
    """

    Function: ClassVar[type[QualityFunction]]
    requires = Requirements(outcomes=True, training=True, cheap_rescoring=True)

    def __init__(self, config: Any, services: Services) -> None:
        super().__init__(config, services)
        self.learned: TrainedQuality | None = None

    @property
    def name(self) -> str:
        """The name in messages."""
        return type(self).__name__.lower()

    def train(self, training: Training) -> dict[str, Any]:
        """Fit the function to a table of outcomes, which may have missing cells.

        Returns:
            The mean squared error of the expected quality on validation rows, and that of the candidates' training means. For
            comparisons alone, the share of comparisons with the predicted winner.

        Raises:
            DataError: There are no outcomes or comparisons.
            EstimatesError: The request is missing, or its embedding is not finite.
        """
        if training.request is None:
            raise EstimatesError(f"{self.name} needs the training rows as a router sees them (Training.request)")
        features = QueryFeatures.fit(training.request)
        pool = training.dataset.pool or self.services.pool
        examples = examples_of(training.dataset, pool, features(training.request))
        compared = len(examples.comparisons) and not self.requires.outcomes
        if not (examples.known.any() or compared):
            raise DataError(f"{self.name} learns from outcomes, and no training row has one; use an environment or dataset that gives them")
        self.learned = TrainedQuality(pool.names, features, self.fit(examples))
        return self._validation_figures(examples.means, training.validation, training.validation_request)

    def fit(self, examples: Examples) -> QualityFunction:
        """Return the function, fitted to training rows."""
        return self.Function.fit(examples, self.config, self.services.seed)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> QualityFunction:
        """Return the function of saved arrays.

        Raises:
            TypeError: The arrays belong to another function.
        """
        return self.Function(**arrays)

    def _validation_figures(self, means: Floats, validation: Dataset | None, request: RoutingRequest | None) -> dict[str, Any]:
        learned = self.learned
        if validation is None or validation.pool is None or request is None or learned is None or validation.pool.names != learned.candidates:
            return {}
        if validation.outcomes is None:
            return _votes_predicted(learned, validation, validation.pool, request)
        quality = validation.outcomes.known_quality
        known = np.isfinite(quality)
        if request.pool.names != learned.candidates or not known.any():
            return {}
        predictions = {"validation_error": learned.quality(request), "validation_error_of_means": np.tile(means, (len(quality), 1))}
        return {name: float(((predicted - quality)[known] ** 2).mean()) for name, predicted in predictions.items()}

    def score(self, request: RoutingRequest) -> Scores:
        """Return the utility with the predicted quality.

        Raises:
            EstimatesError: The router was not trained, or the embedding's width differs from that in training.
        """
        return self._scores(request, self._quality(request))

    def score_each(self, request: RoutingRequest, preferences: Floats) -> Iterator[Scores]:
        """Predict the quality once, and score it under each preference."""
        quality = self._quality(request)
        for preference in preferences:
            yield self._scores(request.with_preference(preference), quality)

    def _quality(self, request: RoutingRequest) -> Floats:
        if self.learned is None:
            raise EstimatesError(f"{self.name} is not trained; train it first (aamc train --router {self.name}) or give a run that has it")
        return self.learned.quality(request)

    def _scores(self, request: RoutingRequest, quality: Floats) -> Scores:
        expected = attrs.evolve(request.expected, quality=quality)
        return Scores(self.services.reward.scalar(expected, request.preferences), expected_quality=quality)

    def save(self, folder: Path) -> None:
        """Write the trained function, if there is one."""
        if self.learned is None:
            return
        features = {f"features/{name}": array for name, array in attrs.asdict(self.learned.features, recurse=False).items()}
        function = {f"function/{name}": array for name, array in self.learned.function.arrays().items()}
        write_arrays(folder / FILE, {"candidates": np.array(self.learned.candidates, dtype=np.str_), **features, **function})

    def load(self, folder: Path) -> None:
        """Read a trained function.

        Raises:
            CheckpointError: The file is missing, damaged or from another router.
        """
        saved = read_arrays(folder / FILE)
        try:
            candidates = tuple(saved["candidates"].tolist())
            self.learned = TrainedQuality(candidates, QueryFeatures(**under("features/", saved)), self.restore(under("function/", saved)))
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{folder / FILE} does not hold what {self.name} learns ({error}); train again") from error


def _votes_predicted(learned: TrainedQuality, validation: Dataset, pool: Pool, request: RoutingRequest) -> dict[str, Any]:
    features = learned.features(request)
    pairs = examples_of(validation, pool, features).comparisons
    decided = pairs.won == 1.0  # a tie has no winner
    if not decided.any():
        return {}
    quality = learned.function.predict(features)
    lead = quality[pairs.row, pairs.winner] - quality[pairs.row, pairs.loser]
    return {"validation_votes_predicted": float((lead > 0)[decided].mean())}
