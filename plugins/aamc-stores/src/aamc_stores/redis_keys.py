"""The keys of a log on a Redis server, which all begin with the prefix, and their values.

- ``log``: a list; each position holds ``[kind, id, decision id]``, and the revision of feedback above 0.
- ``decision:ID``: a hash of a decision, its attempts, its pending entries, its embedding and its position.
- ``feedback:ID``: a piece of feedback; ``revisions:ID``: a hash of its revisions above 0.
- ``pending``: the ids of decisions that are not in the log and have pending entries.
- ``user:ID``, ``episode:ID``: the ids of a user's or an episode's decisions.
- ``snapshots``, ``snapshots:content``, ``epoch``, ``forgotten`` (digests of users), ``version``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from aamc_sdk.log import DECISION, Row

EMBEDDING, POSITION = "embedding", "position"
"""Fields of a decision's hash beside its entries, whose names are ``kind/id``, or ``kind#revision/id``."""


class StoredEntry:
    """An entry as a key holds it: its row, the order in which it came to its decision, and whether it is pending."""

    def __init__(self, kind: str, name: str, value: bytes) -> None:
        self.order, self.pending, decision_id, candidate, content, made, *later = json.loads(value)
        fingerprint, revision = later or ("", 0)
        self.row = Row(kind, name, decision_id, candidate, content, made, revision=revision, fingerprint=fingerprint)


def text_of(value: bytes | str) -> str:
    """Return a name, which the client returns as bytes unless it was told otherwise."""
    return value if isinstance(value, str) else value.decode()


def names_of(members: Iterable[bytes | str]) -> list[str]:
    """Return the members of a set of names, in alphabetical order."""
    return sorted(map(text_of, members))


def value_of(row: Row, order: int, pending: bool) -> str:
    """Return the value that holds an entry, see :class:`StoredEntry`."""
    return json.dumps([order, pending, row.decision_id, row.candidate, row.content, row.time, row.fingerprint, row.revision])


def field_of(row: Row) -> str:
    """Return the field of a decision's hash that holds an entry."""
    return f"{row.kind}#{row.revision}/{row.id}" if row.revision else f"{row.kind}/{row.id}"


def place_of(row: Row) -> str:
    """Return the element of the log's list that stands for an entry."""
    return json.dumps([row.kind, row.id, row.decision_id, *([row.revision] if row.revision else [])])


def row_of(kind: str, name: str, value: bytes, embedding: bytes | None = None) -> Row:
    """Return an entry from its value."""
    row = StoredEntry(kind, name, value).row
    return attrs.evolve(row, embedding=embedding) if kind == DECISION else row


def entries_of(fields: Mapping[Any, Any]) -> list[StoredEntry]:
    """Return the entries of a decision's hash in their order."""
    named = [(text_of(field).partition("/"), value) for field, value in fields.items()]
    kept = [StoredEntry(kind.partition("#")[0], name, value) for (kind, slash, name), value in named if slash]
    return sorted(kept, key=lambda entry: entry.order)
