"""A log in PostgreSQL that drops what is old: what goes, what must stay, and what a crash leaves."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import psycopg
import pytest
from aamc_stores.postgres_log.store import PostgresStore
from aamc_stores.shared_store import SharedOptions
from postgres_logs import DAY, age, begin_partition, decide, die_at_statement, ids, judge

from aamc_sdk.errors import StoreAwayError
from aamc_sdk.log import Retention
from aamc_sdk.types import Attempt, Feedback, Snapshot, StateDelta


class Log:
    """A log on a server, opened as often as wanted."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._prefix = f"t{os.urandom(8).hex()}"
        self._folder = folder
        self.opened: list[PostgresStore] = []

    def open(self, days: float | None = 2, max_gb: float | None = None) -> PostgresStore:
        spool = str(self._folder / f"spool-{os.getpid()}.db")
        options = SharedOptions(prefix=self._prefix, spool=spool, retry_s=0.1, timeout_s=20.0, retention=Retention(days=days, max_gb=max_gb))
        self.opened.append(PostgresStore(self.url, options))
        return self.opened[-1]

    def tables(self) -> list[str]:
        with psycopg.connect(self.url) as connection:
            query = "SELECT tablename FROM pg_tables WHERE tablename LIKE %s ORDER BY tablename"
            return [name for (name,) in connection.execute(query, (f"{self._prefix}\\_entries\\_%",))]


@pytest.fixture
def log(postgres_server, tmp_path: Path) -> Iterator[Log]:
    log = Log(postgres_server.url, tmp_path)
    yield log
    for store in log.opened:
        store.close()
    if log.opened:
        last = log.open()
        last.drop()
        last.close()


def three_days(log: Log, store: PostgresStore) -> None:
    """Write decisions on three days, and entries on the first day's until the end: the partitions' last positions are 7, 8 and 9."""
    decide(store, "a", "b")
    judge(store, "a")
    begin_partition(log.url, store)
    decide(store, "c")
    judge(store, "b", "c")
    store.add_attempts([Attempt("a", cost_usd=0.25)])
    begin_partition(log.url, store)
    judge(store, "late")
    decide(store, "d")


def test_a_partition_goes_whole_with_all_that_belongs_to_its_decisions(log):
    store = log.open()
    three_days(log, store)
    assert [(each.number, each.first, each.last) for each in store.partitions()] == [(0, 1, 3), (1, 4, 7), (2, 8, None)]
    assert all(each.size > 0 for each in store.partitions())
    assert len(log.tables()) == 3
    assert store.retain() == 0
    age(log.url, store, 2.5)
    assert store.retain() == 3
    assert ids(store) == ["d"]
    assert len(log.tables()) == 1
    (total,) = store.aggregates()
    assert (total.decisions, total.judged, total.quality, total.inverse_propensity, total.cost_usd) == (3, 3, 1.5, 6.0, 0.25)
    assert {"entries": 2, "position": 8, "start": 7, "partitions": 1, "pending_feedback": 1}.items() <= store.health().items()
    assert store.retain() == 0
    judge(store, "a")  # its decision is gone
    assert [feedback.decision_id for feedback in store.pending()] == ["late", "a"]
    decide(store, "e")
    assert store.experience(8).position == 9  # no position is given twice


def test_a_partition_begins_by_the_clock_of_the_server(log, monkeypatch: pytest.MonkeyPatch):
    store, now = log.open(), time.time()
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: now + 30 * 86_400)
        decide(store, "a")
    assert [abs(each.begun - now) < 3600 for each in store.partitions()] == [True]


def test_a_reader_is_told_from_where_the_log_is_whole(log):
    store = log.open()
    decide(store, "a")
    begin_partition(log.url, store)
    decide(store, "b")
    judge(store, "a", "b")
    assert [store.experience(after).follows for after in range(6)] == [
        "",
        "decision/a",
        "decision/b",
        "feedback/a/explicit",
        "feedback/b/explicit",
        "",
    ]
    age(log.url, store, 3)
    store.retain()
    found = store.experience(0, 1)
    assert (found.start, found.follows, found.position, found.last) == (3, None, 2, "decision/b")
    found = store.experience(2)
    assert (found.follows, found.position, [feedback.id for feedback in found.feedback]) == ("decision/b", 4, ["b/explicit"])
    assert store.experience(3).follows is None  # the entry at 3 is gone
    assert store.experience(4).follows == "feedback/b/explicit"
    assert store.experience(5).follows == ""  # beyond the end: another log


def test_the_last_decisions_go_although_none_follows_and_the_log_goes_on_after_them(log):
    store, other = log.open(), log.open()
    decide(store, "a", "b", when=time.time() - 4 * DAY)
    age(log.url, store, 4)
    assert (store.retain(), ids(store), [each.decisions for each in store.aggregates()]) == (2, [], [2])
    assert [(each.number, each.first, each.last) for each in store.partitions()] == [(1, 3, None)]
    assert (store.retain(), len(log.tables()), store.health()["position"], store.health()["start"]) == (0, 1, 2, 2)
    other._begin_partition(1, 0.0)  # another process that has seen the same
    decide(other, "c")
    assert (store.retain(), ids(store), [each.number for each in store.partitions()]) == (0, ["c"], [1, 2])


def test_an_old_log_that_is_upgraded_ends_with_its_last_entry(log):
    """Its newest partition has decisions of many days."""
    store = log.open()
    decide(store, "a")
    age(log.url, store, 400)
    assert (store.retain(), ids(store)) == (0, ["a"])


def test_entries_that_come_while_sums_are_taken_count_once(log, monkeypatch):
    store = log.open()
    three_days(log, store)
    age(log.url, store, 1.5)
    summed = store._partitions.summed

    def then_judge(connection, number, ended):
        found = summed(connection, number, ended)
        if number == 0:
            store.add_feedback([(Feedback(decision_id="a", quality=1.0, revision=1), None)])
        return found

    monkeypatch.setattr(store._partitions, "summed", then_judge)
    assert store.retain() == 2
    (total,) = store.aggregates()
    assert (total.decisions, total.judged, total.quality) == (2, 2, 1.0 + 0.5)  # the later revision took the place of the first
    assert store.health()["entries"] == len(ids(store)) + 1


@pytest.mark.parametrize("step", ["_reading", "_writing"])
def test_a_partition_that_another_process_drops_meanwhile_does_not_end_the_drop(log, monkeypatch, caplog, step):
    store, other = log.open(), log.open()
    three_days(log, store)
    age(log.url, store, 2.5)
    begin, drop, begun = getattr(store, step), store._drop_part, []

    def first(oldest):
        monkeypatch.setattr(store, step, wait)
        return drop(oldest)

    def wait(*args, **options):
        if not begun:
            begun.append(other._drop_part(other._oldest_to_drop()))
        return begin(*args, **options)

    monkeypatch.setattr(store, "_drop_part", first)
    caplog.set_level("INFO")
    assert store.retain() == 1
    assert (begun, ids(store)) == ([2], ["d"])
    assert "is dropped when" not in caplog.text


def test_a_partition_stays_until_all_routers_that_still_learn_have_learned_it(log):
    store = log.open()
    three_days(log, store)
    store.put_snapshot("gone", Snapshot(1, b""))
    store.put_snapshot("router", Snapshot(6, b"six"))
    age(log.url, store, 1.5)
    with psycopg.connect(log.url) as connection:
        connection.execute(f"UPDATE {store.config.prefix}_snapshots SET renewed = now() - interval '3 days' WHERE name = 'gone'")
    assert store.retain() == 0
    store.put_delta("router", StateDelta(6, 8, b"delta"))
    assert store.retain() == 0  # a delta leads on only from a snapshot that a user's erasure removes
    store.put_snapshot("router", Snapshot(8, b"eight"))
    assert store.retain() == 2
    assert store.forget("nobody") == 0
    assert store.snapshot("router") == Snapshot(8, b"eight")  # the floor
    assert store.snapshot("gone") is None
    assert store.health()["floors_to_clean"] == 1
    store.put_snapshot("router", Snapshot(8, b"of a past epoch"))
    assert store.snapshot("router").content == b"eight"
    store.put_snapshot("router", Snapshot(8, b"cleaned", 1))
    assert store.snapshot("router") == Snapshot(8, b"cleaned", 1)
    assert store.health()["floors_to_clean"] == 0
    store.put_snapshot("router", Snapshot(9, b"nine", 1))
    store.forget("nobody else")
    assert store.snapshot("router") == Snapshot(8, b"cleaned", 1)


def test_a_partition_stays_until_a_router_without_a_floor_has_learned_again_after_a_forget(log):
    store = log.open()
    three_days(log, store)
    store.put_snapshot("router", Snapshot(8, b"state"))
    store.forget("nobody")
    age(log.url, store, 1.5)
    assert (store.snapshot("router"), store.health()["snapshots"], store.health()["floors_to_clean"]) == (None, 0, 0)
    assert store.retain() == 0
    store.put_snapshot("router", Snapshot(0, b"as it begins", 1))
    assert store.retain() == 0
    store.put_snapshot("router", Snapshot(8, b"learned again", 1))
    assert store.retain() == 2
    store.forget("somebody else")
    assert store.snapshot("router") == Snapshot(8, b"learned again", 1)


def test_the_floor_of_a_retired_router_goes_with_a_forgotten_user(log):
    store = log.open()
    three_days(log, store)
    for name in ("retired", "serving"):
        store.put_snapshot(name, Snapshot(8, b"state"))
    age(log.url, store, 1.5)
    assert store.retain() == 2
    with psycopg.connect(log.url) as connection:
        connection.execute(f"UPDATE {store.config.prefix}_snapshots SET renewed = now() - interval '3 days' WHERE name = 'retired'")
    store.retain()
    assert store.snapshot("retired") is not None  # nobody in it was forgotten
    store.forget("nobody")
    assert (store.snapshot("retired"), store.snapshot("serving")) == (None, Snapshot(8, b"state"))
    assert store.health()["floors_to_clean"] == 1


def test_sums_go_when_they_are_older_than_their_limit(log):
    store = log.open()
    three_days(log, store)
    age(log.url, store, 1.5)
    assert store.retain() == 2
    (kept,) = store.aggregates()
    with psycopg.connect(log.url) as connection:
        old = {"key": json.dumps(["2024-10-04", None, "x"]), "content": json.dumps({"day": "2024-10-04", "tenant": None, "candidate": "x"})}
        connection.execute(f"INSERT INTO {store.config.prefix}_aggregates VALUES (%(key)s, %(content)s)", old)
    store.retain()
    assert len(store.aggregates()) == 2
    limited = attrs.evolve(store.config, retention=Retention(aggregate_days=10))
    log.opened.append(PostgresStore(log.url, limited))
    log.opened[-1].retain()
    assert store.aggregates() == [kept]


def test_a_log_beyond_its_size_loses_its_oldest_partitions(log, monkeypatch):
    store = log.open(days=None, max_gb=0.0002)
    for n in range(40):
        decide(store, *(f"d{n}-{k}" for k in range(20)))
    partitions = len(store.partitions())
    assert partitions > 1
    assert store.retain() > 0
    assert store.health()["size_bytes"] <= 200_000 or len(store.partitions()) == 1
    assert ids(store)[-1] == "d39-19"


def test_a_partition_begins_while_somebody_reads(log):
    store = log.open()
    decide(store, "a")
    with psycopg.connect(log.url) as reader:
        reader.execute(f"SELECT count(*) FROM {store.config.prefix}_entries")  # and stays in its transaction
        begin_partition(log.url, store)
        decide(store, "b")
        assert store._spool.first(1) == []
    assert len(store.partitions()) == 2


def test_a_drop_that_has_to_wait_for_a_reader_is_tried_again(log):
    store = log.open()
    three_days(log, store)
    age(log.url, store, 1.5)
    with psycopg.connect(log.url) as reader:
        reader.execute(f"SELECT count(*) FROM {store.config.prefix}_entries")
        with pytest.raises(StoreAwayError, match="another transaction holds its lock"):
            store.retain()
        judge(store, "d")
        assert len(ids(store)) == 9
    assert store.retain() == 2


def _retain_and_die(log: Log, step: int) -> None:
    """Drop partitions, and die of a kill at the n-th statement."""
    store = log.open()
    die_at_statement(step)
    store.retain()
    os._exit(0)


@pytest.mark.one_python
def test_a_kill_at_any_step_of_a_drop_leaves_a_log_that_a_repetition_completes(log):
    store = log.open()
    three_days(log, store)
    store.put_snapshot("router", Snapshot(8, b"eight"))
    age(log.url, store, 1.5)
    context = multiprocessing.get_context("fork")
    step, ended, states = 0, -signal.SIGKILL, set()
    while ended == -signal.SIGKILL:
        child = context.Process(target=_retain_and_die, args=(log, step))
        child.start()
        child.join(60)
        ended, step = child.exitcode, step + 1
        partitions, sums = [each.number for each in store.partitions()], sum(each.decisions for each in store.aggregates())
        assert (partitions, sums, store.health()["start"]) in [([0, 1, 2], 0, 0), ([1, 2], 2, 7)]
        states.add(tuple(partitions))
    assert ended == 0
    assert step > 15
    assert states == {(0, 1, 2), (1, 2)}
    assert ids(store) == ["c", "c/explicit", "d"]
    store.forget("nobody")
    assert store.snapshot("router").content == b"eight"


def test_traffic_of_several_processes_goes_on_while_partitions_come_and_go(log):
    stores = [log.open(), log.open()]
    for n in range(8):
        decide(stores[n % 2], f"d{n}")
        judge(stores[(n + 1) % 2], f"d{n}")
        begin_partition(log.url, stores[0])
        age(log.url, stores[0], 0.9)
        stores[n % 2].retain()
    found = ids(stores[1])
    kept = [each.first for each in stores[0].partitions()]
    assert sum(each.decisions for each in stores[0].aggregates()) + len(kept) == 8
    assert found == [name for n in range(8 - len(kept), 8) for name in (f"d{n}", f"d{n}/explicit")]


def test_a_store_that_is_closed_does_not_wait_for_the_sums_of_a_large_partition(log):
    store = log.open()
    three_days(log, store)
    age(log.url, store, 2.5)
    store._ending.set()
    assert store.retain() == 0
    assert len(store.partitions()) == 3
