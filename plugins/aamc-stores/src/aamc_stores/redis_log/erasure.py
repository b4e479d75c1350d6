"""Erasing the decisions of users and tenants from the log on a Redis server."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence

from aamc_sdk.log import DECISION, Erasure, columns_of
from aamc_stores.redis_log.group import DecisionHash
from aamc_stores.redis_log.keys import EMBEDDING, LATEST, WHOLE, StoredEntry, old_field_of, value_of, with_number
from aamc_stores.redis_log.partitions import RedisPartitions
from aamc_stores.redis_log.reader import RedisReader
from aamc_stores.redis_log.server import Check, Op, RedisServer, binary, write_id
from aamc_stores.redis_log.states import RedisStates
from aamc_stores.redis_log.templates import LogTemplates


class RedisErasure:
    """Erases decisions, some in each transaction.

    An append-only file holds their bytes until its next rewrite.
    """

    def __init__(self, server: RedisServer, reader: RedisReader, states: RedisStates, partitions: RedisPartitions) -> None:
        self._server, self._reader, self._states, self._partitions = server, reader, states, partitions

    def erase(self, erasure: Erasure, after: int, limit: int) -> tuple[int, int]:
        """Erase at most ``limit`` decisions after a position; return how many, and the last one's position. The last ones begin a new epoch."""
        count, reached = self._server.change(lambda: self._attempt(erasure, after, limit, ends=False))
        while count < limit:
            last = self._attempt(erasure, reached, limit - count, ends=True)
            if last is not None:
                return count + last[0], last[1]
            more, reached = self._server.change(functools.partial(self._attempt, erasure, reached, limit - count, ends=False))
            count += more
        return count, reached

    def _attempt(self, erasure: Erasure, after: int, limit: int, *, ends: bool) -> tuple[int, int] | None:
        """Try to erase some decisions and, if ``ends`` and none is left, to begin the new epoch; return how many, and up to where they were searched.

        The first attempt does not end, so little is left for one that a new decision defeats.
        """
        names, reached, check = self._next(erasure, after, limit)
        is_last = ends and len(names) < limit
        return (len(names), reached) if self._try(names, erasure, is_last, [check] if is_last else []) else None

    def _next(self, erasure: Erasure, after: int, limit: int) -> tuple[list[str], int, Check]:
        """Return some decisions to erase, up to where the log was searched for them, and the check that no other has come since."""
        if erasure.tenant is None:
            decided = f"user:{erasure.user}"  # an erased decision leaves this set
            members = self._server.names(decided)
            return members[:limit], after, (str(len(members)), "SCARD", self._server.key(decided))
        position = self._states.facts().position  # decisions that come later are erased as they are written, or are new
        found = list(itertools.islice(self._found(erasure, after), limit))
        reached = found[-1][0] if len(found) == limit else max(after, position)
        return [name for _, name in found], reached, (str(position or ""), "GET", self._server.key("position"))

    def _found(self, erasure: Erasure, after: int) -> Iterator[tuple[int, str]]:
        """Yield position and id of a tenant's decisions after a position."""
        members = None if erasure.user is None else set(self._server.names(f"user:{erasure.user}"))
        for position, entry in self._reader.placed(after, brief=True):
            if entry.row.kind == DECISION and columns_of(entry.row)["tenant"] == erasure.tenant and (members is None or entry.row.id in members):
                yield position, entry.row.id

    def _try(self, names: Sequence[str], erasure: Erasure, is_last: bool, checks: Sequence[Check]) -> bool:
        """Try to erase decisions; return whether nobody wrote to them meanwhile."""
        facts, loaded = self._reader.excerpt(names)
        templates = LogTemplates(self._server)
        templates.update(facts)
        ops: list[Op] = []
        checks = [*checks, templates.check, *loaded.checks(names), self._server.epoch_check(facts)]
        for each in loaded.hashes.values():
            for entry in each.entries(self._reader.templates.unpack, feedback=()):
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
