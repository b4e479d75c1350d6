"""The task-complexity estimator (TCE): describes queries, and expects each candidate's quality.

A multi-task text encoder as in Rjoub et al., "Adaptive Agentic Meta-Controller" (2025), with a quality head beside the paper's three.
This module imports no torch; encoding and training do, when they are used.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aamc_sdk.batch import Estimates, Floats
from aamc_sdk.errors import CheckpointError, EstimatesError
from aamc_sdk.interfaces import Estimator, Progress, Services, Silence, Training
from aamc_sdk.types import Pool, Query
from aamc_tce.config import TCEConfig

if TYPE_CHECKING:
    from aamc_tce.encoder import Encoder
    from aamc_tce.learned import Learned

ENCODER_FOLDER = "encoder"
"""Where a checkpoint keeps an encoder that was fine-tuned; a frozen one is only named."""


class TaskComplexityEstimator(Estimator):
    """A text encoder with heads; safe to use from several threads once it is trained or loaded."""

    Config = TCEConfig
    config: TCEConfig

    def __init__(self, config: TCEConfig, services: Services) -> None:
        super().__init__(config, services)
        self._learned: Learned | None = None
        self._out_of_fold: Floats | None = None
        self._encoder: Encoder | None = None
        self._tuned_folder: Path | None = None
        self._loading = threading.Lock()

    def train(self, training: Training) -> Mapping[str, Any]:
        """Train every head that has labels, and with outcomes the expected quality.

        Returns:
            Figures of the validation rows (complexity MAE and RMSE, category accuracy and macro F1, tool-use accuracy
            and AUC, quality's Brier score), the blend's weights, and the curve by epoch.

        Raises:
            AamcError: The encoder cannot be had.
            DataError: There is no training row.
        """
        from aamc_tce.encoder import torch_device
        from aamc_tce.learning import learn
        from aamc_tce.scores import scores
        from aamc_tce.ways import Material

        material = Material.of(self.config, training, self.services.seed, torch_device(self.services.device))
        lesson = learn(material, lambda: self._load_encoder(self.config.encoder))
        self._learned, self._encoder, self._out_of_fold = lesson.learned, lesson.encoder, lesson.out_of_fold
        metrics: dict[str, Any] = {"curve": lesson.curve}
        if self._learned.blend is not None:
            kinds = [*self._learned.blend.experts, "mean"]
            metrics["blend"] = dict(zip(kinds, self._learned.blend.weights.tolist(), strict=True))
        if training.validation is not None and material.validation_targets is not None:
            estimates = self._estimate(training.validation.queries, training.progress)
            quality = None if self._learned.blend is None else self._learned.blend(self._embedding(estimates))
            metrics |= {f"validation_{name}": value for name, value in scores(estimates, quality, material.validation_targets).items()}
        return metrics

    def estimate(self, queries: Sequence[Query]) -> Estimates:
        """Describe B queries; NaN, or no category, where there were no labels to learn from.

        Raises:
            EstimatesError: The estimator has not been trained.
            CheckpointError: The encoder is not the one that it was trained with.
        """
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
        return learned.for_pool(learned.blend(self._embedding(estimates)), pool, self._describe)

    def out_of_fold(self) -> Floats | None:
        """Return each training row's expected quality ``[N, M]`` from parts that were not fitted on it; None unless just trained."""
        return self._out_of_fold

    def save(self, folder: Path) -> None:
        """Write what was learned, and the encoder where it was fine-tuned.

        Raises:
            EstimatesError: There is nothing to save yet.
        """
        self._trained().save(folder)
        if self.config.fine_tune:
            encoder = self._ready_encoder()
            with tempfile.TemporaryDirectory(dir=folder) as unfinished:
                encoder.save(Path(unfinished) / ENCODER_FOLDER)
                shutil.rmtree(folder / ENCODER_FOLDER, ignore_errors=True)
                (Path(unfinished) / ENCODER_FOLDER).replace(folder / ENCODER_FOLDER)

    def load(self, folder: Path) -> None:
        """Read what :meth:`save` wrote; the encoder follows when it is first needed.

        Raises:
            CheckpointError: It is missing or damaged.
        """
        from aamc_tce.learned import Learned

        tuned = folder / ENCODER_FOLDER if self.config.fine_tune else None
        if tuned is not None and not tuned.is_dir():
            raise CheckpointError(f"{tuned} is missing: the checkpoint is incomplete; train again")
        self._learned, self._encoder, self._out_of_fold, self._tuned_folder = Learned.load(folder), None, None, tuned

    def _estimate(self, queries: Sequence[Query], progress: Progress) -> Estimates:
        learned = self._trained()
        embedding = self._ready_encoder().embed([query.text for query in queries], progress)
        features = embedding if learned.projection is None else learned.projection(embedding)
        outputs = learned.heads(features)
        return Estimates(outputs.complexity, outputs.categories, learned.category_names, outputs.tool_use, features, f"tce:{learned.fingerprint}")

    def _embedding(self, estimates: Estimates) -> Floats:
        """Return the estimates' embedding, once it is certain that it is ours."""
        expected = self._trained().width
        found = None if estimates.embedding is None else np.shape(estimates.embedding)[1]
        if estimates.embedding is None or found != expected:
            raise EstimatesError(f"tce expects quality from its own estimates, whose embedding has {expected} numbers, not {found}")
        return estimates.embedding

    def _describe(self, pool: Pool) -> Floats:
        from aamc_tce.learning import describe

        return describe(pool, self._ready_encoder())

    def _trained(self) -> Learned:
        if self._learned is None:
            raise EstimatesError("the estimator tce has not been trained; train it, or load a checkpoint")
        return self._learned

    def _ready_encoder(self) -> Encoder:
        """Return the encoder, loading it when it is first needed."""
        with self._loading:
            if self._encoder is None:
                place = self.config.encoder if self._tuned_folder is None else str(self._tuned_folder)
                encoder = self._load_encoder(place)
                if encoder.fingerprint != self._trained().encoder:
                    raise CheckpointError(f"encoder {place!r} is not the one that this estimator was trained with; train again")
                self._encoder = encoder
            return self._encoder

    def _load_encoder(self, name: str) -> Encoder:
        from aamc_tce.encoder import Encoder, torch_device

        layers = 1 if self.config.fine_tune else self.config.layers
        return Encoder(name, layers=layers, max_length=self.config.max_length, device=torch_device(self.services.device))
