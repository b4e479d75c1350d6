"""Large JSON documents, written piece by piece.

To make plain values of a hundred thousand users and to call ``json.dumps`` holds every other
thread up for a second or more. So an object may be an iterator of pairs: what it yields is made,
written and forgotten one after the other, and holds nobody up.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from aamc_sdk.storage import replacing


class Written(str):
    """A JSON document that is written already; it goes into another one as it is."""

    __slots__ = ()


def json_pieces(value: Any) -> Generator[str, None, None]:
    """Yield a JSON document in pieces; an iterator of pairs is an object, whose values are pieces or such iterators again."""
    if isinstance(value, Written):
        yield value
    elif isinstance(value, Iterator):
        yield "{"
        for number, (key, inner) in enumerate(value):
            yield f"{', ' if number else ''}{json.dumps(key)}: "
            yield from json_pieces(inner)
        yield "}"
    else:
        yield json.dumps(value, allow_nan=False)


def write_json_pieces(path: Path, value: Any) -> None:
    """Write a JSON document whole or not at all, in pieces.

    Raises:
        OutputError: The folder cannot be written, or the disk is full.
    """
    with replacing(path) as file, closing(json_pieces(value)) as pieces:  # closed: an iterator may hold a lock
        for piece in pieces:
            file.write(piece.encode())
