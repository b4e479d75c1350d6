"""The keys of a log on a Redis server, which all begin with the prefix, and their values.

- ``log``: a list; each position holds ``[kind, id, decision id, revision, write]``, a place. Places of the first versions lack the last two.
- ``decision:ID``: a hash of a decision, its attempts, its pending entries, its embedding and its position.
- ``feedback:ID``: a piece of feedback; ``revisions:ID``: a hash of its revisions above 0.
- ``pending``: the ids of decisions that are not in the log and have pending entries.
- ``user:ID``, ``episode:ID``: the ids of a user's or an episode's decisions.
- ``snapshots``, ``snapshots:content``, ``epoch``, ``forgotten`` (digests of users), ``version``.

A write is a random id of the transaction that placed an entry. The entry has it too, and a place of another write is skipped: a server that is
killed in the middle of a transaction keeps its beginning in the append-only file, and runs it with the first transaction after its next
start (Redis 7 does). The entry was then delivered again, so it has two places.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from aamc_sdk.log import DECISION, Row

EMBEDDING, POSITION = "embedding", "position"
"""Fields of a decision's hash beside its entries, whose names are ``kind/id``, or ``kind#revision/id``."""


class StoredEntry:
    """An entry as a key holds it: its row, the order in which it came to its decision, whether it is pending, and its write."""

    def __init__(self, kind: str, name: str, value: bytes, embedding: bytes | None = None) -> None:
        values = json.loads(value)
        earlier: list[Any] = [*values[:6], "", 0, ""]  # an entry of the first versions lacks what came later
        self.order, self.pending, decision_id, candidate, content, made, fingerprint, revision, self.write = values + earlier[len(values) :]
        kept = embedding if kind == DECISION else None
        self.row = Row(kind, name, decision_id, candidate, content, made, kept, revision=revision, fingerprint=fingerprint)


class Place:
    """An element of the log's list: names of an entry and its decision, the revision, and the write; ``""`` where that is not known."""

    def __init__(self, kind: str, name: str, decision_id: str, revision: int = 0, write: str = "") -> None:
        self.kind, self.name, self.decision_id, self.revision, self.write = kind, name, decision_id, revision, write

    @property
    def entry_name(self) -> str:
        """The name of the entry."""
        return Row(self.kind, self.name, self.decision_id, "", "", 0.0, revision=self.revision).name

    def holds(self, entry: StoredEntry) -> bool:
        """Whether the entry was placed here last."""
        return self.write in ("", entry.write)


def text_of(value: bytes | str) -> str:
    """Return a name, which the client returns as bytes unless it was told otherwise."""
    return value if isinstance(value, str) else value.decode()


def names_of(members: Iterable[bytes | str]) -> list[str]:
    """Return the members of a set of names, in alphabetical order."""
    return sorted(map(text_of, members))


def value_of(row: Row, order: int, pending: bool, write: str) -> str:
    """Return the value that holds an entry, see :class:`StoredEntry`."""
    return json.dumps([order, pending, row.decision_id, row.candidate, row.content, row.time, row.fingerprint, row.revision, write])


def field_of(row: Row) -> str:
    """Return the field of a decision's hash that holds an entry."""
    return f"{row.kind}#{row.revision}/{row.id}" if row.revision else f"{row.kind}/{row.id}"


def place_of(row: Row, write: str) -> str:
    """Return the element of the log's list that stands for an entry, see :class:`Place`."""
    return json.dumps([row.kind, row.id, row.decision_id, row.revision, write])


def entries_of(fields: Mapping[Any, Any]) -> list[StoredEntry]:
    """Return the entries of a decision's hash in their order."""
    named = [(text_of(field).partition("/"), value) for field, value in fields.items()]
    kept = [StoredEntry(kind.partition("#")[0], name, value) for (kind, slash, name), value in named if slash]
    return sorted(kept, key=lambda entry: entry.order)
