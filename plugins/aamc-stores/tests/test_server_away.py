"""A server that goes away in mid-traffic: decisions go on, feedback waits durably, and nothing counts twice after."""

from __future__ import annotations

import hashlib
import logging
import random
import socket
import sqlite3
import string
import threading
import time
import uuid
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import attrs
import psycopg
import pytest
import redis
from aamc_stores.redis_log.scripts import COMMIT
from aamc_stores.spool import Spool, default_spools
from waiting import wait_until

from aamc_sdk.controller import MetaController
from aamc_sdk.errors import NameLengthError, StoreAwayError, StoreError, UnknownDecisionError
from aamc_sdk.log import feedback_addition, open_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Attempt, Decision, Feedback, Preference, Query, Records

pytestmark = pytest.mark.one_python


def records(*names: str) -> Records:
    request = make_request(make_dataset(len(names)))
    return Records([Decision(name, POOL.names[0], 1.0, Preference()) for name in names], request)


def ids(store):
    found = store.experience()
    return [decision.id for decision in found.decisions], [feedback.id for feedback in found.feedback]


def spooled(path, prefix):
    """Return what waits in the file of a log's spool."""
    with closing(Spool(path, prefix)) as spool:
        return spool.first(1)


def refused(path):
    """Return the line that a server refused, and why."""
    with closing(sqlite3.connect(path)) as spool:
        (found,) = spool.execute("SELECT line, refused FROM spool WHERE refused IS NOT NULL").fetchall()
    return found


class Line:
    """A connection to a server through which everything passes.

    Attributes:
        port: Where clients connect.
        last_word: What the server is still told, before the line is cut and its answer lost; nothing by default.
        cut: Set when that has happened.
    """

    def __init__(self, port: int) -> None:
        self.last_word = b""
        self.cut = threading.Event()
        self._server = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            silenced = threading.Event()
            threading.Thread(target=self._ask, args=(client, server, silenced), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, client, silenced), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, silenced: threading.Event) -> None:
        with client, server, suppress(OSError):  # either may be closed meanwhile
            while content := _received(client):
                if self.last_word and self.last_word in content:
                    self.last_word = b""
                    silenced.set()
                    server.sendall(content)
                    time.sleep(0.3)  # the server does it
                    self.cut.set()
                    return
                server.sendall(content)

    def _answer(self, server: socket.socket, client: socket.socket, silenced: threading.Event) -> None:
        with suppress(OSError):
            while content := _received(server):
                if not silenced.is_set():
                    client.sendall(content)


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""


def test_traffic_goes_on_while_the_server_is_away(log, server, caplog):
    store = log()
    store.add_decisions(records("before"))
    server.kill()
    with caplog.at_level(logging.WARNING):
        store.add_decisions(records("during"))
        assert store.add_feedback([(Feedback(decision_id="during", quality=1.0), Attempt("during", 0, "", cost_usd=0.5))])[0]
        assert store.add_feedback([(Feedback(decision_id="before", quality=0.5), None)])[0]
        store.add_attempts([Attempt("before", 0, POOL.names[0], latency_ms=3.0)])
        assert store.record("during").decision.candidate == POOL.names[0]
        assert store.experience(after=1).position == 1
    assert "writes wait in" in caplog.text
    server.start()
    wait_until(lambda: len(store.experience().feedback) == 2)
    assert ids(store) == (["before", "during"], ["during/explicit", "before/explicit"])
    assert [(attempt.decision_id, attempt.candidate) for attempt in store.experience().attempts] == [
        ("during", POOL.names[0]),
        ("before", POOL.names[0]),
    ]
    assert not store.add_feedback([(Feedback(decision_id="during", quality=1.0), None)])[0]  # a client's retry after all
    store.add_decisions(records("after"))
    assert ids(store)[0][-1] == "after"


def test_an_older_decision_is_unknown_until_the_server_is_back(log, server):
    store = log()
    store.add_decisions(records("before"))
    server.kill()
    store.add_decisions(records("during"))
    assert store.record("during").decision.id == "during"
    with pytest.raises(StoreAwayError, match="'before' is not in the local spool, and unknown until the server is back"):
        store.record("before")
    server.start()
    wait_until(lambda: store.health()["away"] == 0)
    assert store.record("before").decision.id == "before"
    with pytest.raises(UnknownDecisionError, match="'never'"):
        store.record("never")


def test_what_waits_outlives_the_process(log, server, tmp_path, prefix):
    store = log()
    store.add_decisions(records("d"))
    server.kill()
    store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])
    store.close()
    server.start()
    again = log()
    wait_until(lambda: again.experience().feedback)
    assert ids(again) == (["d"], ["d/explicit"])
    wait_until(lambda: not spooled(tmp_path / "spool.db", prefix))


def test_a_lost_acknowledgement_counts_once(server, tmp_path):
    """The server commits, and its answer never arrives: the entry is given again, and is known."""
    head, _, rest = server.url.rpartition(":")
    port, _, database = rest.partition("/")
    line = Line(int(port))
    options = {"prefix": f"lost_{line.port}", "spool": str(tmp_path / "spool.db"), "retry_s": 0.1, "timeout_s": 20.0}
    store = open_store(f"{head}:{line.port}/{database}", get_plugin_manager(), options)
    store.add_decisions(records("d"))
    commit = b"; COMMIT"  # not the one of READ COMMITTED
    line.last_word = hashlib.sha1(COMMIT.encode()).hexdigest().encode() if server.url.startswith("redis") else commit
    store.add_feedback([(Feedback(decision_id="d", quality=1.0), Attempt("d", 0, "", cost_usd=0.25))])
    assert line.cut.is_set()
    wait_until(lambda: not spooled(tmp_path / "spool.db", store.config.prefix))
    assert ids(store) == (["d"], ["d/explicit"])
    assert [attempt.cost_usd for attempt in store.experience().attempts] == [0.25]
    store.drop()
    store.close()
    line.close()


def test_threads_lose_nothing_when_the_server_goes_and_comes(log, server):
    store = log()
    names = [f"d{n}" for n in range(8)]
    store.add_decisions(records(*names))
    stop, given = threading.Event(), [[] for _ in range(8)]

    def judge(me: int) -> None:
        while not stop.is_set():
            feedback = Feedback(decision_id=names[me], quality=1.0, source=str(len(given[me])))
            store.add_feedback([(feedback, None)])
            given[me].append(feedback.id)

    threads = [threading.Thread(target=judge, args=(me,)) for me in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        time.sleep(0.2)
        server.kill()
        time.sleep(0.2)
        server.start()
    stop.set()
    for thread in threads:
        thread.join(60)
    acknowledged = [name for names_given in given for name in names_given]
    wait_until(lambda: not store._spool.first(1))
    position, found = 0, []
    while (part := store.experience(position)).position > position:
        position, found = part.position, [*found, *(feedback.id for feedback in part.feedback)]
    assert len(found) == len(set(found))
    assert set(found) == set(acknowledged)


def test_what_the_server_refuses_later_is_kept_aside(log, server, tmp_path, caplog):
    store = log()
    store.add_decisions(records("d"))
    server.kill()
    store.add_feedback([(Feedback(decision_id="d", quality=1.0, candidate="nobody"), None)])
    store.add_feedback([(Feedback(decision_id="d", quality=0.5, source="judge"), None)])
    server.start()
    wait_until(lambda: store.experience().feedback)
    assert ids(store)[1] == ["d/judge"]
    assert "refused feedback 'd/explicit'" in caplog.text
    assert "no candidate 'nobody'" in caplog.text
    line, why = refused(tmp_path / "spool.db")
    assert '"nobody"' in line
    assert "no candidate 'nobody'" in why


def test_a_name_that_is_too_long_is_refused_at_once_while_the_server_is_away(log, server):
    store = log()
    store.add_decisions(records("d"))
    server.kill()
    store.add_feedback([(Feedback(decision_id="d", quality=1.0, source="one"), None)])
    with pytest.raises(NameLengthError, match="the id of a piece of feedback must have at most 1,025 bytes"):
        store.add_feedback([(Feedback(decision_id="d", quality=1.0, source=9000 * "x"), None)])
    assert store.health()["spooled"] == 1


def test_names_of_512_bytes_fit_and_longer_ones_are_refused(log):
    chance = random.Random(0)

    def name(length=512):
        return "".join(chance.choices(string.ascii_letters, k=length))

    store = log()
    early, late = name(), name()
    (record,) = records(late)
    store.add_decisions([attrs.evolve(record, query=Query("Hi", user=name(), tenant=name(), session=name()))])
    for decision_id in (early, late):
        store.add_feedback([(Feedback(decision_id=decision_id, quality=1.0, source=name()), Attempt(decision_id, cost_usd=0.5))])
    store.add_decisions(records(early))
    assert len(store.experience().feedback) == 2
    (record,) = records("d")
    with pytest.raises(NameLengthError, match="the name of a user must have at most 512 bytes"):
        store.add_decisions([attrs.evolve(record, query=Query("Hi", user=name(513)))])
    assert store.health().items() >= {"spooled": 0, "refused": 0}.items()


def test_a_controller_decides_and_learns_on(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with MetaController.build(router="random", pool=POOL, store=server.url) as controller:
        names = [controller.route("Hi").id]
        server.kill()
        names += [controller.route("Hi").id for _ in range(3)]
        for name in names:
            controller.feedback(name, quality=1.0, latency_ms=5.0)
        assert controller.explain(names[-1]).record.decision.id == names[-1]
        server.start()
        wait_until(lambda: len(controller.store.experience().feedback) == 4)
        assert default_spools(server.url, server.url, "aamc")[0].parent == tmp_path / "aamc"
        assert len(list((tmp_path / "aamc").glob("spool-*.db"))) == 1
        controller.store.drop()


def test_what_waits_is_delivered_by_a_program_with_another_password(postgres_server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    options = {"prefix": f"t{uuid.uuid4().hex[:16]}", "retry_s": 0.1}

    def opened(user: str):
        return open_store(postgres_server.url.replace("aamc@", user), get_plugin_manager(), options)

    with closing(opened("aamc:old@")) as store:
        store.add_decisions(records("d"))
        postgres_server.kill()
        store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])
    postgres_server.start()
    with closing(opened("aamc:new@")) as store:
        wait_until(lambda: ids(store)[1] == ["d/explicit"])
        store.drop()


def test_what_waits_in_a_spool_that_an_earlier_version_named_by_the_password_is_delivered(postgres_server, tmp_path, monkeypatch):
    """The entries leave that file at the first start, so that they are found after the password changes too."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    prefix = f"t{uuid.uuid4().hex[:16]}"
    url, name = (postgres_server.url.replace("aamc@", user) for user in ("aamc:old@", ""))
    present, earlier = default_spools(url, name, prefix)
    assert present == default_spools(url.replace("old", "new"), name, prefix)[0] != earlier
    with closing(Spool(earlier, prefix)) as spool:
        spool.put([feedback_addition(Feedback(decision_id=each, quality=1.0), None) for each in ("d", "e")])
        spool.set_aside(2, "refused")
    with closing(open_store(url, get_plugin_manager(), {"prefix": prefix, "retry_s": 0.1})) as store:
        store.flush()
        assert [each.id for each in store.pending()] == ["d/explicit"]
        store.drop()
    with closing(Spool(present, prefix)) as now, closing(Spool(earlier, prefix)) as then:
        assert (now.counts(), then.counts()) == ((0, 1), (0, 0))


def test_a_retry_while_the_server_is_away_is_what_it_is_elsewhere(log, server):
    store = log()
    store.add_decisions(records("d"))
    server.kill()
    assert store.add_feedback([(Feedback(decision_id="d", quality=1.0, time=1.0), None)])[0]
    assert not store.add_feedback([(Feedback(decision_id="d", quality=1.0, time=2.0), None)])[0]
    with pytest.raises(StoreError, match="other content"):
        store.add_feedback([(Feedback(decision_id="d", quality=0.0), None)])
    assert store.add_feedback([(Feedback(decision_id="d", quality=1.0), None), (Feedback(decision_id="d", quality=0.5, source="judge"), None)]) == [
        False,
        True,
    ]
    server.start()
    wait_until(lambda: not store._spool.first(1))
    assert ids(store)[1] == ["d/explicit", "d/judge"]


def test_decisions_and_attempts_made_while_the_server_is_away_count_once(log, server):
    store = log()
    store.add_decisions(records("before"))
    store.add_attempts([Attempt("before", cost_usd=0.5)])
    server.kill()
    try:
        (given,) = records("during")
        assert list(store.add_decisions([given])) == [given.decision]
        again = attrs.evolve(given, decision=attrs.evolve(given.decision, candidate=POOL.names[1]))
        assert list(store.add_decisions([again])) == [given.decision]
        with pytest.raises(StoreError, match="other content"):
            store.add_decisions([attrs.evolve(given, budget_usd=1.0)])
        assert store.add_attempts([Attempt("during", cost_usd=0.25), Attempt("before", cost_usd=0.75)]) == [0, 0]  # the spool's own count
        assert store.health().items() >= {"spooled": 3, "refused": 0, "away": 1}.items()
        waiting = [entry for _, entry in store._spool.first(9)]
    finally:
        server.start()
    wait_until(lambda: not store._spool.first(1))
    assert store.add(waiting) == ([False] * 3, None)  # as after a crash between delivery and removal
    assert sorted((call.decision_id, call.n, call.cost_usd) for call in store.experience().attempts) == [
        ("before", 0, 0.5),
        ("before", 1, 0.75),
        ("during", 0, 0.25),
    ]
    assert store.health()["away"] == 0


def test_who_waits_in_the_spool_is_forgotten_too(log, server, tmp_path):
    store = log(retry_s=60.0)  # nothing is delivered by itself meanwhile
    store.add_decisions(records("d"))
    server.kill()
    for name in ("waits", "d"):
        (record,) = records(name)
        store.add_decisions([attrs.evolve(record, query=Query("Hi", user="ann-from-accounting"))])
    server.start()
    assert store.forget("ann-from-accounting") == 1
    assert store.record("waits").query.user is None
    line, why = refused(tmp_path / "spool.db")  # its id was taken
    assert "other content" in why
    assert "ann-from-accounting" not in line


def test_delivery_outlives_a_failure_of_the_spool(log, server, monkeypatch, caplog):
    store = log()
    server.kill()
    store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])
    fails, remove = [sqlite3.OperationalError("disk I/O error"), ZeroDivisionError("a mistake of ours")], Spool.remove

    def failing(spool: Spool, numbers: list[int]) -> None:
        if fails:
            raise fails.pop()
        remove(spool, numbers)

    monkeypatch.setattr(Spool, "remove", failing)
    server.start()
    wait_until(lambda: not store._spool.first(1))
    assert not fails
    assert "a mistake of ours" in caplog.text
    store.add_decisions(records("d"))
    assert ids(store)[1] == ["d/explicit"]


def _default_of_a_new_connection(url):
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute("SHOW default_transaction_read_only").fetchone()[0]


@contextmanager
def _without_writes(server):
    """Let a server take no writes for now: Redis by the limit of its memory, PostgreSQL by its settings."""
    if server.url.startswith("redis"):
        with redis.Redis.from_url(server.url) as admin:
            admin.config_set("maxmemory", 1)
            try:
                yield
            finally:
                admin.config_set("maxmemory", 0)
        return
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        admin.execute("SELECT pg_reload_conf()")
        wait_until(lambda: _default_of_a_new_connection(server.url) == "on")  # so every connection has been told
        try:
            yield
        finally:
            admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
            admin.execute("SELECT pg_reload_conf()")


def test_a_server_that_can_be_read_but_takes_no_writes_is_away(log, server):
    store = log()
    store.add_decisions(records("d"))
    assert store.health()["away"] == 0
    with _without_writes(server):
        store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])
        assert store.health().items() >= {"away": 1, "spooled": 1, "position": 1}.items()
    wait_until(lambda: store.health()["away"] == 0)
    assert store.health().items() >= {"spooled": 0, "position": 2}.items()


def test_a_postgres_that_may_only_be_read_counts_as_away(request, tmp_path):
    """A standby, or a server that another has taken over from, answers and takes nothing."""
    server = request.getfixturevalue("postgres_server")
    options = {"prefix": f"t{uuid.uuid4().hex[:16]}", "spool": str(tmp_path / "spool.db"), "retry_s": 0.1}
    store = open_store(server.url, get_plugin_manager(), options)
    with _without_writes(server):
        store.add_decisions(records("d"))
        assert [row.id for _, (row,) in store._spool.first(9)] == ["d"]
    wait_until(lambda: not store._spool.first(1))
    assert ids(store) == (["d"], [])
    store.drop()
    store.close()


def test_a_postgres_lock_that_another_transaction_holds_for_long_counts_as_away(request, tmp_path):
    """Such as of a replica that hangs in a transaction: writes wait in the spool instead of for ever."""
    server = request.getfixturevalue("postgres_server")
    options = {"prefix": f"t{uuid.uuid4().hex[:16]}", "spool": str(tmp_path / "spool.db"), "retry_s": 0.1, "timeout_s": 1.0}
    store = open_store(server.url, get_plugin_manager(), options)
    with psycopg.connect(server.url) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (store._lock_key,))
        store.add_decisions(records("d"))
        assert [row.id for _, (row,) in store._spool.first(9)] == ["d"]
        with pytest.raises(StoreAwayError, match=r"another transaction holds its lock.*; the erasure is not complete: repeat it") as refused:
            store.forget("ann")
        assert "tried again" not in str(refused.value)
    wait_until(lambda: not store._spool.first(1))
    assert ids(store) == (["d"], [])
    store.drop()
    store.close()


def test_a_postgres_whose_tables_are_put_right_takes_what_waited(request, tmp_path):
    """Such as in the midst of somebody's migration, or before rights are given back: nothing may be set aside for that."""
    server = request.getfixturevalue("postgres_server")
    options = {"prefix": f"t{uuid.uuid4().hex[:16]}", "spool": str(tmp_path / "spool.db"), "retry_s": 0.1}
    store = open_store(server.url, get_plugin_manager(), options)
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute(f"ALTER TABLE {options['prefix']}_entries RENAME TO elsewhere")
        store.add_decisions(records("d"))
        store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])
        time.sleep(0.5)  # it is tried in vain
        assert store.experience().decisions == []
        admin.execute(f"ALTER TABLE elsewhere RENAME TO {options['prefix']}_entries")
    wait_until(lambda: not store._spool.first(1))
    assert store.health()["refused"] == 0
    assert ids(store) == (["d"], ["d/explicit"])
    store.drop()
    store.close()


def test_reading_beside_the_log_says_that_the_server_is_away(log, server):
    store = log()
    server.kill()
    for read in (store.pending, store.batch, lambda: store.snapshot("router"), lambda: store.forget("ann")):
        with pytest.raises(StoreAwayError, match="check that the server runs"):
            read()
    server.start()


def test_a_spool_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError, match="name another file by the option spool"):
        Spool(Path(tmp_path / "file" / "spool.db"), "aamc")
    (tmp_path / "no.db").write_text("no database, and longer than any header of one would be" * 20)
    with pytest.raises(StoreError, match="not a database"):
        Spool(tmp_path / "no.db", "aamc")
