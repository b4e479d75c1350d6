"""Learning from a log that drops its oldest partitions: a snapshot and the log after it are all that a router needs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import attrs
import pytest
from log_clock import DAY, Clock

from aamc_sdk.errors import StoreAwayError
from aamc_sdk.log import Retention, SqliteOptions, SqliteStore
from aamc_sdk.serving import Learner
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Decision, Feedback, Preference, Query, Records, Snapshot

from .test_learner import Changing, learned


def opened(path: Path) -> SqliteStore:
    return SqliteStore(f"sqlite:{path}", SqliteOptions(retention=Retention(days=2)))


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[SqliteStore]:
    with closing(opened(tmp_path / "log.db")) as store:
        yield store


def judge(store: SqliteStore, *names: str) -> None:
    """Log a decision of each name's first letter, and feedback 0.5 on it."""
    for name in names:
        asked = attrs.evolve(make_request(make_dataset(1)), queries=[Query("Hi", user=name[0])])
        store.add_decisions(Records([Decision(name, POOL.names[0], 1.0, Preference(), time=time.time())], asked))
        store.add_feedback([(Feedback(decision_id=name, quality=0.5, time=time.time()), None)])


def two_days(store: SqliteStore, clock: Clock) -> None:
    """Log a day that retention drops, and one that it keeps."""
    judge(store, "ann1", "bob1")
    clock.now += DAY
    judge(store, "ann2", "cat1")
    clock.now += 2 * DAY + 1


def test_a_router_keeps_what_it_learned_from_a_partition_that_is_gone(store: SqliteStore, clock: Clock) -> None:
    two_days(store, clock)
    assert learned(store, Changing()).judged == {"a": 1.0, "b": 0.5, "c": 0.5}
    assert store.retain() == 2
    judge(store, "bob2")
    again = learned(store, Changing())
    assert (again.judged, again.made) == ({"a": 1.0, "b": 1.0, "c": 0.5}, 5)


def test_a_router_keeps_what_it_learned_from_a_log_whose_last_decisions_are_gone(store: SqliteStore, clock: Clock) -> None:
    two_days(store, clock)
    assert learned(store, Changing()).judged == {"a": 1.0, "b": 0.5, "c": 0.5}
    clock.now += DAY
    assert (store.retain(), store.experience().decisions) == (4, [])
    assert learned(store, Changing()).judged == {"a": 1.0, "b": 0.5, "c": 0.5}
    judge(store, "bob2")
    assert learned(store, Changing()).judged == {"a": 1.0, "b": 1.0, "c": 0.5}
    store.forget("a")
    assert learned(store, Changing()).judged == {"b": 1.0, "c": 0.5}


def test_a_forgotten_user_goes_from_the_state_of_a_partition_that_is_gone(store: SqliteStore, clock: Clock, tmp_path: Path) -> None:
    two_days(store, clock)
    router = Changing()
    learner = Learner(store, router, lambda _: None)
    learner.close()
    assert store.retain() == 2
    assert b'"a": 1.0' in kept_bytes(tmp_path)
    learner = Learner(store, router := Changing(), lambda _: None)
    store.forget("a")
    learner.flush(60)
    assert router.judged == {"b": 0.5, "c": 0.5}  # all of that user's share, of the kept partition too
    assert store.health()["floors_to_clean"] == 0
    learner.close()
    assert learned(store, Changing()).judged == router.judged


def test_an_outage_as_the_log_is_learned_again_loses_nothing_of_a_partition_that_is_gone(
    store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_days(store, clock)
    learned(store, Changing())
    assert store.retain() == 2
    router, outages = Changing(), [StoreAwayError("nobody answers")]
    learner = Learner(store, router, lambda _: None)
    read = store.snapshot

    def snapshot(name: str) -> Snapshot | None:
        if outages:
            raise outages.pop()
        return read(name)

    monkeypatch.setattr(store, "snapshot", snapshot)
    store.forget("a")
    learner.wake()
    while outages:
        time.sleep(0.01)
    learner.flush(60)
    learner.close()
    assert router.judged == {"b": 0.5, "c": 0.5}


def test_a_lost_start_after_a_user_was_forgotten_loses_nothing(store: SqliteStore, clock: Clock, tmp_path: Path) -> None:
    two_days(store, clock)
    learned(store, Changing())
    assert store.retain() == 2
    store.forget("a")  # by another program, and no router has cleaned its state yet
    assert store.health()["floors_to_clean"] == 1
    with closing(opened(tmp_path / "log.db")) as other:
        assert learned(other, Changing()).judged == {"b": 0.5, "c": 0.5}
        assert other.health()["floors_to_clean"] == 0


def test_a_router_that_learns_again_after_a_long_stop_holds_back_what_its_state_lacks(store: SqliteStore, clock: Clock) -> None:
    learned(store, Changing())
    learner = Learner(store, Changing(), lambda _: None)
    two_days(store, clock)
    learner.flush(60)
    kill(learner)
    clock.now += 10 * DAY
    kill(Learner(store, Changing(), lambda _: None))
    assert store.retain() == 0
    assert learned(store, Changing()).judged == {"a": 1.0, "b": 0.5, "c": 0.5}


def test_a_process_that_lags_misses_nothing_of_what_was_dropped(store: SqliteStore, clock: Clock, tmp_path: Path) -> None:
    """The dropped feedback lies after a kept decision that the process has learned, so only the log's start tells."""
    judge_late = Feedback(decision_id="ann1", quality=0.5, source="late", time=clock.now)
    two_days(store, clock)
    with closing(opened(tmp_path / "log.db")) as slow:
        router = Changing()
        behind = Learner(slow, router, lambda _: None)
        kill(behind)  # its thread pauses, as a process that is stopped
        store.add_feedback([(judge_late, None)])
        learned(store, Changing())
        assert store.retain() == 2
        judge(store, "bob2")
        behind._closed = False
        behind._catch_up()
        assert router.judged == {"a": 1.5, "b": 1.0, "c": 0.5}


def kill(learner: Learner) -> None:
    """Stop a learner before it keeps what it has learned."""
    learner._closed = True
    learner.wake()
    learner._thread.join()


def kept_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())
