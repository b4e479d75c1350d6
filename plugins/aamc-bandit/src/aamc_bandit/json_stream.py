"""Writes large JSON documents in pieces.

Building plain values for a hundred thousand users and calling ``json.dumps`` would block all other threads for a second or
more. An iterator of pairs therefore stands for an object: each pair is built, written and freed before the next one.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from aamc_sdk.storage import replacing

_encode = json.JSONEncoder(allow_nan=False).encode


class EncodedJson(str):
    """A JSON document that is already encoded; it is written as it is."""

    __slots__ = ()


def json_pieces(value: Any) -> Generator[str, None, None]:
    """Yield a JSON document in pieces.

    Args:
        value: A JSON value, an :class:`EncodedJson`, or an iterator of pairs, which becomes an object; its values are any of these.
    """
    if isinstance(value, EncodedJson):
        yield value
    elif isinstance(value, Iterator):
        yield "{"
        for number, (key, inner) in enumerate(value):
            yield f"{', ' if number else ''}{_encode(key)}: "
            if isinstance(inner, EncodedJson | Iterator):
                yield from json_pieces(inner)
            else:
                yield _encode(inner)
        yield "}"
    else:
        yield _encode(value)


def write_json_pieces(path: Path, value: Any) -> None:
    """Write a JSON document in pieces, whole or not at all.

    Raises:
        OutputError: The folder cannot be written, or the disk is full.
    """
    with replacing(path) as file, closing(json_pieces(value)) as pieces:  # closed: an iterator may hold a lock
        for piece in pieces:
            file.write(piece.encode())
