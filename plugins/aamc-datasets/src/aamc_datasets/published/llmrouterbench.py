"""Dataset format ``llmrouterbench``: the results of LLMRouterBench (https://github.com/ynulihao/LLMRouterBench, MIT).

A folder has files ``DATASET/SPLIT/MODEL/*.json``, one for each run of a model on a split of a dataset, with scores, measured costs and token counts.

Paper: Li et al. 2026, "LLMRouterBench: A Massive Benchmark and Unified Framework for LLM Routing" (arXiv:2601.07206).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
import msgspec
import numpy as np

from aamc_datasets.json_rows import MAX_TOKENS, MAX_USD, bounded_number, score
from aamc_datasets.published.score_table import CostOptions, from_rows
from aamc_datasets.recognition import existing, hint
from aamc_sdk import Dataset, DatasetFormat, option
from aamc_sdk.errors import DataError
from aamc_sdk.messages import check_known, one_of, quantity, read_errors
from aamc_sdk.types import check_text

T = TypeVar("T")
logger = logging.getLogger(__name__)
Key = tuple[str, str, str]
"""Dataset, split, and the index of a question."""


@attrs.frozen
class Setting:
    """A setting of the paper.

    Attributes:
        models: Its models.
        datasets: Its datasets.
        splits: Their splits; empty for all.
    """

    models: tuple[str, ...]
    datasets: tuple[str, ...]
    splits: tuple[str, ...] = ()


SETTINGS: Mapping[str, Setting] = {
    "all": Setting((), ()),
    "performance": Setting(
        (
            *("DeepHermes-3-Llama-3-8B-Preview", "DeepSeek-R1-0528-Qwen3-8B", "DeepSeek-R1-Distill-Qwen-7B", "Fin-R1", "GLM-Z1-9B-0414"),
            *("Intern-S1-mini", "Llama-3.1-8B-Instruct", "Llama-3.1-8B-UltraMedical", "Llama-3.1-Nemotron-Nano-8B-v1", "MiMo-7B-RL-0530"),
            *("MiniCPM4.1-8B", "NVIDIA-Nemotron-Nano-9B-v2", "OpenThinker3-7B", "Qwen2.5-Coder-7B-Instruct", "Qwen3-8B"),
            *("cogito-v1-preview-llama-8B", "gemma-2-9b-it", "glm-4-9b-chat", "granite-3.3-8b-instruct", "internlm3-8b-instruct"),
        ),
        (
            *("aime", "bbh", "emorynlp", "finqa", "gpqa", "humaneval", "kandk", "korbench", "livecodebench", "math500", "mathbench", "mbpp"),
            *("medqa", "meld", "mmlupro"),
        ),
    ),
    "performance-cost": Setting(
        (
            *("claude-sonnet-4", "deepseek-r1-0528", "deepseek-v3-0324", "deepseek-v3.1-terminus", "gemini-2.5-flash", "gemini-2.5-pro", "glm-4.6"),
            *("gpt-5", "gpt-5-chat", "intern-s1", "kimi-k2-0905", "qwen3-235b-a22b-2507", "qwen3-235b-a22b-thinking-2507"),
        ),
        ("aime", "arenahard", "gpqa", "hle", "livecodebench", "livemathbench", "mmlupro", "simpleqa", "swe-bench", "tau2"),
        ("test", "hybrid", "v1", "test_3000", "verified"),
    ),
}


@attrs.frozen(kw_only=True)
class LLMRouterBenchOptions(CostOptions):
    """Which results are read, and the options of all published formats."""

    setting: str = option("all", "Models, datasets and splits of a setting of the paper.", choices=tuple(SETTINGS))
    models: tuple[str, ...] = option((), "Names of the models; none: those of the setting.")
    datasets: tuple[str, ...] = option((), "Names of the datasets; none: those of the setting.")


class _Run(msgspec.Struct):
    """A file without its answers."""

    dataset_name: str
    split: str
    model_name: str
    demo: bool = False


class _Answer(msgspec.Struct):
    index: int | str
    prompt: Any = None
    origin_query: Any = None
    score: Any = None
    completion_tokens: Any = None
    cost: Any = None


class _Answers(msgspec.Struct):
    records: list[_Answer]


class LLMRouterBench(DatasetFormat):
    """LLMRouterBench's scores, measured costs and lengths of answers; the dataset of a question is its category."""

    Config = LLMRouterBenchOptions
    config: LLMRouterBenchOptions

    def read(self, path: str) -> Dataset:
        """Read a folder, at any depth; of several runs of a model on a split the newest counts, and demonstrations never.

        Raises:
            DataError: The folder has no results, or none that the options name, or a file contains an invalid answer.
        """
        folder = existing(path, "folder with the results of LLMRouterBench, such as results/bench")
        files = sorted(folder.rglob("*.json")) if folder.is_dir() else [folder]
        if not files:
            raise DataError(f"{folder} has no .json file, as format llmrouterbench reads{hint(folder, 'llmrouterbench')}")
        texts: dict[Key, str] = {}
        reworded: set[Key] = set()
        rows = []
        for file, run in self._chosen({file: _decoded(file, _Run) for file in files}, folder).items():
            for answer in _decoded(file, _Answers).records:
                where = f"{file}, answer {answer.index}"
                key = (run.dataset_name, run.split, str(answer.index))
                text = _text(answer, where)
                if texts.setdefault(key, text) != text:
                    reworded.add(key)
                rows.append((key, run.model_name, *self._figures(answer, where)))
        if not rows:
            raise DataError(f"{folder} has no answers of the chosen models and datasets; choose others with the options setting, models and datasets")
        if reworded:
            asked, first = quantity(len(reworded), "question"), "/".join(min(reworded))
            logger.warning("%s: models were asked %s in different words, such as %s; the first wording counts", folder, asked, first)
        keys, models, scores, costs, lengths = zip(*rows, strict=True)
        quality = self.config.clipped(np.array(scores), folder)
        categories = [dataset for dataset, _, _ in keys]
        table = from_rows(folder, keys, [texts[key] for key in keys], categories, models, quality, np.array(costs), np.array(lengths))
        return table.dataset(self.config, str(folder))

    def _chosen(self, runs: Mapping[Path, _Run], folder: Path) -> dict[Path, _Run]:
        """Return the newest run of each model and split that the options name."""
        config, setting = self.config, SETTINGS[self.config.setting]
        for kind, names, found in (
            ("model", config.models, {run.model_name for run in runs.values()}),
            ("dataset", config.datasets, {run.dataset_name for run in runs.values()}),
        ):
            check_known(names, found, f"{folder} has no results of {kind}", DataError)
        models, datasets = config.models or setting.models, config.datasets or setting.datasets
        newest: dict[tuple[str, ...], Path] = {}
        for file, run in sorted(runs.items(), key=lambda item: _date(item[0])):
            named = (not models or run.model_name in models) and (not datasets or run.dataset_name in datasets)
            if named and (not setting.splits or run.split in setting.splits) and not run.demo:
                newest[run.dataset_name, run.split, run.model_name] = file
        if missing := set(models) - {model for _, _, model in newest}:
            why = " on the chosen datasets" if config.models else f", which setting {config.setting!r} includes"
            logger.warning("%s has no results of %s%s", folder, one_of(missing), why)
        return {newest[run]: runs[newest[run]] for run in sorted(newest)}

    def _figures(self, answer: _Answer, where: str) -> tuple[float, float, float]:
        """Return score, cost in USD and output tokens; NaN for unknown."""
        return (
            score(answer.score, f"{where}: score", self.config.strict),
            bounded_number(answer.cost, f"{where}: cost", MAX_USD),
            bounded_number(answer.completion_tokens, f"{where}: completion_tokens", MAX_TOKENS),
        )


def _decoded(file: Path, content: type[T]) -> T:
    with read_errors(file, f"give results of LLMRouterBench{hint(file, 'llmrouterbench')}", msgspec.DecodeError):
        return msgspec.json.decode(file.read_bytes(), type=content)


def _date(file: Path) -> str:
    """Return the time in a file's name; ``""`` for the names of early versions."""
    found = re.search(r"\d{8}_\d{6}", file.stem)
    return found[0] if found else ""


def _text(answer: _Answer, where: str) -> str:
    """Return the prompt that the model was given, else the question: a text, or a message with images as JSON."""
    for value in (answer.prompt, answer.origin_query):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) if value else ""
        if text.strip():
            check_text(text, f"{where}: the prompt")
            return text
    raise DataError(f"{where} has neither 'prompt' nor 'origin_query'; give the text that was asked")
