"""Dataset format ``routerarena``: the evaluated answers of RouterArena (https://github.com/RouteWorks/RouterArena, Apache-2.0).

A folder has JSON lines, usually one file per model. ``success`` is not read: it says that a call completed, not that its answer
is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from aamc_datasets.json_rows import MAX_TOKENS, MAX_USD, bounded_number, parse_lines, require, score, text
from aamc_datasets.published.score_table import PublishedFormat, from_rows
from aamc_datasets.recognition import existing, hint
from aamc_sdk import Dataset
from aamc_sdk.errors import DataError
from aamc_sdk.messages import check_type

ScoredAnswer = tuple[str, str, str, str, float, float, float]
"""Key, question, category, model, score, cost in USD, output tokens."""


class RouterArena(PublishedFormat):
    """RouterArena's scores and measured costs."""

    def read(self, path: str) -> Dataset:
        """Read a folder of JSON lines, or one such file; questions that a model did not answer are unknown cells.

        Raises:
            DataError: The path does not exist, has another format, or contains an invalid line.
        """
        location = existing(path, "folder of .jsonl files")
        files = [location] if location.is_file() else sorted(location.glob("*.jsonl"))
        if not files or files[0].suffix != ".jsonl":
            raise DataError(f"{location} has no .jsonl file, as format routerarena reads{hint(location, 'routerarena')}")
        rows: list[ScoredAnswer] = []
        for file in files:
            rows += parse_lines(file, partial(_row, advice=hint(file, "routerarena"), strict=self.config.strict))
        keys, texts, categories, models, scores, *figures = zip(*rows, strict=True)
        quality = self.config.clipped(np.array(scores), location)
        table = from_rows(location, keys, texts, categories, models, quality, *map(np.array, figures))
        return table.dataset(self.config, str(location))


def _row(line: Any, advice: str, strict: bool) -> ScoredAnswer:
    require(line, ("question", "llm_selected", "evaluation_result"), advice)
    question = text(line, "question")
    result = line["evaluation_result"]
    if result is None:  # an answer without a judgement
        result = {"score": None, "inference_cost": None}
    require(result, ("score", "inference_cost"))
    usage = line.get("token_usage") or {}
    check_type(usage, Mapping, "'token_usage' must be an object", DataError)
    index = str(line.get("global_index") or "")
    return (
        index or question,
        question,
        index.rpartition("_")[0],
        text(line, "llm_selected"),
        score(result["score"], "score", strict),
        bounded_number(result["inference_cost"], "inference_cost", MAX_USD),
        bounded_number(usage.get("output_tokens"), "output_tokens", MAX_TOKENS),
    )
