"""What routers would have earned on a log: the whole way, from a store to the document."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_experiments import plugin
from aamc_experiments.off_policy import evaluate_log
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import read_settings
from aamc_experiments.training import Experiment
from tiny import Tiny, TinyEstimator, TinyFormat, TinyRouter

from aamc_sdk import Component, Dataset, Estimates, MetaController, ModelSpec, Pool, Query, Requirements, Router, Scores, builtin, hookimpl, option
from aamc_sdk.errors import CheckpointError, ConfigError, DataError, StoreError
from aamc_sdk.interfaces import NoProgress, OnlineRouter
from aamc_sdk.log import SqliteStore
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import expected_cost
from aamc_sdk.storage import write_yaml
from aamc_sdk.testing import POOL, run_command
from aamc_sdk.types import Aggregate, Attempt, Feedback, Preference, Prices

QUALITY = {name: 0.3 + 0.2 * m for m, name in enumerate(POOL.names)}
FIGURES = ("quality", "cost_usd", "latency_ms", "utility")
BARE = Pool(attrs.evolve(candidate, latency=None) for candidate in POOL)
COST = {name: 0.001 * 4**m for m, name in enumerate(POOL.names)}


@attrs.frozen(kw_only=True)
class Drawing:
    sample: bool = option(True, "Whether to draw.")


class Uniform(Router):
    """Any candidate."""

    Config = Drawing

    def score(self, request) -> Scores:
        return Scores(np.zeros(request.mask.shape), np.ones(request.mask.shape))


class Secretive(Uniform):
    """Any candidate, nobody knows how."""

    def score(self, request) -> Scores:
        return attrs.evolve(super().score(request), propensity_known=False)


class Reader(Uniform):
    """Looks at the text."""

    requires = Requirements(text=True)


class Learner(Uniform, OnlineRouter):
    """Any candidate; what it learns does not matter."""

    def learn(self, experience) -> None:
        pass


class Frugal(Router):
    """The cheapest where only cost counts, else the last one."""

    def score(self, request) -> Scores:
        last = np.arange(request.mask.shape[1]) * request.preferences[:, :1]
        return Scores(np.where(request.preferences[:, 1:2] > 0.5, -request.expected.cost_usd, last))


class MostExpensive(Router):
    """The candidate of the highest prices."""

    def score(self, request) -> Scores:
        level = expected_cost([Query("", prompt_tokens=100, output_tokens=100)], request.pool)
        return Scores(np.tile(np.nan_to_num(level), (len(request), 1)))


class Asking(Uniform):
    """Any candidate; asking somebody costs as much as the request has words."""

    def score(self, request) -> Scores:
        words = np.array([len(query.text.split()) for query in request.queries], dtype=float)
        return attrs.evolve(super().score(request), spent_usd=0.005 * words, spent_ms=100.0)


class Broken(Router):
    """Fails."""

    def score(self, request) -> Scores:
        raise ValueError("shape mismatch")


class Routers:
    @hookimpl
    def aamc_routers(self):
        names = {
            "uniform": Uniform,
            "learner": Learner,
            "secretive": Secretive,
            "reader": Reader,
            "frugal": Frugal,
            "most-expensive": MostExpensive,
            "asking": Asking,
            "broken": Broken,
        }
        return [Component(name, f"{__name__}:{kind.__name__}", name) for name, kind in names.items()]


def installed() -> Plugins:
    return Plugins({"core": builtin, "experiments": plugin, "tiny": Tiny(), "routers": Routers()}, discover=False)


@pytest.fixture
def plugins(monkeypatch) -> Plugins:
    found = installed()
    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: found)
    return found


def make_log(plugins: Plugins, url: str, router: str = "uniform", decisions: int = 400, pool: Pool = POOL) -> str:
    """Write a log in which each candidate's quality and cost are always the same; return its URL."""
    with MetaController.build(router=router, pool=pool, store=url, plugins=plugins) as controller:
        made = controller.route_batch([f"Question {n}" for n in range(decisions)], ids=[f"d{n}" for n in range(decisions)])
        calls = [Attempt(decision.id, 0, "", COST[decision.candidate], 100.0) for decision in made]
        judged = [Feedback(decision_id=decision.id, quality=QUALITY[decision.candidate]) for decision in made]
        controller.store.add_feedback(list(zip(judged, calls, strict=True)))
    return url


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Return the file of a log, which tests copy."""
    path: Path = tmp_path_factory.mktemp("log") / "log.db"
    make_log(installed(), f"sqlite:{path}")
    return path


@pytest.fixture
def log(written, tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    shutil.copy(written, "log.db")
    return "sqlite:log.db"


def test_a_constant_router_would_have_earned_what_its_candidate_does(log, plugins) -> None:
    document = evaluate_log(log, plugins, names=["favourite", "uniform"])
    row = document["routers"]["favourite"]
    assert row["refused"] is None
    assert row["quality"]["snips"]["value"] == pytest.approx(0.3)
    assert row["quality"]["doubly_robust"]["value"] == pytest.approx(0.3, abs=0.03)
    assert row["cost_usd"]["snips"]["value"] == pytest.approx(0.001)
    assert row["utility"]["snips"]["difference"] == pytest.approx(row["utility"]["snips"]["value"] - document["logged"]["utility"]["value"])
    for estimate in row["quality"].values():
        if isinstance(estimate, dict):
            assert estimate["ci95"][0] <= 0.3 <= estimate["ci95"][1]


def test_the_logged_policy_is_the_baseline_and_its_own_double_differs_in_nothing(log, plugins) -> None:
    document = evaluate_log(log, plugins, names=["uniform"])
    assert document["logged"]["n"] == 400
    assert document["logged"]["quality"]["value"] == pytest.approx(0.6, abs=0.05)
    assert document["routers"]["uniform"]["quality"]["snips"]["difference"] == pytest.approx(0.0)
    assert document["routers"]["uniform"]["n_eff"] == pytest.approx(400)


OWN = ("SLM-Tiny", "LLM-XLarge", "mine")
"""Candidates, two of them with names of the default pool, the most expensive one first."""


@pytest.mark.parametrize("logged", ["uniform", "asking"])
def test_deciding_costs_what_the_logged_or_the_evaluated_router_spends(logged, plugins, tmp_path) -> None:
    url = make_log(plugins, f"sqlite:{tmp_path / 'asked.db'}?store_text=true", logged, decisions=100)
    found = evaluate_log(url, plugins, names=["uniform", "asking"])
    alone, asking = ({figure: found["routers"][name][figure]["snips"] for figure in FIGURES} for name in ("uniform", "asking"))
    extra = {name: asking[name]["value"] - alone[name]["value"] for name in FIGURES[:3]}
    assert extra == pytest.approx({"cost_usd": 0.01, "latency_ms": 100.0, "quality": 0.0}, abs=1e-9)
    same, other, added = (asking, alone, -0.01) if logged == "asking" else (alone, asking, 0.01)
    for name in FIGURES:
        assert same[name]["difference"] == pytest.approx(0.0, abs=1e-9)
        assert found["logged"][name]["value"] == pytest.approx(same[name]["value"])
    assert [other["cost_usd"]["difference"], *other["cost_usd"]["difference_ci95"]] == pytest.approx([added] * 3), "which is certain"
    assert other["utility"]["difference"] * added < 0


@pytest.fixture
def own_prices(plugins, tmp_path) -> str:
    """Return the URL of a log whose candidates have prices of their own."""
    pool = Pool(ModelSpec(name, prices=Prices(input=price, output=4 * price)) for name, price in zip(OWN, (9.0, 0.1, 1.0), strict=True))
    url = f"sqlite:{tmp_path}/own.db"
    with MetaController.build(router="uniform", pool=pool, store=url, plugins=plugins) as controller:
        made = controller.route_batch([f"Question {n}" for n in range(400)])
        judged = [(Feedback(decision_id=decision.id, quality=0.2 + 0.3 * OWN.index(decision.candidate)), None) for decision in made]
        controller.store.add_feedback(judged)
    return url


def test_a_router_that_reads_prices_reads_those_of_the_log(own_prices, plugins) -> None:
    document = evaluate_log(own_prices, plugins, names=["most-expensive"])
    assert document["routers"]["most-expensive"]["quality"]["snips"]["value"] == pytest.approx(0.2)
    assert any("prices" in note and "--pool" in note for note in document["notes"])


def test_a_pool_file_gives_the_candidates_their_prices(own_prices, plugins, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    candidates = [{"name": name, "prices": {"input": price, "output": price}} for name, price in zip(OWN, (1.0, 9.0, 2.0), strict=True)]
    write_yaml(tmp_path / "pool.yaml", {"candidates": candidates})
    status, out, err = run_command("evaluate", "--logs", own_prices, "--routers", "most-expensive", "--pool", "pool.yaml", "--json")
    assert status == 0, err
    document = json.loads(out)
    assert document["routers"]["most-expensive"]["quality"]["snips"]["value"] == pytest.approx(0.5)
    assert not any("--pool" in note for note in document["notes"])
    write_yaml(tmp_path / "pool.yaml", {"candidates": candidates[:2]})
    status, _, err = run_command("evaluate", "--logs", own_prices, "--routers", "most-expensive", "--pool", "pool.yaml")
    assert (status, "the pool lacks mine" in err) == (2, True), err


def test_another_preference_asks_the_routers_again(log, plugins) -> None:
    own = evaluate_log(log, plugins, names=["frugal"])["routers"]["frugal"]
    other = evaluate_log(log, plugins, names=["frugal"], preference=Preference(0, 1, 0))["routers"]["frugal"]
    assert own["quality"]["snips"]["value"] == pytest.approx(QUALITY[POOL.names[-1]])
    assert other["quality"]["snips"]["value"] == pytest.approx(QUALITY[POOL.names[0]])


def test_a_router_that_cannot_be_asked_again_says_so_and_leaves_the_others(log, plugins) -> None:
    routers = evaluate_log(log, plugins, names=["reader", "secretive", "best-expected", "favourite", "broken"])["routers"]
    assert "store_text" in routers["reader"]["refused"]
    assert "probabilities" in routers["secretive"]["refused"]
    assert "estimator" in routers["best-expected"]["refused"]
    assert routers["broken"]["refused"] == "router 'broken' failed: ValueError: shape mismatch"
    assert routers["reader"]["quality"] is None
    assert routers["favourite"]["refused"] is None


class Cautious(TinyEstimator):
    """Describes texts of odd length as hard, under a fingerprint of its own."""

    def estimate(self, queries) -> Estimates:
        hard = np.array([float(len(query.text) % 2) for query in queries])
        return Estimates(hard, np.empty((len(hard), 0)), (), hard, fingerprint="cautious")


class Embedding(Cautious):
    """Gives an embedding too."""

    def estimate(self, queries) -> Estimates:
        found = super().estimate(queries)
        return attrs.evolve(found, embedding=found.complexity[:, None].astype(np.float32), fingerprint="embedding")


class Careful(TinyRouter):
    """Chooses the first candidate for easy queries and the second for hard ones."""

    requires = Requirements(training=True)

    def score(self, request) -> Scores:
        hard = np.nan_to_num(request.estimates.complexity)[:, None]
        number = np.arange(len(request.pool))
        return Scores(np.where(number == 0, 1 - hard, np.where(number == 1, hard, -1.0)))


class Quick(TinyRouter):
    """Chooses the candidate that is expected to be the quickest."""

    requires = Requirements(training=True)

    def score(self, request) -> Scores:
        return Scores(-request.expected.latency_ms)


class Bare(TinyFormat):
    """Outcomes with latencies, of candidates without latency figures."""

    def read(self, path: str) -> Dataset:
        return attrs.evolve(super().read(path), pool=BARE)


class CarefulRun:
    @hookimpl
    def aamc_datasets(self):
        return [Component("bare", f"{__name__}:Bare", "No latency figures.")]

    @hookimpl
    def aamc_estimators(self):
        return [Component(name.lower(), f"{__name__}:{name}", "Texts of odd length are hard.") for name in ("Cautious", "Embedding")]

    @hookimpl
    def aamc_routers(self):
        names = {"careful": Careful, "quick": Quick}
        return [Component(name, f"{__name__}:{kind.__name__}", name) for name, kind in names.items()]


@pytest.fixture
def careful(tmp_path) -> tuple[RunFolder, Plugins]:
    return careful_run(tmp_path, "cautious")


def careful_run(tmp_path: Path, estimator: str | None, **others: Any) -> tuple[RunFolder, Plugins]:
    """Make a run whose router depends on the run's own estimator."""
    found = Plugins({"core": builtin, "tiny": Tiny(), "routers": Routers(), "careful": CarefulRun()}, discover=False)
    settings = {"router": "careful", "estimator": estimator, "environment": "table", "dataset": "tiny:200", "routers": [], **others}
    Experiment(read_settings(settings), found, tmp_path / "run", NoProgress()).complete()
    return RunFolder.open(tmp_path / "run"), found


def test_a_router_of_a_run_is_not_evaluated_on_the_estimates_of_another_estimator(careful, tmp_path) -> None:
    run, plugins = careful
    row = evaluate_log(make_log(plugins, f"sqlite:{tmp_path}/bare.db"), plugins, run=run)["routers"]["careful"]
    assert "estimates of an estimator other than its run's, or none" in row["refused"]
    assert "keep texts to estimate them again" in row["refused"]
    assert row.keys() == {"refused", "warning", "n_eff", "expected_n_eff", "mean_weight", "max_weight", "unsupported", *FIGURES}


def test_a_log_that_keeps_texts_can_be_estimated_again(careful, tmp_path) -> None:
    run, plugins = careful
    url = make_log(plugins, f"sqlite:{tmp_path}/texts.db?store_text=true")
    assert "estimate the log's texts again: --estimator RUN" in evaluate_log(url, plugins, run=run)["routers"]["careful"]["refused"]
    for estimator in ("", "cautious", str(run.folder)):
        row = evaluate_log(url, plugins, run=run, estimator=estimator)["routers"]["careful"]
        assert row["refused"] is None
        hard = np.mean([len(f"Question {n}") % 2 for n in range(400)])
        expected = (1 - hard) * QUALITY[POOL.names[0]] + hard * QUALITY[POOL.names[1]]
        assert row["quality"]["doubly_robust"]["value"] == pytest.approx(expected, abs=0.05)
    with pytest.raises(CheckpointError, match="holds the estimator 'cautious', not 'means'; name the folder"):
        evaluate_log(url, plugins, run=run, estimator="means")
    with pytest.raises(ConfigError, match="no run is given"):
        evaluate_log(url, plugins, names=["uniform"], estimator="cautious")
    with pytest.raises(DataError, match="keeps no texts"):
        evaluate_log(make_log(plugins, f"sqlite:{tmp_path}/bare.db"), plugins, run=run, estimator="")


def test_a_log_of_the_runs_own_estimator_is_evaluated_as_it_is(careful, tmp_path) -> None:
    run, plugins = careful
    with MetaController.load(run.folder, router={"name": "uniform"}, store=f"sqlite:{tmp_path}/own.db", plugins=plugins) as controller:
        made = controller.route_batch([f"Question {n}" for n in range(400)])
        controller.store.add_feedback([(Feedback(decision_id=decision.id, quality=QUALITY[decision.candidate]), None) for decision in made])
    assert evaluate_log(f"sqlite:{tmp_path}/own.db", plugins, run=run)["routers"]["careful"]["refused"] is None


@pytest.mark.parametrize("estimator", ["cautious", None])
def test_a_router_of_a_run_sees_the_mean_latencies_of_its_training_as_in_service(estimator, tmp_path) -> None:
    run, plugins = careful_run(tmp_path, estimator, router="quick", dataset="bare:200")
    url = make_log(plugins, f"sqlite:{tmp_path}/bare.db?store_text=true", pool=BARE)
    row = evaluate_log(url, plugins, run=run, estimator=estimator)["routers"]["quick"]
    assert row["refused"] is None
    with MetaController.load(run.folder, store="memory:", plugins=plugins) as controller:
        served = controller.route("Question 1").candidate
    assert row["quality"]["doubly_robust"]["value"] == pytest.approx(QUALITY[served], abs=0.05)


@pytest.mark.parametrize(("text", "estimator", "reads"), [(False, None, "careful"), (True, "", "careful"), (True, None, "reader")])
def test_a_router_is_evaluated_on_the_requests_that_forgetting_a_user_has_left_readable(text, estimator, reads, tmp_path) -> None:
    run, found = careful_run(tmp_path, "embedding")
    url = f"sqlite:{tmp_path}/own.db?store_text={str(text).lower()}"
    with MetaController.load(run.folder, router={"name": "uniform"}, store=url, plugins=found) as controller:
        made = controller.route_batch([Query(f"Question {n}", user="ann" if n % 4 == 0 else None) for n in range(400)])
        controller.store.add_feedback([(Feedback(decision_id=decision.id, quality=QUALITY[decision.candidate]), None) for decision in made])
        controller.forget("ann")
    row = evaluate_log(url, found, run=run, names=[reads, "uniform"], estimator=estimator)["routers"][reads]
    assert (row["refused"], row["quality"]["n"]) == (None, 300)
    if reads == "careful":
        hard = np.mean([len(f"Question {n}") % 2 for n in range(400) if n % 4])
        expected = (1 - hard) * QUALITY[POOL.names[0]] + hard * QUALITY[POOL.names[1]]
        assert row["quality"]["doubly_robust"]["value"] == pytest.approx(expected, abs=0.05)


def test_a_router_without_training_is_refused_with_a_way_out(careful, log) -> None:
    _, plugins = careful
    routers = evaluate_log(log, plugins, names=["careful"])["routers"]
    assert routers["careful"]["refused"] == "it requires training; name a run that has it: aamc evaluate RUN --logs URL"


def test_a_log_without_draws_supports_only_who_agrees(plugins, tmp_path) -> None:
    log = make_log(plugins, f"sqlite:{tmp_path}/log.db", router="favourite", decisions=60)
    routers = evaluate_log(log, plugins, names=["favourite", "uniform"])["routers"]
    assert routers["favourite"]["quality"]["ips"]["difference"] == pytest.approx(0.0)
    assert "no overlap" in routers["uniform"]["refused"]
    assert routers["uniform"]["unsupported"] == pytest.approx(0.75)


def test_feedback_that_depends_on_the_choice_is_noticed(plugins, tmp_path) -> None:
    url = f"sqlite:{tmp_path}/log.db"
    with MetaController.build(router="uniform", pool=POOL, store=url, plugins=plugins) as controller:
        made = controller.route_batch(["x"] * 800, ids=[str(n) for n in range(800)])
        rated = [decision.id for decision in made if decision.candidate == POOL.names[0] or int(decision.id) % 4 == 0]
        controller.store.add_feedback([(Feedback(decision_id=name, quality=0.5), None) for name in rated])
    document = evaluate_log(url, plugins, names=["favourite"])
    assert "instead of 1" in document["routers"]["favourite"]["warning"]
    assert document["decisions"]["left_out"]["not_judged"] > 0
    assert any("only if feedback depends" in note for note in document["notes"])


@pytest.mark.parametrize(("users", "remarked"), [(50, True), (100, False), (0, False)])
def test_many_decisions_of_a_user_are_remarked(users, remarked, plugins, tmp_path) -> None:
    url = f"sqlite:{tmp_path}/log.db"
    with MetaController.build(router="uniform", pool=POOL, store=url, plugins=plugins) as controller:
        made = controller.route_batch([Query("x", user=f"u{n % users}" if users else None) for n in range(100)])
        controller.store.add_feedback([(Feedback(decision_id=decision.id, quality=0.5), None) for decision in made])
    remark = "intervals take 100 decisions of 50 users as independent: they are too narrow if users differ in quality"
    assert (remark in evaluate_log(url, plugins, names=["uniform"])["notes"]) is remarked


def test_a_log_that_nobody_judged_is_an_error_that_counts(plugins, tmp_path) -> None:
    url = f"sqlite:{tmp_path}/log.db"
    with MetaController.build(router="uniform", pool=POOL, store=url, plugins=plugins) as controller:
        controller.route("x")
    with pytest.raises(DataError, match=r"of 1 decision of .* none counts: no feedback on quality \(1\)"):
        evaluate_log(url, plugins, names=["uniform"])


def test_a_log_without_known_probabilities_is_not_to_be_judged_but_drawn(plugins, tmp_path) -> None:
    log = make_log(plugins, f"sqlite:{tmp_path}/log.db", router="secretive", decisions=2)
    with pytest.raises(DataError, match=r"the probability of the choice is unknown \(2\); log some of a router that knows its probabilities"):
        evaluate_log(log, plugins, names=["uniform"])


def test_decisions_that_retention_has_dropped_are_counted_beside_the_others(log, plugins, monkeypatch, tmp_path) -> None:
    day = datetime.now(timezone.utc).date()
    sums = [Aggregate(str(day), name, "a", decisions=1500, judged=500, quality=400.0, costs=1000, cost_usd=2.0) for name in ("acme", None)]
    monkeypatch.setattr(SqliteStore, "aggregates", lambda store: [*sums, Aggregate("2026-01-01", None, "a", decisions=1)])
    found = "retention has dropped 3,000 decisions of that time (mean quality 0.800 of 1,000, mean cost 0.002 USD of 2,000), which no estimate counts"
    begin = datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp()
    assert found in evaluate_log(log, plugins, names=["uniform"], since=begin)["notes"]
    assert any("has dropped 3,001 decisions" in note for note in evaluate_log(log, plugins, names=["uniform"])["notes"])
    with pytest.raises(DataError, match=r"no decision in that time; retention has dropped 1 decision of that time \(none judged\)"):
        evaluate_log(log, plugins, names=["uniform"], until=begin - 86_400)
    empty = make_log(plugins, f"sqlite:{tmp_path}/empty.db", decisions=0)
    with pytest.raises(DataError, match=r"empty\.db has no decision left; retention has dropped 3,001 decisions \("):
        evaluate_log(empty, plugins, names=["uniform"])


def test_yardsticks_and_no_routers_at_all_are_refused(log, plugins) -> None:
    with pytest.raises(ConfigError, match="must know outcomes in advance"):
        evaluate_log(log, plugins, names=["seer"])
    with pytest.raises(ConfigError, match="--routers"):
        evaluate_log(log, plugins)


def test_a_log_that_is_not_there_is_an_error(plugins, tmp_path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        evaluate_log(f"sqlite:{tmp_path}/none.db", plugins, names=["uniform"])


@pytest.fixture
def aamc(log, plugins):
    """Run the command line next to a log; return exit status, standard output and standard error."""
    return run_command


def test_the_command_prints_one_document(aamc) -> None:
    status, out, err = aamc("evaluate", "--logs", "sqlite:log.db", "--routers", "favourite,uniform", "--json")
    assert status == 0, err
    document = json.loads(out)
    assert document.keys() == {"schema", "log", "run", "preference", "decisions", "range", "logged", "routers", "notes"}
    assert document["run"] is None


def test_the_command_prints_a_table_with_the_reasons_below_it(aamc) -> None:
    status, out, _ = aamc("evaluate", "--logs", "sqlite:log.db", "--routers", "favourite,reader")
    assert status == 0
    assert "(as logged)" in out
    assert "reader: it reads the texts" in out
    assert "on the scales of" not in out
    assert "Routers see prices that follow from the log's expected costs; --pool FILE gives them" in " ".join(out.split())


def test_the_command_fails_where_no_router_has_an_answer(aamc) -> None:
    assert aamc("evaluate", "--logs", "sqlite:log.db", "--routers", "reader")[0] == 1


def test_a_runs_routers_are_evaluated_with_its_reward_and_newcomers_beside_them(aamc) -> None:
    aamc("run", "--router", "favourite", "--estimator", "means", "--environment", "table", "--dataset", "tiny:200", "--routers", "best-expected,seer")
    status, out, err = aamc("evaluate", "--logs", "sqlite:log.db", "--routers", "favourite,uniform", "--json")
    assert status == 0, err
    assert json.loads(out)["run"].endswith("-favourite")
    document = json.loads(aamc("evaluate", "runs/latest", "--logs", "sqlite:log.db", "--json")[1])
    assert list(document["routers"]) == ["favourite", "best-expected"]  # the yardstick is left out
    table = aamc("evaluate", "--logs", "sqlite:log.db", "--routers", "favourite,uniform")[1]
    assert f"Utilities are on the scales of {document['run']}; name another RUN" in " ".join(table.split())


def test_a_router_that_learns_in_service_is_evaluated_as_it_was_trained_and_a_note_says_so(aamc) -> None:
    for router, expected in (("learner", True), ("uniform", False)):
        data = ("--environment", "table", "--dataset", "tiny:200", "--routers", "favourite")
        assert aamc("run", "--router", router, "--estimator", "none", "--out", router, *data)[0] == 0
        document = json.loads(aamc("evaluate", router, "--logs", "sqlite:log.db", "--json")[1])
        assert any("without what they learned in service" in note for note in document["notes"]) is expected


def test_what_belongs_to_data_is_refused_beside_a_log(aamc) -> None:
    status, _, err = aamc("evaluate", "--logs", "sqlite:log.db", "--routers", "uniform", "--split", "train")
    assert status == 2
    assert "leave out --split" in err


def test_a_run_of_other_candidates_is_refused_where_it_is_named_and_else_not_used(aamc, plugins) -> None:
    aamc("run", "--router", "favourite", "--estimator", "means", "--environment", "table", "--dataset", "tiny:200", "--routers", "best-expected")
    others = Pool(attrs.evolve(candidate, name=f"Other-{candidate.name}") for candidate in POOL)
    with MetaController.build(router="uniform", pool=others, store="sqlite:other.db", plugins=plugins) as controller:
        made = controller.route_batch(["x"] * 100)
        controller.store.add_feedback([(Feedback(decision_id=decision.id, quality=0.5), None) for decision in made])
    status, out, err = aamc("evaluate", "--logs", "sqlite:other.db", "--routers", "uniform", "--json")
    assert status == 0, err
    assert json.loads(out)["run"] is None
    status, _, err = aamc("evaluate", "runs/latest", "--logs", "sqlite:other.db", "--routers", "uniform")
    assert status == 1
    assert "name the run that made it" in err


def test_a_run_without_one_of_the_candidates_is_used_only_where_it_is_named(aamc, plugins) -> None:
    """Its pool does not have the price by which most-expensive chooses the added candidate."""
    aamc("run", "--router", "favourite", "--estimator", "means", "--environment", "table", "--dataset", "tiny:200", "--routers", "best-expected")
    flagship = ModelSpec("flagship", "The newest model.", prices=Prices(500.0, 1000.0))
    with MetaController.build(router="uniform", pool=Pool([*POOL, flagship]), store="sqlite:more.db", plugins=plugins) as controller:
        made = controller.route_batch(["x"] * 400)
        controller.store.add_feedback([(Feedback(decision_id=each.id, quality=float(each.candidate == "flagship")), None) for each in made])
    status, out, err = aamc("evaluate", "--logs", "sqlite:more.db", "--routers", "most-expensive", "--json")
    assert status == 0, err
    assert json.loads(out)["run"] is None
    assert json.loads(out)["routers"]["most-expensive"]["quality"]["snips"]["value"] == 1.0
    _, _, err = aamc("evaluate", "--logs", "sqlite:more.db")
    assert "there is no run with all candidates of the log" in err
    _, out, _ = aamc("evaluate", "runs/latest", "--logs", "sqlite:more.db", "--routers", "uniform", "--json")
    assert any("do not know the prices and descriptions of flagship" in note for note in json.loads(out)["notes"])


def test_a_range_of_time_is_evaluated_and_the_next_one_named(aamc) -> None:
    def evaluate(*options: str) -> Any:
        status, out, err = aamc("evaluate", "--logs", "sqlite:log.db", "--routers", "uniform", "--json", *options)
        assert status == 0, err
        return json.loads(out)

    whole = evaluate("--since", "1d")
    assert whole["decisions"]["total"] == 400
    following = whole["range"]["next_since"]
    assert evaluate("--until", following)["logged"] == whole["logged"]
    status, _, err = aamc("evaluate", "--logs", "sqlite:log.db", "--routers", "uniform", "--since", following)
    assert (status, "sqlite:log.db has no decision in that time; give an earlier --since" in err) == (1, True)
    assert aamc("evaluate", "--logs", "sqlite:log.db", "--routers", "uniform", "--since", "1d", "--until", "2d")[0] == 2
    assert aamc("evaluate", "--since", "1d")[0] == 2
