"""The base class of estimators that learn from a text's embedding."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from aamc_lexical.config import LearningConfig
from aamc_lexical.text_length import with_length
from aamc_sdk.errors import EstimatesError
from aamc_sdk.interfaces import Estimator, NoProgress, Progress, Services, Training
from aamc_sdk.types import AnswerLengths, Estimates, Floats, Pool, Query, read_only

if TYPE_CHECKING:
    from aamc_lexical.trained_estimator import TrainedEstimator
    from aamc_lexical.training.cross_fitting import TrainingResult
    from aamc_lexical.training.training_rows import TrainingRows

REMEMBERED_ESTIMATES = 10_000
MAX_REMEMBERED_CHARACTERS = 4_000
"""Longer texts are not remembered, to bound the memory."""


class EmbeddingEstimator(Estimator):
    """Heads and quality experts on an embedding; thread-safe once it is trained or loaded.

    Attributes:
        name: The name in messages and fingerprints.
    """

    name: ClassVar[str]
    config: LearningConfig

    def __init__(self, config: LearningConfig, services: Services) -> None:
        super().__init__(config, services)
        self._learned: TrainedEstimator | None = None
        self._out_of_fold: Floats | None = None
        self._out_of_fold_tokens: Floats | None = None
        self._resemblance: tuple[TrainedEstimator, Pool, Floats] | None = None
        self._remembered = lru_cache(REMEMBERED_ESTIMATES)(self._estimate_alone)

    @abc.abstractmethod
    def _learn(self, data: TrainingRows) -> TrainingResult:
        """Train the embedding, if it is trainable, then the heads and experts."""

    @abc.abstractmethod
    def _encode(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        """Return the encoder's embeddings, ``[B, W]``."""

    def train(self, training: Training) -> Mapping[str, Any]:
        """Train every head that has labels and, with outcomes, the expected quality.

        Returns:
            Validation metrics (complexity MAE and RMSE, category accuracy and macro F1, tool-use accuracy and AUC, Brier score of
            the quality), the weights and slopes of the blend, and the losses of each epoch.

        Raises:
            AamcError: The embedding model cannot be loaded.
            DataError: There is no training row.
        """
        from aamc_lexical.heads.head_metrics import scores
        from aamc_lexical.training.training_rows import TrainingRows

        data = TrainingRows.of(self.config, training, self.services.seed)
        result = self._learn(data)
        learned = self._learned = result.learned
        self._out_of_fold, self._out_of_fold_tokens = result.out_of_fold, result.out_of_fold_tokens
        self._remembered.cache_clear()
        metrics: dict[str, Any] = {"curve": result.curve}
        if learned.blend is not None:
            metrics |= learned.blend.figures()
        if training.validation is not None and data.validation_targets is not None:
            estimates = self._estimate(training.validation.queries, training.progress)
            pool = training.dataset.pool
            quality = None if learned.blend is None or pool is None else self.quality(estimates, pool.subset(data.targets.candidates))
            metrics |= {f"validation_{name}": value for name, value in scores(estimates, quality, data.validation_targets).items()}
        return metrics

    def estimate(self, queries: Sequence[Query]) -> Estimates:
        """Estimate B queries; NaN, or no category, for heads without training labels.

        The estimates of a single text are cached, unless it is long, and shared, so their arrays are read-only.

        Raises:
            EstimatesError: The estimator has not been trained.
            CheckpointError: The embedding model is not the one of the training.
            ConfigError: A library of the embedding model is not installed.
        """
        if len(queries) == 1 and len(queries[0].text) <= MAX_REMEMBERED_CHARACTERS:
            return self._remembered(queries[0].text)
        return self._estimate(queries, NoProgress())

    def embed(self, texts: Sequence[str]) -> Floats | None:
        """Return the embeddings ``[N, D]`` of texts, the same as in the estimates of queries.

        Raises:
            EstimatesError: The estimator has not been trained.
            CheckpointError: The embedding model is not the one of the training.
            ConfigError: A library of the embedding model is not installed.
        """
        return self.estimate([Query(text) for text in texts]).embedding

    def quality(self, estimates: Estimates, pool: Pool) -> Floats | None:
        """Return the expected quality ``[B, M]`` of any pool; None if training had no outcomes.

        Candidates are recognised by name. The quality of an unseen candidate comes from known ones with a similar description and price.

        Raises:
            EstimatesError: The estimates come from another estimator.
        """
        learned = self._learned
        if learned is None or learned.blend is None:
            return None
        return np.asarray(learned.blend(self._embedding(estimates)) @ self._weights(learned, pool).T)

    def answer_lengths(self, estimates: Estimates, pool: Pool) -> AnswerLengths | None:
        """Return the expected lengths of the answers for any pool; None if training had no lengths.

        Raises:
            EstimatesError: The estimates come from another estimator.
        """
        learned = self._learned
        if learned is None or learned.lengths is None:
            return None
        return learned.answer_lengths(learned.lengths(self._embedding(estimates)), pool)

    def out_of_fold_lengths(self, pool: Pool) -> AnswerLengths | None:
        """Return the expected lengths of the training rows' answers, each from models fitted without it; None unless just trained."""
        tokens = self._out_of_fold_tokens
        return None if tokens is None else self._trained().answer_lengths(tokens, pool)

    def out_of_fold(self) -> Floats | None:
        """Return the expected quality ``[N, M]`` of the training rows, each from parts fitted without it; None unless just trained."""
        return self._out_of_fold

    def save(self, folder: Path) -> None:
        """Write the trained parts.

        Raises:
            EstimatesError: The estimator has not been trained.
        """
        self._trained().save(folder)

    def load(self, folder: Path) -> None:
        """Read a saved estimator.

        Raises:
            CheckpointError: The checkpoint is missing or damaged.
        """
        from aamc_lexical.trained_estimator import TrainedEstimator

        self._learned, self._out_of_fold, self._out_of_fold_tokens = TrainedEstimator.load(folder), None, None
        self._remembered.cache_clear()

    def _estimate_alone(self, text: str) -> Estimates:
        estimates = self._estimate([Query(text)], NoProgress())
        for array in (estimates.complexity, estimates.categories, estimates.tool_use, estimates.embedding):
            if array is not None:
                read_only(array)
        return estimates

    def _estimate(self, queries: Sequence[Query], progress: Progress) -> Estimates:
        learned = self._trained()
        texts = [query.text for query in queries]
        encoded = self._encode(texts, progress)
        embedding = with_length(encoded if learned.projection is None else learned.projection(encoded), texts, learned.text_length)
        outputs = learned.heads(embedding)
        found = (outputs.complexity, outputs.categories, learned.category_names, outputs.tool_use)
        return Estimates(*found, embedding, self._fingerprint(learned))

    def _weights(self, learned: TrainedEstimator, pool: Pool) -> Floats:
        """Return the weight of each known candidate for each candidate of a pool, ``[M, K]``, cached for the last pool.

        A race between threads computes it twice.
        """
        kept = self._resemblance
        if kept is None or kept[0] is not learned or kept[1] is not pool:
            kept = self._resemblance = (learned, pool, learned.weights(pool, self._encode))
        return kept[2]

    def _embedding(self, estimates: Estimates) -> Floats:
        """Return the embedding of estimates after checking that they are this estimator's; only the width is checked if they do not say."""
        learned = self._trained()
        expected = f"{self.name} expects quality from its own estimates"
        found = None if estimates.embedding is None else np.shape(estimates.embedding)[1]
        if estimates.embedding is None or found != learned.width:
            raise EstimatesError(f"{expected}, with embeddings of width {learned.width}, not {found}")
        if estimates.fingerprint not in ("", self._fingerprint(learned)):
            raise EstimatesError(f"{expected}, {self._fingerprint(learned)}, not those of {estimates.fingerprint}")
        return estimates.embedding

    def _fingerprint(self, learned: TrainedEstimator) -> str:
        return f"{self.name}:{learned.fingerprint}"

    def _trained(self) -> TrainedEstimator:
        if self._learned is None:
            how = f"train it with: aamc train --estimator {self.name}; then give its folder by --estimator FOLDER"
            raise EstimatesError(f"the estimator {self.name} has not been trained; {how}")
        return self._learned
