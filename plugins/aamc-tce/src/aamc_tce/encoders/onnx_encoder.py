"""A text encoder that onnxruntime computes: a graph and a tokenizer in a folder, without torch or transformers.

Texts are computed one at a time. Larger batches gain nothing on a CPU and need padding, and dynamic quantization (int8) would make a
text's embedding depend on the other texts. The texts of a dataset run in parallel on one core each. A served text uses several cores,
unless the graph is too small to gain from them.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from aamc_sdk.errors import CheckpointError, ConfigError
from aamc_sdk.storage import read_bytes, read_json, write_json
from aamc_tce.encoders.embedder import Embedder, TokenIds, available_cores
from aamc_tce.encoders.text_window import window, window_of_long

GRAPH, TOKENIZER, MANIFEST = "encoder.onnx", "tokenizer.json", "encoder.json"
INPUT = "token_ids"
REQUIRED_LIBRARIES = ("onnxruntime", "onnx", "onnxscript")
"""Libraries that run a graph and export one."""
MAX_CORES = 4
"""Maximum number of cores for one text; its layers are too small for more."""
SHARED_GRAPH_BYTES = 20_000_000
"""Minimum size in bytes of a graph that uses several cores: at the size of bert-tiny two cores take a third longer than one."""
SLOW_FUSION = "SkipLayerNormFusion"
"""An optimization of onnxruntime that makes an int8 estimate a fifth slower: its fused kernel is slower than the two it replaces."""


def graph_fingerprint(encoder: str, runtime: str) -> str:
    """Return the fingerprint of an encoder's graph: that of the encoder itself unless the graph is less precise."""
    return f"{encoder}-int8" if runtime == "onnx-int8" else encoder


@attrs.frozen(kw_only=True)
class GraphManifest:
    """The description of an exported graph.

    Attributes:
        fingerprint: A hash of everything except the text that an embedding depends on.
        width: The length of an embedding.
        max_length: Maximum number of tokens read from a text.
        sha256: Hexadecimal digests of the files of the graph and the tokenizer, by name.
        prompt: A prefix of every text.
        skipped_tokens: Number of tokens at the start of a text, those of the prompt, that are not pooled.
    """

    fingerprint: str
    width: int
    max_length: int
    sha256: dict[str, str]
    prompt: str = ""
    skipped_tokens: int = 0

    def write(self, folder: Path) -> None:
        """Write the description to a folder."""
        write_json(folder / MANIFEST, attrs.asdict(self))

    @classmethod
    def read(cls, folder: Path) -> GraphManifest:
        """Read the description from a folder.

        Raises:
            CheckpointError: The file is missing or damaged.
        """
        try:
            manifest = cls(**read_json(folder / MANIFEST))
            missing = {GRAPH, TOKENIZER} - set(manifest.sha256)
        except TypeError as error:
            raise CheckpointError(f"{folder / MANIFEST} is damaged ({error}); export again") from error
        if missing:
            raise CheckpointError(f"{folder / MANIFEST} is damaged (no SHA-256 of {' and '.join(sorted(missing))}); export again")
        return manifest


class OnnxEncoder(Embedder):
    """An exported encoder; thread-safe.

    Args:
        folder: A folder that :func:`aamc_tce.encoders.onnx_export.export` wrote.

    Raises:
        CheckpointError: A file is missing or damaged.
        ConfigError: onnxruntime is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self._manifest = GraphManifest.read(folder)
        self._folder = folder
        self._tokenizer = Tokenizer.from_buffer(_read(folder / TOKENIZER, self._manifest.sha256[TOKENIZER]))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        graph = self._graph()
        self._cores = min(available_cores(), MAX_CORES) if len(graph) >= SHARED_GRAPH_BYTES else 1
        self._sessions = {self._cores: open_session(graph, folder, self._cores)}
        self._loading, self._datasets = threading.Lock(), 0
        super().__init__(self._manifest.fingerprint, self._manifest.width, self._manifest.prompt)

    def _tokenize(self, texts: Sequence[str]) -> list[TokenIds]:
        length = self._manifest.max_length
        long = [window_of_long(self._tokenizer.encode, text, length) for text in texts]
        whole = iter(self._tokenizer.encode_batch_fast([text for text, ids in zip(texts, long, strict=True) if ids is None]))
        return [window((found := next(whole)).ids, found.special_tokens_mask, length) if ids is None else ids for ids in long]

    def _pooled(self, batch: Sequence[TokenIds]) -> NDArray[np.float16]:
        vectors, session = np.zeros((len(batch), self.width), dtype=np.float16), self._session()
        for vector, tokens in zip(vectors, batch, strict=True):
            if len(tokens) > self._manifest.skipped_tokens:  # some tokenizers give no token for an empty text
                vector[:] = session.run(None, {INPUT: np.array([tokens], dtype=np.int64)})[0][0]
        return vectors

    @contextmanager
    def _one_core_each(self) -> Iterator[None]:
        with self._loading:
            self._datasets += 1
        try:
            yield
        finally:
            with self._loading:
                self._datasets -= 1

    def _session(self) -> Any:
        """Return the session for the present number of cores, created on first use."""
        with self._loading:
            cores = 1 if self._datasets else self._cores
            if cores not in self._sessions:
                self._sessions[cores] = open_session(self._graph(), self._folder, cores)
            return self._sessions[cores]

    def _graph(self) -> bytes:
        return _read(self._folder / GRAPH, self._manifest.sha256[GRAPH])


def without_telemetry() -> None:
    """Turn off the telemetry of onnxruntime, on by default since 1.29, unless the user has set it.

    Call it before the first import of onnxruntime, which sends a report.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def open_session(graph: bytes, folder: Path, cores: int = 1) -> Any:
    """Return an inference session of a graph that uses a number of cores.

    Raises:
        CheckpointError: onnxruntime cannot run the graph; the folder is for the message.
        ConfigError: onnxruntime is not installed.
    """
    without_telemetry()
    try:
        import onnxruntime  # type: ignore[import-untyped]  # onnxruntime ships no types
    except ImportError as error:
        raise ConfigError("an exported encoder needs onnxruntime: pip install 'aamc-tce[onnx]', or set estimator.runtime=torch") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = cores, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads would occupy the cores of a busy machine
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=[SLOW_FUSION])
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise CheckpointError(f"{folder / GRAPH} cannot be used ({str(error).splitlines()[0]}); export again") from error


def _read(path: Path, sha256: str) -> bytes:
    """Read a file and check its digest.

    Raises:
        CheckpointError: The file is missing, cannot be read or has another digest.
    """
    content = read_bytes(path, "export again")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointError(f"{path} is damaged: its SHA-256 differs from the recorded one; export again")
    return content
