"""The log on a Redis server: its stream, the journal, partitions and retention, what routers learned, and logs of version 2."""

from __future__ import annotations

import itertools
import json
import logging
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress

import attrs
import msgspec
import pytest
import redis
from aamc_stores.redis_log import leases as redis_leases
from aamc_stores.redis_log import migration as redis_migration
from aamc_stores.redis_log import partitions as redis_partitions
from aamc_stores.redis_log.scripts import MOVE
from aamc_stores.redis_log.server import RedisServer
from aamc_stores.redis_log.store import RedisStore
from redis.connection import AbstractConnection
from waiting import wait_until

from aamc_sdk.errors import ConfigError, StoreAwayError, StoreError
from aamc_sdk.log import ExportedFile, combined, open_store, row_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Attempt, Decision, Feedback, Preference, Query, Records, Snapshot, StateDelta

CHOSEN, OTHER = POOL.names[0], POOL.names[1]
SMALL = {"retention": {"max_gb": 2e-5}}
"""A limit of 20 KB, so that a partition ends beyond 1.25 KB."""


@pytest.fixture
def server(redis_server):
    """The server of the fixture ``log``: Redis alone."""
    return redis_server


def records(*names, user="ann", when=None):
    request = make_request(make_dataset(len(names)))
    asked = attrs.evolve(request, queries=[Query("Hi", user=user, session="s")] * len(names))
    made = {} if when is None else {"time": when}
    decisions = [Decision(name, CHOSEN, 0.5, Preference(), {CHOSEN: 0.5, OTHER: 0.5}, router="tiny", **made) for name in names]
    return Records(decisions, asked)


def add(store, *names, user="ann"):
    """Log decisions, one in a group, each with feedback and its figures."""
    for name in names:
        store.add_decisions(records(name, user=user))
        store.add_feedback([(Feedback(decision_id=name, quality=1.0), Attempt(name, cost_usd=0.25))])


def everything(store):
    """Return all decisions and feedback in log order."""
    after, found, learned = 0, [], []
    while (part := store.experience(after, 7)).position > after:
        after = part.position
        found += [decision.id for decision in part.decisions[len(part.decisions) - part.made :]]
        learned += [feedback.id for feedback in part.feedback]
    return found, learned


def keys(store):
    return {key.decode().partition(":")[2] for key in store._server.client.scan_iter(f"{store.config.prefix}:*")}


def decided(store):
    """Return the decisions that are in the log or in the aggregates."""
    return len(everything(store)[0]) + sum(each.decisions for each in store.aggregates())


def judged(store):
    return len(everything(store)[1]) + sum(each.judged for each in store.aggregates())


# The journal


def _log_file(server):
    (file,) = (server.folder / "appendonlydir").glob("*.incr.aof")
    return file


@pytest.mark.parametrize("last_word", [b"d/three", b"d/two", b"journal"])
def test_entries_of_a_transaction_that_a_killed_redis_kept_half_of_count_once(server, tmp_path, last_word):
    """Redis leaves the half in its append-only file, and runs it with the next transaction when it starts the second time."""
    prefix = f"t{uuid.uuid4().hex[:16]}"
    store = open_store(server.url, get_plugin_manager(), {"prefix": prefix, "spool": str(tmp_path / "spool.db"), "retry_s": 0.1})
    store.add_decisions(records("d"))
    begin = _log_file(server).stat().st_size
    feedback = [(Feedback(decision_id="d", quality=1.0, source=name), None) for name in ("one", "two", "three")]
    store.add_feedback(feedback)
    server.kill()
    content = _log_file(server).read_bytes()
    cut = content.rindex(last_word) if last_word != b"journal" else content.index(last_word, begin) + 40
    _log_file(server).write_bytes(content[:cut])  # as if the server had been killed before it acknowledged
    server.start()
    wait_until(lambda: store.health()["away"] == 0)
    new = store.add_feedback(feedback)  # as the spool delivers them
    assert new == [last_word == b"journal"] * 3  # the journal was whole, or not there
    server.kill()
    server.start()
    wait_until(lambda: store.health()["away"] == 0)
    store.add_feedback([(Feedback(decision_id="d", quality=1.0, source="four"), None)])
    assert everything(store) == (["d"], ["d/one", "d/two", "d/three", "d/four"])
    assert store.health()["position"] == 5
    store.drop()
    store.close()


def commit_without_applying(store, monkeypatch):
    monkeypatch.setattr(store._server, "_run_and_apply", lambda script, arguments, ahead: store._server._run(script, arguments))


def commit_alone(store, monkeypatch):
    """Add a decision, and feedback whose group is committed and not applied, so that its journal stays."""
    store.add_decisions(records("d"))
    commit_without_applying(store, monkeypatch)
    store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])


def test_a_group_that_was_committed_and_not_applied_is_finished_by_the_next_reader(log, monkeypatch):
    store = log()
    commit_alone(store, monkeypatch)
    assert "journal" in keys(store)
    assert everything(log()) == (["d"], ["d/explicit"])
    assert "journal" not in keys(store)


@pytest.fixture
def acknowledged(log, monkeypatch):
    """Return a log and the names of many decisions that are acknowledged, and whose journal is not applied yet."""
    store, names = log(), [f"d{number:03}" for number in range(200)]
    commit_without_applying(store, monkeypatch)
    store.add_decisions(records(*names))
    assert "journal" in keys(store)
    return store, names


def test_many_entries_that_are_acknowledged_and_not_applied_are_forgotten_with_their_user(acknowledged, log):
    assert log().forget("ann") == len(acknowledged[1])


def test_many_entries_that_are_acknowledged_and_not_applied_survive_a_kill(acknowledged, server):
    store, names = acknowledged
    server.kill()
    server.start()
    wait_until(lambda: store.health()["away"] == 0)
    assert everything(store) == (names, [])


def test_a_process_sees_its_own_many_entries_applied(log):
    store, names = log(), [f"d{number:03}" for number in range(500)]
    store.add_decisions(records(*names))
    assert len(store._server.names("user:ann")) == len(names)
    assert "journal" not in keys(store)
    store.add_feedback([(Feedback(decision_id=name, quality=1.0), None) for name in names])
    assert store.health()["entries"] == 2 * len(names)
    assert "journal" not in keys(store)


def test_a_journal_that_an_earlier_program_left_is_finished(log, monkeypatch):
    store = log()
    commit_alone(store, monkeypatch)
    journal = f"{store.config.prefix}:journal"
    ops = msgspec.msgpack.decode(store._server.client.hget(journal, "ops"), type=list[list[msgspec.Raw]])
    earlier = []
    for kind, *values in ops:
        if kind == msgspec.msgpack.encode(5):
            _, field, value, write = values
            key, place = f"{store.config.prefix}:decision:d", "d\0f/explicit"
            earlier.append([1, 1, key, field, value, place, write])
        else:
            earlier.append([kind, *values])
    store._server.client.hset(journal, "ops", msgspec.msgpack.encode(earlier))
    assert everything(log()) == (["d"], ["d/explicit"])
    assert store._server.client.hget(f"{store.config.prefix}:decision:d", "p")[:8] == (2).to_bytes(8, "big")


def test_a_group_that_another_writer_overtook_is_computed_again(log, monkeypatch):
    store, other = log(), log()
    store.add_decisions(records("d"))
    commit, overtaken = store._server.commit, []

    def late(*arguments, **options):
        if not overtaken:
            overtaken.append(other.add_attempts([Attempt("d", cost_usd=1.0)]))
        return commit(*arguments, **options)

    monkeypatch.setattr(store._server, "commit", late)
    assert store.add_attempts([Attempt("d", cost_usd=2.0)]) == [1]
    assert [(call.n, call.cost_usd) for call in store.experience().attempts] == [(0, 1.0), (1, 2.0)]


@pytest.mark.parametrize("candidate", [None, CHOSEN], ids=["on the server", "by the rules"])
def test_one_id_of_feedback_on_two_decisions_is_refused_in_whichever_order_two_replicas_write(log, monkeypatch, candidate):
    store, other = log(), log()
    store.add_decisions(records("k", "z"))
    first = Feedback(decision_id="k", quality=1.0, source="e", candidate=candidate)
    second = Feedback(decision_id="z", quality=0.5, id="k/e")
    write, overtaken = store._server.write, []

    def late(*arguments, **options):
        if not overtaken:
            overtaken.append(other.add_feedback([(second, None)]))
        return write(*arguments, **options)

    monkeypatch.setattr(store._server, "write", late)
    with pytest.raises(StoreError, match="'k/e' is in the log with other content"):
        store.add_feedback([(first, None)])
    assert [feedback.decision_id for feedback in store.experience().feedback] == ["z"]
    store.add_feedback([(Feedback(decision_id="k", quality=1.0, source="own"), None)])
    with pytest.raises(StoreError, match="'k/own' is in the log with other content"):
        other.add_feedback([(Feedback(decision_id="z", quality=0.5, id="k/own"), None)])


def test_another_process_reads_templates_that_it_has_not_seen_and_those_of_a_log_that_was_emptied(log):
    store, reader = log(), log()
    for name in "abc":
        store.add_decisions(records(name))
        assert reader.record(name).decision.id == name
    store.drop()
    store.add_decisions(Records([Decision("new", CHOSEN, 0.5, Preference(), router="another")], make_request(make_dataset(1))))
    assert reader.record("new").decision.router == "another"
    assert [decision.router for decision in reader.experience().decisions] == ["another"]


def test_a_log_that_comes_back_empty_is_an_error_in_the_log_once(log, caplog):
    store = log()
    store.add_decisions(records("a"))
    assert len(everything(store)[0]) == 1
    store._server.client.flushdb()
    assert [everything(store), everything(store)] == [([], []), ([], [])]
    assert caplog.text.count("is empty or another one now: its server came back without its data") == 1
    store.add_decisions(records("b"))
    assert everything(store) == (["b"], [])
    assert caplog.text.count("is empty or another one now") == 1


# Memory and retention


def test_the_log_is_divided_and_what_nobody_holds_back_is_dropped(log):
    store = log(**SMALL)
    names = [f"d{n}" for n in range(60)]
    add(store, *names)
    partitions = store.partitions()
    assert [each.number for each in partitions] == list(range(len(partitions)))
    assert [each.last + 1 for each in partitions[:-1]] == [each.first for each in partitions[1:]]
    assert len(partitions) > 10
    dropped = store.retain()
    assert 0 < dropped < 60
    assert store.partitions()[0].first == store.health()["start"] + 1
    assert store.health()["size_bytes"] <= 20_000
    (total,) = combined(attrs.evolve(each, day="") for each in store.aggregates())
    expected = {"decisions": dropped, "judged": dropped, "quality": dropped, "costs": dropped, "cost_usd": 0.25 * dropped}
    assert {name: getattr(total, name) for name in expected} == expected
    assert total.inverse_propensity == 2.0 * dropped
    assert everything(store) == (names[dropped:], [f"{name}/explicit" for name in names[dropped:]])
    found = store.experience()
    assert (found.start, found.follows) == (store.health()["start"], None)
    assert store.experience(found.start).follows is None
    kept = {key.partition(":")[2] for key in keys(store) if key.startswith("decision:")}
    assert kept == set(names[dropped:])
    assert store._server.client.scard(f"{store.config.prefix}:user:ann") == 60 - dropped
    assert store.health()["entries"] == store._server.client.xlen(f"{store.config.prefix}:stream") == 3 * (60 - dropped)
    assert store.retain() == 0
    assert log().experience(found.start).decisions[0].id == names[dropped]


def test_the_last_decisions_go_although_none_follows_and_the_log_goes_on_after_them(log):
    store, other = log(retention={"days": 2.0}), log(retention={"days": 2.0})
    long_ago = time.time() - 4 * 86_400
    store.add_decisions(records("a", "b", when=long_ago))
    assert store.retain() == 0
    store._server.client.hset(f"{store.config.prefix}:partitions", "0", (1).to_bytes(8, "big") + repr(long_ago).encode())
    assert (store.retain(), everything(store), [each.decisions for each in store.aggregates()]) == (2, ([], []), [2])
    assert [(each.number, each.first, each.last) for each in store.partitions()] == [(1, 3, None)]
    assert (store.retain(), store.health()["position"], store.health()["start"]) == (0, 2, 2)
    other._begin_partition(1, 0.0)  # another process that has seen the same
    other.add_decisions(records("c"))
    assert (store.retain(), everything(store), [each.number for each in store.partitions()]) == (0, (["c"], []), [1, 2])
    assert store.experience(2).position == 3


def test_feedback_of_any_id_and_revision_goes_with_its_decision_and_later_places_are_skipped(log, monkeypatch):
    monkeypatch.setattr(redis_partitions, "DROPPED_AT_ONCE", 4)
    store = log(**SMALL)
    add(store, "old")
    add(store, *(f"d{n}" for n in range(40)))
    store.add_feedback([(Feedback(decision_id="old", quality=0.5, revision=3), None), (Feedback(decision_id="old", quality=0.5, id="thumb"), None)])
    assert "feedback:thumb" in keys(store)
    store.retain()
    assert not {key for key in keys(store) if "old" in key or "thumb" in key}
    assert "old/explicit" not in everything(store)[1]
    assert len(everything(store)[0]) + sum(each.decisions for each in store.aggregates()) == 41
    store.add_decisions(records("old"))  # a new one of that id
    assert everything(store)[0][-1] == "old"
    store.add_feedback([(Feedback(decision_id="old", quality=0.25), None)])
    assert everything(store)[1].count("old/explicit") == 1


def test_late_feedback_on_a_dropped_decision_begins_no_drop_of_the_partitions_that_it_came_in(log):
    store = log(**SMALL)
    add(store, "old", *(f"d{n}" for n in range(40)))
    store.add_feedback([(Feedback(decision_id="old", quality=0.5, source="late"), None)])
    late = store.position()
    store.retain()
    assert store.health()["start"] == late
    assert store.experience(late - 1).start == late  # a reader there has missed it
    assert log(retention={"days": 1000.0}).retain() == 0


def test_a_router_that_still_learns_holds_back_what_it_has_not_learned(log):
    store = log(**SMALL)
    add(store, *(f"d{n}" for n in range(60)))
    store.put_snapshot("router", Snapshot(1, b"state", last="decision/d0"))
    assert store.retain() == 0
    end = store.experience(0, 10_000).position
    store.put_snapshot("router", Snapshot(end, b"newer", last="attempt/x"))
    assert store.retain() > 0
    start = store.health()["start"]
    store.add_feedback([(Feedback(decision_id=everything(store)[0][0], quality=0.5, source="late"), None)])  # its decision's latest entry
    add(store, *(f"e{n}" for n in range(60)))
    assert store.retain() == 0
    assert store.health()["start"] == start
    assert store.snapshot("router").content == b"newer"


def test_a_partition_stays_until_a_router_without_a_floor_has_learned_again_after_a_forget(log):
    store = log(**SMALL)
    add(store, *(f"d{n}" for n in range(60)))
    end = store.experience(0, 10_000).position
    store.put_snapshot("router", Snapshot(end, b"state", last="x"))
    store.forget("nobody")
    assert (store.snapshot("router"), store.health()["snapshots"], store.health()["floors_to_clean"]) == (None, 0, 0)
    assert not [name for name in keys(store) if name.startswith("state:")]
    assert store.retain() == 0
    store.put_snapshot("router", Snapshot(0, b"as it begins", 1))
    assert store.retain() == 0
    store.put_snapshot("router", Snapshot(end, b"learned again", 1, "x"))
    assert store.retain() > 0
    store.forget("somebody else")
    assert store.snapshot("router") == Snapshot(end, b"learned again", 1, "x")


def test_the_floor_of_a_retired_router_goes_with_a_forgotten_user(log, server):
    store = log(**SMALL)
    add(store, *(f"d{n}" for n in range(60)))
    end = store.experience(0, 10_000).position
    for name in ("retired", "serving"):
        store.put_snapshot(name, Snapshot(end, b"state", last="x"))
    assert store.retain() > 0
    states = store._states.read("floors")
    old = attrs.evolve(states["retired"], renewed=states["retired"].renewed - 8 * 24 * 3600)
    key = store._server.key
    store._server.client.hset(key("floors"), "retired", old.text)
    store._server.client.hset(key("snapshots"), "retired", old.text)
    store.retain()
    assert store.snapshot("retired") is not None  # nobody in it was forgotten
    store.forget("nobody")
    assert (store.snapshot("retired"), store.snapshot("serving").content) == (None, b"state")
    assert store.health()["floors_to_clean"] == 1
    assert len([name for name in keys(store) if name.startswith("state:")]) == 1  # no content is left behind


def test_sums_go_when_they_are_older_than_their_limit(log):
    store = log(**SMALL)
    add(store, *(f"d{n}" for n in range(60)))
    assert store.retain() > 0
    kept = store.aggregates()
    old = [json.dumps(["1960-10-04", None, "x"]), json.dumps({"day": "1960-10-04", "tenant": None, "candidate": "x"})]
    store._server.client.hset(store._server.key("aggregates"), *old)
    store.retain()
    assert len(store.aggregates()) == len(kept) + 1
    log(retention={"aggregate_days": 22_000.0}).retain()  # these decisions were made in 1970
    assert store.aggregates() == kept


def test_what_a_router_learned_of_dropped_decisions_outlives_a_forgotten_user(log):
    store = log(**SMALL)
    add(store, *(f"d{n}" for n in range(60)))
    end = store.experience(0, 10_000).position
    store.put_snapshot("router", Snapshot(end, b"with ann", last="x"))
    store.put_snapshot("stranger", Snapshot(end, b"too", last="x"))
    dropped = store.retain()
    assert dropped > 0
    store.put_snapshot("router", Snapshot(end + 1, b"later", last="y"))
    assert store.put_delta("router", StateDelta(end + 1, end + 2, b"change"))
    assert store.forget("ann") == 60 - dropped
    assert store.health()["floors_to_clean"] == 2
    floor = store.snapshot("router")
    assert floor == Snapshot(end, b"with ann", 0, "x")
    assert store.deltas("router", end, 0) is None
    store.put_snapshot("router", Snapshot(end, b"without ann", 1, "x"))
    assert log().snapshot("router") == Snapshot(end, b"without ann", 1, "x")
    assert store.health()["floors_to_clean"] == 1
    contents = [key for key in keys(store) if key.startswith("state:")]
    assert len(contents) == 2  # no content is left behind


def test_who_was_forgotten_stays_forgotten_in_what_comes_late_and_may_come_back(log):
    store, other = log(), log()
    add(other, "before", user="bob")
    before = time.time() - 60
    store.forget("ann")
    other.add_decisions(records("late", when=before))
    assert other.record("late").query.user is None
    other.add_decisions(records("back", when=time.time() + 60))
    assert other.record("back").query.user == "ann"
    assert store.forget("ann") == 1
    other.add_decisions(records("later", when=before))
    assert store.record("later").query.user is None


# Processes and servers that die

WRITER = """
import sys
from aamc_sdk.log.store_urls import open_store
from aamc_sdk.plugins import get_plugin_manager
sys.path.insert(0, sys.argv[1])
from test_redis_store import records, add
url, prefix, spool, me, count = sys.argv[2:]
store = open_store(url, get_plugin_manager(), {"prefix": prefix, "spool": spool, "retention": {"max_gb": 2e-5}})
print("ready", flush=True)
for n in range(int(count)):
    add(store, f"{me}-{n}")
    print(n, flush=True)
    store.retain()
store.close()
"""


def _writer(request, server, prefix, tmp_path, me, count):
    command = [sys.executable, "-c", WRITER, str(request.path.parent), server.url, prefix, str(tmp_path / f"{me}.db"), me, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_several_processes_write_and_drop(log, server, tmp_path, request):
    store = log(**SMALL)
    processes = [_writer(request, server, store.config.prefix, tmp_path, str(me), 40) for me in range(3)]
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0] * 3
    assert (decided(store), judged(store)) == (120, 120)
    assert store.health()["start"] > 0


@pytest.mark.one_python
def test_processes_are_killed_while_they_write_and_drop(log, server, tmp_path, request):
    store = log(**SMALL)
    acknowledged = 0
    for me in range(4):
        process = _writer(request, server, store.config.prefix, tmp_path, str(me), 1000)
        lines = iter(process.stdout.readline, "")
        assert next(lines) == "ready\n"
        done = [next(lines) for _ in range(15 + 7 * me)]
        process.kill()
        rest = process.communicate(timeout=60)[0].splitlines()
        acknowledged += len(done) + len(rest)
    store.retain()
    assert acknowledged <= judged(store) <= decided(store) <= acknowledged + 4
    assert not [key for key in keys(store) if key == "journal"]


@pytest.mark.one_python
def test_redis_is_killed_under_traffic_with_retention(log, server):
    store = log(**SMALL, timeout_s=5.0)
    stop, given = threading.Event(), [0] * 4

    def traffic(me):
        while not stop.is_set():
            add(store, f"{me}-{given[me]}")
            given[me] += 1

    def retain():
        while not stop.is_set():
            with suppress(StoreError):
                store.retain()

    threads = [threading.Thread(target=traffic, args=(me,)) for me in range(4)] + [threading.Thread(target=retain)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        done = sum(given)
        wait_until(lambda done=done: sum(given) > done + 20)
        server.kill()
        server.start()
    stop.set()
    for thread in threads:
        thread.join(60)
    wait_until(lambda: not store._spool.first(1))
    store.retain()
    assert (decided(store), judged(store)) == (sum(given), sum(given))
    assert store.health()["start"] > 0


_REFUSALS = {
    "without its primary": (
        ["CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"],
        ["REPLICAOF NO ONE", "CONFIG SET replica-serve-stale-data yes"],
    ),
    "without the right to run scripts": (["ACL SETUSER default -evalsha -eval"], ["ACL SETUSER default +@all"]),
    "without a right of the scripts": (["ACL SETUSER default -hset"], ["ACL SETUSER default +@all"]),
}


@pytest.mark.parametrize("refusal", _REFUSALS)
def test_a_server_that_refuses_everything_for_now_gets_the_entries_later(log, server, refusal):
    store = log()
    begun, ended = _REFUSALS[refusal]
    with redis.Redis.from_url(server.url) as admin:
        for command in begun:
            admin.execute_command(command)
        try:
            store.add_decisions(records("d"))
            store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])
            with pytest.raises(StoreAwayError):
                store.flush()
            assert store.health()["refused"] == 0
        finally:
            for command in ended:
                admin.execute_command(command)
    wait_until(lambda: store.health()["away"] == 0)
    assert store.health().items() >= {"spooled": 0, "refused": 0, "position": 2}.items()


def test_a_full_memory_takes_no_writes_and_retention_makes_room(log, server):
    store = log(retention={"max_gb": 1e-3})
    with redis.Redis.from_url(server.url) as admin:
        for n in range(30):
            store.add_decisions(records(*(f"{n}-{k}" for k in range(100))))
        assert len(store.partitions()) > 16
        used = admin.info("memory")["used_memory"]
        admin.config_set("maxmemory", used)
        try:
            store.add_decisions(records("waits"))
            assert [row.id for _, (row,) in store._spool.first(9)] == ["waits"]
            dropped = store.retain()
            assert dropped > 0
            admin.config_set("maxmemory", used)  # the limit is looked at anew
            wait_until(lambda: not store._spool.first(1))
        finally:
            admin.config_set("maxmemory", 0)
    wait_until(lambda: not store._spool.first(1))
    assert decided(store) == 3001
    assert "waits" in everything(store)[0]


# What routers learned


def test_deltas_lead_on_from_a_snapshot_and_are_kept_once(log):
    store, other = log(), log()
    store.add_decisions(records(*"abcdef"))
    store.put_snapshot("router", Snapshot(1, b"one"))
    first, second = StateDelta(1, 3, b"\xff two", last="decision/c"), StateDelta(3, 5, b"three")
    assert store.put_delta("router", first)
    assert not other.put_delta("router", first)  # it arrives twice
    assert not other.put_delta("router", StateDelta(1, 4, b"of another who believes to be elected"))
    assert other.put_delta("router", second)
    assert store.deltas("router", 1, 0) == [first, second]
    assert list(store.deltas("router", 3, 0)) == [second]
    assert list(store.deltas("router", 5, 0)) == []
    assert store.deltas("router", 2, 0) is None
    assert store.deltas("router", 1, 1) is None
    store.put_snapshot("router", Snapshot(3, b"two"))
    assert store.deltas("router", 1, 0) is None
    assert list(store.deltas("router", 3, 0)) == [second]
    store.put_snapshot("router", Snapshot(5, b"three"))
    assert list(store.deltas("router", 5, 0)) == []
    assert store.put_delta("router", StateDelta(5, 6, b"four"))
    store.forget("ann")
    assert not store.put_delta("router", StateDelta(6, 7, b"late"))  # of a past epoch
    assert "deltas:router" not in keys(store)
    assert store.put_delta("new", StateDelta(0, 2, b"first", epoch=1))


def test_two_who_believe_to_be_elected_publish_one_chain(log):
    stores = [log(), log()]
    barrier, kept = threading.Barrier(2), [[], []]

    def publish(me):
        barrier.wait()
        position = 0
        while position < 60:
            state = stores[me].deltas("router", position, 0)
            if state:
                position = state[-1].position
            elif stores[me].put_delta("router", StateDelta(position, position + 1, str(me).encode())):
                position += 1
                kept[me].append(position)

    threads = [threading.Thread(target=publish, args=(me,)) for me in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    chain = stores[0].deltas("router", 0, 0)
    assert [(delta.after, delta.position) for delta in chain] == [(n, n + 1) for n in range(60)]
    assert sorted(kept[0] + kept[1]) == list(range(1, 61))
    assert [delta.position for delta in chain if delta.content == b"1"] == kept[1]


def test_one_process_learns_and_another_takes_over(log, monkeypatch):
    first, second = log(), log()
    assert RedisStore.shares_learning
    assert first.is_learner("router")
    assert not second.is_learner("router")
    assert second.is_learner("another router")
    assert first.health()["is_learner"] == 1
    first.close()
    assert second.is_learner("router")  # at once
    lease = f"{second.config.prefix}:lease:router"
    assert 0 < second._server.client.pttl(lease) <= 1000 * redis_leases.LEASE_S
    third = log()
    second._server.client.delete(lease)  # it ended while its holder was suspended
    assert third.is_learner("router")
    monkeypatch.setattr(redis_leases, "_RENEWALS", float("inf"))  # the holder asks the server now
    assert not second.is_learner("router")


def test_a_lease_whose_answer_was_lost_is_held_by_the_process_that_took_it(log, monkeypatch):
    store = log()
    read, lost = AbstractConnection.read_response, list[object]()

    def lose_the_first_success(connection, *arguments, **options):
        answer = read(connection, *arguments, **options)
        if not lost and answer in (b"OK", "OK", True):
            lost.append(answer)
            connection.disconnect()
            raise redis.ConnectionError("the answer was lost")
        return answer

    monkeypatch.setattr(AbstractConnection, "read_response", lose_the_first_success)
    store.is_learner("router")
    assert lost
    assert store.is_learner("router")


def test_a_learner_that_cannot_reach_the_server_is_none_when_its_lease_has_ended(log, server, monkeypatch):
    store = log(timeout_s=1.0)
    assert store.is_learner("router")
    monkeypatch.setattr(redis_leases, "_RENEWALS", float("inf"))
    server.kill()
    try:
        assert store.is_learner("router")  # nobody else can have it yet
        with store._leases._lock:
            store._leases._until["router"] = time.monotonic() - 1
        assert not store.is_learner("router")
        with pytest.raises(StoreAwayError):
            store.put_delta("router", StateDelta(0, 1, b""))
    finally:
        server.start()


def test_more_than_eight_names_lose_the_one_put_longest_ago_with_its_floor_and_deltas(log):
    store = log(**SMALL)
    add(store, *(f"d{n}" for n in range(60)))
    end = store.experience(0, 10_000).position
    store.put_snapshot("first", Snapshot(end, b"first"))
    assert store.retain() > 0
    assert store.put_delta("first", StateDelta(end, end + 1, b"change"))
    for n in range(8):
        store.put_snapshot(f"router {n}", Snapshot(end, b"state"))
    assert store.snapshot("first") is None
    assert "deltas:first" not in keys(store)
    assert len([key for key in keys(store) if key.startswith("state:")]) == 8


# Logs of version 2


def write_version_2(server, prefix, decisions):
    """Put on a server what version 2 wrote: decisions with feedback, a decision that was placed twice, and a pending piece."""

    def value(order, row, pending=False, write="w"):
        return json.dumps([order, pending, row.decision_id, row.candidate, row.content, row.time, row.fingerprint, row.revision, write])

    with redis.Redis.from_url(server.url) as client:
        memory = open_store("memory:", get_plugin_manager())
        for name in decisions:
            memory.add_decisions(records(name))
            memory.add_feedback([(Feedback(decision_id=name, quality=0.5, time=1.0), None)])
        memory.add_feedback([(Feedback(decision_id="later", quality=1.0, time=time.time()), None)])
        for position, row in enumerate(memory.batch(0, 10_000).rows, 1):
            if row.kind == "decision":
                client.hset(f"{prefix}:decision:{row.id}", mapping={f"decision/{row.id}": value(1, row), "position": position})
                client.sadd(f"{prefix}:user:ann", row.id)
            else:
                client.set(f"{prefix}:feedback:{row.id}", value(2, row))
            client.rpush(f"{prefix}:log", json.dumps([row.kind, row.id, row.decision_id, row.revision, "w"]))
        (row,) = memory.pending_rows()
        client.set(f"{prefix}:feedback:{row.id}", value(1, row, True))
        client.hset(f"{prefix}:decision:later", f"feedback/{row.id}", value(1, row, True))
        client.sadd(f"{prefix}:pending", "later")
        client.hset(f"{prefix}:snapshots", "router", json.dumps([2, 1, "feedback/a/explicit"]))
        client.hset(f"{prefix}:snapshots:content", "router", b"\x00state")
        client.sadd(f"{prefix}:forgotten", "digest")
        client.set(f"{prefix}:version", 2)
        memory.close()


def test_a_log_of_version_2_goes_on_where_an_interrupted_move_ended(log, server, monkeypatch, caplog):
    prefix, names = f"t{uuid.uuid4().hex[:16]}", [f"d{n}" for n in range(10)]
    write_version_2(server, prefix, names)
    monkeypatch.setattr(redis_migration, "MOVED_AT_ONCE", 3)
    monkeypatch.setattr(redis_migration, "_PER_SECOND", 5)
    with redis.Redis.from_url(server.url) as client:
        assert client.eval(MOVE, 1, f"{prefix}:", "3") == 17  # the process that did that was killed
        assert client.get(f"{prefix}:version") == b"2"
    with caplog.at_level(logging.WARNING):
        store = log(prefix=prefix)
    try:
        assert "which takes about 4 s for 20 entries" in caplog.text
        assert everything(store) == (names, [f"{name}/explicit" for name in names])
        assert store.snapshot("router") == Snapshot(2, b"\x00state", 0, "feedback/a/explicit")
        assert [feedback.decision_id for feedback in store.pending()] == ["later"]
        assert not {"forgotten", "snapshots:content"} & keys(store)
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            store._server.client.rpush(f"{prefix}:log", "a program of version 2 that still runs")
        assert (len(store.partitions()), store.partitions()[0].first) == (1, 1)
        store.add_decisions(records("later"))
        assert everything(store)[1][-1] == "later/explicit"
        assert "feedback:later/explicit" not in keys(store)
        assert store.add_feedback([(Feedback(decision_id="d0", quality=0.5), None)]) == [False]
        assert store.add_feedback([(Feedback(decision_id="d0", quality=0.25, revision=1), None)]) == [True]
        assert [feedback.quality for feedback in store.experience(22).replaced] == [0.5]
        assert store.forget("ann") == 11
        assert {query.user for query in store.experience().queries} == {None}
        assert len(store.outcomes()) == 11
    finally:
        store.drop()


@pytest.fixture
def old_names(server, prefix):
    """Write a log of version 2 where the fixture ``log`` opens one; return the names of its decisions."""
    names = [f"d{n}" for n in range(30)]
    write_version_2(server, prefix, names)
    return names


def test_a_process_whose_move_another_one_finished_opens_the_log(log, old_names, monkeypatch):
    size = redis_migration._size

    def overtaken(*args):
        monkeypatch.setattr(redis_migration, "_size", size)
        log()
        return size(*args)

    monkeypatch.setattr(redis_migration, "_size", overtaken)
    assert everything(log())[0] == old_names


def test_a_process_that_another_one_overtakes_before_it_moves_opens_the_log(log, old_names, monkeypatch):
    run = RedisServer.run

    def overtaken(self, script, *arguments):
        if script == MOVE:
            monkeypatch.setattr(RedisServer, "run", run)
            log()
        return run(self, script, *arguments)

    monkeypatch.setattr(RedisServer, "run", overtaken)
    assert everything(log())[0] == old_names


def test_two_processes_move_a_log_of_version_2(log, old_names):
    barrier, opened = threading.Barrier(2), []

    def open_it():
        barrier.wait()
        opened.append(log())

    threads = [threading.Thread(target=open_it) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [everything(store)[0] for store in opened] == [old_names, old_names]
    opened[0].add_decisions(records("new"))
    assert opened[1].experience(60).decisions[0].id == "new"


def test_decisions_of_version_2_are_dropped_with_their_feedback(log, server, monkeypatch):
    monkeypatch.setattr(redis_partitions, "DROPPED_AT_ONCE", 4)
    prefix = f"t{uuid.uuid4().hex[:16]}"
    write_version_2(server, prefix, [f"d{n}" for n in range(10)])
    store = log(prefix=prefix, **SMALL)
    try:
        store.put_snapshot("router", Snapshot(3, b"newer"))
        add(store, *(f"new{n}" for n in range(60)))
        assert store.retain() == 0  # it is not known which of its entries each decision has
        store.put_snapshot("router", Snapshot(store.experience(0, 10_000).position, b"newest"))
        dropped = store.retain()
        assert dropped > 10
        assert sum(each.judged for each in store.aggregates()) == dropped
        assert not [key for key in keys(store) if key.startswith(("decision:d", "feedback:d", "revisions:"))]
        assert [feedback.decision_id for feedback in store.pending()] == ["later"]
    finally:
        store.drop()


def test_a_log_of_a_newer_version_is_refused(log, server):
    store = log()
    store._server.client.set(f"{store.config.prefix}:version", 4)
    with pytest.raises(StoreError, match="version 4, newer than 3"):
        log()
    store._server.client.set(f"{store.config.prefix}:version", 3)


# Settings


def test_a_server_that_is_too_old_for_the_scripts_is_refused(log, monkeypatch):
    monkeypatch.setattr(redis.Redis, "info", lambda *_: {"redis_version": "6.2.14"})
    with pytest.raises(StoreError, match="needs Redis 7 or newer, and the server has version 6"):
        log()
    monkeypatch.undo()


def test_a_cluster_is_refused(log, monkeypatch):
    monkeypatch.setattr(redis.Redis, "info", lambda *_: {"redis_version": "7.0.15", "redis_mode": "cluster"})
    with pytest.raises(StoreError, match="needs one Redis server, with replicas or without, and this one is part of a cluster"):
        log()
    monkeypatch.undo()


def test_few_rights_are_enough(log, server, prefix):
    rights = ["+@read", "+@write", "+@scripting", "+@connection", "+time", "-@dangerous"]
    with redis.Redis.from_url(server.url) as admin:
        log()
        admin.execute_command("ACL", "SETUSER", prefix, "on", ">secret", f"~{prefix}:*", *rights)
        try:
            with_rights = server.url.replace("redis://", f"redis://{prefix}:secret@")
            store = open_store(with_rights, get_plugin_manager(), {"prefix": prefix, "spool": f"{server.folder}/{prefix}"})
            add(store, "d")
            store.forget("ann")
            assert store.health().items() >= {"away": 0, "spooled": 0, "position": 3}.items()
            store.close()
        finally:
            admin.execute_command("ACL", "DELUSER", prefix)


def test_relaxed_durability_accepts_the_loss_of_two_seconds(log, server, caplog):
    with redis.Redis.from_url(server.url) as admin:
        admin.config_set("appendfsync", "everysec")
        try:
            log()
            assert "may lose its last two seconds" in caplog.text
            caplog.clear()
            log(durability="relaxed")
            assert caplog.text == ""
        finally:
            admin.config_set("appendfsync", "always")


def test_bytes_come_back_whatever_the_url_says_of_decoding(server, tmp_path):
    options = {"prefix": f"t{uuid.uuid4().hex[:16]}", "spool": str(tmp_path / "spool.db")}
    store = open_store(f"{server.url}?decode_responses=true", get_plugin_manager(), options)
    add(store, "d")
    store.put_snapshot("router", Snapshot(1, b"\xff"))
    assert store.snapshot("router").content == b"\xff"
    assert everything(store) == (["d"], ["d/explicit"])
    store.drop()
    store.close()


def test_an_option_that_nobody_knows_is_refused(server):
    with pytest.raises(ConfigError, match=r"neither the store nor the Redis client has an option 'durabilty'"):
        open_store(f"{server.url}?durabilty=relaxed", get_plugin_manager())


# Tenants and exports


def of_tenant(tenant, *names, user="ann"):
    """Return decisions of a tenant's user."""
    made = records(*names, user=user)
    return Records(made.decisions, attrs.evolve(made.request, queries=[attrs.evolve(query, tenant=tenant) for query in made.request.queries]))


def test_a_user_who_goes_on_deciding_is_forgotten(log, monkeypatch):
    store = log()
    store.add_decisions(of_tenant("t", "a", "b", "c"))
    attempted, attempt = itertools.count(), RedisStore._commit_erased

    def interrupted(self, names, erasure, is_last, checks):
        """A decision comes in each attempt that takes long."""
        if len(names) > 1:
            number = next(attempted)
            assert number < 5
            store.add_decisions(of_tenant("t", f"later-{number}"))
        return attempt(self, names, erasure, is_last, checks)

    monkeypatch.setattr(RedisStore, "_commit_erased", interrupted)
    assert store.forget("ann") == 4
    assert {record.query.user for record in store.experience().records} == {None}


def test_a_tenant_is_forgotten_while_others_write(log, monkeypatch):
    store = log()
    store.add_decisions(of_tenant("shop", "a", "b", "c"))
    attempted, attempt, read = itertools.count(), RedisStore._commit_erased, []

    def interrupted(self, names, erasure, is_last, checks):
        """Others decide in each of the first attempts to end, and once the tenant does."""
        if is_last and (number := next(attempted)) < 4:
            store.add_decisions(of_tenant("shop" if number == 1 else "bank", f"later-{number}"))
        return attempt(self, names, erasure, is_last, checks)

    found = RedisStore._of_tenant
    monkeypatch.setattr(RedisStore, "_commit_erased", interrupted)
    monkeypatch.setattr(RedisStore, "_of_tenant", lambda self, erasure, after: read.append(after) or found(self, erasure, after))
    assert store.forget(None, "shop") == 4
    assert sorted(str(record.query.tenant) for record in store.experience().records) == ["None"] * 4 + ["bank"] * 3
    assert store.experience().epoch == 1
    assert read[0] == 0
    assert read[-1] == 7  # the last attempt read nothing again


def test_a_user_of_a_tenant_and_a_tenant_are_forgotten_in_batches(log, monkeypatch):
    monkeypatch.setattr(row_store, "BATCH_ENTRIES", 2)
    store = log()
    store.add_decisions(of_tenant("shop", "a", "b", "c"))
    store.add_decisions(of_tenant("shop", "d", user="bob"))
    store.add_decisions(of_tenant("bank", "e"))
    assert store.forget("ann", "shop") == 3
    assert [(store.record(name).query.tenant, store.record(name).query.user) for name in "ade"] == [("shop", None), ("shop", "bob"), ("bank", "ann")]
    assert store._server.client.smembers(f"{store.config.prefix}:user:ann") == {b"e"}
    assert store.forget(None, "shop") == 4
    assert [(store.record(name).query.tenant, store.record(name).query.user) for name in "abcde"] == [(None, None)] * 4 + [("bank", "ann")]
    late = of_tenant("shop", "late", user="cleo")
    store.add_decisions(Records([attrs.evolve(late.decisions[0], time=time.time() - 60)], late.request))
    assert store.record("late").query.tenant is None
    assert store.experience().epoch == 2


def test_a_forgotten_tenant_has_no_name_in_the_aggregates(log):
    store = log(**SMALL)
    for n in range(60):
        store.add_decisions(of_tenant("shop", f"d{n}"))
    dropped = store.retain()
    assert {each.tenant for each in store.aggregates()} == {"shop"}
    store.forget(None, "shop")
    assert [(each.tenant, each.decisions) for each in store.aggregates()] == [(None, dropped)]


def test_exports_are_remembered_by_all_processes(log):
    log().note_export(ExportedFile("/data/log.parquet", "parquet"))
    assert list(log().exports()) == [ExportedFile("/data/log.parquet", "parquet")]
