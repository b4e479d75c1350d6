"""Dataset format ``llmrouter``: ``outcomes.json`` and ``llm_candidates.json`` of https://github.com/ulab-uiuc/LLMRouter (MIT).

The files have scores and prices but no token counts, so a cost is price times estimated tokens. Latencies are unknown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aamc_datasets.json_rows import score
from aamc_datasets.published.score_table import PublishedFormat
from aamc_datasets.recognition import existing, hint
from aamc_sdk import Dataset, Labels, Pool
from aamc_sdk.errors import DataError, PoolError
from aamc_sdk.messages import check_known, check_type, nearest, read_errors
from aamc_sdk.routing import pool_from_dict
from aamc_sdk.storage import parse_json
from aamc_sdk.types import Floats, check_text

ROWS_FILE, CANDIDATES_FILE = "outcomes.json", "llm_candidates.json"


class LLMRouter(PublishedFormat):
    """LLMRouter's scores; the task of a question is its category."""

    def read(self, path: str) -> Dataset:
        """Read the folder with both files.

        Raises:
            DataError: A file is missing, has another format, or contains an invalid entry; the message gives the entry.
        """
        folder = existing(path, f"folder with {ROWS_FILE} and {CANDIDATES_FILE}")
        for name in (ROWS_FILE, CANDIDATES_FILE):
            if not (folder / name).is_file():
                raise DataError(f"{folder} has no {name}, as format llmrouter needs{hint(folder, 'llmrouter')}")
        pool = self.config.priced(_pool(folder / CANDIDATES_FILE), str(folder))
        file = folder / ROWS_FILE
        rows = _rows(file)
        queries = [self.config.query(row["question"]) for row in rows]
        outcomes, cost_note = self.config.outcomes(queries, pool, self.config.clipped(_quality(file, rows, pool, self.config.strict), file))
        categories = np.array([row["task_name"] for row in rows])
        return Dataset(queries, pool=pool, outcomes=outcomes, labels=Labels(category=categories), source=str(folder), cost_note=cost_note)


def _read(file: Path) -> Any:
    with read_errors(file, "check its permissions"):
        content = file.read_bytes()
    with read_errors(file, "save it in UTF-8"):
        text = content.decode(json.detect_encoding(content))
    return parse_json(text, str(file))


def _pool(file: Path) -> Pool:
    content = _read(file)
    if not isinstance(content, dict) or not content:
        raise DataError(f"{file} must be an object with a candidate for each key, not {content!r:.80}")
    try:
        return pool_from_dict({"candidates": [_candidate(name, entry, file) for name, entry in content.items()]}, str(file))
    except PoolError as error:
        raise DataError(str(error)) from error


def _candidate(name: str, entry: Any, file: Path) -> dict[str, Any]:
    """Return a candidate in the form of pool files."""
    check_type(entry, dict, f"{file}: candidate {name!r} must be an object", DataError)
    for key in ("input_price", "output_price"):
        if entry.get(key) is None:
            raise DataError(f"{file}: candidate {name!r} has no {key!r}{nearest(key, entry)}; give USD per million tokens")
    size = f"Size {entry['size']}." if entry.get("size") else ""
    return {
        "name": name,
        "description": f"{entry.get('feature') or ''} {size}".strip(),
        "prices": {"input": entry["input_price"], "output": entry["output_price"]},
    }


def _rows(file: Path) -> list[dict[str, Any]]:
    content = _read(file)
    if not isinstance(content, list) or not content:
        raise DataError(f"{file} must be a list with at least one question, not {content!r:.80}")
    for number, row in enumerate(content, start=1):
        where = f"{file}, entry {number}"
        check_type(row, dict, f"{where} must be an object", DataError)
        for key, kind in (("question", str), ("task_name", str), ("scores", dict)):
            value = row.get(key)
            if not isinstance(value, kind) or not (value.strip() if isinstance(value, str) else value):
                wanted = "a text" if kind is str else "an object of scores by candidate"
                raise DataError(f"{where}: {key!r} must be {wanted} that is not empty, not {value!r:.80}{nearest(key, set(row) - {key})}")
            if isinstance(value, str):
                check_text(value, f"{where}: {key!r}")
    return content


def _quality(file: Path, rows: Sequence[Mapping[str, Any]], pool: Pool, strict: bool) -> Floats:
    """Return the scores ``[Q, M]``, NaN where a candidate has none."""
    columns = {name: column for column, name in enumerate(pool.names)}
    quality = np.full((len(rows), len(pool)), np.nan)
    for number, row in enumerate(rows):
        where = f"{file}, entry {number + 1}"
        check_known(row["scores"], columns, f"{where}: {CANDIDATES_FILE} has no candidate", DataError)
        for name, value in row["scores"].items():
            quality[number, columns[name]] = score(value, f"{where}: the score of {name!r}", strict)
    return quality
