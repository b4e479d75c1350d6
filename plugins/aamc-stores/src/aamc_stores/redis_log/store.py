"""The log on a Redis server: ``redis://HOST:PORT/0``, or any other URL that redis-py reads.

A writer reads the entries that it needs, applies the log's rules, and commits the changes in one script, which looks whether another writer has
changed the same decisions meanwhile; then it begins again. Writers of different decisions never wait for each other. The script gives out the
positions, so they follow the order of commits. The keys are those of :mod:`aamc_stores.redis_log.keys`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aamc_sdk.log import DECISION, UNLEARNED, Batch, Erasure, ExportedFile, OutcomeJoin, Row, Write, erased_if_forgotten, run_writes
from aamc_sdk.types import Aggregate, Partition, Snapshot, StateDelta
from aamc_stores.redis_log.erasure import RedisErasure
from aamc_stores.redis_log.group import ENTRY_BYTES, Group
from aamc_stores.redis_log.keys import decision_of, packed, plain_feedback
from aamc_stores.redis_log.leases import Leases
from aamc_stores.redis_log.migration import migrate
from aamc_stores.redis_log.partitions import RedisPartitions
from aamc_stores.redis_log.reader import RedisReader
from aamc_stores.redis_log.scripts import FEEDBACK
from aamc_stores.redis_log.server import Facts, RedisServer, binary, write_id
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
        self._erasure = RedisErasure(self._server, self._reader, self._states, self._partitions)
        self._tombstones: tuple[int, Mapping[str, float]] = (0, {})
        self._server.check_version()
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
        return self._server.write(FEEDBACK, packed(new), write_id(), str(size), entries=len(new)) is not None

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
        return self._erasure.erase(erasure, after, limit)

    def exports(self) -> Sequence[ExportedFile]:
        """Return the files that entries of this log were exported to."""
        return [ExportedFile(path, kind.decode()) for path, kind in sorted(self._server.hash("exports").items())]

    def note_export(self, export: ExportedFile) -> None:
        """Remember a file that entries are exported to."""
        self._server.commit((), [["HSET", self._server.key("exports"), export.path, export.format]])

    def discard_export(self, export: ExportedFile) -> None:
        """Remember a file no longer."""
        self._server.commit((), [["HDEL", self._server.key("exports"), export.path]])

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
            "entries": placed + len(self.pending_rows()),
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
