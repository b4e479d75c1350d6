"""The log on a Redis server: ``redis://HOST:PORT/0``, or any other URL that redis-py reads.

A writer reads the entries that it needs, applies the log's rules, and commits the changes in one script, which looks whether another writer has
changed the same decisions meanwhile; then it begins again. Writers of different decisions never wait for each other. The script gives out the
positions, so they follow the order of commits. The keys are those of :mod:`aamc_stores.redis_keys`.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from aamc_sdk.log import (
    ATTEMPT,
    DECISION,
    FEEDBACK,
    Batch,
    Erasure,
    Export,
    Row,
    Write,
    columns_of,
    erased_if_forgotten,
    followed,
    replaced_rows,
    revised_ids,
    run_writes,
    user_of,
)
from aamc_sdk.log.outcomes import RowOutcomes, is_within
from aamc_sdk.types import FIGURES, Aggregate, LoggedOutcomes, Partition, Snapshot, StateDelta
from aamc_stores.redis_arguments import binary, packed
from aamc_stores.redis_durability import warn_of_losses
from aamc_stores.redis_group import DecisionHash, Group, LoadedExcerpt
from aamc_stores.redis_keys import (
    EMBEDDING,
    LATEST,
    WHOLE,
    Place,
    StoredEntry,
    decision_of,
    entry_from,
    old_entry,
    old_field_of,
    place_from,
    value_of,
    with_number,
)
from aamc_stores.redis_migration import bring_up_to_date
from aamc_stores.redis_retention import RedisRetention
from aamc_stores.redis_scripts import BATCH, DECISIONS, EXCERPT
from aamc_stores.redis_server import Facts, Op, RedisServer, write_id
from aamc_stores.redis_states import RedisStates
from aamc_stores.redis_templates import LogTemplates
from aamc_stores.shared import SharedStore

logger = logging.getLogger(__name__)
_OUTCOMES_AT_ONCE = 5000


class RedisStore(SharedStore):
    """Keeps the log in keys that begin with the option ``prefix``."""

    shares_learning = True

    def snapshot(self, name: str) -> Snapshot | None:
        """Return the snapshot of a name, else its floor, else None."""
        return self._states.snapshot(name)

    def put_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Keep a snapshot, unless the log has one that is as new, or it is of a past epoch."""
        self._states.put_snapshot(name, snapshot)

    def deltas(self, name: str, after: int, epoch: int) -> Sequence[StateDelta] | None:
        """Return the changes that lead on from a state of that name, in order; None where nothing does."""
        return self._states.deltas(name, after, epoch)

    def put_delta(self, name: str, delta: StateDelta) -> bool:
        """Keep the changes of a state; return whether they lead on from the newest."""
        return self._states.put_delta(name, delta)

    def is_learner(self, name: str) -> bool:
        """Return whether this process has the lease of a name, which ends some seconds after the last call."""
        return self._states.is_learner(name)

    def partitions(self) -> Sequence[Partition]:
        """Return the log's partitions, the oldest first; sizes are estimated from keys and values."""
        return self._divided.partitions()

    def aggregates(self) -> Sequence[Aggregate]:
        """Return sums over the decisions that retention has dropped."""
        return self._divided.aggregates()

    def drop(self) -> None:
        """Delete the log's keys."""
        self._server.drop()

    def batch(self, after: int = 0, limit: int = 1000) -> Batch:
        """Return at most ``limit`` entries after a position as rows, with the decisions that they refer to."""
        return self._batch(after, limit)

    def rows(self, after: int = 0, limit: int = 1000) -> Sequence[Row]:
        """Return at most ``limit`` entries after a position, as they are kept."""
        while True:
            position, batch = after, self._batch(after, limit)
            after = batch.position
            if batch.rows or after == position:
                return batch.rows

    def outcomes(self, since: float | None = None, until: float | None = None, columns: Collection[str] = ()) -> LoggedOutcomes:
        """Return propensities and outcomes of decisions as arrays; contents are read only where a column needs them."""
        found, after = RowOutcomes(columns), 0
        while True:
            _, _, entries, _ = self._read(BATCH, str(after), str(_OUTCOMES_AT_ONCE), "0")
            if not entries:
                return found.outcomes()
            after = int(entries[-1][0])
            for entry in self._entries(entries, {}, brief=not found.needs_fields):
                row = entry.row
                if row.kind == DECISION and is_within(row.time, since, until):
                    found.add_row(row)
                elif row.kind == ATTEMPT:
                    figures = columns_of(row)
                    found.add_attempt(row.decision_id, row.candidate, figures["status"], *(figures[name] for name in FIGURES))
                elif row.kind == FEEDBACK:
                    found.add_feedback_content(row.decision_id, row.id, row.candidate, row.content)

    def pending_rows(self) -> Sequence[Row]:
        """Return the entries whose decision is not in the log, and those that do not fit their decision."""
        names = self._server.names("pending")
        return [] if not names else self._excerpt(names, [])[1].rows(pending=True)

    def _connect(self) -> None:
        self._server = RedisServer(self.url, self.name, self.config.prefix, self.config.timeout_s)
        self._client = self._server.client
        self._packing, self._unpacking = LogTemplates(self._server), LogTemplates(self._server)
        self._states = RedisStates(self._server)
        self._divided = RedisRetention(self._server, self._states, self._unpacking, self.config.retention)
        self._tombstones: tuple[int, Mapping[str, float]] = (0, {})
        self._server.check_version()
        bring_up_to_date(self._server)
        with self._server.explained():
            warn_of_losses(self._client, self.name, relaxed=self.config.durability == "relaxed")

    def _disconnect(self) -> None:
        self._states.release()
        self._server.close()

    def _commit(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        decisions = list(dict.fromkeys(name for write in writes for name in write.decisions))
        feedback = list(dict.fromkeys(name for write in writes for name in write.feedback))
        others = dict.fromkeys(owner for owner in map(decision_of, feedback) if owner is not None)
        asked = list(dict.fromkeys((*decisions, *others)))
        try:
            return self._server.change(lambda: self._try_commit(writes, asked, feedback))
        except BaseException:
            self._packing.discard()  # it may have templates that were not kept
            raise

    def _try_commit(self, writes: Sequence[Write[Any]], decisions: Sequence[str], feedback: Sequence[str]) -> Sequence[Any] | None:
        """Run writes on what they need, and commit them; None where another writer changed that meanwhile."""
        facts, loaded = self._excerpt(decisions, feedback)
        excerpt = loaded.excerpt()
        results = run_writes(writes, excerpt)
        self._packing.update(facts)
        group = Group(self._server, loaded, facts, self._packing)
        placed = erased_if_forgotten(excerpt.placed, self._forgotten(facts))
        group.write(excerpt, placed, self.config.retention)
        if not group.ops:
            return results
        if any(row.kind == DECISION for row in placed):
            group.checks.append(self._epoch_check(facts))
        if self._server.commit(group.checks, group.ops, size=group.size, partition=group.partition) is None:
            self._packing.discard()
            return None
        return results

    def _excerpt(self, decisions: Sequence[str], feedback: Collection[str]) -> tuple[Facts, LoadedExcerpt]:
        """Return all entries on some decisions, of placed feedback only that of some ids."""
        found = self._read(EXCERPT, packed([decisions, list(feedback)]))
        return Facts.of(found[0]), LoadedExcerpt(self._server, found, self._unpacking.unpack, set(feedback))

    def _read(self, script: str, *arguments: Any) -> Any:
        """Return what a reading script finds, when the templates that it needs are known."""
        found = self._server.read(script, *arguments)
        self._unpacking.update(Facts.of(found[0]))
        return found

    def _erase(self, user: str, limit: int) -> int:
        """Erase some of a user's decisions on the server. An append-only file holds their bytes until its next rewrite."""
        return self._server.change(lambda: self._try_erase(user, limit))

    def _try_erase(self, user: str, limit: int) -> int | None:
        decided = f"user:{user}"
        members = self._server.names(decided)
        names = members[:limit]
        check = (str(len(members)), "SCARD", self._server.key(decided))
        ops: list[Op] = [["SREM", self._server.key(decided), *names[start : start + 1000]] for start in range(0, len(names), 1000)]
        return len(names) if self._erase_names(Erasure(user), names, check, ops, is_last=len(names) < limit) else None

    def _erase_of_tenant(self, erasure: Erasure, after: int, limit: int) -> tuple[int, int]:
        """Erase some of a tenant's decisions, which are found by reading the log."""
        return self._server.change(lambda: self._try_erase_of_tenant(erasure, after, limit))

    def _try_erase_of_tenant(self, erasure: Erasure, after: int, limit: int) -> tuple[int, int] | None:
        end = self._states.facts().position
        found = ((position, row.id) for position, row in self.placed(after) if row.kind == DECISION and erasure.covers(row))
        placed = list(itertools.islice(found, limit))
        check = (str(end or ""), "GET", self._server.key("position"))  # else a decision may have come that was not read
        if not self._erase_names(erasure, [name for _, name in placed], check, [], is_last=len(placed) < limit):
            return None
        return len(placed), placed[-1][0] if placed else after

    def _erase_names(self, erasure: Erasure, names: Sequence[str], check: tuple[str, ...], ops: list[Op], *, is_last: bool) -> bool:
        """Erase some decisions, the last ones or not; return whether that was possible: others may have written meanwhile."""
        facts, loaded = self._excerpt(names, [])
        self._packing.update(facts)
        for each in loaded.hashes.values():
            for entry in each.entries(self._unpacking.unpack):
                if entry.row.kind == DECISION:
                    ops += self._erased(each, entry, erasure)
        checks = [check, self._epoch_check(facts), *loaded.checks(loaded.hashes), self._packing.check]
        if is_last:
            checks.append(self._states.check(facts))
            ops += self._states.dropped()
            ops.append(["HSET", self._server.key("tombstones"), erasure.digest, repr(facts.now)])
            ops.append(["SET", self._server.key("epoch"), str(facts.epoch + 1)])
            ops += self._divided.without_tenant(erasure.tenant) if erasure.user is None else []
        if self._server.commit(checks, ops, always=True) is None:
            self._packing.discard()
            return False
        return True

    def _erased(self, each: DecisionHash, entry: StoredEntry, erasure: Erasure) -> list[Op]:
        """Return the commands that erase a decision."""
        user, row = user_of(entry.row), erasure.applied(entry.row)
        ops: list[Op] = []
        value = with_number(each.decided or 0, value_of(row, entry.pending, self._packing.pack(row, ops)))
        ops.append(["HSET", each.key, old_field_of(row) if entry.old else WHOLE, binary(value)])
        ops.append(["HDEL", each.key, EMBEDDING, "embedding"])
        ops.append(["HSET", each.key, LATEST, binary(with_number(each.latest, write_id()))])
        if user is not None:
            ops.append(["SREM", self._server.key(f"user:{user}"), row.id])
        return ops

    def exports(self) -> Sequence[Export]:
        """Return the files that entries of this log were exported to."""
        return [Export(path, form.decode()) for path, form in sorted(self._server.hash("exports").items())]

    def note_export(self, export: Export) -> None:
        """Remember a file that entries are exported to."""
        with self._server.explained():
            self._client.hset(self._server.key("exports"), export.path, export.format)

    def _epoch_check(self, facts: Facts) -> tuple[str, ...]:
        """Return the check that nobody was forgotten meanwhile."""
        return str(facts.epoch or ""), "GET", self._server.key("epoch")

    def _retain(self) -> int:
        decisions = 0
        while (oldest := self._divided.to_drop()) is not None and not self._ending.is_set():
            dropped = self._divided.drop(oldest)
            if dropped is None:
                logger.info("partition %d of %s is dropped when the routers that learn from the log have learned it all", oldest.number, self.name)
                break
            decisions += dropped
        return decisions

    def _find(self, decision_id: str) -> Row | None:
        return next(iter(self._decisions([decision_id])), None)

    def _find_episode(self, episode_id: str) -> Sequence[Row]:
        return self._decisions(self._server.names(f"episode:{episode_id}"))

    def _decisions(self, names: Sequence[str]) -> list[Row]:
        """Return some decisions with their embeddings, in log order."""
        _, decisions = self._read(DECISIONS, packed(names))
        return self._in_order(decisions)

    def _counts(self) -> tuple[int, int]:
        return self._states.facts().position, len(self._states.read("snapshots"))

    def _own_health(self) -> Mapping[str, float]:
        facts, partitions = self._states.facts(), self.partitions()
        with self._server.explained():
            placed = int(self._client.xlen(self._server.key("stream")))
        return {
            "entries": placed + len(self.pending_rows()),
            "start": facts.start,
            "partitions": len(partitions),
            "size_bytes": sum(each.size for each in partitions),
            "floors_to_clean": sum(state.epoch < facts.epoch for state in self._states.read("floors").values()),
            "is_learner": float(self._states.leads),
        }

    def _forgotten_digests(self) -> Mapping[str, float]:
        return {digest: float(when) for digest, when in self._server.hash("tombstones").items()}

    def _forgotten(self, facts: Facts) -> Mapping[str, float]:
        """Return when each forgotten user was forgotten, by digest."""
        if self._tombstones[0] != facts.epoch:
            self._tombstones = (facts.epoch, self._forgotten_digests())
        return self._tombstones[1] if facts.tombstones else {}

    def _batch(self, after: int, limit: int) -> Batch:
        found, before, entries, decisions = self._read(BATCH, str(after), str(limit), "1")
        facts = Facts.of(found)
        embeddings = {values[0].decode(): values[3] for values in decisions}
        placed = [(number, entry.row) for number, entry in self._placed(entries, embeddings)]
        rows = [row for _, row in placed]
        named = {row.decision_id for row in rows}
        known = [row for row in self._in_order(decisions) if row.id in named]
        revised = revised_ids(rows)
        earlier = self._revisions(rows, revised) if revised else []
        position = int(entries[-1][0]) if entries else after
        last = place_from(entries[-1][1]).entry_name if entries else None
        follows = followed(after, None if before is None else place_from(before).entry_name, facts.start, facts.position)
        positions = [number for number, _ in placed]
        return Batch(position, rows, known, facts.epoch, follows, replaced_rows(rows, earlier), last, facts.start, positions)

    def _entries(self, found: Iterable[Sequence[Any]], embeddings: Mapping[str, bytes | None], brief: bool = False) -> Iterable[StoredEntry]:
        return (entry for _, entry in self._placed(found, embeddings, brief))

    def _placed(
        self, found: Iterable[Sequence[Any]], embeddings: Mapping[str, bytes | None], brief: bool = False
    ) -> Iterable[tuple[int, StoredEntry]]:
        """Yield the entries of some places with their positions; those that are gone, or were placed again, are left out."""
        for position, kept, value in found:
            if value is None:
                continue
            entry = self._entry(kept, value, embeddings, brief)
            if place_from(kept).holds(entry) if entry.old else entry.number == position:
                yield int(position), entry

    def _entry(self, kept: bytes, value: bytes, embeddings: Mapping[str, bytes | None], brief: bool) -> StoredEntry:
        decision_id, nul, field = kept.decode().partition("\0")
        if not nul:
            place: Place = place_from(kept)
            decision_id, field = place.decision_id, f"{place.kind}#{place.revision}/{place.name}"
            if value[:1] == b"[":
                return old_entry(place.kind, place.name, value, embeddings.get(decision_id))
        embedding = embeddings.get(decision_id) if field == WHOLE or field.startswith(DECISION) else None
        return entry_from(decision_id, field, value, self._unpacking.unpack, embedding, brief)

    def _in_order(self, decisions: Iterable[Sequence[Any]]) -> list[Row]:
        """Return decisions that a script found, in log order."""
        placed = []
        for name, kept, old, embedding, position in decisions:
            decision_id, value = name.decode(), kept or old
            if value is not None:
                entry = entry_from(decision_id, WHOLE, value, self._unpacking.unpack, embedding)
                placed.append((int(position) if position is not None else entry.number, entry.row))
        return [row for _, row in sorted(placed, key=lambda pair: pair[0])]

    def _revisions(self, rows: Sequence[Row], feedback: Sequence[str]) -> list[Row]:
        """Return all placed revisions of some feedback."""
        decisions = list(dict.fromkeys(row.decision_id for row in rows if row.kind == FEEDBACK and row.revision))
        return [row for row in self._excerpt(decisions, feedback)[1].rows(pending=False) if row.kind == FEEDBACK]
