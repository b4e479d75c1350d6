"""What estimators have in common that read a text's embedding: they differ in where it comes from."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from aamc_lexical.config import LearningConfig
from aamc_sdk.arithmetic import read_only
from aamc_sdk.batch import Estimates, Floats
from aamc_sdk.errors import EstimatesError
from aamc_sdk.interfaces import Estimator, Progress, Services, Silence, Training
from aamc_sdk.types import Pool, Query

if TYPE_CHECKING:
    from aamc_lexical.trained_estimator import TrainedEstimator
    from aamc_lexical.training.cross_fitting import TrainingResult
    from aamc_lexical.training.training_rows import TrainingRows

REMEMBERED_ESTIMATES = 10_000
MAX_REMEMBERED_CHARACTERS = 4_000
"""Characters of the longest text that is remembered, so that many long ones do not fill the memory."""


class EmbeddingEstimator(Estimator):
    """Heads and experts of quality on an embedding; safe to use from several threads once it is trained or loaded.

    Attributes:
        name: How messages and fingerprints call it.
    """

    name: ClassVar[str]
    config: LearningConfig

    def __init__(self, config: LearningConfig, services: Services) -> None:
        super().__init__(config, services)
        self._learned: TrainedEstimator | None = None
        self._out_of_fold: Floats | None = None
        self._resemblance: tuple[TrainedEstimator, Pool, Floats] | None = None
        self._remembered = lru_cache(REMEMBERED_ESTIMATES)(self._estimate_alone)

    @abc.abstractmethod
    def _learn(self, data: TrainingRows) -> TrainingResult:
        """Learn what embeds texts, where it is to be learned, then all else."""

    @abc.abstractmethod
    def _embed(self, texts: Sequence[str], progress: Progress) -> Floats:
        """Return the embeddings ``[B, D]`` that heads and experts read."""

    @abc.abstractmethod
    def _describe(self, pool: Pool) -> Floats:
        """Return the embedding of each candidate's description, ``[M, W]``, NaN where it has none."""

    def train(self, training: Training) -> Mapping[str, Any]:
        """Train every head that has labels, and with outcomes the expected quality.

        Returns:
            Figures of the validation rows (complexity MAE and RMSE, category accuracy and macro F1, tool-use accuracy
            and AUC, quality's Brier score), the blend's weights and how it is trusted, and the curve by epoch.

        Raises:
            AamcError: What embeds texts cannot be had.
            DataError: There is no training row.
        """
        from aamc_lexical.heads.head_metrics import scores
        from aamc_lexical.training.training_rows import TrainingRows

        data = TrainingRows.of(self.config, training, self.services.seed)
        result = self._learn(data)
        learned = self._learned = result.learned
        self._out_of_fold = result.out_of_fold
        self._remembered.cache_clear()
        metrics: dict[str, Any] = {"curve": result.curve}
        if learned.blend is not None:
            metrics |= learned.blend.figures()
        if training.validation is not None and data.validation_targets is not None:
            estimates = self._estimate(training.validation.queries, training.progress)
            quality = None if learned.blend is None else learned.blend(self._embedding(estimates))
            metrics |= {f"validation_{name}": value for name, value in scores(estimates, quality, data.validation_targets).items()}
        return metrics

    def estimate(self, queries: Sequence[Query]) -> Estimates:
        """Describe B queries; NaN, or no category, where there were no labels to learn from.

        What is said of a text alone is remembered, unless that is long, and shared, so its arrays are read-only.

        Raises:
            EstimatesError: The estimator has not been trained.
            CheckpointError: What embeds texts is not what it was trained with.
            ConfigError: A library is not installed that embeds texts.
        """
        if len(queries) == 1 and len(queries[0].text) <= MAX_REMEMBERED_CHARACTERS:
            return self._remembered(queries[0].text)
        return self._estimate(queries, Silence())

    def quality(self, estimates: Estimates, pool: Pool) -> Floats | None:
        """Return the expected quality ``[B, M]`` of any pool, or None when there were no outcomes to learn from.

        A candidate that is known by name is what it is known to be; another is expected to do as those do that
        resemble it in description and price.

        Raises:
            EstimatesError: The estimates are another estimator's.
        """
        learned = self._trained()
        if learned.blend is None:
            return None
        return np.asarray(learned.blend(self._embedding(estimates)) @ self._weights(learned, pool).T)

    def out_of_fold(self) -> Floats | None:
        """Return each training row's expected quality ``[N, M]`` from parts that were not fitted on it; None unless just trained."""
        return self._out_of_fold

    def save(self, folder: Path) -> None:
        """Write what was learned.

        Raises:
            EstimatesError: There is nothing to save yet.
        """
        self._trained().save(folder)

    def load(self, folder: Path) -> None:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: It is missing or damaged.
        """
        from aamc_lexical.trained_estimator import TrainedEstimator

        self._learned, self._out_of_fold = TrainedEstimator.load(folder), None
        self._remembered.cache_clear()

    def _estimate_alone(self, text: str) -> Estimates:
        estimates = self._estimate([Query(text)], Silence())
        for array in (estimates.complexity, estimates.categories, estimates.tool_use, estimates.embedding):
            if array is not None:
                read_only(array)
        return estimates

    def _estimate(self, queries: Sequence[Query], progress: Progress) -> Estimates:
        learned = self._trained()
        embedding = self._embed([query.text for query in queries], progress)
        outputs = learned.heads(embedding)
        fingerprint = f"{self.name}:{learned.fingerprint}"
        return Estimates(outputs.complexity, outputs.categories, learned.category_names, outputs.tool_use, embedding, fingerprint)

    def _weights(self, learned: TrainedEstimator, pool: Pool) -> Floats:
        """Return how much known candidates count for each of a pool, computed once a pool; a race between threads computes it twice."""
        kept = self._resemblance
        if kept is None or kept[0] is not learned or kept[1] is not pool:
            kept = self._resemblance = (learned, pool, learned.weights(pool, self._describe))
        return kept[2]

    def _embedding(self, estimates: Estimates) -> Floats:
        """Return the estimates' embedding, once it is certain that it is ours."""
        expected = self._trained().width
        found = None if estimates.embedding is None else np.shape(estimates.embedding)[1]
        if estimates.embedding is None or found != expected:
            raise EstimatesError(f"{self.name} expects quality from its own estimates, whose embedding has {expected} numbers, not {found}")
        return estimates.embedding

    def _trained(self) -> TrainedEstimator:
        if self._learned is None:
            raise EstimatesError(f"the estimator {self.name} has not been trained; train it, or load a checkpoint")
        return self._learned
