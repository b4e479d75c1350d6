"""Reading the log on a Redis server: batches, excerpts, decisions and outcomes."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aamc_sdk.log import DECISION, FEEDBACK, Batch, OutcomeFields, OutcomeJoin, Row, columns_of, followed, outcome_fields, replaced_rows, revised_ids
from aamc_stores.redis_log.group import LoadedExcerpt
from aamc_stores.redis_log.keys import WHOLE, StoredEntry, entry_from, key_of, number_of, old_entry, outcome_from, place_from, tenant_from, to_msgpack
from aamc_stores.redis_log.scripts import BATCH, DECISIONS, EXCERPT
from aamc_stores.redis_log.server import Facts, RedisServer
from aamc_stores.redis_log.templates import LogTemplates

logger = logging.getLogger(__name__)
_LOST = "its server came back without its data (appendonly no, or a failover to an empty replica), or the log was deleted; restore it if you can"
_AT_ONCE = 5000
"""Entries that are read at once where no limit is given."""


class RedisReader:
    """Reads a log."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self.templates = LogTemplates(server)

    def batch(self, after: int, limit: int) -> Batch:
        """Return at most ``limit`` entries after a position, with the entries that belong to them."""
        found, before, entries, decisions = self._read(BATCH, str(after), str(limit), "1")
        facts = Facts.of(found)
        placed = list(self._entries(entries, {values[0].decode(): values[3] for values in decisions}))
        rows = [entry.row for _, entry in placed]
        named = {row.decision_id for row in rows}
        known = [row for row in self._in_order(decisions) if row.id in named]
        revised = revised_ids(rows)
        return Batch(
            position=int(entries[-1][0]) if entries else after,
            rows=rows,
            decisions=known,
            epoch=facts.epoch,
            follows=followed(after, None if before is None else place_from(before).entry_name, facts.start, facts.position),
            replaced=replaced_rows(rows, self._revisions(rows, revised) if revised else []),
            last=place_from(entries[-1][1]).entry_name if entries else None,
            start=facts.start,
            positions=[position for position, _ in placed],
        )

    def add_outcomes(self, found: OutcomeJoin) -> None:
        """Add the log's entries; embeddings are read only where they are needed."""
        found.add_entries(self._logged("e" if found.needs_embeddings else "0"), lambda contents: self.templates.known.unpack_all(contents))

    def _logged(self, decisions: str) -> Iterator[OutcomeFields]:
        """Yield the log's entries for outcomes, without making rows of those of this version: a log has many."""
        for position, kept, value, embeddings in self._values(0, decisions):
            decision_id, nul, field = kept.decode().partition("\0")
            if not nul or value[:1] == b"[":  # version 2
                for _, entry in self._entries([(position, kept, value)], embeddings):
                    yield outcome_fields(entry.row)
            elif number_of(value) == position:
                kind, name, _ = key_of(decision_id, field)
                yield kind, decision_id, name, *outcome_from(value), embeddings.get(decision_id), None, None, None, None

    def tenants(self, after: int) -> Iterator[tuple[int, str, str | None]]:
        """Yield position, id and tenant of the decisions after a position; contents of this version are not unpacked."""
        for position, kept, value, _ in self._values(after, "0"):
            for _, entry in self._entries([(position, kept, value)], {}):
                if entry.row.kind == DECISION:
                    yield position, entry.row.id, columns_of(entry.row)["tenant"] if entry.old else tenant_from(value)

    def _values(self, after: int, decisions: str) -> Iterator[tuple[int, bytes, bytes, Mapping[str, bytes | None]]]:
        """Yield position, place and value of the entries after a position that are there, and the embeddings of a batch.

        The server prepares a batch while the last one is used.
        """
        with ThreadPoolExecutor(1, "aamc-read-ahead") as ahead:
            next_batch = ahead.submit(self._read, BATCH, str(after), str(_AT_ONCE), decisions)
            while (batch := next_batch.result())[2]:
                _, _, entries, found = batch
                next_batch = ahead.submit(self._read, BATCH, str(int(entries[-1][0])), str(_AT_ONCE), decisions)
                embeddings = {values[0].decode(): values[3] for values in found}
                for position, kept, value in entries:
                    if value is not None:
                        yield int(position), kept, value, embeddings

    def excerpt(self, decisions: Sequence[str], feedback: Collection[str] = (), *, all_feedback: bool = False) -> tuple[Facts, LoadedExcerpt]:
        """Return all entries on some decisions, of placed feedback only that of some ids unless all is asked for."""
        found = self._read(EXCERPT, to_msgpack([decisions, list(feedback)]))
        return Facts.of(found[0]), LoadedExcerpt(self._server, found, self.templates.known.unpack, None if all_feedback else set(feedback))

    def decisions(self, names: Sequence[str]) -> list[Row]:
        """Return some decisions with their embeddings, in log order."""
        return self._in_order(self._read(DECISIONS, to_msgpack(names))[1])

    def tombstones(self) -> Mapping[str, float]:
        """Return when each forgotten user was forgotten, by digest."""
        return {digest: float(when) for digest, when in self._server.hash("tombstones").items()}

    def _read(self, script: str, *arguments: Any) -> Any:
        """Return the result of a reading script, with the templates that it needs loaded."""
        found = self._server.read(script, *arguments)
        if self.templates.update(Facts.of(found[0])):
            logger.error("the log %s is empty or another one now: %s", self._server.name, _LOST)
        return found

    def _entries(self, found: Iterable[Sequence[Any]], embeddings: Mapping[str, bytes | None]) -> Iterator[tuple[int, StoredEntry]]:
        """Yield the entries of some places; those that are gone, or were placed again, are left out."""
        for position, kept, value in found:
            if value is not None:
                entry = self._entry(kept, value, embeddings)
                if place_from(kept).holds(entry) if entry.old else entry.number == position:
                    yield int(position), entry

    def _entry(self, kept: bytes, value: bytes, embeddings: Mapping[str, bytes | None]) -> StoredEntry:
        decision_id, nul, field = kept.decode().partition("\0")
        if not nul:
            place = place_from(kept)
            decision_id, field = place.decision_id, f"{place.kind}#{place.revision}/{place.name}"
            if value[:1] == b"[":
                return old_entry(place.kind, place.name, value, embeddings.get(decision_id))
        embedding = embeddings.get(decision_id) if field == WHOLE or field.startswith(DECISION) else None
        return entry_from(decision_id, field, value, self.templates.known.unpack, embedding)

    def _in_order(self, decisions: Iterable[Sequence[Any]]) -> list[Row]:
        """Return decisions that a script found, in log order."""
        placed = []
        for name, kept, old, embedding, position in decisions:
            decision_id, value = name.decode(), kept or old
            if value is not None:
                entry = entry_from(decision_id, WHOLE, value, self.templates.known.unpack, embedding)
                placed.append((entry.number if position is None else int(position), entry.row))
        return [row for _, row in sorted(placed, key=lambda pair: pair[0])]

    def _revisions(self, rows: Sequence[Row], feedback: Sequence[str]) -> list[Row]:
        """Return all placed revisions of some feedback."""
        decisions = list(dict.fromkeys(row.decision_id for row in rows if row.kind == FEEDBACK and row.revision))
        return [row for row in self.excerpt(decisions, feedback)[1].rows(pending=False) if row.kind == FEEDBACK]
