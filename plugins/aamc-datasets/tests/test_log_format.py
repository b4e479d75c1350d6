"""Decision logs as datasets: served traffic trains routers."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path

import attrs
import numpy as np
import pytest
from aamc_datasets.log import LogFormat

from aamc_sdk import Feedback, MetaController
from aamc_sdk.errors import AamcError, DataError, StoreAwayError
from aamc_sdk.interfaces import NoOptions
from aamc_sdk.log import Batch, SqliteStore, open_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.testing import POOL, run_command
from aamc_sdk.types import Dataset, Decision, Preference, Query, Record

REQUESTS = 40


def serve(url: str, requests: int = REQUESTS, users: int = 3) -> None:
    """Log requests, most of them with feedback; the second piece of the first decision's feedback revises the first."""
    with MetaController.build(router="random", pool=POOL, store=url, seed=0) as controller:
        decisions = [controller.route(f"Question {n} about topic {n % 7}", user=f"user-{n % users}") for n in range(requests)]
        for n, decision in enumerate(decisions):
            if n % 4 != 1:
                controller.feedback(decision.id, quality=n / requests, cost_usd=0.5, latency_ms=20.0)
    with closing(open_store(url, get_plugin_manager())) as store:
        store.add_feedback([(Feedback(decision_id=decisions[0].id, quality=1.0, revision=1), None)])


def read(path: str) -> Dataset | dict[str, Dataset]:
    return LogFormat(NoOptions(), None).read(path)


def test_a_log_with_texts_is_one_dataset(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'state.db'}?store_text=true"
    serve(url)
    found = read(url)
    assert isinstance(found, Dataset)
    assert [query.text for query in found.queries][:2] == ["Question 0 about topic 0", "Question 1 about topic 1"]
    assert found.pool.names == POOL.names
    assert len(found.experience.decisions) == REQUESTS
    assert [(item.quality, item.revision) for item in found.experience.feedback if item.decision_id == found.experience.decisions[0].id] == [(1.0, 1)]
    kinds = [type(entry).__name__ for entry in found.experience.entries]
    assert kinds == ["Attempt", *["Attempt", "Feedback"] * (REQUESTS * 3 // 4 - 1), "Feedback"]
    known = ~np.isnan(found.outcomes.quality)
    chosen = [found.pool.names.index(decision.candidate) for decision in found.experience.decisions]
    assert known.sum() == REQUESTS * 3 // 4
    assert (np.argmax(known, axis=1)[known.any(axis=1)] == np.array(chosen)[known.any(axis=1)]).all()
    assert found.outcomes.quality[0, chosen[0]] == 1.0  # the revision
    assert found.outcomes.cost_usd[known].tolist() == [0.5] * (REQUESTS * 3 // 4)


def test_a_log_wholly_dropped_by_retention_is_not_called_unused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:{tmp_path / 'state.db'}?retention={{days: 1}}"
    serve(url)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 5 * 86_400)
    with closing(open_store(url, get_plugin_manager())) as store:
        assert store.retain() == REQUESTS
    with pytest.raises(DataError, match=f"retention has dropped all {REQUESTS} decisions of the log .*; serve more requests, or keep them longer"):
        read(url)


def test_feedback_on_the_answer_of_an_orchestrator_is_no_outcome_of_a_model_and_stays_in_the_experience(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'state.db'}?store_text=true"
    name = POOL.names[0]
    with closing(open_store(url, get_plugin_manager())) as store:
        made = [Decision(each, name, float("nan"), Preference(), episode=None if each == "alone" else "e") for each in ("alone", "consulted", "last")]
        alone = attrs.evolve(Record.of_step(made[0], Query("One?"), POOL.names), decision=made[0])
        store.add_decisions([alone, *(Record.of_step(decision, Query("Two?"), POOL.names) for decision in made[1:])])
        store.add_feedback([(Feedback(decision_id=each, quality=1.0), None) for each in ("alone", "last")])
    found = read(url)
    assert [not np.isnan(row).all() for row in found.outcomes.quality] == [True, False, False]
    assert len(found.experience.feedback) == 2


def test_a_log_without_texts_is_divided_by_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = f"sqlite:{tmp_path / 'state.db'}"
    serve(url)
    found = read(url)
    assert {name: len(split) for name, split in found.items()} == {"train": 28, "validation": 4, "test": 8}
    names = [decision.id for split in found.values() for decision in split.experience.decisions]
    with closing(open_store(url, get_plugin_manager())) as store:
        assert names == [decision.id for decision in store.experience().decisions]
    for split in found.values():
        assert {item.decision_id for item in split.experience.feedback} <= {decision.id for decision in split.experience.decisions}
        assert split.outcomes.quality.shape == (len(split), len(POOL))
    assert "keeps no texts" in caplog.text


@pytest.mark.parametrize("store_text", ["true", "false"])
def test_the_rows_of_a_log_with_many_users_are_divided_by_user(store_text: str, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'state.db'}?store_text={store_text}"
    serve(url, users=10)
    found = read(url)
    assert isinstance(found, Dataset)
    assert found.groups == [f"user-{n % 10}" for n in range(REQUESTS)]


def test_a_large_log_is_read_in_batches_that_a_server_can_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:{tmp_path / 'state.db'}?store_text=true"
    serve(url)
    whole, batch = read(url), SqliteStore.batch

    def answered(store: SqliteStore, after: int = 0, limit: int = 1000) -> Batch:
        if limit > 100_000:
            raise StoreAwayError("the server does not answer in time")
        return batch(store, after, 7)

    monkeypatch.setattr(SqliteStore, "batch", answered)
    found = read(url)
    for one, other in ((whole, found), (whole.experience, found.experience)):
        assert list(one.queries) == list(other.queries)
    assert found.experience.decision_ids == whole.experience.decision_ids
    assert found.experience.feedback == whole.experience.feedback
    assert np.array_equal(found.outcomes.quality, whole.outcomes.quality, equal_nan=True)


def test_a_log_of_comparisons_alone_has_no_outcomes(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'state.db'}?store_text=true"
    with MetaController.build(router="random", pool=POOL, store=url, seed=0) as controller:
        decision = controller.route("Hi")
        controller.feedback(decision.id, over=next(name for name in POOL.names if name != decision.candidate))
    found = read(url)
    assert found.outcomes is None
    assert found.only_compared


def test_an_unknown_propensity_stays_unknown(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'state.db'}?store_text=true"
    serve(url, 3)
    with closing(open_store(url, get_plugin_manager())) as store:
        given = store.record(store.experience().decisions[0].id)
        decision = attrs.evolve(given.decision, id="unknown", propensity=np.nan)
        store.add_decisions([attrs.evolve(given, decision=decision, fingerprint="")])
    assert np.isnan([decision.propensity for decision in read(url).experience.decisions]).tolist() == [False] * 3 + [True]


@pytest.mark.parametrize(("path", "why"), [("", "no log was given"), ("state.db", "sqlite:PATH"), ("sqlite:missing.db", "there is no store")])
def test_a_path_without_a_log_is_refused(path: str, why: str) -> None:
    with pytest.raises(AamcError, match=why):
        read(path)


@pytest.mark.parametrize("requests", [0, 2])
def test_a_log_with_too_few_decisions_is_refused(requests: int, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'state.db'}"
    if requests:
        serve(url, requests)
    else:
        open_store(url, get_plugin_manager()).close()
    with pytest.raises(DataError, match="serve"):
        read(url)


def test_attempts_give_the_lengths_of_answers(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'state.db'}?store_text=true"
    with MetaController.build(router="random", pool=POOL, store=url, seed=0) as controller:
        for tokens in (120, None):
            decision = controller.route("A question")
            controller.feedback(decision.id, quality=1.0, cost_usd=0.1, output_tokens=tokens)
    found = read(url)
    assert isinstance(found, Dataset)
    assert found.outcomes is not None
    assert found.outcomes.output_tokens is not None
    assert np.nansum(found.outcomes.output_tokens, axis=1).tolist() == [120, 0]


@pytest.mark.parametrize("store_text", ["true", "false"])
def test_served_traffic_trains_a_bandit(store_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:state.db?store_text={store_text}"
    serve(url)
    status, out, err = run_command("train", "--router", "thompson", "--dataset", f"log:{url}", "--out", "run", "--json")
    assert status == 0, err
    assert json.loads(out)["metrics"]["outcomes"] > 0


@pytest.mark.parametrize("store_text", ["true", "false"])
def test_a_router_is_not_evaluated_on_the_decisions_of_a_log_that_it_was_trained_on(store_text: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:state.db?store_text={store_text}"
    serve(url, 600)
    assert run_command("train", "--router", "thompson", "--dataset", f"log:{url}", "--out", "run")[0] == 0
    evaluate = ["evaluate", "run", "--logs", url, "--failure-quality", "none", "--json"]
    document = json.loads(run_command(*evaluate)[1])
    assert document["decisions"]["counted"] == 450
    assert 60 <= document["routers"]["thompson"]["quality"]["n"] <= 120  # a fifth
    assert any("were trained on" in note for note in document["notes"])
    status, _, err = run_command(*evaluate, "--strict")
    assert status == 1
    assert "leave out --strict" in err
