"""Entries on one decision reach the log in the order in which they were acknowledged, whether they waited in the spool or not."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aamc_stores.shared_store import SharedOptions, SharedStore
from aamc_stores.spool import SpoolError
from waiting import wait_until

from aamc_sdk.errors import StoreAwayError, StoreError, UnknownDecisionError
from aamc_sdk.interfaces import Store
from aamc_sdk.log import DECISION, Batch, Row, Write
from aamc_sdk.log.memory import MemoryLog
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Attempt, Decision, Feedback, Preference, Records

CHOSEN, FALLBACK = POOL.names[:2]
RETRY_S = 600.0
"""The test says when the server is tried again."""


def decided(*names: str) -> Records:
    return Records([Decision(name, CHOSEN, 1.0, Preference()) for name in names], make_request(make_dataset(len(names))))


def judged(name: str, quality: float = 1.0, **fields: Any) -> list[tuple[Feedback, None]]:
    return [(Feedback(decision_id=name, quality=quality, **fields), None)]


_one_at_a_time = threading.Lock()


class StoreDouble(SharedStore):
    """A process's store on a server in memory.

    Attributes:
        server: The entries, which several stores may share.
        away: Whether this process does not reach the server.
        read_only: Whether the server takes no writes.
        unable: Text of ids that the server cannot hold.
        after_find: Called once, after the next search for a decision.
        commits: The decisions of each commit.
        askers: The threads that asked the server while it was away.
        flushed: Set once the delivering thread has looked for entries of earlier processes, as it does at the start.
    """

    away = read_only = False
    unable = "\0"

    def __init__(self, server: MemoryLog, spool: Path, retry_s: float = RETRY_S) -> None:
        self.server, self.after_find, self.commits, self.askers = server, lambda: None, [], []
        self.flushed = threading.Event()
        super().__init__("double://host", SharedOptions(spool=str(spool), retry_s=retry_s))

    def flush(self) -> None:
        super().flush()
        self.flushed.set()

    def reach(self) -> None:
        """Let this process reach the server, and try it with its next write; what waits is not delivered by itself."""
        self.away = self.read_only = False
        self._absence, self._is_unreadable = "", False

    def _check_away(self, away: bool) -> None:
        if away:
            self.askers.append(threading.current_thread().name)
            raise StoreAwayError("away")

    def _add_plain(self, feedback: Sequence[Feedback]) -> bool:
        return False

    def _commit_by_rules(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        self._check_away(self.away or self.read_only)
        if any(self.unable in name for write in writes for name in write.feedback):
            raise StoreError("an index row is too long")
        self.commits.append([name for write in writes for name in write.decisions])
        with _one_at_a_time:
            return [self._result(write) for write in writes]

    def _result(self, write: Write[Any]) -> Any:
        try:
            return write.run(self.server)
        except StoreError as refusal:
            return refusal

    def _find(self, decision_id: str) -> Row | None:
        self._check_away(self.away)
        found = self.server.find(DECISION, decision_id)
        meanwhile, self.after_find = self.after_find, lambda: None
        meanwhile()
        return found[0] if found else None

    def batch(self, after: int = 0, limit: int = 1000) -> Batch:
        self._check_away(self.away)
        return self.server.batch(after, limit)

    def _counts(self) -> tuple[int, int]:
        self._check_away(self.away)
        return len(self.server), 0

    def pending_rows(self) -> Sequence[Row]:
        return list(self.server.added_pending.values())

    def _connect(self) -> None: ...
    def _disconnect(self) -> None: ...
    def _find_episode(self, episode_id: str) -> Sequence[Row]: ...
    def _oldest_to_drop(self) -> None: ...
    def _drop_part(self, oldest: object) -> None: ...
    def _drop_expired(self) -> None: ...
    def drop(self) -> None: ...
    def snapshot(self, name: str) -> None: ...
    def put_snapshot(self, name: str, snapshot: object) -> None: ...
    def _forgotten_digests(self) -> dict[str, float]:
        return {}


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[[], StoreDouble]]:
    """Start a process; all of them share a server and a spool."""
    server, opened = MemoryLog(), []

    def start() -> StoreDouble:
        opened.append(StoreDouble(server, tmp_path / "spool.db"))
        wait_until(lambda: not opened[-1]._spooled.is_set())  # it has looked for what an earlier one left
        return opened[-1]

    yield start
    for store in opened:
        store.close()


def entries(store: Store, decision_id: str = "d") -> list[str]:
    """Return the ids of a decision's entries, and the candidates of its attempts, in the order of the log."""
    rows = [row for _, row in store.placed() if row.decision_id == decision_id]
    return [row.id if row.kind != "attempt" else f"{row.candidate}" for row in rows]


def candidates(store: Store) -> dict[str, str]:
    """Return the candidate of each piece of feedback."""
    return {feedback.id: feedback.candidate for feedback in store.experience().feedback}


def answer_by_fallback(store: Store, *names: str) -> None:
    """Make decisions whose chosen candidate fails, and another answers."""
    store.add_decisions(decided(*names))
    for name in names:
        store.add_attempts([Attempt(name, 0, CHOSEN, status="error")])
        store.add_attempts([Attempt(name, 1, FALLBACK, cost_usd=0.001)])


@pytest.mark.parametrize("same_process", [True, False])
def test_feedback_after_an_outage_is_on_the_candidate_that_answered(process, same_process):
    store, other = process(), process()
    store.away = True
    answer_by_fallback(store, "d", "e")
    writer = store if same_process else other
    store.reach()
    assert writer.add_feedback(judged("d")) == [True]
    assert candidates(other) == {"d/explicit": FALLBACK}
    assert entries(other) == ["d", CHOSEN, FALLBACK, "d/explicit"]
    writer.flush()
    assert writer.add_feedback(judged("e")) == [True]
    assert candidates(other) == {"d/explicit": FALLBACK, "e/explicit": FALLBACK}
    assert other.health().items() >= {"spooled": 0, "refused": 0}.items()


def test_a_write_learns_what_the_entries_before_it_have_made_of_the_log(process):
    store, other = process(), process()
    store.away = True
    answer_by_fallback(store, "d")
    store.add_feedback(judged("d"))
    assert other.add_feedback(judged("d")) == [False]
    assert other.add_attempts([Attempt("d", candidate=FALLBACK)]) == [2]
    with pytest.raises(StoreError, match="other content"):
        other.add_feedback(judged("d", quality=0.0))


def test_what_waits_on_other_decisions_keeps_no_write_waiting(process):
    store, other = process(), process()
    store.away = True
    store.add_decisions(decided("d"))
    other.add_decisions(decided("e"))
    assert other.commits[0] == ["e"]
    wait_until(lambda: other._spool.is_empty)  # it helps to deliver the rest, as the other process may have ended
    assert other.commits[1:] == [["d"]]


def test_both_revisions_of_feedback_are_kept_when_the_first_waits(process):
    store, other = process(), process()
    store.add_decisions(decided("d"))
    store.away = True
    store.add_feedback(judged("d", quality=0.0))
    assert other.add_feedback(judged("d", revision=1)) == [True]
    other.flush()
    store.reach()
    store.flush()
    assert [row.revision for _, row in other.placed() if row.kind == "feedback"] == [0, 1]
    assert store.health().items() >= {"spooled": 0, "refused": 0}.items()


def test_one_id_of_feedback_on_two_decisions_is_the_first_ones(process):
    store, other = process(), process()
    store.away = True
    answer_by_fallback(store, "d")
    store.add_feedback(judged("d", id="thumb"))
    with pytest.raises(StoreError, match="'thumb' is in the log with other content"):
        other.add_feedback(judged("e", id="thumb"))
    assert candidates(other) == {"thumb": FALLBACK}


def test_feedback_given_before_its_decision_keeps_its_order(process):
    store, other = process(), process()
    store.away = True
    store.add_feedback(judged("d"))
    other.add_decisions(decided("d"))
    other.add_feedback(judged("d", source="judge"))
    assert entries(other) == ["d", "d/explicit", "d/judge"]


def test_a_server_that_goes_again_finds_the_write_in_the_spool_after_the_earlier_ones(process):
    store, other = process(), process()
    store.away = True
    answer_by_fallback(store, "d")
    other.read_only = True
    assert other.add_feedback(judged("d")) == [True]
    other.reach()
    other.flush()
    assert entries(other) == ["d", CHOSEN, FALLBACK, "d/explicit"]
    assert candidates(other) == {"d/explicit": FALLBACK}


@pytest.mark.parametrize("why", ["refused", "unable"])
def test_an_entry_that_the_server_never_takes_hinders_no_write_on_its_decision(process, caplog, why):
    store, other = process(), process()
    store.add_decisions(decided("d"))
    store.away, other.unable = True, "endless"
    store.add_feedback(judged("d", source="endless" if why == "unable" else "wrong", candidate=None if why == "unable" else "nobody"))
    store.add_feedback(judged("d", source="later"))
    assert other.add_feedback(judged("d")) == [True]
    assert entries(other) == ["d", "d/later", "d/explicit"]
    assert other.health().items() >= {"spooled": 0, "refused": 1}.items()
    assert "waited in" in caplog.text


def test_a_spool_that_breaks_keeps_nobody_from_writing_to_the_server(process, tmp_path, caplog):
    store = process()
    with closing(sqlite3.connect(tmp_path / "spool.db")) as other, other:
        other.execute("DROP TABLE spool")
    store.add_decisions(decided("d"))
    assert store.add_feedback(judged("d")) == [True]
    assert caplog.text.count("do not reach the log") == 1


def test_many_threads_and_processes_keep_the_order_while_the_spool_is_delivered(process):
    names = [f"d{n}" for n in range(200)]
    store, other = process(), process()
    store.away = True
    answer_by_fallback(store, *names)
    store.reach()
    store._spooled.set()

    def judge(writer: StoreDouble, own: list[str]) -> None:
        for name in own:
            writer.add_feedback(judged(name))

    threads = [threading.Thread(target=judge, args=(writer, names[start::4])) for start, writer in enumerate((store, other, store, other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(candidates(other).values()) == {FALLBACK}
    assert len(candidates(other)) == 200
    wait_until(lambda: store._spool.is_empty)
    assert store.health()["refused"] == 0


def test_once_the_server_is_away_only_the_delivering_thread_asks_it(tmp_path):
    with closing(StoreDouble(MemoryLog(), tmp_path / "spool.db", retry_s=0.001)) as store:
        assert store.flushed.wait(60)
        store.away = True
        store.add_decisions(decided("first"))
        store.askers.clear()
        for n in range(20):
            time.sleep(0.005)
            store.add_decisions(decided(f"d{n}"))
            with pytest.raises(StoreAwayError):
                store.record("elsewhere")
            assert store.health()["away"] == 1
        assert set(store.askers) == {"aamc-spool"}
        store.away = False
        wait_until(lambda: store.health()["away"] == store.health()["spooled"] == 0)
        assert len(store.experience().decisions) == 21


def test_a_server_that_takes_no_writes_still_knows_its_decisions(process):
    store = process()
    store.add_decisions(decided("before"))
    store.read_only = True
    store.add_decisions(decided("during"))
    assert store.record("before").decision.id == "before"
    assert store.add_decisions(decided("before"))[0].id == "before"


def test_a_spool_that_cannot_be_read_does_not_make_the_server_away(process, monkeypatch):
    def broken(decision_id: str) -> None:
        raise SpoolError("the spool cannot be read")

    store = process()
    monkeypatch.setattr(store._spool, "decision", broken)
    with pytest.raises(SpoolError):
        store.record("nobody")
    assert store.health()["away"] == 0


def test_a_group_that_waited_for_a_server_that_is_away_does_not_ask_it_again(process):
    store = process()
    assert store.flushed.wait(60)
    hangs, asked = threading.Event(), threading.Event()

    def commit(writes: Sequence[Write[Any]]) -> Sequence[Any]:
        store.askers.append(threading.current_thread().name)
        asked.set()
        hangs.wait(60)
        raise StoreAwayError("it does not answer")

    store._commit_by_rules = commit
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(store.add_decisions, decided("first"))
        assert asked.wait(60)
        others = [threads.submit(store.add_decisions, decided(f"d{n}")) for n in range(8)]
        wait_until(lambda: store._writer.queued >= 8)
        hangs.set()
        for each in (first, *others):
            each.result(60)
    assert [name for name in store.askers if name != "aamc-spool"] == store.askers[:1]
    del store._commit_by_rules


def test_a_decision_that_is_delivered_during_the_search_is_found(process):
    store, other = process(), process()
    store.away = True
    store.add_decisions(decided("d"))
    other.after_find = other.flush
    assert other.record("d").decision.id == "d"
    assert other._spool.is_empty
    with pytest.raises(UnknownDecisionError):
        other.record("e")


def test_servers_take_writes_after_what_waits_on_the_same_decisions(log, server):
    store, other = log(retry_s=RETRY_S), log(retry_s=RETRY_S)
    store.add_decisions(decided("before"))
    server.kill()
    answer_by_fallback(store, "d", "e")
    store.add_feedback(judged("before", quality=0.0))
    server.start()
    assert store._spool.counts() == (7, 0)
    assert other.add_feedback(judged("e")) == [True]
    assert other.add_feedback(judged("before", revision=1)) == [True]
    store._absence, store._is_unreadable = "", False
    assert store.add_feedback(judged("d")) == [True]
    wait_until(lambda: store._spool.is_empty)
    assert candidates(store) == {"before/explicit": CHOSEN, "e/explicit": FALLBACK, "d/explicit": FALLBACK}
    assert [row.revision for _, row in store.placed() if row.id == "before/explicit"] == [0, 1]
    assert other.health().items() >= {"refused": 0, "spooled": 0}.items()
    assert store.health()["away"] == 0
