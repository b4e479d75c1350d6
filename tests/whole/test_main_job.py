from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BASELINES = ["llm-only", "slm-only", "rule", "supervised", "greedy", "random", "best-single", "oracle"]


def test_the_table_has_the_router_and_every_baseline(metrics) -> None:
    assert list(metrics["routers"]) == ["ppo", *BASELINES]


def test_even_a_small_run_learns_to_route(metrics) -> None:
    ppo, largest = metrics["routers"]["ppo"], metrics["routers"]["llm-only"]
    assert ppo["success_rate"] > 0.9
    assert ppo["mean_cost_usd"] < 0.3 * largest["mean_cost_usd"]
    assert ppo["mean_latency_ms"] < largest["mean_latency_ms"]
    assert ppo["expected_utility"] > metrics["routers"]["supervised"]["expected_utility"]


def test_cost_falls_from_quality_alone_to_cost_alone(metrics) -> None:
    costs = [point["mean_cost_usd"] for point in metrics["routers"]["ppo"]["frontier"]]
    assert len(costs) == 21
    assert all(later <= earlier * 1.02 for earlier, later in pairwise(costs))
    assert costs[-1] < costs[0] / 2


def test_the_gate_opens_to_ppo_and_every_number_follows_from_the_saved_decisions(metrics, aamc, folder) -> None:
    gate = json.loads(aamc("evaluate", "runs/latest", "--gate", "--out", "gated", "--json").stdout)["gate"]
    assert gate["routers"]["ppo"]["ci95"]["quality_gap"][0] > 0
    assert not any(gate["routers"][constant]["passed"] for constant in ("llm-only", "slm-only", "best-single"))
    script = Path(__file__).parents[2] / "scripts" / "recompute.py"
    for run in ("runs/latest", "gated"):
        done = subprocess.run([sys.executable, str(script), run], cwd=folder, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "every number follows from the decisions\n")


def test_the_folder_holds_a_report_and_no_pickle(metrics, folder) -> None:
    run = folder / "runs" / "latest"
    assert metrics["data"]["source"] in (run / "report.html").read_text()
    assert not [path for path in run.rglob("*") if path.suffix in {".pt", ".pkl", ".pickle", ".joblib"}]


def test_the_readmes_route_command_decides_and_explains(metrics, aamc) -> None:
    (command,) = re.findall(r"^aamc route (\".*\") --preference (.*)$", README, flags=re.MULTILINE)
    text, preference = command[0].strip('"'), command[1]
    explained = json.loads(aamc("route", text, "--preference", preference, "--json").stdout)
    assert explained["candidate"] in metrics["data"]["models"]
    assert all(0 <= row["quality"] <= 1 and row["cost_usd"] > 0 and row["latency_ms"] > 0 for row in explained["candidates"])
    assert explained["why"]


@pytest.mark.parametrize("estimator", ["tce", "lexical"])
def test_a_long_answer_is_expected_to_cost_more_and_to_take_longer(estimator, metrics, aamc) -> None:
    run = "runs/latest"
    if estimator == "lexical":
        run = "by-lexical"
        sizes = ("--set", "dataset.n_train=300", "--set", "dataset.n_validation=60", "--set", "dataset.n_test=120")
        aamc("train", "--router", "greedy", "--estimator", estimator, *sizes, "--out", run)
    short, long = (
        json.loads(aamc("route", text, "--run", run, "--json").stdout)["candidates"]
        for text in ("Say hi.", "Write a 40-page thesis on the proof of Fermat's last theorem, rigorously, and compare three approaches.")
    )
    for brief, lengthy in zip(short, long, strict=True):
        assert lengthy["cost_usd"] > 1.2 * brief["cost_usd"]
        assert lengthy["latency_ms"] > 1.1 * brief["latency_ms"]


def test_the_readmes_programs_run(metrics, folder) -> None:
    programs = [program for program in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "endpoint=" not in program]  # no network here
    said = [
        subprocess.run([sys.executable, "-c", program], cwd=folder, env=os.environ, capture_output=True, text=True, check=True).stdout
        for program in programs
    ]
    assert said[0].splitlines()[0] in metrics["data"]["models"]
    assert (folder / "state.db").is_file()


def test_evaluating_again_gives_the_same_table(metrics, aamc) -> None:
    assert json.loads(aamc("evaluate", "runs/latest", "--json").stdout) == metrics


def test_outcomes_of_ones_own_train_and_evaluate(metrics, aamc, folder) -> None:
    small, large = {"quality": 0.0, "cost_usd": 1e-5}, {"quality": 1.0, "cost_usd": 1e-3}
    easy = small | {"quality": 1.0}
    lines = [{"query": f"What is {n} times {n % 7}?", "outcomes": {"small": easy if n % 7 < 4 else small, "large": large}} for n in range(200)]
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
    options = ("--router", "ppo", "--estimator", "tce", "--set", "router.total_timesteps=16384", "--set", "estimator.folds=2")
    mine = json.loads(aamc("run", *options, "--dataset", "outcomes:mine.jsonl", "--json", below="elsewhere").stdout)
    assert mine["data"]["models"] == ["small", "large"]
    assert mine["routers"]["ppo"]["mean_latency_ms"] is None
    again = json.loads(aamc("evaluate", "--dataset", "outcomes:mine.jsonl", "--json", below="elsewhere").stdout)["data"]
    assert again["queries"] + again["dropped"] == 200
    assert again["queries"] == mine["data"]["queries"]  # the others were trained on
    assert "has none" in aamc("evaluate", "--dataset", "outcomes:elsewhere/mine.jsonl", status=1).stderr


def test_generated_files_are_up_to_date() -> None:
    script = Path(__file__).parents[2] / "scripts" / "write_reference.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
