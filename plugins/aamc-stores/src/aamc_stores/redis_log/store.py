"""The log on a Redis server: ``redis://HOST:PORT/0``, or any other URL that redis-py reads.

A writer reads the entries that it needs, applies the log's rules, and commits the changes in one script, which looks whether another writer has
changed the same decisions meanwhile; then it begins again. Writers of different decisions never wait for each other. The script gives out the
positions, so they follow the order of commits. The keys are those of :mod:`aamc_stores.redis_log.keys`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aamc_sdk.log import DECISION, UNLEARNED, Batch, Erasure, ExportedFile, OutcomeJoin, Row, Write, columns_of, erased_if_forgotten, run_writes
from aamc_sdk.types import Aggregate, Partition, Snapshot, StateDelta
from aamc_stores.redis_log.group import ENTRY_BYTES, DecisionHash, Group
from aamc_stores.redis_log.keys import (
    EMBEDDING,
    LATEST,
    WHOLE,
    StoredEntry,
    decision_of,
    old_field_of,
    plain_feedback,
    to_msgpack,
    value_of,
    with_number,
)
from aamc_stores.redis_log.leases import Leases
from aamc_stores.redis_log.migration import migrate
from aamc_stores.redis_log.partitions import RedisPartitions
from aamc_stores.redis_log.reader import RedisReader
from aamc_stores.redis_log.scripts import FEEDBACK
from aamc_stores.redis_log.server import Check, Facts, Op, RedisServer, binary, write_id
from aamc_stores.redis_log.states import RedisStates
from aamc_stores.redis_log.templates import LogTemplates
from aamc_stores.shared_store import SharedStore


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
        """Return the deltas that continue from a state of that name, in order; None if none does."""
        return self._states.deltas(name, after, epoch)

    def put_delta(self, name: str, delta: StateDelta) -> bool:
        """Keep a delta if it continues from the newest state; return whether it does."""
        return self._states.put_delta(name, delta)

    def is_learner(self, name: str) -> bool:
        """Return whether this process has the lease of a name, which ends some seconds after the last call."""
        return self._leases.holds(name)

    def partitions(self) -> Sequence[Partition]:
        """Return the log's partitions, the oldest first; sizes are estimated from keys and values."""
        return self._partitions.partitions()

    def aggregates(self) -> Sequence[Aggregate]:
        """Return sums over the decisions that retention has dropped."""
        return self._partitions.aggregates()

    def drop(self) -> None:
        """Delete the log's keys."""
        self._server.drop()

    def _add_outcomes(self, found: OutcomeJoin) -> None:
        self._reader.add_outcomes(found)

    def pending_rows(self) -> Sequence[Row]:
        """Return the entries whose decision is not in the log, and those that do not fit their decision."""
        names = self._server.names("pending")
        return [] if not names else self._reader.excerpt(names)[1].rows(pending=True)

    def _connect(self) -> None:
        self._server = RedisServer(self.url, self.name, self.config.prefix, self.config.timeout_s)
        self._reader, self._packing = RedisReader(self._server), LogTemplates(self._server)
        self._states, self._leases = RedisStates(self._server), Leases(self._server)
        self._partitions = RedisPartitions(self._server, self._states, self._reader, self.config.retention)
        self._tombstones: tuple[int, Mapping[str, float]] = (0, {})
        self._server.check_server()
        migrate(self._server)
        with self._server.explained():
            self._server.warn_of_losses(relaxed=self.config.durability == "relaxed")

    def _disconnect(self) -> None:
        self._leases.release()
        self._server.close()

    def _add_plain(self, feedback: Sequence[Row]) -> bool:
        found = [plain_feedback(each) for each in feedback]
        if None in found:
            return False
        new = [(name, field, binary(value)) for name, field, value in filter(None, found)]
        size = sum(ENTRY_BYTES + 2 * len(field) + len(name) for name, field, _ in new)
        return self._server.write(FEEDBACK, to_msgpack(new), write_id(), str(size), entries=len(new)) is not None

    def _commit_by_rules(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        decisions = list(dict.fromkeys(name for write in writes for name in write.decisions))
        feedback = list(dict.fromkeys(name for write in writes for name in write.feedback))
        others = dict.fromkeys(owner for owner in map(decision_of, feedback) if owner is not None)
        asked = list(dict.fromkeys((*decisions, *others)))
        try:
            adds_decisions = all(write.appended and write.appended[0].kind == DECISION for write in writes)
            unread = self._try_commit(writes, (), ()) if adds_decisions else None  # mostly they are new, as the commit sees
            return unread or self._server.change(lambda: self._try_commit(writes, asked, feedback))
        except BaseException:
            self._packing.discard()  # it may have templates that were not kept
            raise

    def _try_commit(self, writes: Sequence[Write[Any]], decisions: Sequence[str], feedback: Sequence[str]) -> Sequence[Any] | None:
        """Run writes on the entries that they need, and commit them; None if another writer changed these in the meantime."""
        facts, loaded = self._reader.excerpt(decisions, feedback)
        excerpt = loaded.excerpt()
        results = run_writes(writes, excerpt)
        self._packing.update(facts)
        group = Group(self._server, loaded, facts, self._packing)
        added = erased_if_forgotten(excerpt.added, self._forgotten(facts))
        group.write(excerpt, added, self.config.retention)
        if not group.ops:
            return results
        if any(row.kind == DECISION for row in added):
            group.checks.append(self._server.epoch_check(facts))
        if self._server.commit(group.checks, group.ops, size=group.size, partition=group.partition, entries=len(added)) is None:
            self._packing.discard()
            return None
        return results

    def _erase(self, erasure: Erasure, after: int, limit: int) -> tuple[int, int]:
        """Erase decisions as :meth:`RowStore._erase` does. An append-only file holds their bytes until its next rewrite."""
        count, reached = self._server.change(lambda: self._try_to_erase(erasure, after, limit, ends=False))
        while count < limit:
            last = self._try_to_erase(erasure, reached, limit - count, ends=True)
            if last is not None:
                return count + last[0], last[1]
            more, reached = self._server.change(functools.partial(self._try_to_erase, erasure, reached, limit - count, ends=False))
            count += more
        return count, reached

    def _try_to_erase(self, erasure: Erasure, after: int, limit: int, *, ends: bool) -> tuple[int, int] | None:
        """Try to erase some decisions and, if ``ends`` and none is left, to begin the new epoch; return how many, and up to where they were searched.

        The first attempt does not end, so little is left for one that a new decision defeats.
        """
        names, reached, check = self._next_to_erase(erasure, after, limit)
        is_last = ends and len(names) < limit
        return (len(names), reached) if self._commit_erased(names, erasure, is_last, [check] if is_last else []) else None

    def _next_to_erase(self, erasure: Erasure, after: int, limit: int) -> tuple[list[str], int, Check]:
        """Return some decisions to erase, up to where the log was searched for them, and the check that no other has come since."""
        if erasure.tenant is None:
            decided = f"user:{erasure.user}"  # an erased decision leaves this set
            members = self._server.names(decided)
            return members[:limit], after, (str(len(members)), "SCARD", self._server.key(decided))
        position = self._states.facts().position  # decisions that come later are erased as they are written, or are new
        found = list(itertools.islice(self._of_tenant(erasure, after), limit))
        reached = found[-1][0] if len(found) == limit else max(after, position)
        return [name for _, name in found], reached, (str(position or ""), "GET", self._server.key("position"))

    def _of_tenant(self, erasure: Erasure, after: int) -> Iterator[tuple[int, str]]:
        """Yield position and id of a tenant's decisions after a position."""
        members = None if erasure.user is None else set(self._server.names(f"user:{erasure.user}"))
        for position, name, tenant in self._reader.tenants(after):
            if tenant == erasure.tenant and (members is None or name in members):
                yield position, name

    def _commit_erased(self, names: Sequence[str], erasure: Erasure, is_last: bool, checks: Sequence[Check]) -> bool:
        """Try to erase decisions; return False, without a change, if another process wrote to them meanwhile."""
        facts, loaded = self._reader.excerpt(names)
        templates = LogTemplates(self._server)
        templates.update(facts)
        ops: list[Op] = []
        checks = [*checks, templates.check, *loaded.checks(names), self._server.epoch_check(facts)]
        for each in loaded.hashes.values():
            for entry in each.entries(self._reader.templates.known.unpack, feedback=()):
                if entry.row.kind == DECISION:
                    ops += self._erased(each, entry, erasure, templates)
        if is_last:
            checks.append(self._states.check(facts))
            ops += self._states.dropped()
            if erasure.user is None:
                ops += self._partitions.without_tenant(erasure.tenant)
            forgotten_at = max(facts.now, erasure.latest, self._reader.tombstones().get(erasure.digest, 0.0))
            ops.append(["HSET", self._server.key("tombstones"), erasure.digest, repr(forgotten_at)])
            ops.append(["SET", self._server.key("epoch"), str(facts.epoch + 1)])
        return self._server.commit(checks, ops, always=True) is not None

    def _erased(self, each: DecisionHash, entry: StoredEntry, erasure: Erasure, templates: LogTemplates) -> list[Op]:
        """Return the commands that erase a decision."""
        row, ops = erasure.applied(entry.row), list[Op]()
        value = with_number(each.decided or 0, value_of(row, entry.pending, templates.pack(row, ops)))
        ops.append(["HSET", each.key, old_field_of(row) if entry.old else WHOLE, binary(value)])
        ops.append(["HDEL", each.key, EMBEDDING, "embedding"])
        ops.append(["HSET", each.key, LATEST, binary(with_number(each.latest, write_id()))])
        if user := columns_of(entry.row)["user_id"]:
            ops.append(["SREM", self._server.key(f"user:{user}"), row.id])
        return ops

    def exports(self) -> Sequence[ExportedFile]:
        """Return the files that entries of this log were exported to."""
        return [ExportedFile(path, kind.decode()) for path, kind in sorted(self._server.hash("exports").items())]

    def note_export(self, export: ExportedFile) -> None:
        """Remember a file that entries are exported to."""
        self._server.commit((), [["HSET", self._server.key("exports"), export.path, export.format]])

    def discard_export(self, export: ExportedFile) -> None:
        """Stop remembering an exported file."""
        self._server.commit((), [["HDEL", self._server.key("exports"), export.path]])

    def _now(self) -> float:
        return self._states.facts().now

    def _begin_partition(self, number: int, begun: float) -> None:
        self._partitions.begin(number, begun)

    def _oldest_to_drop(self) -> Partition | None:
        return self._partitions.oldest_to_drop()

    def _drop_expired(self) -> None:
        self._partitions.drop_expired()

    def _drop_part(self, oldest: Partition) -> int | None:
        return self._partitions.drop(oldest)

    def _find(self, decision_id: str) -> Row | None:
        return next(iter(self._reader.decisions([decision_id])), None)

    def _find_episode(self, episode_id: str) -> Sequence[Row]:
        return self._reader.decisions(self._server.names(f"episode:{episode_id}"))

    def _counts(self) -> tuple[int, int]:
        return self._states.facts().position, len(self._states.read("snapshots"))

    def _own_health(self) -> Mapping[str, float]:
        facts, partitions = self._states.facts(), self.partitions()
        with self._server.explained():
            placed = int(self._server.client.xlen(self._server.key("stream")))
        return {
            "placed": placed,
            "start": facts.start,
            "partitions": len(partitions),
            "size_bytes": sum(each.size for each in partitions),
            "floors_to_clean": sum(UNLEARNED < state.epoch < facts.epoch for state in self._states.read("floors").values()),
            "is_learner": float(self._leases.leads),
        }

    def _forgotten_digests(self) -> Mapping[str, float]:
        return self._reader.tombstones()

    def _forgotten(self, facts: Facts) -> Mapping[str, float]:
        """Return when each forgotten user was forgotten, by digest."""
        if self._tombstones[0] != facts.epoch:
            self._tombstones = (facts.epoch, self._forgotten_digests())
        return self._tombstones[1] if facts.tombstones else {}

    def batch(self, after: int = 0, limit: int = 1000) -> Batch:
        """Return at most ``limit`` entries after a position as rows, with the decisions that they refer to."""
        return self._reader.batch(after, limit)
