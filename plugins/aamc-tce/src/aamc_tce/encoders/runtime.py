"""The choice between torch and onnxruntime for computing embeddings. This module imports neither."""

from __future__ import annotations

import logging
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from aamc_sdk.errors import CheckpointError, OutputError
from aamc_tce.config import TCEConfig
from aamc_tce.encoders.embedder import Embedder
from aamc_tce.encoders.onnx_encoder import REQUIRED_LIBRARIES, OnnxEncoder, graph_fingerprint
from aamc_tce.encoders.vector_cache import cache_folder

if TYPE_CHECKING:
    from aamc_tce.encoders.torch_encoder import TorchEncoder

logger = logging.getLogger(__name__)


def uses_graph(config: TCEConfig, device: str) -> bool:
    """Return whether embeddings are computed by an ONNX graph on a device, ``"cpu"`` or ``"cuda"``.

    ``auto`` uses one for the bundled encoder on a CPU, which exports without loss and is faster there.
    """
    if config.runtime != "auto":
        return config.runtime != "torch"
    return config.encoder == "bundled" and not config.fine_tune and device == "cpu" and all(find_spec(name) for name in REQUIRED_LIBRARIES)


def serving_embedder(encoder: TorchEncoder, config: TCEConfig) -> Embedder:
    """Return the embedder that the options ask for: the encoder itself or its graph.

    A graph is exported once and cached with the embeddings. If the cache cannot be written, it is exported again each time.

    Raises:
        AamcError: The encoder cannot be exported.
    """
    from aamc_tce.encoders.onnx_export import export

    if not uses_graph(config, encoder.device.type):
        return encoder
    fingerprint = graph_fingerprint(encoder.fingerprint, config.runtime)
    if (kept := cached_graph(fingerprint)) is not None:
        return kept
    try:
        export(encoder, config.runtime, _folder(fingerprint))
        return OnnxEncoder(_folder(fingerprint))
    except OutputError as error:
        logger.warning("the exported encoder is not cached: %s", error)
    with tempfile.TemporaryDirectory() as temporary:
        export(encoder, config.runtime, Path(temporary))
        return OnnxEncoder(Path(temporary))


def cached_graph(fingerprint: str) -> OnnxEncoder | None:
    """Return a cached graph; None if it is missing or damaged."""
    try:
        return OnnxEncoder(_folder(fingerprint))
    except CheckpointError:
        return None


def _folder(fingerprint: str) -> Path:
    return cache_folder() / "graphs" / fingerprint
