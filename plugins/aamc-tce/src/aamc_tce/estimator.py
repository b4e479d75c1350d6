"""The task-complexity estimator (TCE): describes queries, and expects each candidate's quality.

A multi-task text encoder as in Rjoub et al., "Adaptive Agentic Meta-Controller" (2025), with a quality head beside the paper's three.
This module imports no torch; encoding and training do, when they are used.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aamc_lexical.embedding_estimator import EmbeddingEstimator

from aamc_sdk.batch import Floats
from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import Progress, Services
from aamc_sdk.types import Pool
from aamc_tce.config import TCEConfig

if TYPE_CHECKING:
    from aamc_lexical.learning import Lesson
    from aamc_lexical.material import Material

    from aamc_tce.encoder import Encoder

ENCODER_FOLDER = "encoder"
"""Where a checkpoint keeps an encoder that was fine-tuned; a frozen one is only named."""


class TaskComplexityEstimator(EmbeddingEstimator):
    """A text encoder with heads; safe to use from several threads once it is trained or loaded."""

    name = "tce"
    Config = TCEConfig
    config: TCEConfig

    def __init__(self, config: TCEConfig, services: Services) -> None:
        super().__init__(config, services)
        self._encoder: Encoder | None = None
        self._tuned_folder: Path | None = None
        self._loading = threading.Lock()

    def save(self, folder: Path) -> None:
        """Write what was learned, and the encoder where it was fine-tuned.

        Raises:
            EstimatesError: There is nothing to save yet.
        """
        super().save(folder)
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
        tuned = folder / ENCODER_FOLDER if self.config.fine_tune else None
        if tuned is not None and not tuned.is_dir():
            raise CheckpointError(f"{tuned} is missing: the checkpoint is incomplete; train again")
        super().load(folder)
        self._encoder, self._tuned_folder = None, tuned

    def _learn(self, material: Material) -> Lesson:
        from aamc_tce.learning import learn

        lesson, self._encoder = learn(self.config, material, lambda: self._load_encoder(self.config.encoder))
        return lesson

    def _embed(self, texts: Sequence[str], progress: Progress) -> Floats:
        embedding, projection = self._ready_encoder().embed(texts, progress), self._trained().projection
        return embedding if projection is None else projection(embedding)

    def _describe(self, pool: Pool) -> Floats:
        from aamc_lexical.learning import describe

        return describe(pool, self._ready_encoder().embed)

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
