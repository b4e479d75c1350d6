"""Time and accuracy of one estimate, for encoders of four sizes and each runtime: prints JSON.

``OMP_NUM_THREADS=1 python benchmarks/estimate.py`` trains the estimator ``tce`` on a few synthetic rows for every encoder and runtime. Each
estimates the same new texts of 65 tokens, one at a time and in turn. Times are CPU times including tokenization, the minimum over the texts;
``times_torch`` is the median over texts of torch's time divided by the runtime's. ``embedding_times_forward`` is the time of embedding many
texts divided by that of the encoder's forward pass on the same batches. Encoders other than the bundled one have random weights: a speed and
a size but no accuracy. ``tokenizing_ms`` is the time of the exported encoder's tokenizer by the length of the text in characters.

With ``AAMC_DATA`` the heads of the bundled encoder are trained in full precision and on int8 with the LLMRouter rows and compared on the
same test rows: ``minus_full`` is the paired difference with a 95% interval.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from aamc_bench.samples import Sample
from aamc_experiments.evaluation import Comparison
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import read_settings
from aamc_experiments.setup import make_setup
from aamc_experiments.training import Experiment
from aamc_tce.config import TCEConfig
from aamc_tce.encoders.embedder import BATCH_SIZE, Embedder
from aamc_tce.encoders.runtime import serving_embedder
from aamc_tce.encoders.torch_encoder import TorchEncoder, resolve
from speed.clock import cpu_s
from speed.estimate import trained

from aamc_sdk import Query, get_plugin_manager
from aamc_sdk.interfaces import NoProgress
from aamc_sdk.storage import plain
from aamc_sdk.types import Floats

RUNTIMES = ("torch", "onnx", "onnx-int8")
SIZES: Mapping[str, Callable[[], Any]] = {
    "distilbert-size": transformers.DistilBertConfig,
    "bert-tiny-size": lambda: transformers.BertConfig(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512),
    "mobilebert-size": transformers.MobileBertConfig,
}
"""Configurations of published sizes; all have the vocabulary of the bundled encoder."""
TEXTS, MANY, DATASET, TOKENS = 24, 96, 512, 65
LENGTHS = (320, 1_100, 2_000, 4_000, 20_000, 1_000_000)
"""Lengths of texts in characters."""
PRECISIONS = {"full": "onnx", "int8": "onnx-int8"}


def make_encoder(name: str, folder: Path) -> str:
    """Return the name or folder of an encoder, with random weights unless it is the bundled one."""
    if name == "bundled":
        return name
    torch.manual_seed(0)
    transformers.AutoModel.from_config(SIZES[name]()).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(resolve("bundled")).save_pretrained(folder)
    return str(folder)


def texts_of(tokens: int, count: int, seed: int) -> list[str]:
    """Return different texts of the given number of tokens, special tokens included, from whole words of the vocabulary."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(resolve("bundled"))
    words = sorted(word for word in tokenizer.get_vocab() if word.isalpha() and word.isascii() and len(word) > 3)
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(words, tokens - 2)) for _ in range(count)]


def milliseconds(work: Callable[[], Any]) -> float:
    return 1e3 * cpu_s(work)


def speed(name: str, folder: Path) -> dict[str, Any]:
    """Return the times and sizes of an encoder by runtime."""
    place = make_encoder(name, folder / name)
    encoder = TorchEncoder(place, layers=TCEConfig().layers, max_length=TCEConfig().max_length, device=torch.device("cpu"))
    estimators = {runtime: trained("tce", {"encoder": place, "runtime": runtime, "epochs": 1}) for runtime in RUNTIMES}
    queries = [[Query(text)] for text in texts_of(TOKENS, TEXTS + 2, seed=1)]
    times = np.array([[milliseconds(lambda: estimator.estimate(query)) for estimator in estimators.values()] for query in queries])[2:]  # noqa: B023  # called at once
    figures: dict[str, Any] = {"parameters": encoder.model.num_parameters(), "accuracy": "see below" if name == "bundled" else None}
    for runtime, estimator, column in zip(RUNTIMES, estimators.values(), times.T, strict=True):
        embedder = serving_embedder(encoder, estimator.config)
        if name == "bundled" and runtime == "onnx":
            figures["tokenizing_ms"] = {length: tokenizing_ms(embedder, length) for length in LENGTHS}
        many = texts_of(TOKENS, MANY, seed=2)
        batches = min(milliseconds(lambda: compute(embedder, many)) for _ in range(2))  # noqa: B023  # called at once
        figures[runtime] = {
            "estimate_ms": round(float(column.min()), 2),
            "times_torch": round(float(np.median(times[:, 0] / column)), 2),
            "texts_per_core_s": round(1e3 * MANY / batches, 1),
            "cached_us": round(1e3 * min(milliseconds(lambda: [estimator.estimate(queries[0]) for _ in range(1000)]) / 1000 for _ in range(5)), 2),  # noqa: B023
            "size_mb": round(size_of(encoder, estimator.config, folder / f"{name}-{runtime}") / 1e6, 1),
        }
    return figures


def tokenizing_ms(embedder: Embedder, length: int) -> float:
    """Return the minimum CPU time of tokenizing a text of the given length in characters."""
    texts = [text[:length] for text in texts_of(length // 4, 6, seed=3)]
    return round(min(milliseconds(lambda: embedder.tokenize([text])) for text in texts), 3)  # noqa: B023  # called at once


def compute(embedder: Embedder, texts: Sequence[str]) -> None:
    """Tokenize and embed texts, batch by batch."""
    tokens = embedder.tokenize(texts)
    for start in range(0, len(tokens), BATCH_SIZE):
        embedder._pooled(tokens[start : start + BATCH_SIZE])


def embedding_times_forward() -> float:
    """Return the time of embedding texts by torch, divided by that of the model's forward pass on the same batches."""
    encoder = TorchEncoder("bundled", layers=TCEConfig().layers, max_length=TCEConfig().max_length, device=torch.device("cpu"))
    texts = texts_of(TOKENS, DATASET, seed=3)
    encoder.forget()  # without the disk cache
    batches = torch.tensor(encoder.tokenize(texts)).split(BATCH_SIZE)
    with torch.inference_mode():
        forward = min(milliseconds(lambda: [encoder.model(input_ids=ids) for ids in batches]) for _ in range(2))
    return round(milliseconds(lambda: encoder.embed(texts)) / forward, 2)


def size_of(encoder: TorchEncoder, config: TCEConfig, folder: Path) -> int:
    """Return the size in bytes of the files that a runtime loads."""
    if config.runtime == "torch":
        encoder.save(folder)
    else:
        from aamc_tce.encoders.onnx_export import export

        export(encoder, config.runtime, folder)
    return sum(path.stat().st_size for path in folder.iterdir() if path.suffix in (".onnx", ".safetensors"))


def accuracy(seed: int, preset: str) -> dict[str, Any]:
    """Return the metrics of heads on each precision on the same held-out rows."""
    by_row, samples = {}, {}
    for name, runtime in PRECISIONS.items():
        by_row[name], samples[name] = evaluate_precision(runtime, seed, preset)
    result: dict[str, Any] = {"seed": seed, "rows": len(by_row["full"]["category_accuracy"])}
    for figure, full in by_row["full"].items():
        difference = by_row["int8"][figure] - full
        margin = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
        shift = {"value": difference.mean(), "ci95": [difference.mean() - margin, difference.mean() + margin]}
        result[figure] = {"full": full.mean(), "int8": by_row["int8"][figure].mean(), "minus_full": shift}
    for figure in ("aiq", "relative_quality"):
        full, int8 = samples["full"].figures[figure][0], samples["int8"].figures[figure][0]
        low, high = np.percentile((int8 - full)[1:], (2.5, 97.5))
        result[figure] = {"full": full[0], "int8": int8[0], "minus_full": {"value": int8[0] - full[0], "ci95": [low, high]}}
    return result


def evaluate_precision(runtime: str, seed: int, preset: str) -> tuple[dict[str, Floats], Sample]:
    """Train on the LLMRouter rows; return the metrics of each test row, and the resampled comparison of ``greedy``."""
    plugins = get_plugin_manager()
    source = f"llmrouter:{Path(os.environ['AAMC_DATA']) / 'llmrouter'}"
    choices = {"router": "greedy", "estimator": {"name": "tce", "runtime": runtime}, "dataset": source, "routers": ["oracle"]}
    settings = read_settings(choices | {"preset": preset, "seed": seed})
    with tempfile.TemporaryDirectory() as folder:
        Experiment(settings, plugins, Path(folder) / "run", NoProgress()).complete()
        run = RunFolder.open(Path(folder) / "run")
        services = run.services(plugins)
        sample = Sample.of(Comparison.load(run.folder / "decisions.npz"), services.reward, settings.evaluation, seed)
        test, estimator = make_setup(settings, plugins).splits["test"], run.estimator(plugins, services)
        assert estimator is not None
        assert test.outcomes is not None
        assert test.labels.category is not None
        estimates = estimator.estimate(test.queries)
        expected = estimator.quality(estimates, run.pool)
    named = np.array(estimates.category_names)[estimates.categories.argmax(axis=1)]
    figures = {
        "category_accuracy": (named == test.labels.category).astype(float),
        "complexity_error": np.abs(estimates.complexity - (1 - test.outcomes.known_quality.mean(axis=1))),
        "quality_brier": ((expected - test.outcomes.known_quality) ** 2).mean(axis=1),
    }
    return figures, sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", nargs="*", choices=["bundled", *SIZES], default=["bundled", *SIZES])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--preset", default="quick")
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"tokens": TOKENS, "texts": TEXTS}
    with tempfile.TemporaryDirectory() as folder:
        result["encoders"] = {name: speed(name, Path(folder)) for name in args.encoders}
    if "bundled" in args.encoders:
        result["embedding_times_forward"] = embedding_times_forward()
    result["accuracy"] = [accuracy(seed, args.preset) for seed in args.seeds] if "AAMC_DATA" in os.environ else None
    result["machine"] = {"python": platform.python_version(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    print(json.dumps(plain(result), indent=1))


if __name__ == "__main__":
    main()
