"""A log in a file that drops what is old: what goes, what must stay, and what a crash or a full disk leaves."""

from __future__ import annotations

import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from log_clock import DAY, NOON, Clock

from aamc_sdk.errors import StoreAwayError
from aamc_sdk.log import Retention, SqliteOptions, SqliteStore
from aamc_sdk.log.retention import partitioned_store
from aamc_sdk.log.sqlite import store as sqlite_store
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Attempt, Decision, Feedback, Preference, Records, Snapshot, StateDelta

REQUEST = make_request(make_dataset(1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def store(path: Path, clock: Clock) -> Iterator[SqliteStore]:
    with closing(opened(path, days=2)) as store:
        yield store


def opened(path: Path, **limits: float) -> SqliteStore:
    return SqliteStore(f"sqlite:{path}", SqliteOptions(retention=Retention(**limits)))


def decide(store: SqliteStore, *names: str, user: str | None = None) -> None:
    for name in names:
        (record,) = Records([Decision(name, POOL.names[0], 0.5, Preference(), time=time.time())], REQUEST)
        store.add_decisions([attrs.evolve(record, query=attrs.evolve(record.query, user=user))])


def judge(store: SqliteStore, *names: str) -> None:
    store.add_feedback([(Feedback(decision_id=name, quality=0.5, time=time.time()), None) for name in names])


def ids(store: SqliteStore) -> list[str]:
    return [row.id for row in store.batch(0, 10_000).rows]


def test_a_day_begins_a_partition_and_old_ones_go_with_all_that_belongs_to_their_decisions(store: SqliteStore, clock: Clock) -> None:
    decide(store, "a", "b")
    judge(store, "a")
    clock.now += DAY
    decide(store, "c")
    judge(store, "b", "c")  # the second day's, but of the first day's decisions
    store.add_attempts([Attempt("a", cost_usd=0.25)])
    assert [(each.number, each.first, each.last, each.begun) for each in store.partitions()] == [(0, 1, 3, NOON), (1, 4, None, NOON + DAY)]
    assert store.retain() == 0
    clock.now += 2 * DAY + 1
    assert store.retain() == 2
    assert ids(store) == ["c", "c/explicit"]
    assert [each.number for each in store.partitions()] == [1, 2]  # a day has passed since "c", so the second one ended
    (total,) = store.aggregates()
    assert (total.decisions, total.judged, total.quality, total.inverse_propensity, total.cost_usd) == (2, 2, 1.0, 4.0, 0.25)
    assert {"entries": 2, "position": 7, "start": 7, "partitions": 2}.items() <= store.health().items()
    assert store.retain() == 0
    assert store.outcomes().decision_ids == ["c"]


def test_the_last_decisions_go_although_none_follows_and_the_log_goes_on_after_them(store: SqliteStore, clock: Clock) -> None:
    decide(store, "a", "b")
    store.add_attempts([Attempt("a", cost_usd=0.25)])
    clock.now += 2.5 * DAY
    assert (store.retain(), store.retain()) == (0, 0)
    store.put_snapshot("router", Snapshot(3, b"learned", last="attempt/a/0"))
    clock.now += 1
    assert (store.retain(), ids(store), [each.decisions for each in store.aggregates()]) == (2, [], [2])
    assert [(each.number, each.first, each.last) for each in store.partitions()] == [(1, 4, None)]
    clock.now += 100 * DAY
    judge(store, "a")
    assert (store.retain(), len(store.partitions()), store.health()["position"], store.health()["start"]) == (0, 1, 3, 3)
    decide(store, "c")
    found = store.experience(3)
    assert (found.start, found.follows, [each.id for each in found.decisions], found.position) == (3, None, ["c"], 4)
    assert (store.snapshot("router"), store.retain(), ids(store)) == (Snapshot(3, b"learned", last="attempt/a/0"), 0, ["c"])


def test_a_pause_ends_a_partition_before_the_next_decision(store: SqliteStore, clock: Clock) -> None:
    decide(store, "a")
    clock.now += 1.5 * DAY
    store.retain()
    clock.now += 0.7 * DAY
    decide(store, "b")
    assert [each.first for each in store.partitions()] == [1, 2, 2]
    clock.now += DAY / 2
    assert (store.retain(), ids(store)) == (1, ["b"])
    clock.now += 2 * DAY
    assert (store.retain(), ids(store)) == (1, [])


def test_an_old_file_that_is_upgraded_ends_with_its_last_entry(store: SqliteStore, clock: Clock) -> None:
    """Its newest partition has decisions of many days."""
    decide(store, "a")
    store._change(lambda connection: connection.execute("UPDATE partitions SET begun = 0"))
    clock.now += 1.9 * DAY
    assert (store.retain(), ids(store)) == (0, ["a"])
    clock.now += 0.2 * DAY
    assert store.retain() == 1


def test_a_reader_is_told_from_where_the_log_is_whole(store: SqliteStore, clock: Clock) -> None:
    decide(store, "a")
    clock.now += DAY
    decide(store, "b")
    judge(store, "a", "b")  # positions 3 and 4
    names = ["", "decision/a", "decision/b", "feedback/a/explicit", "feedback/b/explicit", ""]
    assert [store.experience(after).follows for after in range(6)] == names
    clock.now += 2.2 * DAY
    store.retain()
    found = store.experience(0, 1)
    assert (found.start, found.follows, found.position, found.last) == (3, None, 2, "decision/b")  # feedback on "a" came last of what is gone
    found = store.experience(2)
    assert (found.follows, found.position, [feedback.id for feedback in found.feedback]) == ("decision/b", 4, ["b/explicit"])
    assert store.experience(3).follows is None  # the entry at 3 is gone
    assert store.experience(4).follows == "feedback/b/explicit"
    assert store.experience(5).follows == ""  # beyond the end: another log


def test_a_position_is_given_once_although_its_entry_was_dropped(store: SqliteStore, clock: Clock) -> None:
    decide(store, "a")
    clock.now += DAY
    decide(store, "b")
    judge(store, "a")
    clock.now += 2.2 * DAY
    store.retain()
    decide(store, "c")
    assert [store.experience(after).position for after in (0, 2, 3)] == [4, 4, 4]
    assert store.health()["position"] == 4


def test_feedback_on_a_decision_that_was_dropped_is_pending_and_counts_nowhere(store: SqliteStore, clock: Clock) -> None:
    decide(store, "a")
    judge(store, "a")
    clock.now += DAY
    decide(store, "b")
    clock.now += 2.2 * DAY
    store.retain()
    judge(store, "a")
    assert [feedback.id for feedback in store.pending()] == ["a/explicit"]
    assert ids(store) == ["b"]


def test_a_partition_stays_until_all_routers_that_still_learn_have_learned_its_decisions(store: SqliteStore, clock: Clock) -> None:
    decide(store, "a")
    store.put_snapshot("gone", Snapshot(1, b""))
    clock.now += DAY
    decide(store, "b")
    judge(store, "a")
    clock.now += 2.2 * DAY
    store.put_snapshot("router", Snapshot(2, b"before the feedback"))
    assert store.retain() == 0
    store.put_snapshot("router", Snapshot(3, b"after it"))
    store.put_delta("other", StateDelta(0, 1, b""))  # only full snapshots count
    assert store.retain() == 1


def test_a_partition_of_which_a_part_is_learned_goes_in_part_and_the_rest_is_read(
    store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "DROPPED_AT_ONCE", 2)
    decide(store, *"abcde")
    judge(store, "e")
    clock.now += DAY
    decide(store, "f")
    clock.now += 2.2 * DAY
    store.put_snapshot("router", Snapshot(4, b"", last="decision/d"))
    assert store.retain() == 4
    found = store.experience(4)
    assert (found.start, [each.id for each in found.decisions], found.follows) == (4, ["e", "f"], None)  # its entries are all there
    store.put_snapshot("router", Snapshot(7, b"", last="decision/f"))
    monkeypatch.setattr(store, "config", attrs.evolve(store.config, retention=Retention(days=1000)))
    assert store.retain() == 1  # a partition that has gone in part goes
    assert store.health()["start"] == 6


def test_a_renewed_snapshot_holds_and_one_that_is_not_does_not(store: SqliteStore, clock: Clock) -> None:
    decide(store, "a", "b")
    store.put_snapshot("router", Snapshot(1, b""))
    clock.now += DAY
    decide(store, "c")
    clock.now += 2.2 * DAY
    store.put_snapshot("router", Snapshot(1, b"the same position"))
    assert store.snapshot("router") == Snapshot(1, b"")
    assert store.retain() == 0
    clock.now += 2 * DAY + 1
    assert store.retain() == 3


def test_a_floor_outlives_forgetting_and_is_cleaned_once(store: SqliteStore, clock: Clock) -> None:
    decide(store, "a", user="ann")
    clock.now += DAY
    decide(store, "b")
    clock.now += 2.2 * DAY
    store.put_snapshot("router", Snapshot(1, b"old", last="decision/a"))
    store.retain()
    store.put_snapshot("router", Snapshot(2, b"new", last="decision/b"))
    store.put_delta("router", StateDelta(2, 3, b"more"))
    store.forget("ann")
    assert store.snapshot("router") == Snapshot(1, b"old", 0, "decision/a")
    assert store.deltas("router", 2, 1) is None
    assert store.health()["floors_to_clean"] == 1
    store.put_snapshot("router", Snapshot(1, b"of a past epoch", 0))
    store.put_snapshot("router", Snapshot(1, b"clean", 1, "decision/a"))
    assert store.snapshot("router") == Snapshot(1, b"clean", 1, "decision/a")
    assert store.health()["floors_to_clean"] == 0
    store.put_snapshot("router", Snapshot(1, b"again", 1))
    assert store.snapshot("router") == Snapshot(1, b"clean", 1, "decision/a")
    store.put_snapshot("router", Snapshot(2, b"newer", 1))
    assert store.snapshot("router") == Snapshot(2, b"newer", 1)
    for number in range(8):
        clock.now += 1
        store.put_snapshot(f"other {number}", Snapshot(2, b"", 1))
    assert store.snapshot("router") is None  # of more than eight routers, those written longest ago go, and their floors


def test_a_partition_stays_until_a_router_without_a_floor_has_learned_again_after_a_forget(store: SqliteStore, clock: Clock) -> None:
    decide(store, "a", user="ann")
    clock.now += DAY
    decide(store, "b")
    clock.now += 2.2 * DAY
    store.put_snapshot("router", Snapshot(2, b"state"))
    store.forget("ann")
    assert (store.snapshot("router"), store.health()["snapshots"], store.health()["floors_to_clean"]) == (None, 0, 0)
    assert store.retain() == 0
    store.put_snapshot("router", Snapshot(0, b"as it begins", 1))
    assert store.retain() == 0
    store.put_snapshot("router", Snapshot(1, b"learned again", 1))
    assert store.retain() == 1
    store.forget("somebody else")
    assert store.snapshot("router") == Snapshot(1, b"learned again", 1)


def test_a_router_that_does_not_come_back_after_a_forget_holds_no_partition_for_longer_than_the_limit(store: SqliteStore, clock: Clock) -> None:
    decide(store, "a")
    store.put_snapshot("router", Snapshot(1, b"state"))
    clock.now += DAY
    decide(store, "b")
    store.forget("nobody")
    clock.now += 2 * DAY + 1
    assert store.retain() == 1


def test_the_floor_of_a_retired_router_goes_with_a_forgotten_user(store: SqliteStore, clock: Clock) -> None:
    decide(store, "a", user="ann")
    clock.now += DAY
    decide(store, "b")
    clock.now += 2.2 * DAY
    for name in ("retired", "serving"):
        store.put_snapshot(name, Snapshot(1, b"ann's", last="decision/a"))
    store.retain()
    clock.now += 100 * DAY
    store.put_snapshot("serving", Snapshot(1, b"ann's", last="decision/a"))
    store.retain()
    assert store.snapshot("retired") is not None  # nobody in it was forgotten
    store.forget("ann")
    assert store.snapshot("retired") is None
    assert store.snapshot("serving") == Snapshot(1, b"ann's", 0, "decision/a")
    clock.now += 1.9 * DAY
    store.retain()
    assert store.health()["floors_to_clean"] == 1
    clock.now += 0.2 * DAY
    store.retain()
    assert store.health()["floors_to_clean"] == 0
    assert store.snapshot("serving") is None  # its router was not back in time


def test_a_clock_that_was_set_keeps_the_floors(store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, clock, 1)
    store.put_snapshot("router", Snapshot(1, b"", last="decision/0"))
    store.retain()
    clock.now += 100 * DAY
    monkeypatch.setattr(partitioned_store, "clock_offset", lambda: clock.now - NOON)
    store.forget("nobody")
    assert store.snapshot("router") is not None


def test_sums_go_when_they_are_older_than_their_limit(path: Path, clock: Clock) -> None:
    with closing(opened(path, days=2, aggregate_days=10)) as store:
        for name in "abc":
            decide(store, name)
            clock.now += DAY
        clock.now += 1.2 * DAY
        assert store.retain() == 2
        assert [each.day for each in store.aggregates()] == ["2024-10-04", "2024-10-05"]
        clock.now = NOON + 10 * DAY
        store.retain()
        assert len(store.aggregates()) == 3
        clock.now += DAY
        store.retain()
        assert [each.day for each in store.aggregates()] == ["2024-10-05", "2024-10-06"]
    with closing(opened(path, aggregate_days=1)) as store:  # a log that drops no decisions any more
        store.retain()
        assert store.aggregates() == []


def test_the_size_is_bounded_by_the_file(path: Path, clock: Clock) -> None:
    with closing(opened(path, max_gb=0.0005)) as store:
        for number in range(20):
            decisions = [Decision(f"{number}/{row}", POOL.names[0], 1.0, Preference()) for row in range(100)]
            store.add_decisions(Records(decisions, make_request(make_dataset(100))))
            store.retain()
        assert len(store.partitions()) > 8
        assert store.health()["size_bytes"] <= 500_000
        assert store.health()["start"] > 0
    assert path.stat().st_size <= 500_000  # what was dropped went back to the disk


def test_a_limit_that_learned_states_fill_is_warned_of_once(path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with closing(opened(path, max_gb=0.0005)) as store:
        decide(store, "a")
        assert store.health()["needed_gb"] == 0
        store.put_snapshot("router", Snapshot(1, bytes(1_000_000)))
        clock.now += DAY
        decide(store, "b")
        store.put_snapshot("router", Snapshot(2, bytes(1_000_000)))
        assert [store.retain(), store.retain()] == [1, 0]
        needed = store.health()["needed_gb"]
        assert len(caplog.messages) == 1
        assert (
            f"more than its max_gb of 0.0005: all earlier decisions are dropped as soon as their partition ends. Set max_gb to at least {needed:g}"
            in caplog.text
        )
    with closing(opened(path, max_gb=needed)) as store:
        clock.now += DAY
        decide(store, "c")
        assert (store.retain(), store.health()["needed_gb"]) == (0, 0)


def test_a_clock_that_was_set_is_told_from_time_that_passed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(opened(path, days=2)) as store:
        assert not store._clock_was_set()
    now = {"wall": NOON, "steady": 50.0}
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", 7, raising=False)
    monkeypatch.setattr(time, "time", lambda: now["wall"])
    monkeypatch.setattr(time, "clock_gettime", lambda _: now["steady"])
    with closing(opened(path, days=2)) as store:
        for wall, steady, was_set in ((0, 0, False), (400 * DAY, 400 * DAY, False), (3600, 0, False), (3700, 0, True), (-3700, 0, True)):
            now = {"wall": NOON + wall, "steady": 50.0 + steady}
            assert store._clock_was_set() is was_set


def test_a_clock_that_was_set_drops_nothing_and_warns_once(store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    decide(store, "a")
    clock.now += DAY
    decide(store, "b")
    clock.now += 1000 * DAY
    monkeypatch.setattr(partitioned_store, "clock_offset", lambda: clock.now - (NOON + DAY))
    assert [store.retain(), store.retain()] == [0, 0]
    assert caplog.text.count("the clock was set by more than an hour") == 1
    clock.now = NOON + DAY
    assert store.retain() == 0
    monkeypatch.setattr(partitioned_store, "clock_offset", lambda: 0.0)
    clock.now += 2.2 * DAY
    assert store.retain() == 1


def test_pending_feedback_does_not_expire_by_a_clock_that_was_set(store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    judge(store, "early")
    clock.now += 1000 * DAY
    monkeypatch.setattr(partitioned_store, "clock_offset", lambda: clock.now - (NOON + DAY))
    assert store.expire_pending() == 0
    monkeypatch.setattr(partitioned_store, "clock_offset", lambda: 0.0)
    assert store.expire_pending() == 1


def test_a_partition_that_began_in_the_future_is_warned_of_once(path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    clock.now += 1000 * DAY
    with closing(opened(path, days=2)) as store:
        decide(store, "a")
        store.retain()
        assert not caplog.messages
    clock.now = NOON
    with closing(opened(path, days=2)) as store:
        assert [store.retain(), store.retain()] == [0, 0]
    assert caplog.text.count("began in the future, on 2027-07-01: the clock was ahead then, or is behind now") == 1


def test_a_backup_of_before_a_forget_brings_nobody_back(store: SqliteStore, path: Path, clock: Clock) -> None:
    decide(store, "a", "b", user="ann")
    backup = store.batch().rows
    clock.now += DAY
    decide(store, "c")
    clock.now += 2.2 * DAY
    store.retain()
    store.forget("ann")
    store.add([(row,) for row in backup])
    clock.now += 1
    decide(store, "d", user="ann")  # who comes back later is a new user
    assert [store.record(name).query.user for name in "abd"] == [None, None, "ann"]
    assert store.record("a").fingerprint == ""
    for file in path.parent.iterdir():
        assert file.read_bytes().count(b"ann") <= 2  # the new user's entry: in the row and in the index


KILLED = """
import os, signal, sys, time
from aamc_sdk.log import Retention, SqliteOptions, SqliteStore
from aamc_sdk.log.sqlite import partitions, states, store as sqlite_store
from aamc_sdk.log.retention import partitioned_store
now, step = float(sys.argv[2]), sys.argv[3]
time.time = lambda: now
partitioned_store.clock_offset = lambda: 0.0
sqlite_store.DROPPED_AT_ONCE = 2

def dies(owner, name, calls=1, after=True):
    method, count = getattr(owner, name), [0]
    def dying(*arguments, **named):
        count[0] += 1
        if not after and count[0] == calls:
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(*arguments, **named)
        if after and count[0] == calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, name, dying)

store = SqliteStore("sqlite:" + sys.argv[1], SqliteOptions(retention=Retention(days=2)))
{
    "before aggregates": lambda: dies(partitions.Partitions, "_add_aggregates", after=False),
    "after aggregates": lambda: dies(partitions.Partitions, "_add_aggregates"),
    "after floors": lambda: dies(states.States, "raise_floors"),
    "before the first commit": lambda: dies(partitions.Partitions, "drop"),
    "between two transactions": lambda: dies(partitions.Partitions, "drop", calls=2, after=False),
    "before the last commit": lambda: dies(partitions.Partitions, "drop", calls=3),
    "before the vacuum": lambda: dies(sqlite_store.SqliteStore, "_vacuum", after=False),
}[step]()
store.retain()
"""
STEPS = [
    "before aggregates",
    "after aggregates",
    "after floors",
    "before the first commit",
    "between two transactions",
    "before the last commit",
    "before the vacuum",
]


@pytest.mark.parametrize("step", STEPS)
def test_a_retention_that_is_killed_is_completed_by_the_next(path: Path, clock: Clock, step: str) -> None:
    with closing(opened(path, days=2)) as store:
        decide(store, *"abcde", user="ann")
        judge(store, *"abcde")
        clock.now += DAY
        decide(store, "f")
        clock.now += 2.2 * DAY
        store.put_snapshot("router", Snapshot(11, b"state", last="decision/f"))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path), str(clock.now), step], check=False)
    assert killed.returncode == -signal.SIGKILL
    with closing(opened(path, days=2)) as store:
        store.retain()
        assert ids(store) == ["f"]
        assert [(each.decisions, each.judged, each.quality) for each in store.aggregates()] == [(5, 5, 2.5)]
        assert {"start": 10, "partitions": 2, "entries": 1, "position": 11}.items() <= store.health().items()
        store.forget("ann")
        assert store.snapshot("router") == Snapshot(11, b"state", 0, "decision/f")


def fill(store: SqliteStore, clock: Clock, count: int) -> None:
    """Write decisions that are old enough to go, and a last one that stays."""
    decide(store, *map(str, range(count)))
    clock.now += DAY
    decide(store, "last")
    clock.now += 2.2 * DAY


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow; a limit on file sizes stands for the full disk: the same failed write, seen by SQLite."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_disk_that_is_full_leaves_the_log_as_it_is_until_there_is_room(path: Path, clock: Clock) -> None:
    with closing(opened(path, days=2)) as store:
        fill(store, clock, 300)
        with full_disk(), pytest.raises(StoreAwayError):
            store.retain()
        assert len(ids(store)) == 301
        assert store.aggregates() == []
        decide(store, "later")
        assert store.retain() == 300
        assert ids(store) == ["last", "later"]


def test_a_disk_that_is_full_at_the_vacuum_loses_nothing(path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    vacuum = SqliteStore._vacuum

    def without_room(*arguments: Any, **named: Any) -> None:
        with full_disk():
            vacuum(*arguments, **named)

    with closing(opened(path, days=2)) as store:
        fill(store, clock, 300)
        with monkeypatch.context() as context:
            context.setattr(SqliteStore, "_vacuum", without_room)
            with pytest.raises(StoreAwayError):
                store.retain()
        assert ids(store) == ["last"]
        assert [each.decisions for each in store.aggregates()] == [300]
        assert store.retain() == 0  # and gives the pages back
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)


def test_a_vacuum_that_was_interrupted_goes_on_with_the_next_retention(path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(opened(path, days=2)) as store:
        fill(store, clock, 500)
        with monkeypatch.context() as context:
            context.setattr(SqliteStore, "_vacuum", lambda *_, **__: None)
            assert store.retain() == 500
        assert store.retain() == 0
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
    assert path.stat().st_size < 150_000


@pytest.mark.one_python
def test_a_year_keeps_its_bound(path: Path, clock: Clock) -> None:
    """A few entries a day; benchmarks/retention.py does the year with more."""
    sizes = []
    with closing(opened(path, days=30)) as store:
        for day in range(365):
            clock.now = NOON + day * DAY
            decisions = [Decision(f"{day}/{row}", POOL.names[0], 1.0, Preference(), time=clock.now) for row in range(20)]
            store.add_decisions(Records(decisions, make_request(make_dataset(20))))
            judge(store, *(decision.id for decision in decisions))
            store.put_snapshot("router", Snapshot(int(store.health()["position"]), bytes(1000)))
            store.retain()
            sizes.append(store.health()["size_bytes"])
        assert len(store.partitions()) == 32  # of 30 days, and those that begin and end them
        assert max(sizes[40:]) < 1.1 * sizes[40] + 325 * 400  # the aggregates of a day stay
        assert sum(each.decisions for each in store.aggregates()) == (365 - 32) * 20
        assert store.health()["entries"] == 32 * 40


def test_deltas_are_a_chain_behind_the_newest_snapshot(store: SqliteStore) -> None:
    assert store.put_delta("router", StateDelta(0, 3, b"first", last="x"))
    assert not store.put_delta("router", StateDelta(0, 4, b"twice"))
    assert not store.put_delta("router", StateDelta(2, 4, b"late"))
    assert store.put_delta("router", StateDelta(3, 5, b"second"))
    assert store.deltas("router", 0, 0) == [StateDelta(0, 3, b"first", last="x"), StateDelta(3, 5, b"second")]
    assert store.deltas("router", 3, 0) == [StateDelta(3, 5, b"second")]
    assert store.deltas("router", 5, 0) == []
    assert store.deltas("router", 4, 0) is None
    assert store.deltas("router", 5, 1) is None
    assert store.deltas("other", 0, 0) == []
    store.put_snapshot("router", Snapshot(5, b"whole"))
    assert store.deltas("router", 0, 0) is None
    assert store.deltas("router", 5, 0) == []
    assert store.put_delta("router", StateDelta(5, 6, b"third"))
    assert not store.put_delta("router", StateDelta(6, 7, b"of another epoch", epoch=1))


def test_a_thread_retains_from_time_to_time(path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    monkeypatch.setattr(partitioned_store, "RETAIN_S", 0.01)
    monkeypatch.setattr(SqliteStore, "retain", lambda _: done.set())
    with closing(opened(path, days=2)):
        assert done.wait(30)
    done.clear()
    names = {thread.name for thread in threading.enumerate()}
    assert "aamc-retention" not in names
    with closing(opened(path)):
        assert "aamc-retention" not in {thread.name for thread in threading.enumerate()}
