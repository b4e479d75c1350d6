"""One process learns, and the others apply what it publishes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aamc_sdk.errors import CheckpointError, StoreAwayError
from aamc_sdk.log import MemoryStore, StoreOptions
from aamc_sdk.serving import Learner, state_of
from aamc_sdk.serving.learner import learner as learning
from aamc_sdk.serving.learner import snapshots as keeping
from aamc_sdk.types import Experience, Snapshot, StateDelta

from .test_learner import Tally, judge


class Changing(Tally):
    """A tally that gives deltas: the whole tally, which is small, after a count."""

    def delta(self) -> bytes | None:
        return json.dumps({"made": self.made, "judged": self.judged}).encode()

    def apply_delta(self, delta: bytes) -> None:
        try:
            self.made, self.judged = (json.loads(delta)[name] for name in ("made", "judged"))
        except (ValueError, KeyError) as error:
            raise CheckpointError(f"damaged: {error}") from error

    def prepare_replay(self, log: Any) -> None:
        for user in log.forgotten(list(self.judged)):
            del self.judged[user]


class Election:
    """A lease that the test ends: it is held by its first caller."""

    def __init__(self) -> None:
        self.holder: object = None
        self.everybody = False

    def ask(self, caller: object) -> bool:
        self.holder = self.holder or caller
        return self.everybody or self.holder is caller


class SharedStore(MemoryStore):
    """One process's view of a log on a server."""

    shares_learning = True

    def __init__(self, first: SharedStore | None = None) -> None:
        super().__init__("shared:", StoreOptions())
        self.election = Election()
        self.away = False
        self.reads = 0
        self.loads = 0
        if first is not None:
            self._log, self._lock, self.election = first._log, first._lock, first.election

    def is_learner(self, name: str) -> bool:
        self._reached()
        return self.election.ask(self)

    def experience(self, after: int = 0, limit: int = 1000) -> Experience:
        self._reached()
        self.reads += limit > 1
        return super().experience(after, limit)

    def deltas(self, name: str, after: int, epoch: int) -> Any:
        self._reached()
        return super().deltas(name, after, epoch)

    def put_delta(self, name: str, delta: StateDelta) -> bool:
        self._reached()
        return super().put_delta(name, delta)

    def snapshot(self, name: str) -> Snapshot | None:
        self._reached()
        self.loads += 1
        return super().snapshot(name)

    def put_snapshot(self, name: str, snapshot: Snapshot) -> None:
        self._reached()
        super().put_snapshot(name, snapshot)

    def position(self) -> int:
        self._reached()
        return super().position()

    def _reached(self) -> None:
        if self.away:
            raise StoreAwayError("nobody answers")


class Replica:
    """A process that serves: a view of the log, a router and its learner."""

    def __init__(self, first: Replica | None = None, make: Callable[[], Tally] = Changing) -> None:
        self.store = SharedStore(first and first.store)
        self.router = make()
        self.told: list[str] = []
        self.learner = Learner(self.store, self.router, lambda feedback: self.told.append(feedback.decision_id))

    def kill(self) -> None:
        """Take the log away, as from a process that is killed; its lease goes on."""
        self.store.away = True

    def tell(self, *names: str) -> None:
        judge(self.store, *names)
        self.learner.wake()


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FOLLOW_S", "ELECTION_S"):
        monkeypatch.setattr(learning, name, 0.01)
    monkeypatch.setattr(learning, "RELOAD_S", 0.01)
    for name in ("SHARE_S", "RETRY_S"):
        monkeypatch.setattr(keeping, name, 0.01)
    monkeypatch.setattr(learning, "START_S", 0.2)
    monkeypatch.setattr(keeping, "FULL_SNAPSHOT_DELAY_S", 0.05)


@pytest.fixture
def replicas() -> Iterator[list[Replica]]:
    """Three processes; the first one is elected."""
    started = [Replica()]
    started += [Replica(started[0]), Replica(started[0])]
    yield started
    for replica in started:
        replica.store.away = False
        replica.learner.close()


def single(replica: Replica) -> bytes:
    """Return the state of a router that learns the whole log alone."""
    router = Changing()
    store = MemoryStore("memory:", StoreOptions())
    store._log = replica.store._log
    position = 0
    while (batch := store.experience(position)).position > position:
        position = batch.position
        router.learn(batch)
    return state_of(router)


def flush(replicas: list[Replica]) -> None:
    for replica in replicas:
        replica.learner.flush(60)


def test_one_learns_and_the_others_never_read_the_log(replicas: list[Replica]) -> None:
    first, *others = replicas
    for number in range(50):
        replicas[number % 3].tell(f"{'abc'[number % 3]}{number}")
    flush(replicas)
    assert [replica.learner.is_learner for replica in replicas] == [True, False, False]
    assert {state_of(replica.router) for replica in replicas} == {single(first)}
    assert [replica.router.batches > 0 for replica in replicas] == [True, False, False]
    assert [replica.store.reads for replica in others] == [0, 0]
    assert len(first.told) == 50
    assert not others[0].told
    assert not others[1].told


def test_a_router_without_deltas_is_learned_by_every_process() -> None:
    first = Replica(make=Tally)
    second = Replica(first, make=Tally)
    first.tell("ann1", "bob1")
    flush([first, second])
    assert [replica.learner.is_learner for replica in (first, second)] == [True, True]
    assert first.router.judged == second.router.judged == {"a": 0.5, "b": 0.5}
    for replica in (first, second):
        replica.learner.close()


def test_a_lost_learner_is_replaced_and_nothing_counts_twice(replicas: list[Replica]) -> None:
    first, second, third = replicas
    first.tell("ann1", "bob1")
    flush(replicas)
    first.kill()
    second.tell("ann2")
    assert not second.learner.is_learner
    first.store.election.holder = None  # the lease has ended
    flush([second, third])
    third.tell("bob2")
    flush([second, third])
    assert second.learner.is_learner + third.learner.is_learner == 1
    assert state_of(second.router) == state_of(third.router) == single(second)
    assert sorted(second.told + third.told) == ["ann2", "bob2"]


def test_two_that_both_believe_to_be_elected_agree_in_the_end(replicas: list[Replica]) -> None:
    replicas[0].store.election.everybody = True
    threads = [
        threading.Thread(target=lambda n=n: [replicas[n].tell(f"{'abc'[n]}{number}") for number in range(60)])  # type: ignore[misc]
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    flush(replicas)
    replicas[0].store.election.everybody = False
    replicas[1].tell("end")
    flush(replicas)
    alone = single(replicas[0])
    wait_until(lambda: {state_of(replica.router) for replica in replicas} == {alone})  # one whose deltas were refused may load the state again


def test_a_process_that_was_away_comes_back(replicas: list[Replica]) -> None:
    first, second, third = replicas
    first.tell("ann1")
    flush(replicas)
    first.kill()
    first.store.election.holder = second.store
    second.tell("bob1", "bob2")
    flush([second, third])
    first.store.away = False  # it still believes to be elected, until it asks
    third.tell("cat1")
    flush(replicas)
    assert {state_of(replica.router) for replica in replicas} == {single(second)}


def test_a_user_is_forgotten_everywhere(replicas: list[Replica]) -> None:
    first, second, third = replicas
    first.tell("ann1", "bob1", "ann2")
    flush(replicas)
    second.store.forget("a")
    flush(replicas)
    assert all(replica.router.judged == {"nobody": 1.0, "b": 0.5} for replica in replicas)
    third.tell("bob2")
    flush(replicas)
    assert {state_of(replica.router) for replica in replicas} == {single(first)}
    assert first.told == ["ann1", "bob1", "ann2", "bob2"]


def test_a_follower_drops_a_forgotten_user_before_the_log_is_learned_again(replicas: list[Replica]) -> None:
    first, second, _ = replicas
    first.tell("ann1", "bob1")
    flush(replicas)
    first.kill()
    second.store.forget("a")
    wait_until(lambda: second.router.judged == {"b": 0.5})
    first.store.away = False
    flush(replicas)
    assert second.router.judged == {"nobody": 0.5, "b": 0.5}


def test_a_starting_process_waits_until_the_log_is_learned(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    first = Replica()
    first.kill()
    judge(SharedStore(first.store), "ann1")
    late = Replica(first)  # nobody learns, so it waits as long as it may
    assert "no process learns the log" in caplog.text
    assert late.router.judged == {}
    assert late.learner.health()["learner_lag"] == 2
    first.store.away = False
    later = Replica(first)
    assert later.router.judged == {"a": 0.5}
    for replica in (first, late, later):
        replica.learner.close()


def test_full_snapshots_do_not_make_followers_load_them(replicas: list[Replica]) -> None:
    first, *others = replicas
    first.tell("ann1")
    flush(replicas)
    name = first.learner._consumer.name
    kept = {first.store.snapshot(name).position}  # type: ignore[union-attr]
    loads = [replica.store.loads for replica in others]
    for number in range(200):  # small, so that deltas soon outgrow it
        first.tell(f"bob{number}")
        flush(replicas)
        kept.add(first.store.snapshot(name).position)  # type: ignore[union-attr]
        if len(kept) > 2:
            break
    assert len(kept) > 2
    assert [replica.store.loads for replica in others] == loads


def test_deltas_that_cannot_be_read_are_passed_over(replicas: list[Replica], caplog: pytest.LogCaptureFixture) -> None:
    first, second, _ = replicas
    first.tell("ann1")
    flush(replicas)
    name, kept = first.learner._consumer.name, first.store._log.deltas
    with first.store._lock.held:
        first.store.away = second.store.away = True
    position = second.learner.position
    judge(SharedStore(second.store), "bob1")
    with first.store._lock.held:  # the first process may save a full snapshot that it began before
        kept[name].append(StateDelta(position, position + 2, b"damaged"))
    second.store.away = False
    wait_until(lambda: "cannot be read" in caplog.text)
    second.store.election.holder = second.store
    second.learner.flush(60)
    assert second.learner.is_learner
    alone = single(second)
    wait_until(lambda: state_of(second.router) == alone)  # its deltas do not continue from the damaged one, so it loads the state again


def test_flush_learns_again_what_a_refused_save_undid(replicas: list[Replica], monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = replicas
    flush(replicas)
    consumer, put = first.learner._consumer, first.store.put_delta
    refused = []

    def refuse(name: str, delta: StateDelta) -> bool:
        refused.append(delta)
        first.store.put_delta = put  # type: ignore[method-assign]
        return False

    def save_at_the_end_of_the_log(caught_up: bool) -> None:
        if caught_up and consumer.point != consumer.snapshots.point:
            consumer._save()

    monkeypatch.setattr(consumer, "save_if_due", save_at_the_end_of_the_log)
    monkeypatch.setattr(first.store, "put_delta", refuse)
    monkeypatch.setattr(keeping, "SHARE_S", 60.0)  # the time until the next look at the log
    first.tell("ann1")
    first.learner.flush(60)
    assert len(refused) == 1
    assert state_of(first.router) == single(first)


def test_deltas_whose_acknowledgement_was_lost_count_once(replicas: list[Replica]) -> None:
    first, second, _ = replicas
    put = first.store.put_delta
    lost = []

    def lose(name: str, delta: StateDelta) -> bool:
        put(name, delta)
        lost.append(delta)
        first.store.put_delta = put  # type: ignore[method-assign]
        raise StoreAwayError("the answer was lost")

    first.store.put_delta = lose  # type: ignore[method-assign]
    loads = first.store.loads
    first.tell("ann1")
    flush([second])
    first.tell("bob1")
    flush(replicas)
    assert len(lost) == 1
    assert first.store.loads == loads  # its own deltas, so there is nothing to load
    assert {state_of(replica.router) for replica in replicas} == {single(first)}


def test_health_says_who_learns_and_how_far(replicas: list[Replica]) -> None:
    first, second, _ = replicas
    first.tell("ann1")
    flush(replicas)
    assert [replica.learner.health()["is_learner"] for replica in replicas] == [1.0, 0.0, 0.0]
    assert all(replica.learner.health()["learner_lag"] == 0 for replica in replicas)
    assert all(replica.learner.health()["staleness_s"] == 0 for replica in replicas)
    first.kill()
    judge(second.store, "bob1")
    health = second.learner.health(second.store.position())
    assert health["learner_lag"] == 2
    assert health["staleness_s"] > 0
    assert set(second.learner.health()) == {"is_learner", "learner_lag", "staleness_s", "snapshot_age_s"}
