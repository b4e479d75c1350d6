"""From an excerpt of the log to the commands that write its changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from aamc_sdk.log import DECISION, FEEDBACK, Excerpt, Retention, Row, begins_partition, columns_of
from aamc_stores.redis_log.keys import (
    EMBEDDING,
    LATEST,
    OLD_POSITION,
    WHOLE,
    StoredEntry,
    UnpackContent,
    entry_from,
    field_of,
    is_default,
    is_entry,
    number_of,
    old_entry,
    old_field_of,
    value_of,
    with_number,
)
from aamc_stores.redis_log.server import Check, Facts, Op, RedisServer, binary, partition_value, write_id
from aamc_stores.redis_log.templates import LogTemplates

_KEYS_AT_ONCE = 1000
"""Keys in one check: a script can pass some thousand arguments."""
_DECISION_BYTES, ENTRY_BYTES = 320, 100
"""The server's overhead for a decision's key, and for each entry's field and place, beyond the bytes of both, measured by MEMORY USAGE."""


class DecisionHash:
    """The hash of a decision, made of what was read: its id, its number of fields, and fields with their values, some of which may be missing."""

    def __init__(self, server: RedisServer, values: Sequence[Any]) -> None:
        self.id: str = values[0].decode()
        self.key = server.key(f"decision:{self.id}")
        self.count = int(values[1])
        self.fields = {field.decode(): value for field, value in zip(values[2::2], values[3::2], strict=True)}

    @property
    def latest(self) -> int:
        """The position of the latest entry; of version 2, that of the decision or 0."""
        value = self.fields.get(LATEST) or self.fields.get(WHOLE) or b""
        return number_of(value) if value[:1] != b"[" else 0

    @property
    def decided(self) -> int | None:
        """The position of the decision; None where it is not in the log."""
        if WHOLE in self.fields:
            return number_of(self.fields[WHOLE])
        return int(self.fields[OLD_POSITION]) if OLD_POSITION in self.fields else None

    @property
    def is_old(self) -> bool:
        """Whether version 2 wrote the decision, and did not keep its latest position."""
        return OLD_POSITION in self.fields

    def entries(self, unpack: UnpackContent, feedback: Collection[str] | None = None) -> Iterator[StoredEntry]:
        """Yield the entries; of placed feedback only that of some ids, all by default."""
        for field, value in self.fields.items():
            if is_entry(field):
                entry = entry_from(self.id, field, value, unpack)
                if feedback is None or entry.pending or entry.row.kind != FEEDBACK or entry.row.id in feedback:
                    yield entry


class LoadedExcerpt:
    """The part of the log that a group of writes needs, made of what the script EXCERPT found.

    Attributes:
        hashes: The decisions that the server has, by id.
        pointers: The keys of feedback that the server has, by its id.
        entries: The entries, in order.
        waited: The ids of decisions that have pending entries.
    """

    def __init__(self, server: RedisServer, found: Sequence[Any], unpack: UnpackContent, feedback: Collection[str] | None = None) -> None:
        _, decisions, kept = found
        self._server = server
        self.hashes = {each.id: each for each in (DecisionHash(server, values) for values in decisions)}
        self.feedback = feedback or ()
        self.pointers: dict[str, bytes] = {}
        entries = [entry for each in self.hashes.values() for entry in each.entries(unpack, feedback)]
        for name, pointer, *revisions in kept:
            if pointer is not None:
                self.pointers[name.decode()] = pointer
            entries += [old_entry(FEEDBACK, name.decode(), value) for value in (pointer, *revisions) if value is not None and value[:1] == b"["]
        self.entries = sorted(entries, key=attrgetter("number"))
        self.waited = {entry.row.decision_id for entry in self.entries if entry.pending}

    def excerpt(self) -> Excerpt:
        """Return the entries as the log's rules take them."""
        return Excerpt(self.rows(pending=False), self.rows(pending=True))

    def rows(self, pending: bool) -> list[Row]:
        """Return the entries that are placed, or those that are pending, in order."""
        return [entry.row for entry in self.entries if entry.pending is pending]

    def checks(self, decisions: Iterable[str], feedback: Iterable[str] = ()) -> Iterator[Check]:
        """Yield the checks that the decisions' hashes are unchanged, and that the ids of feedback still belong to the same decisions."""
        absent: list[str] = []
        counted: defaultdict[int, list[str]] = defaultdict(list)
        for name in decisions:
            if (found := self.hashes.get(name)) is None:
                absent.append(self._server.key(f"decision:{name}"))
            elif LATEST in found.fields:  # each write but the first sets it
                yield binary(found.fields[LATEST]), "HGET", found.key, LATEST
            else:
                counted[found.count].append(found.key)
        for count, keys in counted.items():
            yield str(count), "HLEN", *keys
        for name in feedback:
            key = self._server.key(f"feedback:{name}")
            if name in self.pointers:
                yield binary(self.pointers[name]), "GET", key
            else:
                absent.append(key)
        for start in range(0, len(absent), _KEYS_AT_ONCE):
            yield "0", "EXISTS", *absent[start : start + _KEYS_AT_ONCE]


def index_keys(server: RedisServer, row: Row) -> list[str]:
    """Return the keys of the sets of decisions by user and by episode that have a decision."""
    columns = columns_of(row)
    members = {"user": columns["user_id"], "episode": columns["episode"]}
    return [server.key(f"{name}:{member}") for name, member in members.items() if member]


class Group:
    """The commands that write an excerpt's changes.

    Attributes:
        ops: The commands, see :mod:`aamc_stores.redis_log.scripts`.
        checks: The checks that the entries are as they were read.
        size: Bytes that the server needs for them, estimated.
        partition: The number of the partition that takes them.
    """

    def __init__(self, server: RedisServer, loaded: LoadedExcerpt, facts: Facts, templates: LogTemplates) -> None:
        self._server, self._loaded, self._facts, self._templates = server, loaded, facts, templates
        self._old = {entry.row.key: entry for entry in loaded.entries if entry.old}
        self._write = write_id().decode()
        self.ops: list[Op] = []
        self.size = 0
        self.partition = 0 if facts.newest is None else facts.newest.number
        self.checks: list[Check] = []

    def write(self, excerpt: Excerpt, added: Sequence[Row], retention: Retention) -> None:
        """Add the commands that write an excerpt after its writes ran; ``added`` are its rows with new positions, as they are kept."""
        template_check = self._templates.check
        for row in added:
            if row.kind == DECISION:
                self._decision(row)
            self._place(row)
        order = 1 + max((entry.number for entry in self._loaded.entries), default=0)
        for number, row in enumerate(excerpt.added_pending.values(), order):
            self._add_pending(number, row)
        for row in excerpt.dropped:
            self._drop(row)
        touched = dict.fromkeys(row.decision_id for row in (*added, *excerpt.added_pending.values(), *excerpt.dropped))
        self._finish(excerpt, touched, {row.decision_id for row in added})
        if not self.ops:
            return
        if self._templates.check != template_check:
            self.checks.append(template_check)
        named = [row.id for row in (*added, *excerpt.added_pending.values()) if row.kind == FEEDBACK and row.id in self._loaded.feedback]
        self.checks += self._loaded.checks(touched, named)
        self._begin_partition(added, retention)
        if self.size:
            self.ops.append([3, str(self.partition)])
        if added:
            self.ops.append([4, len(added)])

    def _place(self, row: Row) -> None:
        value, field, name = value_of(row, False, self._templates.pack(row, self.ops)), field_of(row), row.decision_id
        self._clear_old(row)
        is_first = row.kind == DECISION and name not in self._loaded.hashes
        self.ops.append([5, name, field, binary(value)] if is_first else [5, name, field, binary(value), self._write])
        self._point(row)
        self.size += ENTRY_BYTES + len(value) + 2 * len(field) + len(name)

    def _add_pending(self, number: int, row: Row) -> None:
        value = with_number(number, value_of(row, True, self._templates.pack(row, self.ops)))
        self._clear_old(row)
        self.ops.append(["HSET", self._key(row), field_of(row), binary(value)])
        self.ops.append(["SADD", self._server.key("pending"), row.decision_id])
        self._point(row)
        self.size += ENTRY_BYTES + len(value)

    def _drop(self, row: Row) -> None:
        self._clear_old(row)
        self.ops.append(["HDEL", self._key(row), field_of(row)])
        if row.kind == FEEDBACK and not is_default(row) and row.key not in self._old:
            self.ops.append(["DEL", self._server.key(f"feedback:{row.id}")])

    def _decision(self, row: Row) -> None:
        self.size += _DECISION_BYTES + len(row.id)
        if row.embedding is not None:
            self.ops.append(["HSET", self._key(row), EMBEDDING, binary(row.embedding)])
            self.size += len(row.embedding)
        for key in index_keys(self._server, row):
            self.ops.append(["SADD", key, row.id])
            self.size += ENTRY_BYTES

    def _point(self, row: Row) -> None:
        """Name the decision of feedback that cannot be found by its id."""
        if row.kind == FEEDBACK and self._loaded.pointers.get(row.id, b"=")[:1] == b"=" and not is_default(row):
            self.ops.append(["SET", self._server.key(f"feedback:{row.id}"), f"={row.decision_id}"])

    def _clear_old(self, row: Row) -> None:
        """Delete the key or field in which version 2 kept an entry that is written anew."""
        if not self._old or row.key not in self._old:
            return
        self.ops.append(["HDEL", self._key(row), old_field_of(row)])
        if row.kind == FEEDBACK and row.revision:
            self.ops.append(["HDEL", self._server.key(f"revisions:{row.id}"), str(row.revision)])
        elif row.kind == FEEDBACK:
            self.ops.append(["DEL", self._server.key(f"feedback:{row.id}")])

    def _finish(self, excerpt: Excerpt, touched: Iterable[str], placed: Collection[str]) -> None:
        """Note the write with decisions that got no place, and which decisions are not pending any more."""
        waited = self._loaded.waited
        for name in touched:
            if name in placed and name not in waited:
                continue
            key, loaded, pending = self._server.key(f"decision:{name}"), self._loaded.hashes.get(name), excerpt.pending(name)
            if not pending and not excerpt.history(name):
                self.ops.append(["DEL", key])
            elif name not in placed:
                self.ops.append(["HSET", key, LATEST, binary(with_number(0 if loaded is None else loaded.latest, self._write.encode()))])
            if not pending and name in waited:
                self.ops.append(["SREM", self._server.key("pending"), name])

    def _begin_partition(self, placed: Sequence[Row], retention: Retention) -> None:
        """Begin a partition with the first decision, where it is time."""
        first = next((offset for offset, row in enumerate(placed, 1) if row.kind == DECISION), None)
        if first is None or not begins_partition(self._facts.newest, self._facts.now, retention):
            return
        newest, self.partition = self._facts.newest, 0 if self._facts.newest is None else self._facts.newest.number + 1
        self.ops.append([2, first, self._server.key("partitions"), str(self.partition), binary(partition_value(self._facts.now))])
        self.ops.append(["SET", self._server.key("newest"), str(self.partition)])
        self.checks.append(("" if newest is None else str(newest.number), "GET", self._server.key("newest")))

    def _key(self, row: Row) -> str:
        return self._server.key(f"decision:{row.decision_id}")
