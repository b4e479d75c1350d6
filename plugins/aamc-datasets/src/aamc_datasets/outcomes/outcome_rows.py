"""The rows of the native format, from JSON lines or Parquet, each checked with its line number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from aamc_datasets.json_rows import MOST_USD, figure, json_lines, parse_json
from aamc_datasets.recognition import hint
from aamc_sdk import Query
from aamc_sdk.errors import DataError, nearest

Cell = tuple[float, float, float]
"""Quality, cost in USD, latency in ms; NaN where unknown."""


@attrs.frozen
class Row:
    """Where it stands, a query, its labels (NaN or None where there is none), and what each candidate did."""

    place: str
    query: Query
    cells: dict[str, Cell]
    category: str | None
    complexity: float
    tool_use: float
    reference: str | None


def parse_rows(file: Path) -> Iterator[Row]:
    """Read and check the rows of a file.

    Raises:
        DataError: The file cannot be read, or a row is bad; the message names the file, the line and the value.
    """
    parquet = file.suffix == ".parquet"
    for number, content in _parquet(file) if parquet else json_lines(file):
        place = f"{file}, {'row' if parquet else 'line'} {number}"
        try:
            yield _row(place, content)
        except DataError as error:
            raise DataError(f"{place}: {error}{hint(file, 'outcomes')}") from error


def _parquet(file: Path) -> Iterator[tuple[int, Any]]:
    """Read Parquet; ``outcomes`` is a struct, a map, or JSON text. Rows are counted from 1."""
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # likewise

    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot read {file} as Parquet: {error}") from error
    number = 0
    for batch in table.to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            number += 1
            outcomes = row.get("outcomes")
            if isinstance(outcomes, str):
                outcomes = parse_json(outcomes, f"{file}, row {number}: the column outcomes")
            elif isinstance(outcomes, list):
                outcomes = dict(outcomes)
            if isinstance(outcomes, dict):  # a struct has every candidate in every row
                outcomes = {name: cell for name, cell in outcomes.items() if cell is not None}
            yield number, {**row, "outcomes": outcomes}


def _row(place: str, content: Any) -> Row:
    if not isinstance(content, dict):
        raise DataError(f'must be an object {{"query": ..., "outcomes": ...}}, not {content!r:.80}')
    for key in ("query", "outcomes"):
        if content.get(key) is None:
            raise DataError(f"has no {key!r}{nearest(key, map(str, content))}")
    if not isinstance(content["query"], str) or not content["query"].strip():
        raise DataError(f"'query' must be a text that is not empty, not {content['query']!r:.80}")
    if not isinstance(content["outcomes"], Mapping):
        raise DataError(f"'outcomes' must be an object by candidate, not {content['outcomes']!r:.80}")
    return Row(
        place=place,
        query=_query(content),
        cells={name: _cell(name, cell) for name, cell in content["outcomes"].items()},
        category=_text(content, "category"),
        complexity=figure(content.get("complexity"), "complexity", 1.0),
        tool_use=_tool_use(content.get("tool_use")),
        reference=_text(content, "reference"),
    )


def _query(content: Mapping[str, Any]) -> Query:
    needs = content.get("needs") or []
    if not isinstance(needs, list) or not all(isinstance(need, str) for need in needs):
        raise DataError(f"'needs' must be a list of abilities, not {needs!r:.80}")
    return Query(
        text=content["query"],
        user=_text(content, "user"),
        session=_text(content, "session"),
        needs=frozenset(needs),
        prompt_tokens=content.get("prompt_tokens"),
        output_tokens=content.get("output_tokens"),
    )


def _cell(name: str, cell: Any) -> Cell:
    if not isinstance(cell, Mapping):
        raise DataError(f"the outcome of {name!r} must be an object with a quality, not {cell!r:.80}")
    if "quality" not in cell:
        raise DataError(f"the outcome of {name!r} has no 'quality'{nearest('quality', map(str, cell))}; use null where it is unknown")
    where = f" of {name!r}"
    return (
        figure(cell["quality"], f"quality{where}", 1.0),
        figure(cell.get("cost_usd"), f"cost_usd{where}", MOST_USD),
        figure(cell.get("latency_ms"), f"latency_ms{where}"),
    )


def _tool_use(value: Any) -> float:
    if value is None:
        return math.nan
    if value not in (0, 1):
        raise DataError(f"tool_use must be 0 or 1, not {value!r:.80}")
    return float(value)


def _text(content: Mapping[str, Any], key: str) -> str | None:
    value = content.get(key)
    if value is not None and not isinstance(value, str):
        raise DataError(f"{key!r} must be a text, not {value!r:.80}")
    return value
