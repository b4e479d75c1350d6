"""The server of the log is away while a learned state is published: every entry still counts once."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aamc_sdk.errors import CheckpointError, StoreAwayError
from aamc_sdk.log import MemoryStore, open_store
from aamc_sdk.plugins import Plugins
from aamc_sdk.serving.learner.snapshots import LogPoint, RouterSnapshots
from aamc_sdk.types import StateDelta

from .test_learner import Tally, judge
from .test_shared_learning import Replica, SharedStore, _quick, wait_until  # noqa: F401  # a fixture

NOBODY = object()
"""The holder of a lease that no process has."""
Judged = tuple[int, dict[str, float]]


class Adding(Tally):
    """A tally whose deltas are differences: those that are applied twice, or to another state, count twice."""

    def __init__(self, config: Any = None, services: Any = None) -> None:
        super().__init__(config, services)
        self._sent = Tally()

    def delta(self) -> bytes | None:
        judged = {user: total - self._sent.judged.get(user, 0.0) for user, total in self.judged.items()}
        delta = json.dumps({"made": self.made - self._sent.made, "judged": judged}).encode()
        self._note_sent()
        return delta

    def apply_delta(self, delta: bytes) -> None:
        try:
            added = json.loads(delta)
            self.made += added["made"]
            for user, more in added["judged"].items():
                self.judged[user] = self.judged.get(user, 0.0) + more
        except KeyError as error:
            raise CheckpointError(f"damaged: {error}") from error
        self._note_sent()

    def load(self, folder: Path) -> None:
        super().load(folder)
        self._note_sent()

    def _note_sent(self) -> None:
        self._sent.made, self._sent.judged = self.made, dict(self.judged)


def replica(first: Replica | None = None) -> Replica:
    return Replica(first, make=Adding)


@pytest.fixture
def replicas() -> Iterator[list[Replica]]:
    """Two processes that know one decision; the first one is elected."""
    started = [replica()]
    started.append(replica(started[0]))
    started[0].tell("ann1")
    settle(*started)
    yield started
    for each in started:
        each.store.away = False
        each.learner.close()


def judged(router: Tally) -> Judged:
    return router.made, router.judged


def single(log: SharedStore) -> Judged:
    """Return the counts of a router that learns the whole log alone."""
    router = Adding()
    router.learn(MemoryStore.experience(log))
    return judged(router)


def settle(*replicas: Replica) -> None:
    """Wait until processes know the whole log, by a state that is published."""
    for each in replicas:
        learner = each.learner
        wait_until(lambda learner=learner, log=each.store: learner.position == MemoryStore.position(log))  # type: ignore[misc]
        wait_until(lambda learner=learner: learner._consumer.snapshots.point == learner._consumer.point)  # type: ignore[misc]


def break_off(store: SharedStore, method: str, committed: bool) -> Callable[[], None]:
    """Let a write fail before or after its commit until the returned function is called."""
    write = getattr(store, method)

    def fail(*arguments: Any) -> None:
        if committed:
            write(*arguments)
        raise StoreAwayError("the connection broke off")

    setattr(store, method, fail)
    return lambda: setattr(store, method, write)


def evict(store: SharedStore) -> None:
    """Drop the published states, as when the states of eight other routers are kept."""
    with store._lock.held:
        store._log.snapshots.clear()
        store._log.deltas.clear()


def learn_unkept(first: Replica, *names: str) -> None:
    """Let the elected process learn entries whose publication fails."""
    first.tell(*names)
    wait_until(lambda: first.learner.position == MemoryStore.position(first.store))
    wait_until(lambda: first.learner._consumer.snapshots._failed)


def depose(first: Replica) -> None:
    """Take the lease away; return when the process knows."""
    first.store.election.holder = NOBODY
    wait_until(lambda: not first.learner.is_learner)


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("successor", [0, 1])
def test_a_learner_whose_publication_failed_resigns_and_nothing_counts_twice(replicas: list[Replica], successor: int, committed: bool) -> None:
    first = replicas[0]
    mend = break_off(first.store, "put_delta", committed)
    learn_unkept(first, "bob1", "ann2")
    depose(first)
    mend()
    first.store.election.holder = replicas[successor].store
    replicas[1].tell("ann3")
    settle(*replicas)
    assert replicas[successor].learner.is_learner
    assert [judged(each.router) for each in replicas] == [single(first.store)] * 2


def test_a_learner_reports_what_it_learns_again_once(replicas: list[Replica]) -> None:
    first = replicas[0]
    mend = break_off(first.store, "put_delta", committed=False)
    learn_unkept(first, "bob1")
    depose(first)
    mend()
    first.store.election.holder = first.store
    first.tell("ann2")
    settle(*replicas)
    assert first.told == ["ann1", "bob1", "ann2"]


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("successor", [0, 1])
def test_a_learner_resigns_as_the_server_is_lost_altogether(replicas: list[Replica], successor: int, committed: bool) -> None:
    first = replicas[0]
    mend = break_off(first.store, "put_delta", committed)
    learn_unkept(first, "bob1")
    for each in replicas:
        each.store.is_learner = lambda name: False  # type: ignore[method-assign]  # as a server that is away answers
        each.store.away = True
    wait_until(lambda: not first.learner.is_learner and first.learner._away)
    mend()
    first.store.election.holder = replicas[successor].store
    for each in replicas:
        each.store.away = False
        del each.store.is_learner
    wait_until(lambda: replicas[successor].learner.is_learner)
    first.tell("ann2")
    settle(*replicas)
    assert [judged(each.router) for each in replicas] == [single(first.store)] * 2


@pytest.mark.parametrize("committed", [False, True])
def test_the_first_state_is_not_published(committed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(SharedStore, "put_snapshot", lambda *_: None)
        broken.setattr(SharedStore, "put_delta", lambda *_: False)
        first = replica()  # publishes nothing before its writes fail
    mend = break_off(first.store, "put_snapshot", committed)
    first.store.put_delta = lambda *_: False  # type: ignore[method-assign]
    learn_unkept(first, "ann1")
    depose(first)
    mend()
    del first.store.put_delta
    first.store.election.holder = first.store
    first.tell("bob1")
    late = replica(first)
    settle(first, late)
    assert judged(first.router) == judged(late.router) == single(first.store)
    for each in (first, late):
        each.learner.close()


def test_a_published_state_that_is_gone_meanwhile_is_published_anew(replicas: list[Replica]) -> None:
    first, second = replicas
    mend = break_off(first.store, "put_delta", committed=False)
    learn_unkept(first, "bob1")
    depose(first)
    second.learner.close()
    evict(first.store)
    mend()
    first.store.election.holder = first.store
    first.tell("ann2")
    late = replica(first)
    settle(first, late)
    assert judged(first.router) == judged(late.router) == single(first.store)
    late.learner.close()


@pytest.mark.parametrize("committed", [False, True])
def test_a_learner_is_closed_while_its_publication_fails(replicas: list[Replica], committed: bool) -> None:
    first, second = replicas
    break_off(first.store, "put_delta", committed)
    learn_unkept(first, "bob1", "ann2")
    first.learner.close()
    first.store.election.holder = second.store
    second.tell("bob2")
    late = replica(second)
    settle(second, late)
    assert judged(second.router) == judged(late.router) == single(second.store)
    late.learner.close()


def test_a_follower_with_unreadable_deltas_learns_from_the_start_where_the_published_state_is_gone(replicas: list[Replica]) -> None:
    first, second = replicas
    first.store.away = True
    judge(SharedStore(second.store), "bob1")
    name, log = first.learner._consumer.name, second.store._log
    with second.store._lock.held:
        newest = second.store._newest(name)
        log.deltas[name].append(StateDelta(newest, newest + 2, b'{"made": 7}'))
    wait_until(lambda: second.learner._follower._damaged_position >= 0)
    assert second.router.made >= 8  # half of the deltas was applied
    evict(second.store)
    second.store.election.holder = second.store
    second.tell("ann2")
    settle(second)
    assert judged(second.router) == single(second.store)


def test_a_learner_that_resigns_while_it_learns_a_replaced_log_takes_over_the_published_state(replicas: list[Replica]) -> None:
    first, second = replicas
    second.learner.close()
    first.learner._closed = True  # its thread pauses
    first.learner.wake()
    first.learner._thread.join()
    replaced = SharedStore()
    judge(replaced, "bob1")  # as many entries as the lost log had
    first.store._log = replaced._log
    first.learner._consumer.restart(epoch=0)  # as its next batch follows another entry
    first.store.election.holder = None
    late = replica(first)
    settle(late)
    first.learner._closed = False
    first.learner._next_election = 0.0
    first.learner._catch_up()
    assert not first.learner.is_learner
    assert judged(first.router) == judged(late.router) == single(first.store)
    late.learner.close()


def test_the_changes_of_a_delta_that_cannot_be_written_are_in_the_next_full_snapshot() -> None:
    class OnADisk(Adding):
        full = False

        def delta(self) -> bytes | None:
            changes = super().delta()
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return changes

    router, read = OnADisk(), Adding()
    with closing(open_store("memory:", Plugins())) as store:
        kept = RouterSnapshots(store, "r", shared=False, gives_deltas=True)
        for router.made, router.full in ((1, False), (2, True), (3, False)):
            kept.save(router, LogPoint(router.made))
        RouterSnapshots(store, "r", shared=False, gives_deltas=True).load(read, lambda *_: True)
    assert read.made == 3
