"""Learned states of routers on a Redis server: snapshots, floors and deltas."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import attrs

from aamc_sdk.log import MAX_SNAPSHOTS, UNLEARNED, decode, deltas_after, encode, extends_chain, replaces_deltas
from aamc_sdk.types import Snapshot, StateDelta
from aamc_stores.redis_log.keys import from_msgpack, to_msgpack
from aamc_stores.redis_log.scripts import DECISIONS
from aamc_stores.redis_log.server import Check, Facts, Op, RedisServer, binary, write_id

_CONTENT_S = 3600
"""Time in which a snapshot's content that was written must be committed."""
SNAPSHOTS, FLOORS = "snapshots", "floors"
_NO_NAMES = to_msgpack([])


@attrs.frozen
class State:
    """The description of a snapshot or floor: all of it but its content."""

    position: int  # up to which the router has learned
    number: int  # of its writing; a later one is greater
    last: str  # the name of the log's entry at that position
    epoch: int  # the log's epoch at that time
    renewed: float  # the server's time at which it was put last, in seconds since the epoch
    content: str  # the key of the content

    @property
    def text(self) -> str:
        """The description as it is kept."""
        return encode(attrs.astuple(self))


class RedisStates:
    """A log's snapshots, floors and deltas."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def facts(self) -> Facts:
        """Return the log's present state."""
        return Facts.of(self._server.read(DECISIONS, _NO_NAMES)[0])

    def read(self, kind: str) -> dict[str, State]:
        """Return the snapshots, or the floors, by name."""
        return {name: State(*decode(text)) for name, text in self._server.hash(kind).items()}

    def check(self, facts: Facts) -> Check:
        """Return the check that no snapshot, floor or delta has been written since."""
        return facts.states, "GET", self._server.key("states")

    def snapshot(self, name: str) -> Snapshot | None:
        """Return the snapshot of a name, else its floor, else None."""
        while True:
            facts = self.facts()
            kept, floors = self.read(SNAPSHOTS), self.read(FLOORS)
            state = kept.get(name) or floors.get(name)
            if state is None or state.epoch == UNLEARNED:
                return None
            with self._server.explained():
                content: Any = self._server.client.get(state.content)
            if content is not None or self.facts().states == facts.states:  # else it was replaced meanwhile
                return None if content is None else Snapshot(state.position, content, state.epoch, state.last)

    def put_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Keep a snapshot unless it is no newer than the last, of a past epoch, or outside the chain of deltas; note that its router still learns."""
        key = self._server.key(f"state:{uuid.uuid4().hex}")

        def put() -> bool | None:
            facts = self.facts()
            kept, floors, (end, chain) = self.read(SNAPSHOTS), self.read(FLOORS), self._newest(name)
            if snapshot.epoch != facts.epoch:
                return False
            number = 1 + max((state.number for states in (kept, floors) for state in states.values()), default=0)
            new = State(snapshot.position, number, snapshot.last, snapshot.epoch, facts.now, key)
            before, ops = (dict(kept), dict(floors)), list[Op]()
            floor, newest = floors.get(name), max((states[name].position for states in (kept, floors) if name in states), default=None)
            if floor is not None and floor.position == new.position and floor.epoch < snapshot.epoch:  # learned without forgotten users
                floors[name] = new
            elif (newest is None or newest < new.position) and replaces_deltas(new.position, [delta.after for delta in chain], end):
                kept[name] = new
                past = [str(delta.position) for delta in chain if delta.after < new.position]
                ops += [["HDEL", self._deltas(name), *past[start : start + 1000]] for start in range(0, len(past), 1000)]
            for states in (kept, floors):
                if name in states:
                    states[name] = attrs.evolve(states[name], renewed=facts.now)
            for gone in _latest_first(name, kept, floors)[MAX_SNAPSHOTS:]:
                kept.pop(gone, None)
                floors.pop(gone, None)
                ops.append(["UNLINK", self._deltas(gone)])
            ops += self._changes(before, (kept, floors))
            checks = [self.check(facts)]
            if key in _contents(kept, floors):
                with self._server.explained():
                    self._server.client.set(key, snapshot.content, ex=_CONTENT_S)
                ops.append(["PERSIST", key])
                checks.append(("1", "EXISTS", key))
            return None if self._server.commit(checks, ops) is None else True

        self._server.change(put)

    def deltas(self, name: str, after: int, epoch: int) -> Sequence[StateDelta] | None:
        """Return the deltas that continue from a state, empty if it is the newest, None if none does."""
        while True:
            facts, newest, chain = self.facts(), *self._newest(name)
            if facts.states == self.facts().states:
                return deltas_after(chain, after, newest) if epoch == facts.epoch else None

    def put_delta(self, name: str, delta: StateDelta) -> bool:
        """Keep a delta if it continues from the newest state; return whether it does."""

        def put() -> bool | None:
            facts = self.facts()
            if not extends_chain(delta, self._newest(name)[0], facts.epoch):
                return False
            value = to_msgpack([delta.after, delta.position, delta.content, delta.epoch, delta.last])
            ops = [["HSET", self._deltas(name), str(delta.position), binary(value)], self._written()]
            return None if self._server.commit([self.check(facts)], ops) is None else True

        return self._server.change(put)

    def renewed(self, kept: dict[str, State], floors: dict[str, State]) -> list[tuple[int, float]]:
        """Return the position of each router's newest snapshot or floor, and when it was put last."""
        states = [[each[name] for each in (kept, floors) if name in each] for name in {**kept, **floors}]
        return [(max(state.position for state in each), max(state.renewed for state in each)) for each in states]

    def raised_floors(self, kept: dict[str, State], floors: dict[str, State], since: float) -> list[Op]:
        """Return the commands that keep the snapshots that were renewed since a time as floors, as a partition goes; :meth:`check` notices it."""
        raised = {
            name: state for name, state in kept.items() if state.renewed >= since and (name not in floors or floors[name].position < state.position)
        }
        return self._changes((kept, floors), (kept, {**floors, **raised}))

    def without_unclean_floors(self, epoch: int, since: float) -> list[Op]:
        """Return the commands that drop floors which were learned with users who have been forgotten since, and were not renewed since a time."""
        kept, floors = self.read(SNAPSHOTS), self.read(FLOORS)
        left = {name: state for name, state in floors.items() if state.epoch >= epoch or state.renewed >= since}
        return self._changes((kept, floors), (kept, left)) if len(left) < len(floors) else []

    def dropped(self) -> list[Op]:
        """Return the commands that delete all snapshots and deltas, and leave the floors.

        A router without a floor gets an empty one, so that no partition goes before the router has learned again.
        """
        kept, floors = self.read(SNAPSHOTS), self.read(FLOORS)
        empty = {name: State(0, state.number, "", UNLEARNED, state.renewed, "") for name, state in kept.items() if name not in floors}
        deltas = [["UNLINK", self._deltas(name)] for name in {**kept, **floors}]
        return [*deltas, *self._changes((kept, floors), ({}, {**floors, **empty}))]

    def _newest(self, name: str) -> tuple[int, list[StateDelta]]:
        """Return the position of the newest state of a name, 0 for none, and the deltas in order."""
        values = self._server.hash(f"deltas:{name}").values()
        chain = sorted((StateDelta(*from_msgpack(value)) for value in values), key=lambda delta: delta.position)
        states = [state.position for kind in (SNAPSHOTS, FLOORS) if (state := self.read(kind).get(name)) is not None]
        return max([*states, *(delta.position for delta in chain)], default=0), chain

    def _changes(self, before: Sequence[dict[str, State]], after: Sequence[dict[str, State]]) -> list[Op]:
        """Return the commands that change snapshots and floors, and delete the contents that none of them has any more; :meth:`check` notices it."""
        ops: list[Op] = []
        for kind, old, new in zip((SNAPSHOTS, FLOORS), before, after, strict=True):
            ops += [["HSET", self._server.key(kind), name, state.text] for name, state in new.items() if old.get(name) != state]
            ops += [["HDEL", self._server.key(kind), name] for name in old.keys() - new.keys()]
        return [*ops, *(["UNLINK", content] for content in _contents(*before) - _contents(*after)), self._written()]

    def _written(self) -> Op:
        """Return the command that marks a write, which :meth:`check` notices."""
        return ["SET", self._server.key("states"), binary(write_id())]

    def _deltas(self, name: str) -> str:
        return self._server.key(f"deltas:{name}")


def _contents(*kinds: dict[str, State]) -> set[str]:
    """Return the keys of the contents of some states."""
    return {state.content for kind in kinds for state in kind.values() if state.epoch > UNLEARNED}


def _latest_first(name: str, kept: dict[str, State], floors: dict[str, State]) -> list[str]:
    """Return the names of states in the order in which they were put, the latest first; ``name`` is being put."""

    def age(each: str) -> tuple[bool, float, int]:
        states = [states[each] for states in (kept, floors) if each in states]
        return each == name, max(state.renewed for state in states), max(state.number for state in states)

    return sorted({**kept, **floors}, key=age, reverse=True)
