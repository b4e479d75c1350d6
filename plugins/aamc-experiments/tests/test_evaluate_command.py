"""``aamc evaluate`` of trained checkpoints and baselines, and of an estimator alone."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import numpy as np
import pytest
from aamc_experiments import plugin
from aamc_experiments.estimator_evaluation import EstimatedRows
from aamc_experiments.evaluation import Resampling, area_under_roc
from tiny import Tiny, TinyEstimator

from aamc_sdk import Component, Estimates, builtin, hookimpl
from aamc_sdk.plugins import Plugins
from aamc_sdk.testing import make_dataset, run_command

TRAIN = ["train", "--router", "favourite", "--estimator", "means", "--environment", "table", "--dataset", "tiny:200"]


class Describer(TinyEstimator):
    """Describes every query alike."""

    def estimate(self, queries) -> Estimates:
        size = len(queries)
        return Estimates(np.full(size, 0.5), np.tile([0.9, 0.1], (size, 1)), ("code", "chat"), np.linspace(0, 1, size), fingerprint="describer")


class Describers:
    @hookimpl
    def aamc_estimators(self):
        return [Component("describer", f"{__name__}:Describer", "Describes every query alike.")]


@pytest.fixture
def aamc(tmp_path, monkeypatch):
    """Run the command line in an empty folder; return exit status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    found = {"core": builtin, "experiments": plugin, "tiny": Tiny(), "describers": Describers()}
    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: Plugins(found, discover=False))
    return run_command


def routers(out: str) -> list[str]:
    return list(json.loads(out)["routers"])


def test_a_trained_router_is_the_latest_run_and_evaluated_beside_others(aamc) -> None:
    status, _, err = aamc(*TRAIN, "--out", "kept/run")
    assert status == 0, err
    assert Path("runs/latest").resolve() == Path("kept/run").resolve()
    alone = json.loads(aamc("evaluate", "--split", "test", "--json")[1])
    for named in ([], ["kept/run"], ["--router", "kept/run"], ["--router", "kept/run/routers/favourite", "--estimator", "kept/run/estimator"]):
        status, out, err = aamc("evaluate", *named, "--routers", "best-expected,seer", "--json")
        assert status == 0, err
        assert routers(out) == ["favourite", "best-expected", "seer"]
        assert json.loads(out)["routers"]["favourite"]["mean_quality"] == alone["routers"]["favourite"]["mean_quality"]
        assert json.loads(out)["data"] == alone["data"]
    assert "runs/latest still names another run; use this one with --run kept/other" in aamc(*TRAIN, "--out", "kept/other")[2]
    assert aamc("evaluate", "--router", "kept/run", "--routers", "seer", "--out", "kept/evaluation")[0] == 0
    assert json.loads(Path("kept/evaluation/metrics.json").read_text())["routers"].keys() == {"favourite", "seer"}
    assert Path("runs/latest").resolve() == Path("kept/run").resolve()


def test_the_table_says_whose_missing_latency_takes_its_weight_from_the_preference(aamc, monkeypatch) -> None:
    def read(self, path):
        made = make_dataset(200)
        made.outcomes.latency_ms[:, 1] = np.nan
        return made

    monkeypatch.setattr("tiny.TinyFormat.read", read)
    assert aamc(*TRAIN)[0] == 0
    name = make_dataset(1).pool.names[1]
    _, out, _ = aamc("evaluate")
    assert f"The latency of {name} is unknown, so the preference weighs quality and cost alone, by 0.918 and 0.0816." in " ".join(out.split())
    assert json.loads(aamc("evaluate", "--json")[1])["data"]["without_latency"] == [name]


def test_the_table_says_how_many_queries_are_left_out_for_their_latency_alone(aamc, monkeypatch) -> None:
    def read(self, path):
        made = make_dataset(200)
        made.outcomes.latency_ms[np.arange(200) % 4 > 0] = np.nan
        return made

    monkeypatch.setattr("tiny.TinyFormat.read", read)
    assert aamc(*TRAIN)[0] == 0
    document = json.loads(aamc("evaluate", "--json")[1])
    untimed = document["data"]["untimed_queries"]
    assert untimed == document["routers"]["favourite"]["missing"] > 0
    note = f"Left out for an unknown latency alone: {untimed} queries. To compare on all, remove all latencies."
    assert note in " ".join(aamc("evaluate")[1].split())


def test_settings_of_an_evaluation_with_baselines_can_be_changed(aamc) -> None:
    aamc(*TRAIN, "--out", "kept/run")
    Path("sim.yaml").write_text("{environment: {name: table}, evaluation: {alpha: 1.0, beta: 0.0}}")
    status, out, err = aamc("evaluate", "--config", "sim.yaml", "--routers", "seer", "--n-episodes", "5", "--preference", "1,0,0", "--json")
    assert status == 0, err
    assert json.loads(out)["data"]["preference"] == [1.0, 0.0, 0.0]
    assert "--n-episodes is without effect" in err
    usual = json.loads(aamc("evaluate", "--routers", "seer", "--json")[1])
    assert json.loads(out)["routers"]["seer"]["efficiency"] > 0
    assert usual["routers"]["seer"]["efficiency"] is None
    status, out, err = aamc("evaluate", "--router", "kept/run", "--dataset", "tiny:260", "--set", "seed=1", "--routers", "seer", "--json")
    assert status == 0, err
    assert json.loads(out)["data"]["dropped"] > 0
    assert routers(aamc("evaluate", "--dataset", "tiny:260", "--json")[1]) == ["favourite"]
    status, _, err = aamc("calibrate", "--strong-share", "1", "--name", "any")
    assert status == 0, err
    status, out, err = aamc("evaluate", "--routers", "seer", "--preference", "any", "--json")
    assert status == 0, err


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--router", "favourite"], 2, "--router favourite is not the folder of a trained router"),
        (["--router", "kept"], 2, "a folder is given with a slash: ./kept"),
        (["--estimator", "kept"], 1, "a folder is given with a slash: ./kept"),
        (["--router", "nowhere/at/all"], 1, "nowhere/at/all holds no router checkpoint"),
        (["kept/run", "--router", "kept/run"], 2, "leave out kept/run"),
        (["--router", "kept/run", "--gate"], 2, "leave out --gate"),
        (["--router", "kept/run", "--n-episodes", "0"], 2, "--n-episodes must be from 1 to 10000, not 0"),
        (["--estimator", "--n-episodes", "5"], 2, "leave out --n-episodes"),
        (["--estimator", "lexical"], 1, "holds the estimator 'means', not 'lexical'"),
        (["--split", "test", "--config", "x.yaml"], 2, "(with --router FOLDER, settings may change); leave out --config"),
        (["--split", "test", "--dataset", "tiny"], 2, "leave it out, or --dataset"),
    ],
)
def test_what_has_no_effect_or_is_not_there_is_refused(aamc, arguments, status, words) -> None:
    aamc(*TRAIN, "--out", "kept/run")
    Path("x.yaml").touch()
    found, out, err = aamc("evaluate", *arguments)
    assert (found, out) == (status, "")
    assert words in err
    assert len(err.strip().splitlines()) == 1


def test_an_estimator_is_scored_alone(aamc) -> None:
    status, _, err = aamc("train", "--estimator", "describer", "--environment", "table", "--dataset", "tiny:200", "--out", "kept/run")
    assert status == 0, err
    assert not Path("runs/latest").exists()
    documents = []
    for named in (["kept/run"], ["kept/run", "--estimator"], ["--estimator", "kept/run"], ["kept/run", "--estimator", "describer"]):
        status, out, err = aamc("evaluate", *named, "--json")
        assert status == 0, err
        documents.append(json.loads(out))
    assert all(document == documents[0] for document in documents)
    found = documents[0]["estimator"]
    assert found["name"] == "describer"
    assert found["n"] == documents[0]["data"]["queries"]
    assert found["brier"] > 0
    assert found["ci95"]["brier"][0] <= found["brier"] <= found["ci95"]["brier"][1]
    assert sum(row["n"] for row in found["calibration"]) == found["n"] * len(documents[0]["data"]["models"])
    status, out, _ = aamc("evaluate", "kept/run", "--out", "kept/score")
    assert "complexity MAE" in out
    assert json.loads(Path("kept/score/estimator.json").read_text()) == documents[0]
    assert aamc("evaluate", "--estimator", "kept/run", "--dataset", "tiny:260", "--json")[0] == 0


def test_an_estimator_of_another_run_is_scored_without_the_rows_that_it_was_trained_on(aamc) -> None:
    aamc(*TRAIN, "--out", "kept/run")
    aamc(*TRAIN, "--seed", "1", "--out", "kept/other")
    own, other = (json.loads(aamc("evaluate", "kept/run", "--estimator", name, "--json")[1])["data"] for name in ("kept/run", "kept/other"))
    assert own["dropped"] == 0
    assert other["dropped"] > 0
    assert own["queries"] == other["queries"] + other["dropped"]


def test_figures_of_an_estimator_are_those_of_hand_computation() -> None:
    rows = EstimatedRows(
        complexity=np.array([[0.5, 0.4], [0.1, 0.4], [np.nan, 0.2]]),
        tool_use=np.array([[1.0, 0.9], [0.0, 0.9], [0.0, 0.1]]),
        category=np.array(["a", "b", ""]),
        predicted=np.array(["a", "a", "b"]),
        quality=np.array([[1.0], [0.0], [np.nan]]),
        expected=np.array([[0.8], [0.8], [0.8]]),
        unit=np.arange(3),
    )
    found = rows.figures(100, 0)
    assert found["complexity_mae"] == pytest.approx(0.2)
    assert found["category_accuracy"] == 0.5
    assert found["tool_use_auc"] == 0.75  # one pair won, one tied
    assert found["brier"] == pytest.approx((0.04 + 0.64) / 2)
    assert found["ece"] == pytest.approx(0.3)
    assert rows.confusion() == {"a": {"a": 1, "b": 0}, "b": {"a": 1, "b": 0}}
    assert rows.calibration() == [{"expected": 0.8, "quality": 0.5, "n": 2}]
    hits = rows.take(np.zeros(4, dtype=np.intp))
    assert hits.figures(100, 0)["ci95"]["category_accuracy"] is None  # four rows of one question
    assert attrs.evolve(hits, unit=np.arange(4)).figures(100, 0)["ci95"]["category_accuracy"] == pytest.approx([0.025**0.25, 1.0])  # 4 of 4
    unknown = rows.take(np.array([2])).figures(100, 0)
    assert (unknown["n"], unknown["complexity_mae"], unknown["category_accuracy"], unknown["brier"]) == (1, None, None, None)


def test_probabilities_that_tell_four_rows_from_others_are_not_sure_to_tell_all() -> None:
    needed = (np.arange(40) % 10 == 0).astype(float)
    text, unknown = np.full(40, ""), np.full((40, 2), np.nan)
    rows = EstimatedRows(unknown, np.column_stack((needed, needed)), text, text, unknown, unknown, np.arange(40))
    found = rows.figures(1000, 0)
    assert found["tool_use_auc"] == 1
    assert found["ci95"]["tool_use_auc"] == pytest.approx([0.025**0.25, 1.0])


def test_the_area_is_the_share_of_pairs_that_are_ranked_right() -> None:
    rng = np.random.default_rng(0)
    score, positive = rng.integers(0, 5, 60).astype(float), rng.integers(0, 2, 60).astype(float)
    pairs = [(1.0 if a > b else 0.5 if a == b else 0.0) for a in score[positive == 1] for b in score[positive == 0]]
    once = Resampling.once(np.arange(60))
    assert area_under_roc(score, positive, once)[0] == pytest.approx(np.mean(pairs))
    assert np.isnan(area_under_roc(score, np.ones(60), once)[0])
