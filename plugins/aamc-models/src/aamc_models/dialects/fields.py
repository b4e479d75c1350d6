"""Checked access to the fields of JSON bodies: a value of a wrong form raises a DataError that names its place."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from aamc_sdk.errors import DataError

JSON = Mapping[str, Any]
DIALECTS = ("chat", "messages", "responses", "completions")


def json_object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object that a body holds, with None for NaN and infinities, which some servers write; None if it holds something else."""
    content = json_value(body)
    return content if isinstance(content, dict) else None


def json_value(body: bytes) -> Any:
    """Return the JSON value that a body holds, as :func:`json_object` reads it; None if it is not JSON."""
    try:
        return orjson.loads(body)
    except ValueError:
        try:
            return json.loads(body, parse_constant=lambda _: None, parse_float=_finite)
        except (ValueError, RecursionError):
            return None


def _finite(digits: str) -> float | None:
    """Return a number of JSON; None for one beyond the range of a float, such as 1e400."""
    number = float(digits)
    return number if math.isfinite(number) else None


def strict_json(body: bytes) -> bytes:
    """Return a body with null in place of NaN and infinities; one without them as it is."""
    if b"NaN" not in body and b"Infinity" not in body:
        return body
    try:
        orjson.loads(body)
    except ValueError:
        content = json_object(body)
        return body if content is None else json.dumps(content).encode()
    return body  # the words of a text


def wrong(field: str, wanted: str, value: object) -> DataError:
    """Return the error for a field that holds something other than it must."""
    found = "; it is missing or null" if value is None else f", not {_shown(value)}"
    return DataError(f"{field} must be {wanted}{found}")


def check_dialect(dialect: str) -> None:
    """Check the name of a dialect."""
    if dialect not in DIALECTS:
        raise DataError(f"dialect must be one of {', '.join(DIALECTS)}, not {_shown(dialect)}")


def mapping(value: object, field: str) -> dict[str, Any]:
    """Return a value that must be a JSON object."""
    if not isinstance(value, dict):
        raise wrong(field, "an object", value)
    return value


def optional_mapping(value: object, field: str) -> dict[str, Any]:
    """Return a value that must be a JSON object; an empty one for None."""
    return {} if value is None else mapping(value, field)


def items(value: object, field: str) -> list[Any]:
    """Return a value that must be a list; an empty one for None."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong(field, "a list", value)
    return value


def objects(value: object, field: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a list, each with the name of its place; none for None."""
    for index, item in enumerate(items(value, field)):
        place = f"{field}[{index}]"
        yield place, mapping(item, place)


def object_or_empty(value: object) -> dict[str, Any]:
    """Return a JSON object; an empty one for anything else, for readers to whom a wrong form is as good as a missing one."""
    return value if isinstance(value, dict) else {}


def objects_or_empty(value: object) -> list[dict[str, Any]]:
    """Return the JSON objects in a list, likewise."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: object, field: str) -> str:
    """Return a value that must be a string."""
    if not isinstance(value, str):
        raise wrong(field, "a string", value)
    return value


def optional_text(value: object, field: str) -> str:
    """Return a value that must be a string; ``""`` for None."""
    return "" if value is None else text(value, field)


def whole_number(value: object, field: str) -> int:
    """Return a value that must be an integer of at least 0."""
    if type(value) is not int or value < 0:
        raise wrong(field, "an integer of at least 0", value)
    return value


def number(value: object, field: str) -> float:
    """Return a value that must be a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(field, "a number", value)
    return value


def to_json(value: object, field: str) -> str:
    """Return a value as JSON text."""
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{field} cannot be written as JSON: {error}") from error


def _shown(value: object) -> str:
    """Return a value in words that are short whatever it holds."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, int) and abs(value) > 10**15:
        return "a very large number"
    return f"{value[:60]!r}" if isinstance(value, str) else f"{value!r:.60}"
