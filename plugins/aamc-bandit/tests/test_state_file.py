"""The JSON state of ``storage_path``: nothing is lost, nothing counts twice, and nothing that is damaged is overwritten."""

from __future__ import annotations

import base64
import json
import logging
import random
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aamc_bandit.semantic_router.ratings import read_ratings
from aamc_bandit.thompson.beta_evidence import CandidateEvidence
from aamc_bandit.thompson.evidence_keys import EvidenceKeys, session_key

from aamc_sdk import MetaController
from aamc_sdk.errors import OutputError, StoreAwayError
from aamc_sdk.log import SqliteStore, open_store
from aamc_sdk.log.retention import partitioned_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.serving.pseudonyms import pseudonym

INTERVAL = "24h"
"""None but the last save, unless a test says otherwise."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rl_state.json"


@pytest.fixture
def serve(pool, path):
    """Return a controller whose bandit keeps its state in the file."""
    opened: list[MetaController] = []

    def build(store: str = "memory:", **options: Any) -> MetaController:
        router = {"name": "thompson", "discount": 1.0, "storage_path": str(path), "auto_save_interval": INTERVAL, **options}
        opened.append(MetaController.build(router=router, pool=pool, store=store, seed=1))
        return opened[-1]

    yield build
    for controller in opened:
        controller.close()


def judge(controller: MetaController, count: int = 1, user: str = "user/123", session: str = "session:abc") -> None:
    """Let small beat large so many times, and wait until that is learned."""
    for _ in range(count):
        decision = controller.route("Sort a list", user=user, session=session)
        controller.feedback(decision.id, candidate="small", over="large")
    controller.learner.flush()


def cell(controller: MetaController, level: str, name: str, candidate: str) -> CandidateEvidence:
    return controller.router.evidence.entities(level)[name].candidates[candidate]


def evidence(controller: MetaController) -> dict[str, Any]:
    return controller.router.evidence.to_json()


def test_users_and_sessions_survive_a_restart_under_their_own_ids(serve) -> None:
    first = serve()
    judge(first, 3)
    first.close()
    second = serve()
    assert (cell(second, "user", "user/123", "small").wins, cell(second, "user", "user/123", "large").losses) == (3, 3)
    own = cell(second, "session", session_key("session:abc", "user/123"), "small")
    assert (own.total, own.successes) == (3, 3)
    assert evidence(second) == evidence(first)  # counts and times too, to the last digit


def test_feedback_just_before_the_end_is_saved(serve) -> None:
    controller = serve()
    decision = controller.route("Sort a list", user="ann")
    controller.feedback(decision.id, quality=0.25, candidate="small")
    controller.close()
    assert cell(serve(), "user", "ann", "small").losses == 0.75


def test_a_log_and_its_copy_count_once(serve, tmp_path) -> None:
    log = f"sqlite:{tmp_path / 'log.db'}"
    for restarts in range(1, 5):
        controller = serve(log)
        assert controller.router.evidence.selections == restarts - 1
        judge(controller)
        controller.close()
    assert cell(serve(log), "global", "", "small").wins == 4


def test_a_log_without_views_counts_once_too(serve, tmp_path, monkeypatch) -> None:
    log = f"sqlite:{tmp_path / 'log.db'}"
    before = serve()
    judge(before, 5)  # of another log: what the next one begins with
    before.close()
    monkeypatch.setattr("aamc_sdk.log.sqlite.store.SqliteStore.snapshot", lambda self, name: None)
    for restarts in range(3):
        controller = serve(log)
        assert cell(controller, "global", "", "small").wins == 5 + restarts
        judge(controller)
        controller.close()


def test_a_process_that_is_killed_before_the_first_save_loses_and_doubles_nothing(serve, tmp_path, path) -> None:
    log = f"sqlite:{tmp_path / 'log.db'}"
    before = serve()
    judge(before, 5)
    before.close()
    left = path.read_bytes()
    killed = serve(log)
    judge(killed, 2)
    killed.close()
    path.write_bytes(left)  # as if the process had not come to save
    assert cell(serve(log), "global", "", "small").wins == 7


def test_another_log_begins_with_all_that_the_file_holds(serve, tmp_path) -> None:
    for number in range(3):
        controller = serve(f"sqlite:{tmp_path / f'log{number}.db'}")
        judge(controller, 2)
        controller.close()
    assert cell(serve(), "global", "", "small").wins == 6


def test_a_log_that_the_file_has_left_behind_counts_once(serve, tmp_path, path, caplog) -> None:
    logs = [f"sqlite:{tmp_path / name}.db" for name in ("first", "second", "third")]
    for log in logs:
        controller = serve(log)
        judge(controller, 2)
        controller.close()
    left = path.read_bytes()
    again = serve(logs[0])
    assert cell(again, "global", "", "small").wins == 2
    assert path.with_name("rl_state.json.damaged-1").read_bytes() == left
    assert "was used with another log after it learned this one" in caplog.text


def test_a_server_that_is_away_when_it_is_saved_doubles_nothing(serve, tmp_path, path, monkeypatch) -> None:
    """It does not say which log it is; the next start must not take what was learned of it for something else."""
    log = f"sqlite:{tmp_path / 'log.db'}"
    controller = serve(log, auto_save_interval="10ms")
    with monkeypatch.context() as away:
        away.setattr("aamc_bandit.thompson.state_file.first_decision", lambda log: None)
        judge(controller, 5)
        controller.close()
    assert not path.exists()
    again = serve(log)
    assert cell(again, "global", "", "small").wins == 5
    with monkeypatch.context() as away:
        away.setattr("aamc_bandit.thompson.state_file.first_decision", lambda log: None)
        judge(again)
        again.close()
    assert path.exists()  # it was known before
    assert cell(serve(log), "global", "", "small").wins == 6


def test_a_server_that_goes_away_as_serving_begins_is_no_empty_log(serve, tmp_path, monkeypatch) -> None:
    log = f"sqlite:{tmp_path / 'log.db'}"
    controller = serve(log)
    judge(controller, 5)
    controller.close()

    def away(store: SqliteStore) -> None:
        raise StoreAwayError("nobody answers")

    with monkeypatch.context() as patched:
        patched.setattr("aamc_bandit.thompson.state_file.first_decision", lambda log: None)
        patched.setattr(SqliteStore, "pending", away)
        with pytest.raises(StoreAwayError):
            serve(log)
    assert cell(serve(log), "global", "", "small").wins == 5


def test_it_is_saved_every_so_often(serve, path) -> None:
    controller = serve(auto_save_interval="10ms")
    judge(controller)
    for _ in range(6000):
        if path.exists() and json.loads(path.read_text())["learned"] == evidence(controller):
            break
        threading.Event().wait(0.01)
    else:
        pytest.fail("nothing was saved in a minute")


def test_nothing_learned_writes_nothing(serve, path) -> None:
    serve().close()
    assert not path.exists()


def test_an_experiment_neither_reads_nor_writes_it(pool, path) -> None:
    from aamc_bandit.thompson.options import ThompsonOptions
    from aamc_bandit.thompson.router import Thompson

    from aamc_sdk.interfaces import Services
    from aamc_sdk.routing import LinearReward

    path.write_text("not read")
    router = Thompson(ThompsonOptions(storage_path=str(path)), Services(pool=pool, reward=LinearReward(), make=lambda *_: None))
    router.close()
    assert path.read_text() == "not read"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        pytest.param("[" * 100_000, id="deep"),
        '{"kind": "aamc-bandit", "schema": 1, "learned": {"sel',
        "[1, 2]",
        '{"a": 1}',
        '{"kind": "aamc-bandit", "schema": 99}',
        "\ud800",
    ],
)
def test_a_damaged_file_is_kept_aside_and_reported(serve, path, caplog, content) -> None:
    damaged = content.encode(errors="surrogatepass")
    path.write_bytes(damaged)
    controller = serve()
    aside = path.with_name("rl_state.json.damaged-1")
    assert aside.read_bytes() == damaged
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert str(path) in error.getMessage()
    assert str(aside) in error.getMessage()
    judge(controller)
    controller.close()
    path.write_bytes(b"again")
    serve().close()
    assert aside.read_bytes() == damaged
    assert path.with_name("rl_state.json.damaged-2").read_bytes() == b"again"


WIDTH = len(CandidateEvidence.__struct_fields__)


@pytest.mark.parametrize(
    ("column", "values"), [(0, [-1]), (0, [float("inf")]), (2, [float("inf")]), (2, ["many"]), (WIDTH, [1.0]), (WIDTH, ["junk"])]
)
def test_evidence_that_cannot_be_is_damage(serve, path, column, values) -> None:
    controller = serve()
    judge(controller)
    controller.close()
    content = json.loads(path.read_text())
    content["learned"]["levels"]["global"][""]["cells"]["small"][column : column + 1] = values
    path.write_text(json.dumps(content))
    assert evidence(serve())["levels"]["global"] == {}
    assert path.with_name("rl_state.json.damaged-1").exists()


def wait_for(caplog: pytest.LogCaptureFixture, words: str) -> None:
    for _ in range(6000):
        if words in caplog.text:
            return
        threading.Event().wait(0.01)
    pytest.fail(f"nobody said {words!r} in a minute")


def test_a_full_disk_loses_nothing_and_is_told(serve, path, caplog, monkeypatch) -> None:
    def full(path: Path, value: Any) -> None:
        raise OutputError(f"cannot write {path}: no space left on device; free some space or choose another folder")

    controller = serve(auto_save_interval="10ms")
    with monkeypatch.context() as patched:
        patched.setattr("aamc_bandit.thompson.state_file.write_bytes", full)
        judge(controller)
        wait_for(caplog, "free some space")
        judge(controller)  # it serves and learns all the same
    wait_for(caplog, "saved again")
    controller.close()
    assert cell(serve(), "global", "", "small").wins == 2


def test_a_folder_that_cannot_be_written_loses_nothing_and_is_told(serve, tmp_path, caplog) -> None:
    (tmp_path / "file").write_text("no folder")
    log = f"sqlite:{tmp_path / 'log.db'}"
    controller = serve(log, storage_path=str(tmp_path / "file" / "rl_state.json"))
    judge(controller)
    controller.close()
    assert f"cannot write {tmp_path / 'file'}" in caplog.text
    assert cell(serve(log, storage_path=""), "global", "", "small").wins == 1


def test_a_folder_in_the_files_place_is_told_and_left_alone(serve, path, caplog) -> None:
    path.mkdir()
    controller = serve()
    judge(controller)
    controller.close()
    assert "neither restored nor written" in caplog.text
    assert list(path.iterdir()) == []


def test_a_device_in_the_files_place_is_told_and_not_read(serve, caplog) -> None:
    serve("memory:", storage_path="/dev/zero").close()
    assert "/dev/zero is not a regular file" in caplog.text


def their_file(user: str, session: str) -> dict[str, Any]:
    """Return a state file as vLLM Semantic Router writes it: 3 wins and 1 loss of small, by a user in a session."""

    def key(prefix: str, whose: str) -> str:
        return prefix + base64.urlsafe_b64encode(whose.encode()).decode().rstrip("=")

    won = {"model": "small", "rating": 1000 + 1000 * 4 / 6, "comparisons": 4, "wins": 3, "losses": 1, "ties": 0}
    seen = {"model": "small", "rating": 1750.0, "comparisons": 4, "wins": 3, "losses": 1, "ties": 0}
    return {
        "version": 1,
        "last_updated": "2026-03-01T12:00:00.5Z",
        "global_ratings": {"small": won},
        "category_ratings": {"coding": {"small": won}, key("_rl_user:", user): {"small": won}, key("_rl_session:", session): {"small": seen}},
    }


def test_a_state_file_of_vllm_semantic_router_is_taken_over(serve, path, tmp_path) -> None:
    path.write_text(json.dumps(their_file("user/123", "session:abc")))
    log = f"sqlite:{tmp_path / 'log.db'}"
    for restarts in range(3):  # and counts once
        controller = serve(log)
        small = cell(controller, "user", "user/123", "small")
        assert (small.wins, small.losses) == pytest.approx((3 + restarts, 1), abs=1e-9)
        ((_, _, _, successes),) = controller.router.evidence.table("session", session_key("session:abc", "user/123"), ["small"])
        assert successes == 3 + restarts
        assert cell(controller, "category", "coding", "small").updated == 1772366400.0
        judge(controller)
        controller.close()


@pytest.mark.parametrize(
    "updated", ["2026-03-01T12:00:00.123456789Z", "2026-03-01T21:00:00+09:00", "2026-03-01T06:30:00.5-05:30", "2026-03-01T12:00:00"]
)
def test_a_state_file_s_time_of_any_zone_is_read(serve, path, updated) -> None:
    path.write_text(json.dumps({**their_file("ann", "s"), "last_updated": updated}))
    assert cell(serve(), "category", "coding", "small").updated == 1772366400.0


@pytest.mark.parametrize("updated", [None, "", "soon", "0001-01-01T00:00:00Z", 5])
def test_a_state_file_s_time_that_is_unknown_is_0(serve, path, updated) -> None:
    path.write_text(json.dumps({**their_file("ann", "s"), "last_updated": updated}))
    assert cell(serve(), "category", "coding", "small").updated == 0.0


def test_what_the_router_knows_already_is_added_to(serve, path) -> None:
    knowing = serve(storage_path="").router.evidence
    knowing.add(EvidenceKeys("coding", "user/123", None), [("small", 1.0)], 2.0, implicit=True, time=5.0)
    for level, entity, rated in read_ratings(their_file("user/123", "s")):
        knowing.add_ratings(level, entity, rated, 3.0)
    small = knowing.entities("user")["user/123"].candidates["small"]
    assert (small.wins, small.losses) == pytest.approx((5, 1), abs=1e-9)
    assert (small.total, small.successes, small.explicit, small.implicit, small.updated) == (5, 4, 4, 1, 5.0)


def test_a_file_of_more_users_than_are_remembered_leaves_the_last_heard_of(serve) -> None:
    controller = serve()
    for name in ("ann", "bob", "eve"):
        judge(controller, user=name)
    controller.close()
    assert list(serve(max_users=2).router.evidence.entities("user")) == ["bob", "eve"]


def test_forgetting_a_user_keeps_what_the_router_began_with(serve, path, tmp_path) -> None:
    path.write_text(json.dumps(their_file("ann", "s")))
    controller = serve(f"sqlite:{tmp_path / 'log.db'}")
    judge(controller, 2, user="bob", session="t")
    controller.forget("bob")
    controller.learner.flush()
    assert set(controller.router.evidence.entities("user")) == {"ann"}
    controller.close()
    assert "bob" not in path.read_text()


def test_who_came_with_the_file_can_be_forgotten(serve, path, tmp_path) -> None:
    path.write_text(json.dumps(their_file("ann", "anns-session")))
    log = f"sqlite:{tmp_path / 'log.db'}"
    controller = serve(log)
    judge(controller, 2, user="ann", session="t")
    controller.forget("ann")
    controller.learner.flush()
    assert evidence(controller)["levels"]["user"] == evidence(controller)["levels"]["session"] == {}
    assert cell(controller, "global", "", "small").wins == 5  # whoever judged
    controller.close()
    assert "ann" not in path.read_text()
    path.write_text(json.dumps(their_file("ann", "anns-session")))  # as if the process had died before it saved
    late = serve(log)
    assert evidence(late)["levels"]["user"] == evidence(late)["levels"]["session"] == {}
    late.close()
    assert "ann" not in path.read_text()


def test_a_router_finds_its_snapshot_again_after_a_user_of_its_file_was_forgotten(serve, path, tmp_path) -> None:
    path.write_text(json.dumps(their_file("ann", "anns-session")))
    log = f"sqlite:{tmp_path / 'log.db'}"
    controller = serve(log)
    judge(controller, 2, user="bob", session="t")
    controller.forget("ann")
    controller.learner.flush()
    known = evidence(controller)
    controller.close()
    for _ in range(2):
        late = serve(log)
        assert evidence(late) == known
        late.close()
        assert late.store.health()["snapshots"] == 1  # of one name


def test_a_canary_finds_its_snapshot_again_after_a_user_of_its_file_was_forgotten(pool, path, tmp_path) -> None:
    path.write_text(json.dumps(their_file("ann", "anns-session")))
    stable = {"name": "thompson", "storage_path": str(path), "auto_save_interval": INTERVAL}
    router = {"name": "canary", "stable": stable, "candidate": "epsilon-greedy", "share": 0.2}
    for _ in range(3):
        with MetaController.build(router=router, pool=pool, store=f"sqlite:{tmp_path / 'log.db'}", seed=1) as controller:
            judge(controller, user="bob", session="t")
            controller.forget("ann")
            controller.learner.flush()
    with closing(open_store(f"sqlite:{tmp_path / 'log.db'}", get_plugin_manager())) as store:
        assert store.health()["snapshots"] == 1


@pytest.mark.parametrize(("days_away", "left"), [(0, None), (2.5, 1), (5, 0)])
def test_a_log_that_dropped_its_first_decisions_is_the_same_log(serve, path, tmp_path, monkeypatch, days_away, left) -> None:
    day, now = 24 * 3600.0, [20_000.5 * 24 * 3600]
    monkeypatch.setattr("time.time", lambda: now[0])
    monkeypatch.setattr(partitioned_store, "clock_offset", lambda: 0.0)
    log = f"sqlite:{tmp_path / 'log.db'}?retention={{days: 2}}"
    first = serve(log)
    judge(first, 2)
    now[0] += day
    judge(first, 3)
    first.close()
    now[0] += 2.5 * day
    second = serve(log)
    judge(second)
    assert second.store.retain() == 2
    known = evidence(second)
    second.close()
    now[0] += days_away * day
    if days_away:
        with closing(open_store(log, get_plugin_manager())) as store:
            store.retain()
            known_to_the_log = len(store.experience().decisions)
        assert known_to_the_log == left
    third = serve(log)
    assert (evidence(third), cell(third, "user", "user/123", "small").wins) == (known, 6)


def test_users_of_another_systems_file_are_known_by_their_pseudonyms(pool, path) -> None:
    path.write_text(json.dumps(their_file("ann", "s")))
    router = {"name": "thompson", "discount": 1.0, "storage_path": str(path), "auto_save_interval": INTERVAL}
    with MetaController.build(router=router, pool=pool, user_key="a long random text") as controller:
        judge(controller, user="ann", session="t")
        ((name, entity),) = controller.router.evidence.entities("user").items()
        assert name == pseudonym("ann", "a long random text")
        assert entity.candidates["small"].wins == 4
    assert '"ann"' not in path.read_text()


def test_saving_goes_on_beside_learning(serve) -> None:
    controller = serve(auto_save_interval="1ms")
    threads = [threading.Thread(target=judge, args=(controller, 40, f"user{n}", f"session{n}")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    controller.close()
    assert cell(serve(), "global", "", "small").wins == 320


SERVER = """
import sys
from aamc_sdk import MetaController
from aamc_sdk.types import ModelSpec, Pool

router = {"name": "thompson", "storage_path": sys.argv[1] + "/rl_state.json", "auto_save_interval": "2ms"}
controller = MetaController.build(router=router, pool=Pool([ModelSpec("small"), ModelSpec("large")]), store=f"sqlite:{sys.argv[1]}/log.db")
known = controller.router.evidence.entities("global").get("")
print(known.candidates["small"].total if known else 0, flush=True)
while True:
    controller.feedback(controller.route("Sort", user="ann").id, candidate="small", quality=1.0)
    print("acknowledged", flush=True)
"""


@pytest.mark.one_python
def test_a_process_that_is_killed_counts_each_acknowledged_feedback_once(path) -> None:
    luck, acknowledged = random.Random(0), 0
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", SERVER, str(path.parent)], stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            known = int(server.stdout.readline())
            assert known - acknowledged in (0, 1)  # one may be durable and not yet acknowledged
            for _ in range(luck.randrange(1, 60)):
                assert server.stdout.readline() == "acknowledged\n"
                known += 1
            server.kill()
            acknowledged = known + server.stdout.read().count("acknowledged\n")
        if path.exists():
            assert json.loads(path.read_text())["kind"] == "aamc-bandit"  # whole, whenever it was killed
