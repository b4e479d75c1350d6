"""Dataset format ``routellm``: the benchmark responses of RouteLLM (https://github.com/lm-sys/RouteLLM, Apache-2.0).

A CSV file has a column ``prompt`` and a column of True and False per model. ``mt_bench.jsonl`` has a judge's score for each turn
of a dialogue. A folder may contain any of these files, at any depth.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np

from aamc_datasets.columns import answer_tokens, column_names, read_columns, require_columns
from aamc_datasets.json_rows import parse_lines, require, score, text
from aamc_datasets.published.score_table import CostOptions, PublishedFormat, ScoreTable, from_rows, stack
from aamc_datasets.recognition import existing, hint
from aamc_sdk import Dataset, Prices
from aamc_sdk.errors import DataError

PROMPT, RESPONSE = "prompt", "_response"
DIALOGUES = "mt_bench.jsonl"
MAX_SCORE = 10.0
UNJUDGED = -1
"""MT-Bench's score of a turn on which its judge gave none."""
PAPER_PRICES = {
    "gpt-4-1106-preview": Prices(24.7, 24.7),
    "mistralai/Mixtral-8x7B-Instruct-v0.1": Prices(0.24, 0.24),
}
"""Prices of the paper (arXiv 2406.18665) in USD per million tokens; the files have no prices."""


class RouteLLM(PublishedFormat):
    """RouteLLM's benchmarks: right or wrong answers, and judged dialogues."""

    def read(self, path: str) -> Dataset:
        """Read a CSV file, ``mt_bench.jsonl``, or a folder of them.

        Raises:
            DataError: The path does not exist, has another format, or contains an invalid row.
        """
        location = existing(path, f"CSV file, {DIALOGUES}, or a folder of them")
        table = stack([(_dialogues if file.suffix == ".jsonl" else _answers)(file, self.config) for file in _files(location)])
        dataset = table.dataset(self.config, str(location), PAPER_PRICES)
        paper_prices = not all(name in self.config.prices for name in table.candidates)
        return attrs.evolve(dataset, cost_note=f"{dataset.cost_note}; prices are those of RouteLLM's paper") if paper_prices else dataset


def _files(location: Path) -> list[Path]:
    if location.is_file():
        if location.suffix not in (".csv", ".jsonl"):
            raise DataError(f"{location} is neither .csv nor .jsonl, as format routellm reads{hint(location, 'routellm')}")
        return [location]
    found = sorted([*location.rglob("*.csv"), *location.rglob(DIALOGUES)])
    if not found:
        raise DataError(f"{location} has no .csv file and no {DIALOGUES}{hint(location, 'routellm')}")
    return found


def _answers(file: Path, options: CostOptions) -> ScoreTable:
    """Return the table of a CSV file; the subject in its name, such as ``virology`` in ``mmlu_virology.csv``, is the category."""
    found, advice = column_names(file), hint(file, "routellm")
    require_columns(file, (PROMPT,), found, advice)
    models = [name for name in found if name != PROMPT and not name.endswith(RESPONSE)]
    if not models:
        raise DataError(f"{file} has no column of a model besides {PROMPT!r}{advice}")
    answers = [name + RESPONSE for name in models if name + RESPONSE in found]
    columns = read_columns(file, (PROMPT, *models, *answers))
    texts = columns[PROMPT].texts()
    try:
        quality = np.stack([columns[name].scores(options.strict) for name in models], axis=1)
    except DataError as error:
        raise DataError(f"{error}; a model's column holds True and False{advice}") from error
    subject = file.stem.removeprefix("mmlu_").removesuffix("_responses")
    tokens = answer_tokens(columns, [name + RESPONSE for name in models], len(texts))
    return ScoreTable(texts, [subject] * len(texts), models, options.clipped(quality, file), output_tokens=tokens)


def _dialogues(file: Path, options: CostOptions) -> ScoreTable:
    """Return the table of judged dialogues; the quality of a dialogue is the mean score of its turns."""
    advice, asked = hint(file, "routellm"), dict[str, str]()

    def turn(line: Any) -> tuple[str, str, str, str, float]:
        found = _turn(line, advice, options.strict)
        if (before := asked.setdefault(found[0], found[1])) != found[1]:
            raise DataError(f"question_id {found[0]} has two texts, {before!r:.40} and {found[1]!r:.40}; give each dialogue a unique id")
        return found

    keys, texts, categories, models, scores = zip(*parse_lines(file, turn), strict=True)
    return from_rows(file, keys, texts, categories, models, options.clipped(np.array(scores), file))


def _turn(line: Any, advice: str, strict: bool) -> tuple[str, str, str, str, float]:
    """Return key, first turn (the routed text, as in the paper), category, model, and score from 0 to 1."""
    require(line, ("question_id", "model", "turn", "score", "category", "turns"), advice)
    turns = line["turns"]
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) for turn in turns):
        raise DataError(f"'turns' must be a list of texts, not {turns!r:.80}")
    judged = None if line["score"] == UNJUDGED and not strict else line["score"]
    quality = score(judged, "score", strict, MAX_SCORE, minimum=1.0) / MAX_SCORE
    return str(line["question_id"]), turns[0], text(line, "category"), text(line, "model"), quality
