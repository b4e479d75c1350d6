"""Reads JSON records and checks their values."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from aamc_sdk.errors import DataError
from aamc_sdk.messages import nearest, one_of, read_errors
from aamc_sdk.storage import json_lines, parse_json
from aamc_sdk.types import check_text

T = TypeVar("T")
_MISSPELT = 0.86
"""Similarity from which on an unknown key of a row is a mistake; a row may have other keys, such as user_id or input_tokens."""
MAX_USD = 1e12
"""Maximum cost; a larger number is in another unit or an error."""
MAX_MS = 1e12
"""Maximum latency, likewise."""
MAX_TOKENS = 1e9
"""Maximum tokens of an answer; a larger number is an error."""


def json_records(file: Path) -> Iterator[tuple[int, Any]]:
    """Yield the records of a file with their lines: JSON lines, or in a file ``*.json`` also a JSON list or a single record.

    Raises:
        DataError: The file cannot be read, or is not JSON in UTF-8.
    """
    if file.suffix != ".json":
        yield from json_lines(file)
        return
    with read_errors(file, "give JSON in UTF-8"):
        content = file.read_text(encoding="utf-8-sig")
    try:
        found = parse_json(content, str(file))
    except DataError as error:
        if getattr(error.__cause__, "msg", "") != "Extra data":
            raise
        yield from json_lines(file)  # a valid first line with others after it
        return
    if isinstance(found, list):
        yield from zip(_lines_of_elements(content), found, strict=True)
    else:
        yield 1, found


def _lines_of_elements(content: str) -> list[int]:
    """Return the line at which each element of a valid JSON list begins."""
    decoder, place = json.JSONDecoder(), content.find("[") + 1
    line, counted = 1, 0
    lines: list[int] = []
    while True:
        while content[place] in " \t\r\n,":
            place += 1
        if content[place] == "]":
            return lines
        line, counted = line + content.count("\n", counted, place), place
        lines.append(line)
        _, place = decoder.raw_decode(content, place)


def parse_lines(file: Path, parse: Callable[[Any], T]) -> list[T]:
    """Parse each JSON line with a function.

    Raises:
        DataError: There is no line, or ``parse`` refuses one; the message gives the line.
    """
    return parse_rows(file, ((f"{file}, line {number}", row) for number, row in json_lines(file)), parse)


def parse_rows(file: Path, rows: Iterable[tuple[str, Any]], parse: Callable[[Any], T]) -> list[T]:
    """Parse each row of a file with a function; a row comes with its place for error messages.

    Raises:
        DataError: There is no row, or ``parse`` refuses one; the message gives its place.
    """
    parsed = []
    for where, row in rows:
        try:
            parsed.append(parse(row))
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
    if not parsed:
        raise DataError(f"{file} is empty; give at least one line")
    return parsed


def require(row: Any, keys: tuple[str, ...], advice: str = "") -> None:
    """Check that a row is an object with the given keys.

    Raises:
        DataError: It is not an object, or a key is missing; the message gives the keys found and the advice.
    """
    if not isinstance(row, Mapping):
        raise DataError(f"must be an object with {one_of(keys)}, not {row!r:.80}")
    for key in keys:
        if key not in row:
            raise DataError(f"has no {key!r}{nearest(key, row)} (it has: {one_of(row)}){advice}")


def refuse_misspelt(row: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    """Check that a row has no misspelt key; other keys that are not among ``keys`` are its own.

    Raises:
        DataError: A key is similar to one of ``keys`` that the row lacks.
    """
    for key in map(str, row):
        if key not in keys and (meant := _meant_key(key, keys)) is not None and meant not in row:
            raise DataError(f"has the unknown key {key!r}; did you mean {meant!r}?")


@lru_cache(1024)  # the rows of a file have the same keys
def _meant_key(key: str, keys: tuple[str, ...]) -> str | None:
    """Return the key that an unknown one is a misspelling of; None if it is a key of its own."""
    return next(iter(get_close_matches(key, keys, n=1, cutoff=_MISSPELT)), None)


def text(row: Mapping[str, Any], key: str) -> str:
    """Return a key's text.

    Raises:
        DataError: The value is empty, not a text, or has a lone surrogate.
    """
    value = row[key]
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{key!r} must be a text that is not empty, not {value!r:.80}")
    check_text(value, repr(key))
    return value


def bounded_number(value: Any, name: str, maximum: float, minimum: float = 0.0) -> float:
    """Return a number from ``minimum`` to ``maximum``; None becomes NaN.

    Raises:
        DataError: The value is something else.
    """
    if value is None:
        return math.nan
    if not _is_number(value) or not minimum <= value <= maximum:
        unknown = "; use null where it is unknown" if value != value else ""  # NaN, which programs write for a missing number
        raise DataError(f"{name} must be a number from {minimum:g} to {maximum:g}, not {value!r:.80}{unknown}")
    return float(value)


def score(value: Any, name: str, strict: bool, maximum: float = 1.0, minimum: float = 0.0) -> float:
    """Return a score; None becomes NaN.

    Unless ``strict``, it may lie outside the range by less than the width of the range, as a few published scores do; a score that is
    further away is on another scale.

    Raises:
        DataError: The value is something else.
    """
    margin = 0.0 if strict else maximum - minimum
    if _is_number(value) and minimum - margin < value < maximum + margin:
        return float(value)
    return bounded_number(value, name, maximum, minimum)


def _is_number(value: Any) -> bool:
    """Return whether a value is a number; Parquet files have decimals too."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
