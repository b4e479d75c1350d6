"""Export of a text encoder to ONNX: model and pooling in one graph, in full precision or with 7-bit weights.

Int8 weights use 7 of their 8 bits. Processors without int8 dot-product instructions (AVX2) saturate when they add two full-range products,
and their results would differ from those of other processors by as much as quantization itself changes them.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch

from aamc_sdk.errors import AamcError, CheckpointError, ConfigError
from aamc_sdk.storage import write_bytes
from aamc_tce.encoders.onnx_encoder import (
    GRAPH,
    INPUT,
    REQUIRED_LIBRARIES,
    TOKENIZER,
    GraphManifest,
    graph_fingerprint,
    open_session,
    without_telemetry,
)
from aamc_tce.encoders.torch_encoder import TorchEncoder, pool_tokens, side_by_side, temporarily, without_first

EXAMPLE_TOKENS = 7
"""Length of the text that the exporter traces; the graph accepts any length."""


def export(encoder: TorchEncoder, runtime: str, folder: Path) -> None:
    """Write the graph of an encoder, its tokenizer and their description; ``"onnx-int8"`` quantizes the weights, any other runtime keeps them.

    Raises:
        AamcError: The model or its tokenizer cannot be exported.
        ConfigError: A library that the export needs is not installed.
        OutputError: The folder cannot be written.
    """
    if missing := [name for name in REQUIRED_LIBRARIES if find_spec(name) is None]:
        raise ConfigError(f"an export to ONNX needs {', '.join(missing)}: pip install 'aamc-tce[onnx]', or set estimator.runtime=torch")
    tokenizer = getattr(encoder.tokenizer, "backend_tokenizer", None)
    if tokenizer is None:
        raise AamcError("this encoder's tokenizer has no tokenizer.json and cannot be exported; set estimator.runtime=torch")
    without_telemetry()
    with _quiet(), tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / GRAPH
        _write_graph(encoder, path)
        if runtime == "onnx-int8":
            path = _quantize(path)
        files = {GRAPH: path.read_bytes(), TOKENIZER: tokenizer.to_str().encode()}
    try:
        open_session(files[GRAPH], folder)
    except CheckpointError as error:
        cause = f"onnxruntime cannot run its graph with weights in {str(encoder.model.dtype).removeprefix('torch.')}"
        raise AamcError(f"this encoder cannot be exported to ONNX ({cause}); set estimator.runtime=torch, or save it in float32") from error
    for name, content in files.items():
        write_bytes(folder / name, content)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    fingerprint = graph_fingerprint(encoder.fingerprint, runtime)
    GraphManifest(
        fingerprint=fingerprint,
        width=encoder.width,
        max_length=encoder.max_length,
        sha256=digests,
        prompt=encoder.prompt,
        skipped_tokens=encoder.skipped_tokens,
    ).write(folder)


class _PooledLayers(torch.nn.Module):
    """The embedding of one text without padding, equal to :meth:`TorchEncoder.pool`."""

    def __init__(self, encoder: TorchEncoder) -> None:
        super().__init__()
        self.model, self.layers, self.normalize = encoder.model, encoder.layers, encoder.normalized
        self.poolings, self.skipped, self.mean_pooled = encoder.format.poolings, encoder.skipped_tokens, encoder.mean_pooled

    def forward(self, token_ids: torch.Tensor) -> torch.Tensor:
        states = self.model(input_ids=token_ids, output_hidden_states=True).hidden_states
        means = [states[layer].mean(dim=1) for layer in (self.layers if self.mean_pooled else self.layers[:-1])]
        if self.mean_pooled:
            return side_by_side(means, normalize=self.normalize)
        mask = without_first(torch.ones_like(token_ids), self.skipped)
        return side_by_side([*means, pool_tokens(states[self.layers[-1]], mask, self.poolings)], normalize=self.normalize)


def _write_graph(encoder: TorchEncoder, path: Path) -> None:
    example = torch.ones((1, EXAMPLE_TOKENS), dtype=torch.long, device=encoder.device)
    lengths = {INPUT: {1: torch.export.Dim("length", max=encoder.max_length)}}
    model = encoder.model  # unfused attention exports to a smaller and faster graph; transformers has no public getter
    with temporarily(model.set_attn_implementation, "eager", model.config._attn_implementation), torch.no_grad():
        try:
            program = torch.onnx.export(
                _PooledLayers(encoder), (example,), input_names=[INPUT], output_names=["pooled_layers"], dynamic_shapes=lengths, verbose=False
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
            cause = str(error).strip().splitlines()[0]
            raise AamcError(f"this encoder cannot be exported to ONNX ({cause}); set estimator.runtime=torch") from error
    assert program is not None  # the dynamo exporter returns a program
    program.save(path, external_data=False)


def _quantize(path: Path) -> Path:
    """Write a graph with integer weights and one scale per matrix column; return its path."""
    from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]  # onnxruntime ships no types
    from onnxruntime.quantization.preprocess import quant_pre_process  # type: ignore[import-untyped]  # likewise

    prepared, quantized = path.with_name("prepared.onnx"), path.with_name("quantized.onnx")
    quant_pre_process(path, prepared, skip_optimization=True, skip_symbolic_shape=True)
    quantize_dynamic(prepared, quantized, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    return quantized


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's warnings and log messages."""
    logger = logging.getLogger("torch.onnx")
    with temporarily(logger.setLevel, logging.ERROR, logger.level), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
