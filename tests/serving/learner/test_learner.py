"""Learning from the log: restarts, snapshots, and forgetting."""

from __future__ import annotations

import errno
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from aamc_sdk.errors import PluginError, StoreAwayError, StoreError
from aamc_sdk.interfaces import NoOptions, OnlineRouter, Router, Store
from aamc_sdk.log import MemoryStore, StoreOptions, open_store
from aamc_sdk.plugins import Plugins
from aamc_sdk.serving import Learner, state_of
from aamc_sdk.serving.learner import learner as learning
from aamc_sdk.serving.learner import log_consumer
from aamc_sdk.serving.learner import snapshots as keeping
from aamc_sdk.serving.learner.component_state import restore, state_name
from aamc_sdk.storage import read_json, write_json
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Decision, Experience, Feedback, Preference, Query, Records, Scores, Snapshot


class Tally(OnlineRouter):
    """Counts the decisions, the feedback by user, and the batches that it learns."""

    snapshots = True

    def __init__(self, config: Any = None, services: Any = None) -> None:
        super().__init__(config or NoOptions(), services)
        self.made = self.batches = 0
        self.judged: dict[str, float] = {}

    def score(self, request: Any) -> Scores:
        return Scores(np.zeros(request.mask.shape))

    def learn(self, experience: Any) -> None:
        self.batches += 1
        self.made += experience.made
        users = {decision.id: query.user or "nobody" for decision, query in zip(experience.decisions, experience.queries, strict=True)}
        for feedback in experience.feedback:
            user = users[feedback.decision_id]
            self.judged[user] = self.judged.get(user, 0.0) + feedback.quality

    def save(self, folder: Path) -> None:
        write_json(folder / "tally.json", {"made": self.made, "judged": self.judged})

    def load(self, folder: Path) -> None:
        saved = read_json(folder / "tally.json")
        self.made, self.judged = saved["made"], saved["judged"]


class Slow(Tally):
    """Learns once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_learn = threading.Event()

    def learn(self, experience: Any) -> None:
        self.may_learn.wait()
        super().learn(experience)


class Unsaved(Tally):
    """Has no snapshots: its state is the log alone."""

    snapshots = False

    save = Router.save
    load = Router.load


@pytest.fixture
def store() -> Iterator[Store]:
    opened = open_store("memory:", Plugins())
    yield opened
    opened.close()


def judge(store: Store, *names: str) -> None:
    """Log a decision of each name's first letter, and feedback 0.5 on it."""
    request = make_request(make_dataset(len(names)))
    asked = attrs.evolve(request, queries=[Query("Hi", user=name[0]) for name in names])
    decisions = [Decision(name, POOL.names[0], 1.0, Preference(), time=time.time()) for name in names]
    store.add_decisions(Records(decisions, asked))
    for name in names:
        store.add_feedback([(Feedback(decision_id=name, quality=0.5), None)])


def test_closing_says_what_it_waits_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    router = Slow()
    monkeypatch.setattr(learning, "SLOW_CLOSE_S", 0.0)
    monkeypatch.setattr(learning.logger, "warning", lambda text, *given: (said.append(text % given), router.may_learn.set()))
    said: list[str] = []
    learner = Learner(store, router, lambda _: None)
    judge(store, "anna")
    learner.close()
    assert said == ["closing waits for Slow to learn the log; it is at position 0"]
    assert router.made == 1


def test_no_timer_outlives_closing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(timeout: float) -> None:
        raise KeyboardInterrupt

    learner = Learner(store, Tally(), lambda _: None)
    with monkeypatch.context() as changed:
        changed.setattr(learner, "flush", interrupted)
        with pytest.raises(KeyboardInterrupt):
            learner.close()
    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())
    learner.close()
    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())


def learned(store: Store, router: Tally) -> Tally:
    """Let a router learn the whole log, and return it."""
    Learner(store, router, lambda _: None).close()
    return router


def test_a_restart_learns_only_what_came_after_the_view(store: Store) -> None:
    judge(store, "ann1", "bob1", "ann2")
    first = learned(store, Tally())
    assert (first.made, first.judged, first.batches) == (3, {"a": 1.0, "b": 0.5}, 1)
    unchanged = learned(store, Tally())
    assert (unchanged.made, unchanged.judged, unchanged.batches) == (3, {"a": 1.0, "b": 0.5}, 0)
    judge(store, "bob2")
    second = learned(store, Tally())
    assert (second.made, second.judged, second.batches) == (4, {"a": 1.0, "b": 1.0}, 1)


def test_a_view_is_kept_as_learning_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "SNAPSHOT_EVERY", 4)
    monkeypatch.setattr(log_consumer, "BATCH", 1)
    judge(store, "ann1", "bob1", "ann2")  # 6 entries
    router = Tally()
    name = state_name(router, state_of(router))
    learner = Learner(store, router, lambda _: None)
    kept = store.snapshot(name)  # as a killed process would leave it
    learner.close()
    assert kept is not None
    assert kept.position == 4
    restore(router, kept.content)
    assert (router.made, router.judged) == (3, {"a": 0.5})


def test_a_router_that_saves_nothing_learns_the_log_again(store: Store) -> None:
    judge(store, "ann1", "bob1")
    learned(store, Unsaved())
    assert learned(store, Unsaved()).judged == {"a": 0.5, "b": 0.5}


def test_routers_of_other_states_have_views_of_their_own(store: Store) -> None:
    judge(store, "ann1")
    trained = Tally()
    trained.made = 100
    learned(store, Tally())
    assert learned(store, trained).made == 101


def test_a_view_that_cannot_be_read_is_learned_again(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    judge(store, "ann1", "bob1")
    store.put_snapshot(state_name(Tally(), state_of(Tally())), Snapshot(2, b"no archive"))
    assert learned(store, Tally()).judged == {"a": 0.5, "b": 0.5}
    assert "cannot be read" in caplog.text


def test_who_is_forgotten_is_learned_from_as_nobody(store: Store) -> None:
    judge(store, "ann1", "bob1", "ann2")
    router, told = Tally(), []
    learner = Learner(store, router, told.append)
    judge(store, "bob2")
    learner.flush(60)
    store.forget("a")
    learner.flush(60)
    assert (router.made, router.judged) == (4, {"nobody": 1.0, "b": 1.0})
    judge(store, "ann3")
    learner.flush(60)
    learner.close()
    assert router.judged == {"nobody": 1.0, "b": 1.0, "a": 0.5}
    assert [feedback.decision_id for feedback in told] == ["bob2", "ann3"]  # nothing is told twice
    again = learned(store, Tally())
    assert (again.judged, again.batches) == (router.judged, 0)


def test_a_view_that_cannot_be_kept_costs_nothing_but_time(store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(name: str, view: Snapshot) -> None:
        raise StoreError("the disk is full")

    judge(store, "ann1")
    monkeypatch.setattr(store, "put_snapshot", refuse)
    with caplog.at_level(logging.WARNING):
        assert learned(store, Tally()).judged == {"a": 0.5}
    assert "the disk is full" in caplog.text
    assert learned(store, Tally()).judged == {"a": 0.5}


def test_a_folder_of_temporary_files_that_is_full_for_a_moment_does_not_end_learning(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class OnADisk(Tally):
        full = False

        def save(self, folder: Path) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            super().save(folder)

    for name, value in {"SNAPSHOT_EVERY": 1, "DELTA_EVERY": 1, "RETRY_S": 0.0}.items():
        monkeypatch.setattr(keeping, name, value)
    router = OnADisk()
    with closing(Learner(store, router, lambda _: None)) as learner:
        router.full = True
        judge(store, "ann1")
        learner.flush(60)
        assert learner.health()["snapshot_age_s"] > 0
        router.full = False
        judge(store, "ann2")
        learner.flush(60)
        assert learner.health()["snapshot_age_s"] == 0
    assert router.judged == {"a": 1.0}


@pytest.mark.parametrize("failure", [ValueError, SystemExit])
def test_a_last_save_that_fails_is_a_warning(failure: type[BaseException], store: Store, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Tally):
        def save(self, folder: Path) -> None:
            if self.made:
                raise failure("no")
            super().save(folder)

    learner = Learner(store, Failing(), lambda _: None)
    judge(store, "ann1")
    learner.flush(60)
    learner.close()
    assert "the router's state could not be saved: " in caplog.text
    assert learned(store, Tally()).judged == {"a": 0.5}


def test_a_long_replay_tells_how_far_it_is(store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(learning, "PROGRESS_S", 0.0)
    monkeypatch.setattr(learning, "FEW_POSITIONS", 3)
    monkeypatch.setattr(log_consumer, "BATCH", 1)
    judge(store, "ann1", "bob1", "ann2")
    learned(store, Tally())
    assert [record.getMessage() for record in caplog.records] == [f"learning the log {store.name}: {done} of 6 entries" for done in (1, 2)]


def test_closing_leaves_a_long_rest_of_the_log_to_the_next_start(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Tally):
        pause_s = 0.02

        def learn(self, experience: Any) -> None:
            time.sleep(self.pause_s)
            super().learn(experience)

    monkeypatch.setattr(learning, "CLOSE_S", 0.1)
    monkeypatch.setattr(log_consumer, "BATCH", 1)
    learner = Learner(store, slow := Slow(), lambda _: None)
    judge(store, *(f"ann{number}" for number in range(50)))
    learner.close()
    assert 0 < slow.made < 50
    Slow.pause_s = 0.0
    rest = learned(store, Slow())
    assert (rest.made, rest.judged) == (50, {"a": 25.0})
    assert 0 < rest.batches < 100


def test_a_log_that_lost_entries_is_learned_again(tmp_path: Path) -> None:
    """As after a failover to a replica without the last writes, before or after an equal number of new ones."""
    with closing(open_store(f"sqlite:{tmp_path / 'log.db'}", Plugins())) as log:
        judge(log, "ann1", "bob1", "ann2")
        router = Tally()
        learner = Learner(log, router, lambda _: None)
        with closing(sqlite3.connect(tmp_path / "log.db")) as server, server:
            server.execute("DELETE FROM entries WHERE id LIKE 'ann%'")
            server.execute("UPDATE entries SET position = (SELECT count(*) FROM entries AS other WHERE other.position <= entries.position)")
        learner.flush(60)
        assert router.judged == {"b": 0.5}
        judge(log, "cat1", "cat2")  # as many entries as before
        learner.flush(60)
        learner.close()
        assert router.judged == {"b": 0.5, "c": 1.0}
        with closing(sqlite3.connect(tmp_path / "log.db")) as server, server:
            server.execute("DELETE FROM entries")
        judge(log, "eve1", "eve2", "eve3", "eve4")  # more than the view knows
        assert learned(log, Tally()).judged == {"e": 2.0}


def test_forgotten_users_are_known_before_the_first_entry(store: Store) -> None:
    class Personal(Tally):
        def prepare_replay(self, log: Store) -> None:
            for user in log.forgotten(list(self.judged)):
                del self.judged[user]

    router = Personal()
    router.judged = {"a": 7.0, "b": 8.0}  # from elsewhere
    judge(store, "ann1", "bob1")
    learner = Learner(store, router, lambda _: None)
    assert router.judged == {"a": 7.5, "b": 8.5}
    store.forget("a")
    learner.flush(60)
    learner.close()
    assert router.judged == {"b": 8.5, "nobody": 0.5}
    again = Personal()
    again.judged = {"a": 7.0, "b": 8.0}
    assert learned(store, again).judged == {"b": 8.5, "nobody": 0.5}


def test_a_router_that_saves_nothing_stops_where_it_would_have_to_go_back(store: Store) -> None:
    judge(store, "ann1")
    learner = Learner(store, Unsaved(), lambda _: None)
    store.forget("a")
    with pytest.raises(PluginError, match="it has no snapshots; restart the program"):
        learner.flush(60)
    learner.close()
    assert learned(store, Unsaved()).judged == {"nobody": 0.5}


def test_a_log_that_is_away_is_learned_when_it_is_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    router = Tally()
    learner = Learner(store, router, lambda _: None)
    with monkeypatch.context() as away:
        away.setattr(store, "experience", lambda *_: (_ for _ in ()).throw(StoreAwayError("nobody answers")))
        learner.flush(60)
        judge(store, "ann1")
    learner.flush(60)
    learner.close()
    assert router.judged == {"a": 0.5}


def test_another_state_schema_has_a_snapshot_of_its_own() -> None:
    class Later(Tally):
        state_schema = 2

    Later.__qualname__ = Tally.__qualname__
    assert state_name(Tally(), b"state") == state_name(Tally(), b"state")
    assert state_name(Later(), b"state") != state_name(Tally(), b"state")


@attrs.frozen
class Inner:
    size: int = 4


@attrs.frozen
class Options:
    memory: float = 0.9
    inner: Inner = Inner(5)


@attrs.frozen
class LaterInner(Inner):
    depth: int = 2


@attrs.frozen
class LaterOptions:
    limit: float = 500.0
    inner: LaterInner = LaterInner(5)
    memory: float = 0.9


def test_an_option_that_a_release_adds_leaves_the_name_of_the_state_as_it_is() -> None:
    def name(options: object) -> str:
        return state_name(Tally(options), b"state")

    for at_default, later in ((Options(), LaterOptions()), (Options(0.5, Inner(3)), LaterOptions(memory=0.5, inner=LaterInner(3)))):
        assert name(later) == name(at_default)
    assert len({name(options) for options in (Options(), LaterOptions(limit=1.0), Options(0.5), Options(inner=Inner()))}) == 4


def test_options_that_only_score_leave_the_name_of_the_state_as_it_is() -> None:
    @attrs.frozen
    class Weights:
        weight: float = 1.0
        memory: float = 0.9

    class Listed(Tally):
        state_options = ("memory",)

    def name(router: type[Tally], **options: float) -> str:
        return state_name(router(Weights(**options)), b"state")

    assert name(Listed, weight=2.0) == name(Listed)
    assert name(Listed, memory=0.5) != name(Listed)
    assert name(Tally, weight=2.0) != name(Tally)
    Listed.state_options = ("memmory",)
    with pytest.raises(PluginError, match="state_options names the unknown option 'memmory'; did you mean 'memory'"):
        name(Listed)


def test_an_upgrade_with_the_same_schema_learns_nothing_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    judge(store, "ann1", "bob1")
    learned(store, Tally())
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99.0")
    upgraded = learned(store, Tally())
    assert (upgraded.judged, upgraded.batches) == ({"a": 0.5, "b": 0.5}, 0)


def test_a_state_is_the_same_for_the_same_files() -> None:
    one, other = Tally(), Tally()
    assert state_of(one) == state_of(other)
    other.made = 1
    assert state_of(one) != state_of(other)
    restore(one, state_of(other))
    assert one.made == 1


def test_closing_learns_first_what_the_log_holds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "POLL_S", 60.0)
    router = Tally()
    learner = Learner(store, router, lambda _: None)
    judge(store, *(f"ann{number}" for number in range(1500)))  # more than a batch, without a notification
    learner.close()
    assert router.judged == {"a": 750.0}


def test_the_served_router_keeps_what_it_knows_until_the_log_is_learned_again(store: Store) -> None:
    seen: list[dict[str, float]] = []

    class Watching(Tally):
        def learn(self, experience: Any) -> None:
            seen.append(dict(router.judged))  # of the router that serves
            super().learn(experience)

    router = Watching()
    judge(store, "ann1", "bob1", "bob2")
    learner = Learner(store, router, lambda _: None)
    seen.clear()
    store.forget("a")
    learner.flush(60)
    learner.close()
    assert seen
    assert all(known == {"a": 0.5, "b": 1.0} for known in seen)
    assert router.judged == {"nobody": 0.5, "b": 1.0}


def test_a_failure_while_the_log_is_learned_again_leaves_the_served_router_as_it_is(store: Store) -> None:
    class Once(Tally):
        failing = False

        def learn(self, experience: Any) -> None:
            if Once.failing:
                raise ValueError("no")
            super().learn(experience)

    judge(store, "ann1", "bob1")
    router = Once()
    learner = Learner(store, router, lambda _: None)
    Once.failing = True
    store.forget("a")
    with pytest.raises(PluginError, match="failed to learn"):
        learner.flush(60)
    learner.close()
    assert router.judged == {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize(
    ("experience", "message"),
    [
        (lambda *_: {}["table"], r"StoreError\(\"{store} failed: KeyError: 'table'\"\)"),
        (lambda *_: None, r"PluginError\(\"experience of {store} must return aamc_sdk.types.Experience, not None\"\)"),
    ],
)
def test_a_store_that_fails_while_a_router_learns_is_named(store: Store, monkeypatch: pytest.MonkeyPatch, experience: Any, message: str) -> None:
    monkeypatch.setattr(store, "experience", experience)
    learner = Learner(store, Tally(), lambda _: None)
    with pytest.raises(PluginError, match=f"failed to learn, .*{message.format(store=store.message_name)}"):
        learner.flush(60)
    learner.close()


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_learning_that_a_router_interrupts_says_so(interrupt: type[BaseException], store: Store, caplog: pytest.LogCaptureFixture) -> None:
    class Interrupted(Tally):
        def learn(self, experience: Any) -> None:
            raise interrupt

    learner = Learner(store, Interrupted(), lambda _: None)
    judge(store, "ann1")
    with pytest.raises(PluginError, match="failed to learn"):
        learner.flush(60)
    learner.close()
    assert "learning has stopped at position 0" in caplog.text


def test_an_interrupt_from_the_keyboard_ends_the_start(store: Store) -> None:
    class Interrupted(Tally):
        def learn(self, experience: Any) -> None:
            raise KeyboardInterrupt

    judge(store, "ann1")
    with pytest.raises(KeyboardInterrupt):
        Learner(store, Interrupted(), lambda _: None)


def test_another_user_is_forgotten_while_the_log_is_learned_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_consumer, "BATCH", 1)

    class Slow(Tally):
        def learn(self, experience: Any) -> None:
            super().learn(experience)
            if experience.epoch == 1 and self.made == 2:
                store.forget("b")

    judge(store, "ann1", "bob1", "cat1")
    router = Slow()
    learner = Learner(store, router, lambda _: None)
    store.forget("a")
    learner.flush(60)
    learner.close()
    assert router.judged == {"nobody": 1.0, "c": 0.5}
    assert router.made == 3


class Changing(Tally):
    """A tally that gives deltas: all of it, and a large text that never changes."""

    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "large.txt").write_text("." * 1500)

    def delta(self) -> bytes:
        return json.dumps({"made": self.made, "judged": self.judged}).encode()

    def apply_delta(self, delta: bytes) -> None:
        vars(self).update(json.loads(delta))

    def prepare_replay(self, log: Store) -> None:
        for user in log.forgotten(list(self.judged)):
            del self.judged[user]


def full_position(store: Store, router: Tally) -> int:
    """Return the position of a router's full snapshot in the log."""
    snapshot = store.snapshot(state_name(router, state_of(type(router)())))
    assert snapshot is not None
    return snapshot.position


def test_a_router_is_known_to_retention_from_its_first_start(store: Store) -> None:
    learner = Learner(store, Changing(), lambda _: None)
    assert full_position(store, Changing()) == 0
    learner.close()


def test_deltas_are_kept_instead_of_the_whole_state(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "DELTA_EVERY", 4)
    monkeypatch.setattr(keeping, "CHEAP_BYTES", 0)
    router = Changing()
    learner = Learner(store, router, lambda _: None)
    for number in range(20):
        judge(store, f"ann{number}")
        learner.flush(60)
    learner.close()
    assert full_position(store, router) == 0
    again = learned(store, Changing())
    assert (again.judged, again.batches) == (router.judged, 0)
    learner = Learner(store, Changing(), lambda _: None)
    for number in range(100):
        judge(store, f"cat{number}")
        learner.flush(60)
    assert full_position(store, router) > 0  # deltas outgrew it
    learner.close()
    assert learned(store, Changing()).judged == {"a": 10.0, "c": 50.0}


def test_a_cheap_whole_state_is_kept_at_the_end(store: Store) -> None:
    judge(store, "ann1")
    learned(store, Changing())
    judge(store, "ann2")
    learned(store, Changing())
    assert full_position(store, Changing()) == 4


def test_a_log_that_keeps_no_deltas_has_a_whole_state_at_the_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the stores of plugins may; else short-lived processes learn the whole log again and again."""
    monkeypatch.setattr(store, "put_delta", lambda *_: False)
    monkeypatch.setattr(store, "deltas", lambda *_: None)
    monkeypatch.setattr(keeping, "CHEAP_BYTES", 0)
    for name in ("ann1", "ann2"):
        judge(store, name)
        learned(store, Changing())
    assert full_position(store, Changing()) == 4


def test_an_idle_router_renews_its_snapshot(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    put = store.put_snapshot
    monkeypatch.setattr(store, "put_snapshot", lambda name, snapshot: (kept.append(snapshot.position), put(name, snapshot)))
    judge(store, "ann1")
    learner = Learner(store, Tally(), lambda _: None)
    assert kept == [2]
    monkeypatch.setattr(keeping, "FULL_S", 0.0)
    learner.flush(60)
    assert kept[:2] == [2, 2]
    learner.close()


def test_a_start_from_deltas_soon_keeps_a_whole_state(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else retention waits for a router whose processes all end within the hour."""
    monkeypatch.setattr(keeping, "DELTA_EVERY", 2)
    monkeypatch.setattr(keeping, "MAX_DELTA_SHARE", 1000.0)
    monkeypatch.setattr(keeping, "CHEAP_BYTES", 0)
    for name in ("ann1", "ann2"):
        learner = Learner(store, Changing(), lambda _: None)
        judge(store, name)
        learner.close()
    assert full_position(store, Changing()) == 0
    monkeypatch.setattr(keeping, "START_FULL_S", 0.0)
    learned(store, Changing())
    assert full_position(store, Changing()) == 4


def test_two_processes_on_one_file_learn_alone_and_restart_from_either_state(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "DELTA_EVERY", 2)
    monkeypatch.setattr(keeping, "SNAPSHOT_EVERY", 6)
    both = [Learner(store, Changing(), lambda _: None) for _ in range(2)]
    for number in range(30):
        judge(store, f"ann{number}")
        for learner in both:
            learner.flush(60)
    for learner in both:
        learner.close()
    again = learned(store, Changing())
    assert (again.judged, again.batches) == ({"a": 15.0}, 0)


class Retaining(MemoryStore):
    """A log that has dropped its first entries, and keeps the snapshot that covers them as a floor."""

    dropped = 0
    floor: Snapshot | None = None

    def drop(self, position: int, name: str) -> None:
        self.dropped = position
        self.floor = self.snapshot(name)

    def experience(self, after: int = 0, limit: int = 1000) -> Experience:
        found = super().experience(max(after, self.dropped), limit)
        follows = None if after < self.dropped else found.follows
        return attrs.evolve(found, start=self.dropped, follows=follows)

    def snapshot(self, name: str) -> Snapshot | None:
        return super().snapshot(name) or self.floor


def test_a_forgotten_user_goes_from_the_state_of_dropped_entries_too(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Retaining("memory:", StoreOptions())
    judge(log, "ann1", "bob1", "ann2")
    router = Changing()
    name = state_name(router, state_of(router))
    learner = Learner(log, router, lambda _: None)
    log.drop(6, name)
    judge(log, "ann3", "bob2")
    learner.flush(60)
    assert router.judged == {"a": 1.5, "b": 1.0}
    log.forget("a")
    learner.flush(60)
    assert router.judged == {"b": 1.0, "nobody": 0.5}
    cleaned = log._log.snapshots[name]
    assert (cleaned.position, cleaned.epoch) == (6, 1)
    again = Changing()
    restore(again, cleaned.content)
    assert (again.made, again.judged) == (3, {"b": 0.5})
    learner.close()
    assert learned(log, Changing()).judged == {"b": 1.0, "nobody": 0.5}


def test_a_start_after_a_user_was_forgotten_begins_with_the_cleaned_state() -> None:
    log = Retaining("memory:", StoreOptions())
    judge(log, "ann1", "bob1", "ann2")
    router = learned(log, Changing())
    log.drop(6, state_name(router, state_of(Changing())))
    judge(log, "bob2")
    log.forget("a")  # as by another program
    assert learned(log, Changing()).judged == {"b": 1.0}


def test_a_router_that_lags_behind_the_dropped_entries_loads_the_log_s_state(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Retaining("memory:", StoreOptions())
    slow, quick = Changing(), Changing()
    behind = Learner(log, slow, lambda _: None)
    with monkeypatch.context() as away:
        away.setattr(behind._consumer, "_store", _Away())
        judge(log, "ann1", "bob1", "ann2")
        learned(log, quick)
        log.drop(6, state_name(quick, state_of(Changing())))
        judge(log, "bob2")
    behind.flush(60)
    assert slow.judged == {"a": 1.0, "b": 1.0}
    behind.close()


def test_a_new_router_learns_what_the_log_still_has(caplog: pytest.LogCaptureFixture) -> None:
    log = Retaining("memory:", StoreOptions())
    judge(log, "ann1", "bob1", "ann2")
    log.drop(6, "another router")
    judge(log, "bob2")
    assert learned(log, Changing()).judged == {"b": 0.5}
    assert "no longer has all entries" in caplog.text


class _Away:
    """A log that does not answer."""

    def __getattr__(self, name: str) -> Any:
        raise StoreAwayError("nobody answers")


def test_health_says_since_when_the_state_is_not_kept(store: Store) -> None:
    learner = Learner(store, Changing(), lambda _: None)
    assert learner.health()["snapshot_age_s"] == 0
    judge(store, "ann1")
    learner.flush(60)
    assert learner.health()["snapshot_age_s"] > 0
    assert learner.health()["learner_lag"] == 0
    learner.close()
    assert learner.health()["snapshot_age_s"] == 0
