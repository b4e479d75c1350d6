"""The keys of a log on a Redis server, which all begin with the prefix, and their values.

- ``stream``: a stream; the entry ``position-0`` holds a place: a decision's id and a field of its hash. ``position``: the last position given out.
- ``decision:ID``: a hash of all entries on a decision: ``d`` is the decision, ``e`` its embedding, ``a/...`` an attempt, ``f/...`` feedback, and
  ``p`` the position of the latest entry with the last write's id. A value is a position in 8 bytes and a MessagePack array.
- ``feedback:ID``: the decision of feedback whose id is not ``decision/source``.
- ``pending``: the ids of decisions that are not in the log and have pending entries. ``user:ID``, ``episode:ID``: the ids of decisions.
- ``templates``: contents that decisions are compressed against. ``partitions``, ``sizes`` and ``newest``: partitions by number.
- ``snapshots``, ``floors``: descriptions by name; ``state:...``: their contents; ``deltas:NAME``; ``states``: the id of the last write to these.
- ``start``, ``epoch``, ``tombstones`` (digests of users), ``aggregates``, ``exports`` (formats by path), ``lease:NAME``, ``version``.
- ``journal``: the group of writes that is being committed, see :mod:`aamc_stores.redis_log.scripts`.

Version 2 kept entries as JSON, under longer names in the decision's hash, and feedback under ``feedback:ID`` and ``revisions:ID``. These are read as
they are. Its places name a *write*, a random id that the entry has too: a place of another write is skipped, see :meth:`Place.holds`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import msgspec

from aamc_sdk.log import ATTEMPT, DECISION, FEEDBACK, Row, columns_of, fingerprint_bytes, packed_uncompressed

EMBEDDING, LATEST, WHOLE = "e", "p", "d"
"""Fields of a decision's hash besides attempts and feedback: its embedding, its latest entry, and the decision itself."""
OLD_POSITION = "position"
"""The field of a decision's position in version 2."""
_LETTERS = {"a": ATTEMPT, "A": ATTEMPT, "f": FEEDBACK, "F": FEEDBACK}
"""Kinds by the first letter of a field. A capital stands before whole ids, a small letter before ids without ``decision/``."""
_NUMBER_BYTES = 8


def _plain_text(value: object) -> str:
    """Return a text of a subclass, such as NumPy's, as one that msgspec packs."""
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"objects of type {type(value).__name__} are not kept")


to_msgpack, from_msgpack = msgspec.msgpack.Encoder(enc_hook=_plain_text).encode, msgspec.msgpack.Decoder().decode
"""To and from MessagePack: lists, texts, numbers and, in arguments of scripts, results of :func:`aamc_stores.redis_log.server.binary`."""
UnpackContent = Callable[[bytes], str]
"""Returns a content from its compressed form."""


@attrs.frozen
class StoredEntry:
    """An entry as a key holds it.

    Attributes:
        row: The entry.
        number: Its position; of a pending entry, and in version 2, the order in which it came to its decision.
        pending: Whether its decision is not in the log.
        write: The write that placed it in version 2.
        old: Whether version 2 wrote it.
    """

    row: Row
    number: int
    pending: bool
    write: str = ""
    old: bool = False


@attrs.frozen
class Place:
    """An element of the log: a kind, an id and a revision, the decision, and the write of version 2."""

    kind: str
    name: str
    decision_id: str
    revision: int = 0
    write: str = ""

    @property
    def entry_name(self) -> str:
        """The name of the entry."""
        return Row(self.kind, self.name, self.decision_id, "", "", 0.0, revision=self.revision).name

    def holds(self, entry: StoredEntry) -> bool:
        """Whether the entry was placed here last."""
        return self.write in ("", entry.write)


def place_from(value: bytes) -> Place:
    """Return the place that an element of the stream describes: a decision's id, NUL and a field of its hash. Ids have no NUL."""
    decision_id, nul, field = value.decode().partition("\0")
    if not nul:  # version 2, whose JSON has no NUL
        return Place(*json.loads(value))
    kind, name, revision = key_of(decision_id, field)
    return Place(kind, name, decision_id, revision)


def field_of(row: Row) -> str:
    """Return the field of the decision's hash that holds an entry."""
    if row.kind == DECISION:
        return WHOLE
    if row.kind == ATTEMPT:
        begin = f"{row.decision_id}/"
        return f"a/{row.id[len(begin) :]}" if row.id.startswith(begin) else f"A/{row.id}"
    revision = f"#{row.revision}" if row.revision else ""
    return f"f{revision}/{row.id[len(row.decision_id) + 1 :]}" if is_default(row) else f"F{revision}/{row.id}"


def is_default(row: Row) -> bool:
    """Return whether feedback has an id of the form ``decision/source`` that no feedback on another decision can have by default.

    Such feedback is found in its decision's hash; other feedback has a key of its own that names the decision.
    """
    return decision_of(row.id) == row.decision_id


def decision_of(feedback_id: str) -> str | None:
    """Return the decision to which feedback of that id belongs where the id has the form ``decision/source``; None for other ids."""
    decision_id, _, source = feedback_id.partition("/")
    return decision_id if source and "/" not in source else None


def value_of(row: Row, pending: bool, content: bytes) -> bytes:
    """Return the value that holds an entry with a compressed content, without the position in front."""
    values: list[Any] = [pending, row.candidate, content, row.time]
    if row.kind == DECISION:
        columns = columns_of(row)
        values += [fingerprint_bytes(row.fingerprint) or row.fingerprint, columns["propensity"], columns["tenant"]]
    return to_msgpack(values)


def plain_feedback(row: Row) -> tuple[str, str, bytes] | None:
    """Return decision, field and value of feedback without a revision, but for position and candidate; None where its id has a key of its own."""
    if not is_default(row):
        return None
    value = to_msgpack((packed_uncompressed(row.content), row.time))
    return row.decision_id, field_of(row), value[1:]  # without the array's first byte


def with_number(number: int, value: bytes) -> bytes:
    """Return a value with a position in front."""
    return number.to_bytes(_NUMBER_BYTES, "big") + value


def number_of(value: bytes) -> int:
    """Return the position in front of a value."""
    return int.from_bytes(value[:_NUMBER_BYTES], "big")


def entry_from(decision_id: str, field: str, value: bytes, unpack: UnpackContent, embedding: bytes | None = None) -> StoredEntry:
    """Return the entry that a field of a decision's hash holds."""
    kind, name, revision = key_of(decision_id, field)
    if value[:1] == b"[":
        return old_entry(kind, name, value, embedding)
    pending, candidate, content, made, *more = from_msgpack(value[_NUMBER_BYTES:])
    text = partial(unpack, content)
    if kind != DECISION:
        return StoredEntry(Row(kind, name, decision_id, candidate, text, made, None, revision), number_of(value), pending)
    fingerprint = more[0] if isinstance(more[0], str) else more[0].hex()
    return StoredEntry(Row(kind, name, decision_id, candidate, text, made, embedding, 0, fingerprint), number_of(value), pending)


def tenant_from(value: bytes) -> str | None:
    """Return the tenant of the decision that a value of this version holds."""
    tenant: str | None = from_msgpack(value[_NUMBER_BYTES:])[-1]
    return tenant


def outcome_from(value: bytes) -> tuple[str, float, float | None, bytes]:
    """Return candidate, time, a decision's propensity and compressed content of the entry that a value of this version holds."""
    _, candidate, content, made, *more = from_msgpack(memoryview(value)[_NUMBER_BYTES:])
    return candidate, made, more[1] if more else None, content


def old_entry(kind: str, name: str, value: bytes, embedding: bytes | None = None) -> StoredEntry:
    """Return an entry of version 2 or earlier."""
    values = json.loads(value)
    earlier: list[Any] = [*values[:6], "", 0, ""]  # an entry of the first versions lacks what came later
    order, pending, decision_id, candidate, content, made, fingerprint, revision, write = values + earlier[len(values) :]
    kept = embedding if kind == DECISION else None
    row = Row(kind, name, decision_id, candidate, content, made, kept, revision=revision, fingerprint=fingerprint)
    return StoredEntry(row, order, pending, write, old=True)


def is_entry(field: str) -> bool:
    """Return whether a field of a decision's hash holds an entry."""
    return field == WHOLE or "/" in field


def old_field_of(row: Row) -> str:
    """Return the field of a decision's hash in which version 2 kept an entry."""
    return f"{row.kind}#{row.revision}/{row.id}" if row.revision else f"{row.kind}/{row.id}"


def key_of(decision_id: str, field: str) -> tuple[str, str, int]:
    """Return the key of the entry that a field holds, see :attr:`aamc_sdk.log.Row.key`."""
    if field == WHOLE:
        return DECISION, decision_id, 0
    first, _, rest = field.partition("/")
    letter, _, revision = first.partition("#")
    if letter not in _LETTERS:  # of version 2: the kind, and the whole id
        return letter, rest, int(revision or 0)
    return _LETTERS[letter], f"{decision_id}/{rest}" if letter.islower() else rest, int(revision or 0)
