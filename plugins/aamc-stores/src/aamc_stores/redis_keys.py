"""The keys of a log on a Redis server, all beginning with the prefix, and what they hold.

- ``log``: a list of what each position holds: ``[kind, id, decision id]``.
- ``decision:ID``: a hash of a decision, its attempts and what waits for it, its embedding and its position.
- ``feedback:ID``: a piece of feedback.
- ``waiting``: the ids of decisions that are waited for.
- ``user:ID``: the ids of a user's decisions.
- ``views``, ``views:content``, ``epoch``, ``forgotten`` (digests of users), ``version``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from aamc_sdk.log import DECISION, Row

EMBEDDING, POSITION = "embedding", "position"
"""Fields of a decision's hash beside its entries, whose names are ``kind/id``."""


class Kept:
    """An entry as a key holds it: its row, the order in which it came to its decision, and whether it waits."""

    def __init__(self, kind: str, name: str, value: bytes) -> None:
        self.order, self.waits, decision_id, candidate, content, made = json.loads(value)
        self.row = Row(kind, name, decision_id, candidate, content, made)


def text_of(value: bytes | str) -> str:
    """Return a name, which the client returns as bytes unless it was told otherwise."""
    return value if isinstance(value, str) else value.decode()


def names_of(members: Iterable[bytes | str]) -> list[str]:
    """Return the members of a set of names, in alphabetical order."""
    return sorted(map(text_of, members))


def value_of(row: Row, order: int, waits: bool) -> str:
    """Return what a decision's hash holds of an entry, see :class:`Kept`."""
    return json.dumps([order, waits, row.decision_id, row.candidate, row.content, row.time])


def row_of(kind: str, name: str, value: bytes, embedding: bytes | None = None) -> Row:
    """Return an entry from what a key holds of it."""
    row = Kept(kind, name, value).row
    return attrs.evolve(row, embedding=embedding) if kind == DECISION else row


def entries_of(fields: Mapping[Any, Any]) -> list[Kept]:
    """Return the entries of a decision's hash in their order."""
    named = [(text_of(field).partition("/"), value) for field, value in fields.items()]
    kept = [Kept(kind, name, value) for (kind, slash, name), value in named if slash]
    return sorted(kept, key=lambda entry: entry.order)
