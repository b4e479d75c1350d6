"""Reads and checks the rows of the native format, from JSON lines or Parquet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from aamc_datasets.columns import parquet_rows
from aamc_datasets.json_rows import MAX_MS, MAX_TOKENS, MAX_USD, bounded_number, refuse_misspelt, require, text
from aamc_datasets.recognition import hint
from aamc_sdk import Query
from aamc_sdk.errors import DataError
from aamc_sdk.messages import check_known, check_type, nearest
from aamc_sdk.storage import json_lines, parse_json, unique_keys
from aamc_sdk.types import check_text, estimated_tokens

_KEYS = ("query", "outcomes", "category", "complexity", "tool_use", "reference", "user", "session", "needs", "prompt_tokens", "output_tokens")
_FIELDS = ("quality", "cost_usd", "latency_ms", "prompt_tokens", "output_tokens", "response")
"""The fields of a candidate's outcome; prompt_tokens, which ``aamc data collect`` notes, are not read."""
Figures = tuple[float, float, float, float]
"""Quality, cost in USD, latency in ms, output tokens; NaN where unknown."""


@attrs.frozen
class OutcomeRow:
    """A row of the native format.

    Attributes:
        location: File and line, for error messages.
        query: The query.
        outcomes: The figures of each candidate.
        category: The label, or None.
        complexity: The label from 0 to 1, or NaN.
        tool_use: The label 0 or 1, or NaN.
        reference: The right answer, or None.
    """

    location: str
    query: Query
    outcomes: dict[str, Figures]
    category: str | None
    complexity: float
    tool_use: float
    reference: str | None


def read_outcome_rows(file: Path) -> Iterator[OutcomeRow]:
    """Yield the rows of a file.

    Raises:
        DataError: The file cannot be read, or a row is invalid; the message gives file, line and value.
    """
    parquet = file.suffix == ".parquet"
    for number, content in enumerate(parquet_rows(file, _KEYS), start=1) if parquet else json_lines(file):
        location = f"{file}, {'row' if parquet else 'line'} {number}"
        try:
            yield _row(location, _as_json(content) if parquet else content)
        except DataError as error:
            raise DataError(f"{location}: {error}{hint(file, 'outcomes')}") from error


def _as_json(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a Parquet file as a JSON line has it; its ``outcomes`` is a struct, a map, or JSON text.

    pandas writes whole numbers as floats if a row has none.
    """
    if "outcomes" not in row:
        return row
    outcomes = row["outcomes"]
    if isinstance(outcomes, str):
        outcomes = parse_json(outcomes, "the column outcomes")
    elif isinstance(outcomes, list) and all(isinstance(pair, tuple) for pair in outcomes):  # a map
        outcomes = unique_keys(outcomes)
    if isinstance(outcomes, dict):  # a struct has every candidate in every row
        outcomes = {name: cell for name, cell in outcomes.items() if cell is not None}
    whole = {key: int(row[key]) for key in ("prompt_tokens", "output_tokens") if isinstance(row.get(key), float) and row[key].is_integer()}
    return {**row, **whole, "outcomes": outcomes}


def _row(location: str, content: Any) -> OutcomeRow:
    require(content, ("query", "outcomes"))
    refuse_misspelt(content, _KEYS)
    text(content, "query")
    if not isinstance(content["outcomes"], Mapping):
        raise DataError(f"'outcomes' must be an object by candidate, not {content['outcomes']!r:.80}")
    return OutcomeRow(
        location=location,
        query=_query(content),
        outcomes={name: _figures(name, cell) for name, cell in content["outcomes"].items()},
        category=_optional_text(content, "category"),
        complexity=bounded_number(content.get("complexity"), "complexity", 1.0),
        tool_use=_tool_use(content.get("tool_use")),
        reference=_optional_text(content, "reference"),
    )


def _query(content: Mapping[str, Any]) -> Query:
    needs = content.get("needs") or []
    if not isinstance(needs, list) or not all(isinstance(need, str) for need in needs):
        raise DataError(f"'needs' must be a list of abilities, not {needs!r:.80}")
    return Query(
        text=content["query"],
        user=_optional_text(content, "user"),
        session=_optional_text(content, "session"),
        needs=frozenset(needs),
        prompt_tokens=content.get("prompt_tokens"),
        output_tokens=content.get("output_tokens"),
    )


def _figures(name: str, cell: Any) -> Figures:
    check_type(cell, Mapping, f"the outcome of {name!r} must be an object with a quality", DataError)
    if "quality" not in cell:
        raise DataError(f"the outcome of {name!r} has no 'quality'{nearest('quality', map(str, cell))}; use null where it is unknown")
    check_known(cell, _FIELDS, f"the outcome of {name!r} has no field", DataError)
    where = f" of {name!r}"
    return (
        bounded_number(cell["quality"], f"quality{where}", 1.0),
        bounded_number(cell.get("cost_usd"), f"cost_usd{where}", MAX_USD),
        bounded_number(cell.get("latency_ms"), f"latency_ms{where}", MAX_MS),
        _output_tokens(cell, where),
    )


def _output_tokens(cell: Mapping[str, Any], where: str) -> float:
    """Return the tokens of an answer: given, or estimated from its text."""
    response = cell.get("response")
    if cell.get("output_tokens") is not None or response is None:
        return bounded_number(cell.get("output_tokens"), f"output_tokens{where}", MAX_TOKENS)
    check_type(response, str, f"response{where} must be a text", DataError)
    return estimated_tokens(response)


def _tool_use(value: Any) -> float:
    if value is None:
        return math.nan
    if value not in (0, 1):
        raise DataError(f"tool_use must be 0 or 1, not {value!r:.80}")
    return float(value)


def _optional_text(content: Mapping[str, Any], key: str) -> str | None:
    value = content.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise DataError(f"{key!r} must be a text, not {value!r:.80}")
    check_text(value, repr(key))
    return value
