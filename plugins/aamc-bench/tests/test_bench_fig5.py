from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from aamc_bench import fig5
from aamc_experiments.evaluation import Comparison, Resampling
from aamc_experiments.settings import read_settings
from aamc_experiments.training import Experiment

from aamc_sdk.interfaces import NoProgress
from aamc_sdk.plugins import get_plugin_manager

pytestmark = pytest.mark.one_python

SIZES = {"n_train": 80, "n_validation": 20, "n_test": 40}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A small run of the simulator with the paper's strategies, as far as they need no torch."""
    folder = tmp_path_factory.mktemp("fig5") / "run"
    settings = {
        "router": "greedy",
        "routers": ["llm-only", "slm-only", "rule", "random", "best-single", "oracle"],
        "estimator": "lexical",
        "dataset": {"name": "synthetic", **SIZES},
        "evaluation": {"streams": 4, "steps": 5, "resamples": 50},
    }
    Experiment(read_settings(settings), get_plugin_manager(), folder, NoProgress()).complete()
    return folder


def test_savings_are_counted_from_llm_only(run) -> None:
    comparison = Comparison.load(run / "decisions.npz")
    ours, theirs = (comparison.routers.tolist().index(name) for name in ("greedy", "llm-only"))
    comparison.quality[ours, 0] = np.tile((1.0, 1.0, 1.0, 0.0), 5)
    comparison.quality[theirs, 0] = np.tile((1.0, 0.0, 1.0, 0.0), 5)
    comparison.cost_usd[ours, 0], comparison.cost_usd[theirs, 0] = 0.3, 1.0
    comparison.latency_ms[ours, 0], comparison.latency_ms[theirs, 0] = 500.0, 2000.0
    found = fig5.savings(comparison, "greedy", 0.5, comparison.resamplings(40, seed=0))
    assert {name: figure["value"] for name, figure in found.items()} == pytest.approx(
        {"success_difference": 0.25, "cost_saved": 0.7, "latency_saved": 0.75}
    )
    assert found["cost_saved"]["ci95"] == pytest.approx([0.7, 0.7])  # the same in every stream


def test_where_llm_only_costs_nothing_no_share_of_it_is_saved(run) -> None:
    comparison = Comparison.load(run / "decisions.npz")
    comparison.cost_usd[:] = 0.0
    found = fig5.savings(comparison, "greedy", 0.5, comparison.resamplings(40, seed=0))
    assert found["cost_saved"] == {"value": None, "ci95": None}


def test_without_llm_only_nothing_is_said_to_be_saved(run) -> None:
    comparison = Comparison.load(run / "decisions.npz")
    comparison.routers[comparison.routers == "llm-only"] = "other"
    assert fig5.savings(comparison, "greedy", 0.5, [Resampling.once(comparison.stream)]) == {}


def test_a_run_is_drawn_as_it_was_measured(aamc, run) -> None:
    status, out, err = aamc("reproduce", "fig5", "--run", str(run), "--out", "there", "--json")
    assert status == 0, err
    document = json.loads(out)
    assert document == json.loads(Path("there/fig5.json").read_text())
    metrics = json.loads((run / "metrics.json").read_text())["routers"]
    with Path("there/fig5.csv").open() as file:
        rows = {row["strategy"]: row for row in csv.DictReader(file)}
    assert list(rows) == [
        "AAMC (greedy)",
        "LLM-only (LLM-XLarge)",
        "SLM-only (SLM-Medium)",
        "Rule-based",
        "best single (LLM-Tools)",
        "random",
        "oracle",
    ]
    for strategy, router in (("AAMC (greedy)", "greedy"), ("Rule-based", "rule")):
        for metric in ("success_rate", "mean_cost_usd", "mean_latency_ms", "efficiency"):
            assert float(rows[strategy][metric]) == metrics[router][metric]
            assert float(rows[strategy][f"{metric}_low"]) == metrics[router]["ci95"][metric][0]
    claims = {claim["claim"]: claim for claim in document["claims"]}
    assert claims["operational costs reduced by over 70%"]["paper"]["value"] == 0.7
    saved = 1 - metrics["greedy"]["mean_cost_usd"] / metrics["llm-only"]["mean_cost_usd"]
    assert claims["operational costs reduced by over 70%"]["ours"]["value"] == pytest.approx(saved)
    assert Path("there/figures/fig5.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in Path("there/figures/fig5.svg").read_text()


def test_a_run_without_latency_has_no_such_panel(aamc, outcomes) -> None:
    arguments = ("--router", "greedy", "--routers", "llm-only,random", "--estimator", "lexical", "--dataset", outcomes, "--out", "run")
    assert aamc("run", *arguments, "--set", "evaluation.resamples=20")[0] == 0
    status, out, err = aamc("reproduce", "fig5", "--run", "run", "--json")
    assert status == 0, err
    document = json.loads(out)
    assert document["records"][0]["mean_latency_ms"]["value"] is None
    assert [axes.get_title() for axes in fig5.draw(document).axes] == ["Success rate", "Cost, USD per 1,000", "Efficiency"]


def test_strategies_that_ask_the_same_model_are_said_to_be_one(aamc, outcomes) -> None:
    """Without the named small model, slm-only takes the cheapest with 80% of the best's mean quality: here the best itself."""
    arguments = ("--router", "random", "--routers", "llm-only,slm-only,oracle", "--dataset", outcomes, "--out", "run")
    assert aamc("run", *arguments, "--set", "evaluation.resamples=20")[0] == 0
    status, out, err = aamc("reproduce", "fig5", "--run", "run", "--json")
    assert status == 0, err
    document = json.loads(out)
    assert document["same"] == [["LLM-only (large)", "SLM-only (large)"]]
    assert [record["strategy"] for record in document["records"]][:3] == ["AAMC (random)", "LLM-only (large)", "SLM-only (large)"]
    tables = fig5.FigureFive(get_plugin_manager()).tables(document)
    assert "LLM-only (large) and SLM-only (large) are one: they ask the same model" in tables["fig5"].note
    assert "LLM-only (large) and SLM-only (large) are one" in fig5.draw(document).get_supxlabel()


def test_what_can_be_reproduced_is_listed(aamc) -> None:
    status, out, _ = aamc("reproduce")
    assert status == 0
    assert "fig5" in out


@pytest.mark.parametrize(
    ("arguments", "expected", "words"),
    [
        (("--run", "missing"), 1, "make one with"),
        (("--run", "RUN", "--seed", "0"), 2, "drawn as it is"),
        (("--run", "RUN", "--set", "a.b=1"), 2, "drawn as it is"),
    ],
)
def test_a_run_that_is_none_or_comes_with_options_is_refused(aamc, run, arguments, expected, words) -> None:
    status, out, err = aamc("reproduce", "fig5", *(str(run) if part == "RUN" else part for part in arguments))
    assert (status, out) == (expected, "")
    assert words in err
