"""What the logs on servers keep, among replicas and across restarts."""

from __future__ import annotations

import json
import multiprocessing
import random
import re
import socket
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import attrs
import numpy as np
import psycopg
import pytest
import redis
from aamc_experiments.off_policy import OUTCOME_COLUMNS, read_outcome_columns
from aamc_stores.redis_log import reader as redis_reader

from aamc_sdk.errors import ConfigError, ForkedError, StoreAwayError, StoreError, UnknownDecisionError
from aamc_sdk.interfaces import NoOptions, OnlineRouter
from aamc_sdk.log import open_store, row_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.serving import Learner
from aamc_sdk.storage import read_json, write_json
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Attempt, Decision, Feedback, Preference, Query, Records, Scores, Snapshot

DATA = Path(__file__).parent / "data"
CHOSEN, OTHER = POOL.names[0], POOL.names[1]
LONG = ("a" * 100, "b" * 300)
SERVED = {"alone": CHOSEN, "failed": CHOSEN, "judged": LONG[0], "replaced": LONG[1], "waits": CHOSEN}
"""Decisions, and the candidate that served each of them."""
WRITER = """
import sys
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.log.store_urls import open_store
from aamc_sdk.types import Feedback
url, prefix, spool, me, count = sys.argv[1:]
store = open_store(url, get_plugin_manager(), {"prefix": prefix, "spool": spool})
for n in range(int(count)):
    store.add_feedback([(Feedback(decision_id=f"d{n % 8}", quality=1.0, source=f"{me}-{n}"), None)])
store.close()
"""


def records(*names: str, user: str = "ann") -> Records:
    """Return decisions for the pool's first candidate."""
    request = make_request(make_dataset(len(names)))
    asked = attrs.evolve(request, queries=[Query("Hi", user=user, session="s")] * len(names))
    return Records([Decision(name, CHOSEN, 0.5, Preference(), {CHOSEN: 0.5, OTHER: 0.5}) for name in names], asked)


def ids(store, after=0, limit=1000):
    found = store.experience(after, limit)
    return [decision.id for decision in found.decisions], [feedback.id for feedback in found.feedback]


def test_a_log_is_as_it_was_when_it_is_opened_again(log):
    first = log()
    first.add_decisions(records("d", "e"))
    first.add_feedback([(Feedback(decision_id="d", quality=0.5), Attempt("d", 0, "", cost_usd=0.25))])
    first.add_feedback([(Feedback(decision_id="later", quality=1.0), None)])
    first.put_snapshot("router", Snapshot(4, b"\x00state", last="feedback/d/explicit"))
    again = log()
    assert ids(again) == (["d", "e"], ["d/explicit"])
    assert [(attempt.candidate, attempt.cost_usd) for attempt in again.experience().attempts] == [(CHOSEN, 0.25)]
    assert again.record("d").decision == first.record("d").decision
    assert [feedback.decision_id for feedback in again.pending()] == ["later"]
    assert again.snapshot("router") == Snapshot(4, b"\x00state", last="feedback/d/explicit")
    with pytest.raises(UnknownDecisionError, match="'nothing'"):
        again.record("nothing")


def test_decisions_come_in_log_order_whenever_they_were_made(log):
    store = log()
    for name in "zyxw":
        store.add_decisions(records(name))
    for name in "xzw":
        store.add_feedback([(Feedback(decision_id=name, quality=1.0), None)])
    assert ids(store, 4) == (["z", "x", "w"], ["x/explicit", "z/explicit", "w/explicit"])
    assert store.experience(3).made == 1
    assert [row.id for row in store.batch(3, 2).rows] == ["w", "x/explicit"]


def test_what_waits_goes_on_waiting_where_it_does_not_fit(log):
    store = log()
    store.add_feedback([(Feedback(decision_id="d", quality=1.0, candidate="nobody"), None)])
    store.add_feedback([(Feedback(decision_id="d", quality=0.5, source="judge"), None)])
    store.add_decisions(records("d"))
    assert ids(store)[1] == ["d/judge"]
    assert [feedback.candidate for feedback in store.pending()] == ["nobody"]
    assert store.add_feedback([(Feedback(decision_id="d", quality=0.25, candidate=OTHER, time=7.0), None)])[0]  # the same id, and it fits
    assert not store.pending()
    assert [(feedback.id, feedback.quality, feedback.time) for feedback in store.experience().feedback][1:] == [("d/explicit", 0.25, 7.0)]


def test_an_id_of_feedback_counts_once_whatever_it_judges(log):
    store = log()
    store.add_decisions(records("d", "e"))
    for name in ("thumb", "d/explicit"):
        store.add_feedback([(Feedback(decision_id="d", quality=1.0, id=name), None)])
        for revision in (0, 1):
            with pytest.raises(StoreError, match=f"'{name}' is in the log with other content, on another decision"):
                store.add_feedback([(Feedback(decision_id="e", quality=1.0, id=name, revision=revision), None)])
    store.add_feedback([(Feedback(decision_id="e", quality=1.0, id="d/judge"), None)])
    with pytest.raises(StoreError, match="'d/judge' is in the log with other content, on another decision"):
        store.add_feedback([(Feedback(decision_id="d", quality=1.0, source="judge"), None)])


def test_views_are_kept_by_position_and_epoch_and_the_oldest_go(log):
    store = log()
    for n in range(9):
        store.put_snapshot(f"router {n}", Snapshot(2, b"two"))
    store.put_snapshot("router 8", Snapshot(1, b"one"))
    store.put_snapshot("router 1", Snapshot(2, b"two"))  # renews it
    store.put_snapshot("router 9", Snapshot(2, b"two"))
    kept = [store.snapshot(f"router {n}") for n in (0, 1, 2, 8)]
    assert kept == [None, Snapshot(2, b"two"), None, Snapshot(2, b"two")]
    store.forget("ann")
    assert store.snapshot("router 8") is None
    store.put_snapshot("router 8", Snapshot(3, b"three"))
    assert store.snapshot("router 8") is None  # of a past epoch


def test_a_user_is_forgotten(log):
    store = log(store_text=True)
    store.add_decisions(records("d", "e"))
    store.add_decisions(records("f", user="bob"))
    assert store.record("d").query == Query("Hi", user="ann", session="s")
    assert store.forget("ann") == 2
    assert store.record("e").query == Query("", prompt_tokens=1)
    assert store.record("e").estimates.embedding is None
    assert store.record("f").query.user == "bob"
    assert store.experience().epoch == 1
    assert store.forget("ann") == 0
    assert set(store.forgotten(["ann", "bob"])) == {"ann"}


def test_a_user_of_many_decisions_is_forgotten_in_batches(log, monkeypatch):
    monkeypatch.setattr(row_store, "BATCH_ENTRIES", 2)
    store = log()
    store.add_decisions(records("a", "b", "c", "d"))
    erase, counts = store._erase, []
    monkeypatch.setattr(store, "_erase", lambda *arguments: counts.append(erase(*arguments)) or counts[-1])
    assert store.forget("ann") == 4
    assert [count for count, _ in counts] == [2, 2, 0]
    assert [query.user for query in store.experience().queries] == [None] * 4
    assert store.experience().epoch == 1


def test_a_user_is_found_by_an_index_of_postgres(request, tmp_path):
    server = request.getfixturevalue("postgres_server")
    store = open_store(server.url, get_plugin_manager(), {"prefix": "indexed", "spool": str(tmp_path / "spool.db")})
    store.add_decisions(records("d"))
    with psycopg.connect(server.url) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute("EXPLAIN SELECT * FROM indexed_entries WHERE user_id = 'ann'").fetchall()
    assert "indexed_entries_0_user_id_idx" in str(plan)
    store.drop()
    store.close()


def test_whatever_a_prompt_holds_its_user_is_forgotten(log):
    store = log(store_text=True)
    request = make_request(make_dataset(3))
    asked = [Query("a\0b", user="ann"), Query('he said "ann"', user="bob"), Query("Hi", user='"ann"')]
    decisions = [Decision(name, CHOSEN, 1.0, Preference()) for name in "def"]
    store.add_decisions(Records(decisions, attrs.evolve(request, queries=asked)))
    assert store.forget("ann") == 1
    assert [store.record(name).query.user for name in "def"] == [None, "bob", '"ann"']


def test_names_may_be_texts_of_numpy(log):
    store, name = log(), np.str_
    (plain,) = records("d")
    query = attrs.evolve(plain.query, user=name("ann"), tenant=name("acme"))
    store.add_decisions([attrs.evolve(plain, decision=attrs.evolve(plain.decision, id=name("d"), episode=name("e")), query=query)])
    store.add_feedback([(Feedback(decision_id=name("d"), quality=1.0, candidate=name(CHOSEN), source=name("judge")), None)])
    assert ids(store) == (["d"], ["d/judge"])
    assert (store.forget(name("ann"), name("acme")), store.record("d").query.user) == (1, None)


def test_a_stretch_says_what_it_follows(log):
    store = log()
    store.add_decisions(records("d", "e"))
    store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])
    names = ["decision/d", "decision/e", "feedback/d/explicit"]
    assert [(part.follows, part.last) for part in (store.experience(0, 2), store.experience(2), store.experience(3))] == [
        ("", names[1]),
        (names[1], names[2]),
        (names[2], names[2]),
    ]
    assert (store.experience(4).follows, store.experience(0, 0).follows) == ("", "")


class Counting(OnlineRouter):
    """Counts judgements by their quality."""

    snapshots = True

    def __init__(self, config, services) -> None:
        super().__init__(config, services)
        self.judged: dict[str, int] = {}

    def score(self, request):
        return Scores(np.zeros(request.mask.shape))

    def learn(self, experience) -> None:
        for feedback in experience.feedback:
            self.judged[str(feedback.quality)] = self.judged.get(str(feedback.quality), 0) + 1

    def save(self, folder) -> None:
        write_json(folder / "judged.json", self.judged)

    def load(self, folder) -> None:
        self.judged = read_json(folder / "judged.json")


def empty(store) -> None:
    """Leave nothing of a log, as a failover to a replica that knows nothing yet does, or a lost append-only file."""
    if store.url.startswith("redis"):
        store.drop()
    else:
        with store._writing() as connection:
            store._tables.run(connection, "TRUNCATE {entries}, {snapshots}, {erasures}; UPDATE {version} SET position = 0")


def test_a_log_that_was_emptied_is_learned_anew(log):
    store, router = log(), Counting(NoOptions(), None)
    learner = Learner(store, router, lambda _: None)
    store.add_decisions(records("d", "e"))
    for source in ("a", "b", "c"):
        store.add_feedback([(Feedback(decision_id="d", quality=1.0, source=source), None)])
    learner.flush(30)
    assert router.judged == {"1.0": 3}
    empty(store)
    store.add_decisions(records("f"))
    store.add_feedback([(Feedback(decision_id="f", quality=0.0), None)])
    learner.flush(30)
    learner.close()
    assert router.judged == {"0.0": 1}
    assert learner.position == 2


def test_threads_of_two_replicas_lose_nothing(log):
    stores = [log(), log()]
    stores[0].add_decisions(records(*(f"d{n}" for n in range(8))))
    given = [Feedback(decision_id=f"d{n % 8}", quality=1.0, source=f"{n // 2}") for n in range(400)]  # each piece twice
    with ThreadPoolExecutor(32) as threads:
        new = list(threads.map(lambda n: stores[n % 2].add_feedback([(given[n], None)])[0], range(400)))
    expected = {feedback.id for feedback in given}
    found = ids(stores[0])[1]
    assert len(found) == len(set(found)) == len(expected) == sum(new)
    assert set(found) == expected


def test_writers_take_turns_whatever_isolation_the_server_is_set_to(request, tmp_path):
    server = request.getfixturevalue("postgres_server")
    url = f"{server.url}?options=-c%20default_transaction_isolation%3Dserializable"
    options = {"prefix": f"t{uuid.uuid4().hex[:16]}", "timeout_s": 20.0}
    stores = [open_store(url, get_plugin_manager(), options | {"spool": str(tmp_path / f"{n}.db")}) for n in range(2)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda n: [stores[n].add_decisions(records(f"d{n}-{k}")) for k in range(40)], range(2)))
    assert [store._spool.first(1) for store in stores] == [[], []]  # nobody counted as away
    assert len(ids(stores[0])[0]) == 80
    stores[0].drop()
    for store in stores:
        store.close()


def test_several_processes_lose_nothing(log, server, tmp_path):
    store = log()
    store.add_decisions(records(*(f"d{n}" for n in range(8))))
    arguments = [server.url, store.config.prefix, str(tmp_path / "other.db")]
    processes = [subprocess.Popen([sys.executable, "-c", WRITER, *arguments, f"{me}", "50"]) for me in range(4)]
    assert [process.wait(120) for process in processes] == [0] * 4
    found = ids(store)[1]
    assert len(found) == len(set(found)) == 200


def test_several_logs_share_a_server(log, server, tmp_path):
    store = log()
    store.add_decisions(records("d"))
    other = open_store(server.url, get_plugin_manager(), {"prefix": "other_log", "spool": str(tmp_path / "other.db")})
    assert ids(other) == ([], [])
    other.drop()
    other.close()
    assert ids(store) == (["d"], [])


def write_old_log(server) -> None:
    """Put on a server what version 0.1 wrote there under the prefix ``old``: an entry of each kind, pending ones and a snapshot."""
    if server.url.startswith("postgres"):
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute((DATA / "postgres-2.sql").read_text())
        return
    with redis.Redis.from_url(server.url) as client:
        for key, (kind, value) in json.loads((DATA / "redis-1.json").read_text()).items():
            if kind == "string":
                client.set(key, value.encode("latin-1"))
            elif kind == "hash":
                client.hset(key, mapping={field.encode("latin-1"): text.encode("latin-1") for field, text in value.items()})
            else:
                (client.rpush if kind == "list" else client.sadd)(key, *(text.encode("latin-1") for text in value))


def test_a_log_of_version_0_1_keeps_every_entry(log, server):
    write_old_log(server)
    store = log(prefix="old", store_text=True)
    try:
        calls = [Attempt("d", 0, "b", error="timed out"), Attempt("d", 1, "a", 0.25, 20.0, 7), Attempt("d", 2, "a", 0.5)]
        assert ids(store) == (["d", "e", "f"], ["d/explicit", "e/judge"])
        assert repr(list(store.experience().attempts)) == repr(calls)  # NaN is unequal to itself
        assert [row.id for row in store.pending_rows()] == ["later/feedback/later/explicit", "later/explicit", "later/4"]
        assert (store.record("d").query.text, store.record("e").query.user) == ("What is it?", "bob")
        assert store.record("d").estimates.embedding.tolist() == [[0.5, -1.5]]
        assert np.isnan(store.record("f").decision.propensity)
        assert store.snapshot("router") == Snapshot(8, b"state", 1, "decision/f")
        assert set(store.forgotten(["eve", "ann"])) == {"eve"}
        assert store.add([(row,) for row in (*store.batch().rows, *store.pending_rows())]) == ([False] * 11, None)
        assert store.add_attempts([calls[0], Attempt("d")]) == [0, 3]
        assert store.add_feedback([(Feedback(decision_id="d", quality=0.5, revision=1), None)]) == [True]
        assert [feedback.quality for feedback in store.experience(8).replaced] == [1.0]
        with pytest.raises(StoreError, match="without its request's fingerprint"):
            store.add_decisions([attrs.evolve(store.record("d"), budget_usd=1.0)])
        assert store.forget("ann") == 2
        assert store.record("e").query.user == "bob"
        again = log(prefix="old")
        assert ids(again) == (["d", "e", "f"], ["d/explicit", "e/judge", "d/explicit"])
        expected = {"entries": 13, "position": 10, "pending_feedback": 1, "pending_attempts": 2, "snapshots": 0, "refused": 0, "away": 0}
        assert again.health().items() >= expected.items()
    finally:
        store.drop()


def test_revisions_may_wait_and_an_early_one_that_does_not_fit_is_not_replaced(log):
    store = log()
    first = Feedback(decision_id="d", quality=1.0, candidate="nobody")
    given = [first, attrs.evolve(first, candidate=None, quality=0.5, revision=1), attrs.evolve(first, candidate=OTHER, quality=0.0, revision=2)]
    assert store.add_feedback([(feedback, None) for feedback in given]) == [True] * 3
    store.add_decisions(records("d"))
    found = log().experience()
    assert [(feedback.candidate, feedback.quality) for feedback in found.feedback] == [(CHOSEN, 0.5), (OTHER, 0.0)]
    assert [feedback.quality for feedback in found.replaced] == [0.5]
    assert [feedback.quality for feedback in store.pending()] == [1.0]


def test_outcomes_are_those_of_a_log_in_memory(log, monkeypatch):
    monkeypatch.setattr(redis_reader, "_AT_ONCE", 3)  # entries of a decision come in several batches
    stores = [log(), open_store("memory:", get_plugin_manager())]
    for store in stores:
        store.add_feedback([(Feedback(decision_id="b", quality=0.25, time=1.0), None)])
        for n, name in enumerate("abcd"):
            (given,) = records(name)
            embedding = np.full((1, 2 + n), n + 0.5, dtype=np.float32) if n else None
            own = attrs.evolve(given.decision, time=10.0 + n)
            store.add_decisions([attrs.evolve(given, decision=own, estimates=attrs.evolve(given.estimates, embedding=embedding))])
        store.add_attempts([Attempt("a", cost_usd=0.5, latency_ms=7.0, output_tokens=3), Attempt("c", candidate=OTHER), Attempt("d", error="gone")])
        store.add_feedback([(Feedback(decision_id=name, quality=1.0, source="judge", time=20.0), None) for name in "ad"])
    for times in ((None, None), (11.0, 13.0), (50.0, None)):
        theirs, ours = (read_outcome_columns(store, OUTCOME_COLUMNS, *times) for store in stores)
        assert theirs.outcomes.decision_ids == ours.outcomes.decision_ids
        for name in ("propensity", "quality", "cost_usd", "latency_ms", "output_tokens", "judged", "failed", "fell_back", "compared"):
            np.testing.assert_array_equal(getattr(theirs.outcomes, name), getattr(ours.outcomes, name), err_msg=name)
            np.testing.assert_array_equal(getattr(stores[0].outcomes(*times), name), getattr(ours.outcomes, name), err_msg=name)
        for name in OUTCOME_COLUMNS:
            if isinstance(ours[name], np.ndarray):
                np.testing.assert_array_equal(theirs[name], ours[name], err_msg=name)
            else:
                assert list(theirs[name] or ()) == list(ours[name] or ()), name  # no embeddings are None


@pytest.mark.parametrize("path", ["routing", "0/1", "-1", "1x"])
def test_a_redis_database_that_is_no_number_is_refused(path, tmp_path):
    with pytest.raises(StoreError, match="is the number of a database") as raised:
        open_store(f"redis://secret:word@127.0.0.1:1/{path}", get_plugin_manager(), {"spool": str(tmp_path / "spool.db")})
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("url", ["redis://ann:secret@127.0.0.1:1/0?prefx=x", "postgres://ann:secret@127.0.0.1:1/none?prefx=x"])
def test_an_option_that_nobody_knows_is_named_and_the_server_is_not_blamed(url, tmp_path):
    with pytest.raises(ConfigError, match="has an option 'prefx'") as raised:
        open_store(url, get_plugin_manager(), {"spool": str(tmp_path / "spool.db")})
    assert "secret" not in str(raised.value)


def test_a_url_that_postgresql_cannot_read_is_refused_without_its_password(tmp_path):
    with pytest.raises(ConfigError, match="is not the URL of a PostgreSQL database") as raised:
        open_store("postgres://ann:sec%zzret@127.0.0.1:1/none", get_plugin_manager(), {"spool": str(tmp_path / "spool.db")})
    assert "sec" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["redis:ann:secret@host", "rediss:/ann:secret@h/0", "redis:ann@secret", "postgres:ann:secret@host/log", "postgresql:/ann:secret@host/log"]
)
def test_a_url_without_its_slashes_is_refused_without_its_password(url):
    with pytest.raises(ConfigError, match=r"the URL of store \w+ must have two slashes, such as \w+://HOST") as raised:
        open_store(url, get_plugin_manager())
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "address",
    [
        *("redis://ann:qq/zz@host/0", "redis://ann:qq#zz@host/0", "redis://ann:qq?zz@host/0", "redis://ann:12?zz=q@host/0"),
        *("postgres://ann:qq@zz@host/log", "postgres://ann:qq/zz@host/log", "postgres://ann:12?zz@host/log", "postgres://ann:12?zz=q@host/log"),
    ],
)
def test_a_special_character_in_a_password_is_refused_without_the_password(address):
    with pytest.raises((ConfigError, StoreError), match="write special characters of the password as %XX") as raised:
        open_store(address, get_plugin_manager())
    assert not {"qq", "zz"} & {*re.findall(r"\w+", str(raised.value))}


def test_a_prefix_that_is_no_name_is_refused(log):
    with pytest.raises(ConfigError, match="prefix"):
        log(prefix='x"; DROP TABLE')


def test_a_server_that_is_not_there_is_an_error_when_the_log_is_opened(tmp_path):
    for url in ("redis://127.0.0.1:1/0", "postgres://secret:word@127.0.0.1:1/none"):
        with pytest.raises(StoreError, match="check that the server runs") as raised:
            open_store(url, get_plugin_manager(), {"spool": str(tmp_path / "spool.db"), "timeout_s": 0.5})
        assert "secret" not in str(raised.value)


def test_the_log_agrees_with_the_one_in_memory_whatever_comes_in_whatever_order(log):
    """Decisions, judgements and attempts on a few decisions, with ids that repeat, candidates that do not exist, and early comers."""
    draws = random.Random(0)
    stores = [log(), open_store("memory:", get_plugin_manager())]
    for _ in range(300):
        step = [draws.choice("djja"), f"d{draws.randrange(12)}", draws.randrange(3), draws.choice([None, CHOSEN, OTHER, "nobody"])]
        outcomes = [_outcome(store, *step) for store in stores]
        assert outcomes[0] == outcomes[1], step
    found, expected = ([store.batch(0, 1000).rows, sorted(store.pending_rows(), key=lambda row: row.key)] for store in stores)
    for row, other in zip(found[0] + found[1], expected[0] + expected[1], strict=True):
        assert attrs.evolve(row, time=0.0) == attrs.evolve(other, time=0.0)
    assert len(found[0]) > 50
    assert stores[0].experience(10, 20).feedback == stores[1].experience(10, 20).feedback
    assert list(stores[0].experience(limit=1000).replaced) == list(stores[1].experience(limit=1000).replaced)
    stores[1].close()


def _outcome(store, kind, name, number, candidate):
    """Write something, and return what the store says to that."""
    try:
        if kind == "d":
            return store.add_decisions([records(name)[0]])
        if kind == "a":
            return store.add_attempts([Attempt(name, number, candidate or "", cost_usd=0.5 * number)])
        figures = Attempt(name, 0, candidate or "", cost_usd=0.25) if number == 2 else None
        source, revision = str(number % 2), number // 2
        feedback = Feedback(decision_id=name, quality=0.5 * number, candidate=candidate, source=source, time=1.0, revision=revision)
        return store.add_feedback([(feedback, figures)])
    except StoreError as error:
        return str(error)


def test_feedback_is_added_on_the_server_as_the_rules_would(log, monkeypatch):
    stores = [log(), open_store("memory:", get_plugin_manager())]
    feedback = [Feedback(decision_id=name, quality=0.25, weight=0.5, source="é", time=5.0) for name in SERVED]
    for store in stores:
        store.add_attempts([Attempt("waits", 3, "nobody", cost_usd=0.5)])
        store.add_decisions([attrs.evolve(each, candidates=(CHOSEN, OTHER, *LONG)) for each in records(*SERVED)])
        store.add_attempts([Attempt("judged", 0, OTHER, cost_usd=0.5), Attempt("failed", 0, OTHER, error='"status":"ok" "error":null')])
        store.add_feedback([(Feedback(decision_id="judged", quality=0.5, source="a", time=1.0), Attempt("judged", 1, LONG[0]))])
        store.add_feedback([(Feedback(decision_id="judged", quality=0.5, id="own", time=2.0), None)])
        store.add_attempts([Attempt("replaced", 0, OTHER), Attempt("replaced", 1, LONG[1]), Attempt("replaced", 2, CHOSEN, status="cancelled")])
        if store is stores[0]:
            monkeypatch.setattr(store, "_commit_by_rules", None)
        assert store.add_feedback([(each, None) for each in feedback]) == [True] * len(feedback)
    found, expected = ([attrs.evolve(row, time=0.0) for row in store.batch().rows] for store in stores)
    assert found == expected
    assert {row.decision_id: row.candidate for row in found[-len(SERVED) :]} == SERVED
    assert stores[0].health()["position"] == len(found)
    stores[1].close()


@pytest.mark.parametrize(
    ("feedback", "expected"),
    [
        ([("known", 0.5), ("d1", 0.5)], [False, True]),
        ([("d1", 0.5), ("unknown", 0.5)], [True, True]),
        ([("d1", 0.5), ("d1", 0.5)], [True, False]),
        ([("d1", 0.5), ("held", 0.5)], [True, False]),
    ],
    ids=["known", "of an unknown decision", "twice", "pending"],
)
def test_feedback_that_the_server_cannot_add_is_left_to_the_rules(log, feedback, expected):
    store = log()
    store.add_decisions(records("known", "d1"))
    judge(store, "known", "held")
    assert store.add_feedback([(Feedback(decision_id=name, quality=quality), None) for name, quality in feedback]) == expected
    assert store.health()["position"] == len(store.batch().rows)
    named = [row.id for row in store.batch().rows]
    assert len(named) == len(set(named))


def test_feedback_before_a_refused_one_is_added(log):
    store = log()
    store.add_decisions(records("known", "d1", "d2"))
    judge(store, "known", quality=0.5)
    with pytest.raises(StoreError, match="known/explicit"):
        judge(store, "d1", "known", "d2", quality=0.75)
    assert ids(store)[1] == ["known/explicit", "d1/explicit"]


def test_the_first_content_of_feedback_that_is_known_by_a_revision_is_refused(log):
    store = log()
    store.add_decisions(records("d1"))
    store.add_feedback([(Feedback(decision_id="d1", quality=0.5, revision=2), None)])
    with pytest.raises(StoreError, match=r"d1/explicit.*give a revision above 2"):
        judge(store, "d1")
    assert ids(store)[1] == ["d1/explicit"]


def judge(store, *names, quality=0.5):
    store.add_feedback([(Feedback(decision_id=name, quality=quality), None) for name in names])


def _use_in_child(store, results):
    for use in (lambda: store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)]), lambda: store.record("d"), store.close):
        try:
            use()
            results.put("")
        except (ForkedError, UnknownDecisionError) as error:
            results.put(type(error).__name__)


def test_a_forked_child_gets_an_error_and_leaves_its_parents_connections_alone(log, server):
    store = log()
    store.add_decisions(records("d"))
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_use_in_child, args=(store, results))
    child.start()
    reading = "" if server.url.startswith("redis") else "ForkedError"  # redis-py connects anew in a child
    assert [results.get(timeout=30) for _ in range(3)] == ["ForkedError", reading, ""]
    child.join(30)
    assert child.exitcode == 0
    assert store.record("d").decision.id == "d"


def test_pending_entries_expire(log):
    store = log()
    store.add_feedback([(Feedback(decision_id="typo", quality=1.0, time=1.0), Attempt("typo", cost_usd=1.0))])
    store.add_feedback([(Feedback(decision_id="typo", quality=0.5, revision=2, time=1.0), None)])
    store.add_feedback([(Feedback(decision_id="d", quality=1.0, time=1.0), None), (Feedback(decision_id="late", quality=1.0), None)])
    store.add_decisions(records("d"))
    assert store.expire_pending() == 2
    assert [feedback.decision_id for feedback in store.pending()] == ["late"]
    assert store.health()["pending_attempts"] == 1  # it was made just now
    store.add_decisions(records("typo", "late"))
    assert ids(store)[1] == ["d/explicit", "late/explicit"]
    assert store.add_feedback([(Feedback(decision_id="typo", quality=0.25), None)]) == [True]


def test_a_worker_whose_clock_is_wrong_deletes_no_pending_entries_and_warns_of_no_partition(log, monkeypatch, caplog):
    now = time.time()
    log().add_feedback([(Feedback(decision_id="late", quality=1.0, time=now), None)])
    for ahead_s in (40 * 86_400, -40 * 86_400):
        monkeypatch.setattr(time, "time", lambda ahead_s=ahead_s: now + ahead_s)
        store = log(retention={"days": 365})
        store.add_decisions(records(f"d{ahead_s}"))
        assert (store.expire_pending(), store.retain()) == (0, 0)
    assert "in the future" not in caplog.text


def test_the_usual_scheme_of_postgresql_names_the_same_log(postgres_server, prefix, tmp_path):
    def opened(url):
        return open_store(url, get_plugin_manager(), {"prefix": prefix, "spool": str(tmp_path / "spool.db")})

    with closing(opened(postgres_server.url)) as store, closing(opened(postgres_server.url.replace("postgres://", "postgresql://"))) as same:
        store.add_decisions(records("d"))
        assert same.record("d").decision.id == "d"
        same.drop()


def test_rediss_speaks_tls(prefix, tmp_path):
    options = {"prefix": prefix, "spool": str(tmp_path / "spool.db"), "timeout_s": 0.5}
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as threads:
        server.settimeout(60)
        opening = threads.submit(open_store, f"rediss://127.0.0.1:{server.getsockname()[1]}", get_plugin_manager(), options)
        connection, _ = server.accept()
        with connection:
            assert connection.recv(1) == b"\x16"  # a handshake of TLS
        with pytest.raises(StoreAwayError):
            opening.result(60)


@pytest.mark.parametrize(
    ("parameter", "error"),
    [
        ("ssl_ca_certs=/nowhere.pem", "ssl_ca_certs of .* must be a file, not '/nowhere.pem'"),
        ("ssl_cert_reqs=maybe", "not the URL of a Redis server.*maybe"),
    ],
)
def test_a_wrong_parameter_of_tls_is_named(parameter, error, tmp_path):
    with pytest.raises((ConfigError, StoreError), match=error):
        open_store(f"rediss://127.0.0.1:9/0?{parameter}", get_plugin_manager(), {"spool": str(tmp_path / "spool.db")})
