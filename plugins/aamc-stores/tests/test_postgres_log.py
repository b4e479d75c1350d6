"""The log in PostgreSQL as such: its upgrade, its templates, its elections, and servers that do not answer."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import attrs
import psycopg
import pytest
from aamc_experiments.off_policy import read_outcome_columns
from aamc_stores.postgres_log import store as postgres
from aamc_stores.postgres_log import tables as postgres_tables
from aamc_stores.postgres_log.leases import Leases
from aamc_stores.postgres_log.store import PostgresStore
from postgres_logs import DAY, begin_partition, decide, die_at_statement, ids, judge, make_version_3, record, write_version_3
from waiting import wait_until

from aamc_sdk.errors import StoreAwayError, StoreError
from aamc_sdk.log import DECISION, Row, open_store, row_store
from aamc_sdk.log.rows.decision_row import decision_row
from aamc_sdk.log.rows.row import feedback_row
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.testing import POOL
from aamc_sdk.types import Attempt, Feedback, Query, Snapshot, StateDelta

Open = Callable[..., PostgresStore]
CHOSEN, OTHER, THIRD = POOL.names[:3]
ODD = 'quotes " and \\ and \u00e9\U0001f600 {,} NULL'


@pytest.fixture
def server(postgres_server):
    return postgres_server


def old_rows(count: int) -> list[tuple[int, Row]]:
    """Return decisions with feedback, and their positions."""
    rows: list[Row] = []
    for n in range(count):
        rows.append(decision_row(record(f"d{n}", user=f"u{n % 3}", when=1000.0 + n), store_text=False))
        rows.append(attrs.evolve(feedback_row(Feedback(decision_id=f"d{n}", quality=0.5, time=2000.0)), candidate=rows[-1].candidate))
    return list(enumerate(rows, 1))


def columns_of_entries(url: str, prefix: str) -> list[tuple[str, str, str]]:
    query = "SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_name = %s ORDER BY column_name"
    with psycopg.connect(url) as connection:
        return connection.execute(query, (f"{prefix}_entries",)).fetchall()


def test_a_log_of_version_3_becomes_the_first_partition(log, postgres_server, prefix):
    make_version_3(postgres_server.url, prefix)
    placed = old_rows(5)
    early = [(None, feedback_row(Feedback(decision_id="later", quality=quality, source=f"s{quality}", time=5.0))) for quality in (1.0, 0.0, 0.5)]
    with psycopg.connect(postgres_server.url) as connection:
        write_version_3(connection, prefix, [*placed, *early])
        connection.execute(f"INSERT INTO {prefix}_snapshots (name, position, content, last) VALUES ('router', 9, 'state', 'decision/d4')")
        connection.execute(f"INSERT INTO {prefix}_erasures (who) VALUES ('somebody')")
    store = log()
    assert [attrs.evolve(row, embedding=None) for row in store.batch().rows] == [attrs.evolve(row, embedding=None) for _, row in placed]
    assert [row.id for row in store.pending_rows()] == ["later/s1.0", "later/s0.0", "later/s0.5"]
    assert store.snapshot("router") == Snapshot(9, b"state", 1, "decision/d4")
    assert [(each.number, each.first, each.last, each.begun) for each in store.partitions()] == [(0, 1, None, 1000.0)]
    assert store.health().items() >= {"entries": 13, "position": 10, "start": 0}.items()
    assert store.add([(row,) for _, row in placed]) == ([False] * 10, None)
    decide(store, "later")
    judge(store, "d1", "later")
    assert [each.number for each in store.partitions()] == [0, 1]
    assert ids(store)[10:] == ["later", "later/s1.0", "later/s0.0", "later/s0.5", "later/explicit"]
    store.add_feedback([(Feedback(decision_id="d1", quality=1.0, revision=1), None)])
    with psycopg.connect(postgres_server.url) as connection:
        assert connection.execute(f"SELECT count(*) FROM {prefix}_entries_0").fetchone() == (11,)
    assert store.forget("u1") == 2
    assert [store.record(f"d{n}").query.user for n in range(5)] == ["u0", None, "u2", "u0", None]
    fresh = log(prefix=f"{prefix}f")
    try:
        assert columns_of_entries(postgres_server.url, prefix) == columns_of_entries(postgres_server.url, f"{prefix}f")
    finally:
        fresh.drop()


def test_version_3_writes_on_while_its_log_is_divided_and_afterwards_spools(log, postgres_server, prefix, monkeypatch):
    """The long step is done beside it; what it sends afterwards fails as while the server is away, so its spool keeps it."""
    make_version_3(postgres_server.url, prefix)
    rows = old_rows(4)
    run, beside = postgres_tables.Tables.run, []

    def run_with_traffic(tables, connection, text, *values):
        if text == postgres_tables._CHECKED:
            with psycopg.connect(postgres_server.url) as other:
                write_version_3(other, prefix, rows[4:])
            beside.append(text)
        return run(tables, connection, text, *values)

    with psycopg.connect(postgres_server.url) as connection:
        write_version_3(connection, prefix, rows[:4])
    monkeypatch.setattr(postgres_tables.Tables, "run", run_with_traffic)
    store = log()
    assert beside
    assert ids(store) == [row.id for _, row in rows]
    with psycopg.connect(postgres_server.url) as connection:
        with pytest.raises(psycopg.ProgrammingError) as raised:
            write_version_3(connection, prefix, [(9, rows[0][1])])
        assert isinstance(store._refusal(raised.value), postgres.StoreAwayError)
        connection.rollback()
        with pytest.raises(psycopg.errors.UndefinedColumn):
            connection.execute(f"SELECT content FROM {prefix}_entries")


def test_several_processes_upgrade_a_log_at_once(log, postgres_server, prefix):
    make_version_3(postgres_server.url, prefix)
    rows = old_rows(3)
    with psycopg.connect(postgres_server.url) as connection:
        write_version_3(connection, prefix, rows)
    with ThreadPoolExecutor(4) as threads:
        stores = list(threads.map(lambda _: log(), range(4)))
    assert [ids(store) for store in stores] == [[row.id for _, row in rows]] * 4


def _open_and_die(open_it: Open, step: int) -> None:
    die_at_statement(step)
    open_it()
    os._exit(0)


def test_a_kill_at_any_step_of_an_upgrade_leaves_a_log_that_the_next_start_upgrades(log, postgres_server, prefix):
    make_version_3(postgres_server.url, prefix)
    rows = old_rows(3)
    with psycopg.connect(postgres_server.url) as connection:
        write_version_3(connection, prefix, rows)
    step, ended = 0, -signal.SIGKILL
    while ended == -signal.SIGKILL:
        child = multiprocessing.get_context("fork").Process(target=_open_and_die, args=(log, step))
        child.start()
        child.join(60)
        ended, step = child.exitcode, step + 1
    assert ended == 0
    assert step > 10
    assert ids(log()) == [row.id for _, row in rows]


def test_a_large_log_says_how_long_its_upgrade_takes(log, postgres_server, prefix, monkeypatch, caplog):
    monkeypatch.setattr(postgres_tables, "_SLOW_ENTRIES", 1)
    make_version_3(postgres_server.url, prefix)
    with psycopg.connect(postgres_server.url) as connection:
        write_version_3(connection, prefix, old_rows(3))
    log()
    assert "reading its 6 entries takes about 0 s; others can write meanwhile" in caplog.text


def test_a_log_of_a_newer_version_is_refused(log, postgres_server, prefix):
    store = log()
    with psycopg.connect(postgres_server.url) as connection:
        connection.execute(f"UPDATE {prefix}_version SET number = 5")
    with pytest.raises(StoreError, match="has version 5, newer than 4, the newest that this program knows; update aamc-stores"):
        log()
    with psycopg.connect(postgres_server.url) as connection:
        connection.execute(f"UPDATE {prefix}_version SET number = 4")
    assert ids(store) == []


def test_replicas_share_templates_and_one_that_was_not_kept_is_not_used(log, monkeypatch):
    stores = [log(), log()]
    records = [attrs.evolve(record(f"d{n}"), candidates=tuple(f"c{n % 5}-{k}" for k in range(2))) for n in range(40)]
    for n, each in enumerate(records):
        if n == 7:
            keep, failed = stores[1]._entries._copy, []

            def fail(*arguments, keep=keep, failed=failed):
                keep(*arguments)
                if not failed:
                    failed.append(True)
                    raise psycopg.DataError("made up")

            monkeypatch.setattr(stores[1]._entries, "_copy", fail)
            with pytest.raises(StoreError, match="made up"):
                stores[1].add_decisions([each])
        stores[n % 2].add_decisions([each])
    for store in (*stores, log()):
        assert [store.record(f"d{n}").candidates for n in range(40)] == [each.candidates for each in records]
        assert [row.content for row in store.batch().rows] == [decision_row(each, store_text=False).content for each in records]


def test_a_decision_takes_little_space(log, postgres_server, prefix):
    store = log()
    records = [record(os.urandom(16).hex()) for _ in range(2000)]
    store.add_decisions([attrs.evolve(each, estimates=attrs.evolve(each.estimates, embedding=None)) for each in records])
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"VACUUM {prefix}_entries_0")
        (size,) = connection.execute("SELECT pg_total_relation_size(%s)", (f"{prefix}_entries_0",)).fetchone()
    assert size / 2000 < 600


def test_decisions_of_later_entries_are_read_from_their_own_partitions(log, postgres_server):
    """A lookup in all partitions takes a thousand searches for each of them."""
    store = log()
    decide(store, "a")
    begin_partition(postgres_server.url, store)
    decide(store, "b")
    judge(store, "b")
    assert [row.id for row in store.batch(2, 10).decisions] == ["b"]
    with store._reading() as connection:
        assert [found[2] for found in store._entries._decisions(connection, {"b": 1})] == ["b"]
        used = "SELECT DISTINCT relname FROM pg_locks JOIN pg_class ON relation = pg_class.oid WHERE pid = pg_backend_pid() AND relkind = 'r'"
        assert f"{store.config.prefix}_entries_0" not in {name for (name,) in connection.execute(used)}


def test_a_user_is_forgotten_in_all_partitions_and_stays_so(log, postgres_server, monkeypatch):
    monkeypatch.setattr(row_store, "BATCH_ENTRIES", 2)
    store = log()
    for day in range(3):
        decide(store, f"a{day}", f"b{day}", user="ann")
        begin_partition(postgres_server.url, store)
    decide(store, "c", user="bob")
    late, later, again = (record(name, user="ann", when=time.time() + days * DAY) for name, days in (("late", 0), ("later", -1), ("again", 1)))
    assert len(store.partitions()) == 4
    assert store.forget("ann") == 6
    store.add_decisions([late])  # from an import, or a copy of the log
    log().add_decisions([later, again])  # the last one is of a new user under this id
    assert [store.record(name).query.user for name in ("a0", "b2", "c", "late", "later", "again")] == [None, None, "bob", None, None, "ann"]
    assert (store.record("late").fingerprint, store.record("late").estimates.embedding) == ("", None)
    assert store.forget("ann") == 1
    assert store.experience().epoch == 2


def test_a_tenant_is_searched_for_while_others_write_and_their_decisions_are_forgotten_too(log, monkeypatch):
    """No index has tenants, so the search through a large log takes long."""
    monkeypatch.setattr(row_store, "BATCH_ENTRIES", 2)
    store, other = log(), log(timeout_s=0.5)
    store.add_decisions([record(name, tenant=tenant) for name, tenant in (("a", "acme"), ("b", "bank"), ("c", "acme"), ("d", "acme"))])
    search, late = store._entries.covered, iter("xyz")

    def search_with_traffic(connection, *arguments):
        found = search(connection, *arguments)
        if connection.execute("SHOW transaction_read_only").fetchone() == ("on",):
            other.add_decisions([record(name, tenant="acme") for name in itertools.islice(late, 1)])
        return found

    monkeypatch.setattr(store._entries, "covered", search_with_traffic)
    assert store.forget(None, "acme") == 6
    assert other.health()["spooled"] == 0
    assert {name: store.record(name).query.tenant for name in "abcdxyz"} == dict.fromkeys("acdxyz") | {"b": "bank"}
    assert store.experience().epoch == 1


def test_a_spool_that_comes_late_does_not_bring_a_forgotten_user_back(log, postgres_server, tmp_path):
    """Another machine's spool keeps a decision while the user is forgotten on the server."""
    store, other = log(), log(spool=str(tmp_path / "other.db"))
    other._spool.put([(decision_row(record("waits", user="ann"), store_text=False),)])
    assert store.forget("ann") == 0
    other.flush()
    judge(store, "waits")
    assert store.record("waits").query.user is None
    assert ids(store) == ["waits", "waits/explicit"]


def test_a_chain_of_deltas_takes_each_once_and_ends_with_a_snapshot(log):
    store, other = log(), log()
    one, two = StateDelta(0, 4, b"one", last="a"), StateDelta(4, 9, b"two", last="b")
    assert store.deltas("router", 0, 0) == []
    assert not store.put_delta("router", two)  # nothing leads there
    assert store.put_delta("router", one)
    assert not other.put_delta("router", one)  # twice
    assert not other.put_delta("router", StateDelta(0, 5, b"of another learner"))
    assert other.put_delta("router", two)
    assert other.put_delta("another", one)
    assert store.deltas("router", 0, 0) == [one, two]
    assert store.deltas("router", 4, 0) == [two]
    assert store.deltas("router", 9, 0) == []
    assert store.deltas("router", 5, 0) is None
    store.put_snapshot("router", Snapshot(4, b"full"))
    assert (store.deltas("router", 0, 0), store.deltas("router", 4, 0)) == (None, [two])
    store.put_snapshot("router", Snapshot(9, b"full"))
    store.put_snapshot("router", Snapshot(10, b"full"))
    assert (store.deltas("router", 0, 0), store.deltas("router", 10, 0)) == (None, [])
    assert not store.put_delta("router", StateDelta(9, 11, b"late"))
    assert store.put_delta("router", StateDelta(10, 12, b"three"))
    store.forget("nobody")
    assert (store.deltas("router", 10, 0), store.deltas("router", 10, 1)) == (None, None)
    assert not store.put_delta("router", StateDelta(12, 13, b"of a past epoch"))


def test_of_two_that_believe_to_be_elected_one_is_refused(log):
    stores = [log(), log()]
    for position in range(0, 40, 4):
        with ThreadPoolExecutor(2) as threads:
            delta = StateDelta(position, position + 4, b"x")
            assert sorted(threads.map(lambda store, delta=delta: store.put_delta("router", delta), stores)) == [False, True]
    assert len(stores[0].deltas("router", 0, 0)) == 10


def test_one_process_learns_until_it_closes(log, prefix):
    first, second = log(), log()
    assert [first.is_learner("router"), second.is_learner("router"), first.is_learner("router")] == [True, False, True]
    assert [first.health()["is_learner"], second.health()["is_learner"]] == [1, 0]
    assert second.is_learner("another router")
    assert second.health()["is_learner"] == 1
    assert log(prefix=f"{prefix}x").is_learner("router")
    log(prefix=f"{prefix}x").drop()
    first.close()
    wait_until(lambda: second.is_learner("router"))


LEARNER = """
import signal, sys
from aamc_stores.postgres_log import store as postgres
from aamc_stores.shared_store import SharedOptions

url, prefix, spool = sys.argv[1:]
postgres.LEASE_S = 1.0
store = postgres.PostgresStore(url, SharedOptions(prefix=prefix, spool=spool))
print(store.is_learner("router"), flush=True)
signal.pause()
"""


@pytest.mark.parametrize("last_signal", [signal.SIGKILL, signal.SIGSTOP])
def test_a_learner_that_is_lost_is_replaced_within_seconds(log, postgres_server, prefix, tmp_path, monkeypatch, last_signal):
    monkeypatch.setattr(postgres, "LEASE_S", 1.0)
    store = log()
    arguments = [postgres_server.url, prefix, str(tmp_path / "other.db")]
    with subprocess.Popen([sys.executable, "-c", LEARNER, *arguments], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline() == "True\n"
            assert not store.is_learner("router")
            child.send_signal(last_signal)
            wait_until(lambda: store.is_learner("router"), 30)
        finally:
            child.kill()


def test_a_learner_is_elected_anew_after_a_server_restart(log, postgres_server):
    first, second = log(), log()
    assert first.is_learner("router")
    postgres_server.kill()
    assert not first.is_learner("router")
    assert not second.is_learner("router")
    postgres_server.start()
    wait_until(lambda: first.is_learner("router") or second.is_learner("router"))
    assert [first.is_learner("router"), second.is_learner("router")] in ([True, False], [False, True])


def test_a_server_that_takes_a_query_and_never_answers_counts_as_away(log, postgres_server):
    store = log(timeout_s=0.5)
    decide(store, "a")
    with psycopg.connect(postgres_server.url) as connection:
        query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid != pg_backend_pid()"
        backends = [pid for (pid,) in connection.execute(query)]
    for pid in backends:
        os.kill(pid, signal.SIGSTOP)
    try:
        decide(store, "b")
        assert [row.id for _, (row,) in store._spool.first(9)] in (["b"], [])  # a new connection is answered
    finally:
        for pid in backends:
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: ids(store) == ["a", "b"])
    wait_until(lambda: not store._spool.first(1))


def test_a_writer_that_hangs_in_its_transaction_is_shut_out_by_the_server(log, monkeypatch):
    monkeypatch.setattr(postgres, "_IDLE_TIMES", 1)
    hung, store = log(timeout_s=0.5), log()
    inside, go_on = threading.Event(), threading.Event()
    place = hung._entries._copy

    def hang(*arguments):
        inside.set()
        go_on.wait(60)
        place(*arguments)

    monkeypatch.setattr(hung._entries, "_copy", hang)
    with ThreadPoolExecutor(1) as threads:
        written = threads.submit(decide, hung, "hung")
        assert inside.wait(60)
        decide(store, "goes on")
        monkeypatch.setattr(hung._entries, "_copy", place)
        go_on.set()
        written.result(60)
    wait_until(lambda: ids(store) == ["goes on", "hung"])


@pytest.mark.parametrize(("durability", "setting"), [("durable", "on"), ("relaxed", "off")])
def test_durability_is_what_the_option_says(log, durability, setting):
    store = log(durability=durability)
    decide(store, "a")
    with store._writing() as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == (setting,)
    assert ids(store) == ["a"]


def test_texts_that_templates_must_not_keep_are_packed_too(log):
    store = log(store_text=True)
    for n in range(3):
        store.add_decisions([attrs.evolve(record(f"d{n}"), query=Query(f"secret {n}", user="ann", tenant="t"))])
    assert [store.record(f"d{n}").query.text for n in range(3)] == [f"secret {n}" for n in range(3)]
    with store._reading() as connection:
        templates = [bytes(content) for (content,) in store._tables.run(connection, "SELECT content FROM {templates}")]
        assert templates
        assert not any(b"secret" in content or b"ann" in content for content in templates)
    assert [row.kind for row in store.batch().rows] == [DECISION] * 3


def test_outcomes_are_read_from_columns_of_old_and_new_entries(log, postgres_server, prefix):
    make_version_3(postgres_server.url, prefix)
    with psycopg.connect(postgres_server.url) as connection:
        write_version_3(connection, prefix, old_rows(3))
    store = log()
    decide(store, "new", when=3000.0)
    judge(store, "new", quality=1.0)
    store.add_attempts([Attempt("new", cost_usd=0.25, latency_ms=10.0)])
    found = read_outcome_columns(store, ["query"]).outcomes
    assert found.decision_ids == ["d0", "d1", "d2", "new"]
    assert found.propensity.tolist() == [0.5] * 4
    assert found.quality.tolist() == [0.5, 0.5, 0.5, 1.0]
    assert found.cost_usd[3] == 0.25
    assert store.outcomes(1001.0, 1002.0).decision_ids == ["d1"]
    assert store.outcomes(5000.0).decision_ids == []


def test_names_with_quotes_and_backslashes_are_names(log):
    store = log()
    names = ["it's", 'say "hi"', "back\\slash", "{a,b}", "NULL", "$1", "ünïcode", "%s", "; DROP TABLE x"]
    decide(store, *names)
    judge(store, *names)
    assert [store.record(name).decision.id for name in names] == names
    assert store.add_feedback([(Feedback(decision_id=name, quality=0.5), None) for name in names]) == [False] * len(names)
    assert ids(store) == [*names, *(f"{name}/explicit" for name in names)]


def decide_and_attempt(store) -> None:
    """Log decisions: without attempts, with a failed one, with a good and a failed one, and with two good ones."""
    decide(store, "d0", "d1", "d2", "d3")
    store.add_attempts(
        [Attempt("d1", None, OTHER, error="down"), Attempt("d2", None, OTHER, cost_usd=0.5), Attempt("d2", None, CHOSEN, error="down")]
    )
    store.add_attempts([Attempt("d3", None, OTHER, cost_usd=0.5), Attempt("d3", None, THIRD, cost_usd=0.5)])


def test_one_statement_adds_feedback_as_the_rules_would(log, monkeypatch, server):
    stores = [log(), open_store("memory:", get_plugin_manager())]
    feedback = [Feedback(decision_id=f"d{n}", quality=0.1 * n, weight=0.5, source=ODD, time=n + 0.1) for n in range(4)]
    feedback += [Feedback(decision_id="d0", quality=1.0, id=ODD, time=5.0), Feedback(decision_id=ODD, quality=0.0, time=6.0)]
    for store in stores:
        decide_and_attempt(store)
        decide(store, ODD)
        if store is stores[0]:
            begin_partition(server.url, store)
        decide(store, "new")
        if store is stores[0]:
            monkeypatch.setattr(store._entries, "commit", None)  # the way of all else
        assert store.add_feedback([(each, None) for each in [*feedback, Feedback(decision_id="new", quality=0.5, time=7.0)]]) == [True] * 7
    found, expected = (store.batch(after=11).rows for store in stores)
    assert found == expected
    assert [row.candidate for row in found] == [CHOSEN, CHOSEN, OTHER, THIRD, CHOSEN, CHOSEN, CHOSEN]
    assert list(stores[0].batch(after=11).positions) == list(range(12, 19))
    with psycopg.connect(server.url) as connection:
        kept = connection.execute(f"SELECT quality, beaten FROM {stores[0].config.prefix}_entries WHERE position > 11 ORDER BY position").fetchall()
    assert kept == [(each.quality, None) for each in [*feedback, Feedback(decision_id="new", quality=0.5)]]
    stores[1].close()


def test_a_connection_for_elections_is_closed_where_the_server_refuses_its_settings(server, recwarn):
    assert not Leases(server.url, timeout_s=5.0, idle_s=1e9).holds(1)
    gc.collect()
    assert [str(each.message) for each in recwarn] == []


def test_connections_that_share_a_session_are_refused_at_once(log, postgres_server, prefix):
    """A pooler that gives each transaction another connection gives the next one the session that has just become free."""
    schema = f"s{prefix}"
    url = f"{postgres_server.url}?options=-csearch_path%3D{schema},pg_catalog&prefix={prefix}"
    with psycopg.connect(postgres_server.url, autocommit=True) as admin:
        admin.execute(f"CREATE SCHEMA {schema}; CREATE FUNCTION {schema}.pg_backend_pid() RETURNS int LANGUAGE sql AS 'SELECT 1'")
        try:
            with pytest.raises(StoreError, match=r"cannot be used: a pooler gives each transaction another connection"):
                open_store(url, get_plugin_manager())
        finally:
            admin.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.mark.parametrize(
    ("statement", "advice"),
    [
        ("EXECUTE lost", r"does not exist\): a pooler gives each transaction another connection"),
        ("SET LOCAL ROLE pg_monitor; CREATE SCHEMA no", "permission denied .*: the role must own the log's tables"),
        ("DO 'BEGIN RAISE out_of_memory; END'", "set max_locks_per_transaction of the server"),
    ],
)
def test_an_error_of_the_server_says_what_to_do(log, statement, advice):
    store = log()
    with pytest.raises(StoreAwayError, match=advice), store._transaction("BEGIN") as begun:
        begun[0].execute(statement)


def test_a_server_without_another_connection_leaves_the_open_ones(postgres_server, prefix, tmp_path):
    with psycopg.connect(postgres_server.url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {prefix} LOGIN CONNECTION LIMIT 2; GRANT ALL ON SCHEMA public TO {prefix}")

        def open_connections() -> list[tuple[int]]:
            return admin.execute("SELECT pid FROM pg_stat_activity WHERE usename = %s ORDER BY pid", (prefix,)).fetchall()

        url = postgres_server.url.replace("aamc@", f"{prefix}@")
        store = open_store(url, get_plugin_manager(), {"prefix": prefix, "spool": str(tmp_path / "spool.db")})
        try:
            decide(store, "d")
            before = open_connections()
            with store._reading(), pytest.raises(StoreAwayError, match="too many connections for role"):
                store.partitions()
            assert open_connections() == before
            assert len(before) == 2
            store.drop()
        finally:
            store.close()
            admin.execute(f"DROP OWNED BY {prefix}; DROP ROLE {prefix}")
