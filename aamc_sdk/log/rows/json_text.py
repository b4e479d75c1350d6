"""JSON of the log's entries. The format is that of the standard library, and so are the values that are refused; msgspec is several times as fast.

msgspec refuses half of a surrogate pair, which a caller's text may have: such an entry is written and read by the standard library.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from aamc_sdk.errors import StoreError
from aamc_sdk.storage import plain, to_json
from aamc_sdk.types import NamedValues

T = TypeVar("T")


def _converted(value: Any) -> Any:
    """Return a value that msgspec cannot encode as one that it can, such as an array as a list."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, NamedValues):
        return value.to_dict()
    found = plain(value)
    if found is value:
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return found


_SIMPLE = frozenset((str, int, float, bool, type(None)))
_encoder = msgspec.json.Encoder(enc_hook=_converted)
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def encode(content: Any) -> str:
    """Return a value of JSON's types, arrays and sets as JSON without NaN, which becomes null."""
    try:
        return _encoder.encode(content).decode()
    except (msgspec.MsgspecError, TypeError, UnicodeEncodeError):  # half a surrogate pair, which json escapes
        return to_json(content)


def check_plain(value: Any) -> None:
    """Check that a caller's value is of JSON's types, arrays and sets: msgspec would turn dates and others into texts."""
    if type(value) is NamedValues:  # numbers
        return
    if type(value) is dict or isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple | set | frozenset):
        if not isinstance(value, str | int | float | None | Path) and not hasattr(value, "tolist"):
            raise StoreError(f"the log keeps JSON's own types only, not {type(value).__name__}; use numbers, text, lists and mappings in notes")
        return
    for item in value:
        if type(item) not in _SIMPLE:  # most are
            check_plain(item)


def decode(content: str | bytes, decoder: msgspec.json.Decoder[Any] = _decoder) -> Any:
    """Return the value of a JSON document, of a decoder's type.

    Raises:
        ValueError: It is damaged.
    """
    try:
        return decoder.decode(content)
    except (msgspec.MsgspecError, UnicodeEncodeError):  # half a surrogate pair, or damaged, which json explains
        return msgspec.convert(json.loads(content), decoder.type)


def decode_entry(content: str | bytes, decoder: msgspec.json.Decoder[T], name: str) -> T:
    """Return the content of the log's entry of a name, decoded.

    Raises:
        StoreError: The content is damaged.
    """
    with damage_errors(name):
        found: T = decode(content, decoder)
    return found


@contextmanager
def damage_errors(name: str) -> Iterator[None]:
    """Turn the block's errors of wrong values into a StoreError: the log's entry with this name is damaged."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else error
        raise StoreError(f"the log's entry {name!r} is damaged ({why}): restore a copy of the log") from error


def null_if_unknown(value: float) -> float | None:
    """Return a number as JSON keeps it: None for NaN and infinities."""
    return float(value) if math.isfinite(value) else None


def nan_if_null(value: float | None) -> float:
    """Return a number that JSON kept: NaN for None."""
    return math.nan if value is None else value
