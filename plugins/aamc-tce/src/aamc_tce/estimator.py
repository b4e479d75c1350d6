"""The task-complexity estimator (TCE): describes queries and predicts each candidate's quality.

A multi-task text encoder as in Rjoub et al., "Adaptive Agentic Meta-Controller" (2025), with a quality head in addition to the paper's three.
This module imports no torch. Training imports it, and so does serving without an exported encoder.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aamc_lexical.embedding_estimator import EmbeddingEstimator

from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import ExportableComponent, Progress, Services
from aamc_sdk.types import Floats
from aamc_tce.config import TCEConfig

if TYPE_CHECKING:
    from aamc_lexical.training import TrainingResult, TrainingRows

    from aamc_tce.encoders.embedder import Embedder
    from aamc_tce.encoders.torch_encoder import TorchEncoder

ENCODER_FOLDER = "encoder"
"""Folder of a fine-tuned encoder in a checkpoint; a frozen encoder is only named."""
EXPORT_FOLDER = "onnx"
"""Folder of an exported encoder in a checkpoint."""


class TaskComplexityEstimator(EmbeddingEstimator, ExportableComponent):
    """A text encoder with heads; thread-safe once it is trained or loaded."""

    name = "tce"
    Config = TCEConfig
    exports = ("onnx",)
    config: TCEConfig

    def __init__(self, config: TCEConfig, services: Services) -> None:
        super().__init__(config, services)
        self._encoder: Embedder | None = None
        self._folder: Path | None = None
        self._loading = threading.Lock()

    @classmethod
    def check_device(cls, device: str) -> None:
        """Check that training can compute on a device; ``aamc run`` calls this before it reads data.

        Raises:
            ConfigError: Torch cannot use the device.
        """
        from aamc_tce.encoders.torch_encoder import torch_device

        torch_device(device)

    def save(self, folder: Path) -> None:
        """Write the trained parts, and the encoder if it was fine-tuned or exported.

        Raises:
            EstimatesError: The estimator has not been trained.
        """
        super().save(folder)
        if self._folder is not None and self._folder != folder:
            for kept in (self._folder / ENCODER_FOLDER, self._folder / EXPORT_FOLDER):
                if kept.is_dir():
                    _replace(folder / kept.name, partial(shutil.copytree, kept))
        elif self._folder is None and self.config.fine_tune:
            _replace(folder / ENCODER_FOLDER, self._torch_encoder().save)

    def load(self, folder: Path) -> None:
        """Read a saved estimator; its encoder is loaded on first use.

        Raises:
            CheckpointError: The checkpoint is missing or damaged.
        """
        if self.config.fine_tune and not (folder / ENCODER_FOLDER).is_dir():
            raise CheckpointError(f"{folder / ENCODER_FOLDER} is missing: the checkpoint is incomplete; train again")
        super().load(folder)
        self._encoder, self._folder = None, folder

    def export(self, folder: Path, form: str) -> None:
        """Add the encoder to a checkpoint as an ONNX graph, which is served without torch and transformers.

        Raises:
            AamcError: The encoder cannot be exported.
        """
        from aamc_tce.encoders.onnx_export import export

        _replace(folder / EXPORT_FOLDER, partial(export, self._torch_encoder(), self.config.runtime))

    def _learn(self, data: TrainingRows) -> TrainingResult:
        from aamc_tce.training.estimator_training import train_estimator

        result, self._encoder = train_estimator(self.config, data, self._named_encoder)
        self._folder = None
        return result

    def _encode(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        return self._ready_encoder().embed(texts, progress)

    def _ready_encoder(self) -> Embedder:
        """Return the embedder, loaded on first use."""
        from aamc_tce.encoders.runtime import serving_embedder

        with self._loading:
            if self._encoder is None:
                self._encoder = self._graph() or serving_embedder(self._torch_encoder(), self.config)
            return self._encoder

    def _graph(self) -> Embedder | None:
        """Return the encoder's graph from the checkpoint or the cache; None if there is none or the options ask for torch."""
        from aamc_tce.encoders.onnx_encoder import OnnxEncoder
        from aamc_tce.encoders.runtime import cached_graph, uses_graph

        trained = self._trained().encoder
        if self.config.runtime != "torch" and self._folder is not None and (self._folder / EXPORT_FOLDER).is_dir():
            exported = OnnxEncoder(self._folder / EXPORT_FOLDER)
            _check([exported.fingerprint], trained, str(self._folder / EXPORT_FOLDER))
            return exported
        device = "cpu" if self.services.device == "auto" else self.services.device
        return cached_graph(trained) if uses_graph(self.config, device) else None

    def _torch_encoder(self) -> TorchEncoder:
        """Return the torch encoder of the trained heads."""
        from aamc_tce.encoders.onnx_encoder import graph_fingerprint
        from aamc_tce.encoders.torch_encoder import TorchEncoder

        if isinstance(self._encoder, TorchEncoder):
            return self._encoder
        place = str(self._folder / ENCODER_FOLDER) if self.config.fine_tune and self._folder else self.config.encoder
        encoder = self._load_encoder(place)
        _check((graph_fingerprint(known, self.config.runtime) for known in encoder.known_fingerprints()), self._trained().encoder, place)
        return encoder

    def _named_encoder(self) -> TorchEncoder:
        return self._load_encoder(self.config.encoder)

    def _load_encoder(self, name: str) -> TorchEncoder:
        from aamc_tce.encoders.torch_encoder import TorchEncoder, torch_device

        layers = 1 if self.config.fine_tune else self.config.layers
        return TorchEncoder(name, layers=layers, max_length=self.config.max_length, device=torch_device(self.services.device))


def _check(known: Iterable[str], trained: str, place: str) -> None:
    if trained not in known:
        raise CheckpointError(f"encoder {place!r} is not the one that this estimator was trained with; train again")


def _replace(folder: Path, write: Callable[[Path], object]) -> None:
    """Write a folder, then replace the existing one with it."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
        write(Path(unfinished) / folder.name)
        shutil.rmtree(folder, ignore_errors=True)
        (Path(unfinished) / folder.name).replace(folder)
