"""The partitions of a log on a Redis server: retention, dropping the oldest, and aggregates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from aamc_sdk.log import (
    DECISION,
    FEEDBACK,
    Retention,
    aggregate_from,
    aggregate_key,
    aggregate_texts,
    aggregates_of,
    covered_position,
    is_oldest_expired,
    oldest_key,
    renewed_since,
    without_tenant,
)
from aamc_sdk.types import Aggregate, Partition
from aamc_stores.redis_log.group import DecisionHash, LoadedExcerpt, index_keys
from aamc_stores.redis_log.keys import Place, is_default, number_of, place_from
from aamc_stores.redis_log.reader import RedisReader
from aamc_stores.redis_log.scripts import BATCH
from aamc_stores.redis_log.server import Facts, Op, RedisServer, binary, partition_from, partition_value
from aamc_stores.redis_log.states import FLOORS, SNAPSHOTS, RedisStates

DROPPED_AT_ONCE = 500
"""Places in one transaction; others' writes come between two of them."""


class RedisPartitions:
    """The partitions of a log and their retention."""

    def __init__(self, server: RedisServer, states: RedisStates, reader: RedisReader, limits: Retention) -> None:
        self._server, self._states, self._reader, self._limits = server, states, reader, limits

    def partitions(self) -> list[Partition]:
        """Return the partitions, the oldest first."""
        kept, sizes = self._server.hash("partitions"), self._server.hash("sizes")
        numbers = sorted(map(int, kept))
        firsts = {number: number_of(kept[str(number)]) for number in numbers}
        lasts = dict(zip(numbers, [firsts[later] - 1 for later in numbers[1:]], strict=False))
        return [partition_from(number, kept[str(number)], int(sizes.get(str(number), 0)), lasts.get(number)) for number in numbers]

    def without_tenant(self, tenant: str | None) -> list[Op]:
        """Return the commands that erase the name of a tenant from the aggregates."""
        key, kept = self._server.key("aggregates"), self.aggregates()
        named = [aggregate_key(each) for each in kept if each.tenant == tenant]
        nameless = [each for each in without_tenant(kept, tenant) if each.tenant is None]
        if not named:
            return []
        return [["HDEL", key, *named], *(["HSET", key, *each] for each in aggregate_texts({}, nameless).items())]

    def aggregates(self) -> list[Aggregate]:
        """Return the sums over the decisions that were dropped."""
        return [aggregate_from(text) for _, text in sorted(self._server.hash("aggregates").items())]

    def begin(self, number: int, begun: float) -> None:
        """Begin an empty partition, unless another process has begun one."""
        newest, partitions = self._server.key("newest"), self._server.key("partitions")
        ops: list[Op] = [[2, 1, partitions, str(number), binary(partition_value(begun))], ["SET", newest, str(number)]]
        self._server.commit([(str(number - 1), "GET", newest)], ops, partition=number)

    def oldest_to_drop(self) -> Partition | None:
        """Return the oldest partition if it is expired, or was dropped in part, so that its first place is gone."""
        partitions = self.partitions()
        if len(partitions) < 2:
            return None
        first = partitions[0].first
        found, _, entries, _ = self._server.read(BATCH, str(first - 1), "1", "0")
        in_part = int(entries[0][0]) > first
        goes = is_oldest_expired(partitions, self._limits, Facts.of(found).now, sum(each.size for each in partitions))
        return partitions[0] if in_part or goes else None

    def drop(self, oldest: Partition) -> int | None:
        """Drop a part of a partition as :meth:`aamc_sdk.log.PartitionedStore._drop_part` does."""
        return self._server.change(lambda: self._drop(oldest))[0]

    def _drop(self, oldest: Partition) -> tuple[int | None] | None:
        """Try to drop; None if another process wrote meanwhile."""
        assert oldest.last is not None
        found, _, entries, _ = self._server.read(BATCH, str(oldest.first - 1), str(DROPPED_AT_ONCE), "0")
        facts = Facts.of(found)
        places = [(int(position), place_from(place)) for position, place, _ in entries if position <= oldest.last]
        loaded = self._load([place for _, place in places])
        going = [each for each in loaded.hashes.values() if each.decided is not None and each.decided <= oldest.last]
        since = renewed_since(self._limits, facts.now)
        kept, floors = self._states.read(SNAPSHOTS), self._states.read(FLOORS)
        latest = max(self._latest(going), default=0)
        if latest > covered_position(self._states.renewed(kept, floors), since):
            return (None,)
        whole = len(places) < len(entries) or len(entries) < DROPPED_AT_ONCE
        last = oldest.last if whole else places[-1][0]
        ops = [*self._aggregated(loaded, going), *self._states.raised_floors(kept, floors, since)]
        ops += self._deleted(loaded, going, places)
        ops.append(["SET", self._server.key("start"), str(max(facts.start, latest))])
        ops.append(["XTRIM", self._server.key("stream"), "MINID", f"{last + 1}-0"])
        if whole:
            ops += [["HDEL", self._server.key(name), str(oldest.number)] for name in ("partitions", "sizes")]
        checks = [self._states.check(facts), *loaded.checks({place.decision_id for _, place in places})]
        return None if self._server.commit(checks, ops, always=True) is None else (len(going),)

    def drop_expired(self) -> None:
        """Drop aggregates beyond their limit, and floors that hold a forgotten user and whose routers no longer learn."""
        self._server.change(self._drop_expired)

    def _drop_expired(self) -> bool | None:
        facts = self._states.facts()
        oldest = oldest_key(self._limits, facts.now)
        keys = [] if oldest is None else [key for key in self._server.hash("aggregates") if key < oldest]
        ops: list[Op] = [["HDEL", self._server.key("aggregates"), *keys[start : start + 1000]] for start in range(0, len(keys), 1000)]
        ops += self._states.without_unclean_floors(facts.epoch, renewed_since(self._limits, facts.now))
        return None if ops and self._server.commit([self._states.check(facts)], ops) is None else True

    def _load(self, places: Sequence[Place]) -> LoadedExcerpt:
        """Return all entries on the decisions of some places; feedback of version 2 has places of its own among them."""
        decisions = list(dict.fromkeys(place.decision_id for place in places))
        feedback = list(dict.fromkeys(place.name for place in places if place.kind == FEEDBACK))
        return self._reader.excerpt(decisions, feedback, all_feedback=True)[1]

    def _latest(self, going: Iterable[DecisionHash]) -> Iterable[int]:
        """Yield the position of each decision's latest entry; of version 2, which did not keep it, the last one that it wrote."""
        with self._server.explained():
            moved = int(self._server.client.get(self._server.key("moved")) or 0)
        for each in going:
            yield max(each.latest, moved if each.is_old else 0)

    def _aggregated(self, loaded: LoadedExcerpt, going: Iterable[DecisionHash]) -> Iterable[Op]:
        """Yield the commands that add the outcomes of decisions to the aggregates."""
        names = {each.id for each in going}
        rows = [row for row in loaded.rows(pending=False) if row.decision_id in names]
        new = aggregates_of(rows)
        keys = [aggregate_key(each) for each in new]
        with self._server.explained():
            found: list[Any] = self._server.client.hmget(self._server.key("aggregates"), keys) if keys else []
        kept = {key: text for key, text in zip(keys, found, strict=True) if text is not None}
        for each in aggregate_texts(kept, new).items():
            yield ["HSET", self._server.key("aggregates"), *each]

    def _deleted(self, loaded: LoadedExcerpt, going: Iterable[DecisionHash], places: Sequence[tuple[int, Place]]) -> Iterable[Op]:
        """Yield the commands that delete decisions and all that belongs to them."""
        for each in going:
            yield ["UNLINK", each.key]
            for row in (entry.row for entry in each.entries(self._reader.templates.known.unpack)):
                if row.kind == FEEDBACK and not is_default(row):
                    yield ["UNLINK", *self._feedback_keys(row.id)]
                elif row.kind == DECISION:
                    for key in index_keys(self._server, row):
                        yield ["SREM", key, row.id]
            yield ["SREM", self._server.key("pending"), each.id]
        staying = {each.id for each in loaded.hashes.values() if each.decided is not None} - {each.id for each in going}
        for _, place in places:  # version 2 kept no feedback with its decision; the decision may be gone since an earlier batch
            is_old = loaded.pointers.get(place.name, b"=")[:1] == b"["
            if place.kind == FEEDBACK and is_old and place.decision_id not in staying:
                yield ["UNLINK", *self._feedback_keys(place.name)]

    def _feedback_keys(self, feedback_id: str) -> list[str]:
        return [self._server.key(f"feedback:{feedback_id}"), self._server.key(f"revisions:{feedback_id}")]
