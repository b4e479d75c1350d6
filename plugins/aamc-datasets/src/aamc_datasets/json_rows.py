"""JSON lines, and what is checked of the values in them."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from aamc_sdk.errors import DataError, nearest, one_of

T = TypeVar("T")
MOST_USD = 1e12
"""No answer costs as much; larger numbers are in another unit, or an error."""


def json_lines(file: Path) -> Iterator[tuple[int, Any]]:
    """Read JSON lines as they are asked for, each with its line number; empty lines are left out.

    Raises:
        DataError: The file cannot be read, or a line is not JSON; the message names the line.
    """
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, parse_json(line, f"{file}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}; give JSON lines in UTF-8") from error


def parse_lines(file: Path, parse: Callable[[Any], T]) -> list[T]:
    """Read JSON lines and make something of each.

    Raises:
        DataError: There is no line, or ``parse`` refuses one; the message names the line.
    """
    parsed = []
    for number, line in json_lines(file):
        try:
            parsed.append(parse(line))
        except DataError as error:
            raise DataError(f"{file}, line {number}: {error}") from error
    if not parsed:
        raise DataError(f"{file} is empty; give at least one line")
    return parsed


def parse_json(text: str, where: str) -> Any:
    """Read a JSON document.

    Raises:
        DataError: It is not JSON, or an object in it has a key twice.
    """
    try:
        return _DECODER.decode(text)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not valid JSON ({error}); the file may be cut off there") from error


def _keys_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; of two values under one key, nobody knows which one was meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise DataError(f"key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in one object; give it once")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_keys_once)


def require(row: Any, keys: tuple[str, ...], advice: str = "") -> None:
    """Raise where a row is no object, or lacks a key; the message gives what it has, and the advice.

    Raises:
        DataError: As said.
    """
    if not isinstance(row, Mapping):
        raise DataError(f"must be an object with {one_of(keys)}, not {row!r:.80}")
    for key in keys:
        if key not in row:
            raise DataError(f"has no {key!r}{nearest(key, row)} (it has: {one_of(row)}){advice}")


def text(row: Mapping[str, Any], key: str) -> str:
    """Return a text that is not empty.

    Raises:
        DataError: It is something else.
    """
    value = row[key]
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{key!r} must be a text that is not empty, not {value!r:.80}")
    return value


def figure(value: Any, name: str, most: float = sys.float_info.max, least: float = 0.0) -> float:
    """Return a number from ``least`` to ``most``, NaN for None.

    Raises:
        DataError: It is something else.
    """
    if value is None:
        return math.nan
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value <= most:
        wanted = f"a finite number of at least {least:g}" if most == sys.float_info.max else f"a number from {least:g} to {most:g}"
        raise DataError(f"{name} must be {wanted}, not {value!r:.80}")
    return float(value)
