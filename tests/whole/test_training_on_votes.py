"""From votes alone to a table: ``mf`` trains on comparisons and is measured on outcomes, through the commands that users have."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

STRENGTH = {"short": {"coder": 1.5, "poet": -1.0, "clerk": 0.0}, "long": {"coder": -1.5, "poet": 2.0, "clerk": 0.0}}
"""The Bradley-Terry scores of three models on two kinds of prompt, which their length tells apart."""
POOL = """
candidates:
  - {name: coder, prices: {input: 1, output: 1}}
  - {name: poet, prices: {input: 2, output: 2}}
"""
VOTES, TESTED = 1500, 400


def prompt(kind: str, n: int) -> str:
    return f"{kind} question {n}" + " and so on" * (40 if kind == "long" else 0)


def won(kind: str, better: str, worse: str) -> float:
    """Return the true probability of being preferred."""
    return 1 / (1 + np.exp(STRENGTH[kind][worse] - STRENGTH[kind][better]))


@pytest.fixture(scope="module")
def data(folder):
    """Write votes between three models, outcomes of two of them on other prompts, and a pool file."""
    rng = np.random.default_rng(0)
    lines = ["model_a,model_b,prompt,winner"]
    for n in range(VOTES):
        kind = str(rng.choice(["short", "long"]))
        a, b = (str(name) for name in rng.permutation(list(STRENGTH[kind]))[:2])
        lines.append(f"{a},{b},{prompt(kind, n)},{'model_a' if rng.random() < won(kind, a, b) else 'model_b'}")
    (folder / "votes.csv").write_text("\n".join(lines))
    (folder / "tested").mkdir()
    (folder / "tested" / "pool.yaml").write_text(POOL)
    with (folder / "tested" / "outcomes.jsonl").open("w") as file:
        for n in range(VOTES, VOTES + TESTED):
            kind = str(rng.choice(["short", "long"]))
            outcomes = {name: {"quality": float(rng.random() < won(kind, name, "clerk"))} for name in ("coder", "poet")}
            file.write(json.dumps({"query": prompt(kind, n), "category": kind, "outcomes": outcomes}) + "\n")
    return ("--dataset", "arena:votes.csv")


@pytest.fixture(scope="module")
def run(aamc, data):
    return aamc("run", "--router", "mf", *data, "--test-dataset", "outcomes:tested", "--out", "voted", "--json")


def test_votes_alone_teach_mf_whom_to_ask(run) -> None:
    routers = json.loads(run.stdout)["routers"]
    by_chance, mf, oracle = (routers[name]["mean_quality"] for name in ("random", "mf", "oracle"))
    assert mf > by_chance + 0.2
    assert mf > routers["best-single"]["mean_quality"] + 0.2
    assert mf < oracle
    assert routers["mf"]["apgr"] is not None


def test_routers_that_need_outcomes_are_left_out_with_a_word(run) -> None:
    assert list(json.loads(run.stdout)["routers"]) == ["mf", "llm-only", "slm-only", "random", "best-single", "oracle"]
    assert re.search(r"supervised is left out: it learns from outcomes, and \S*/votes\.csv holds comparisons alone", run.stderr)


def test_pairs_are_predicted_as_likely_as_they_are(run, folder) -> None:
    with np.load(folder / "voted" / "decisions.npz") as saved:
        quality, kind, names = saved["expected_quality"][0].astype(float), saved["category"], saved["candidates"].tolist()
    score = np.log(quality / (1 - quality))
    expected = 1 / (1 + np.exp(score[:, names.index("poet")] - score[:, names.index("coder")]))
    truth = np.array([won(name, "coder", "poet") for name in kind])
    above, below = expected[truth > 0.5], expected[truth < 0.5]
    assert (above[:, None] > below).mean() > 0.99  # the area under the ROC curve
    assert np.abs(expected - truth).mean() < 0.1


def test_costs_are_on_the_scale_of_list_prices(run, folder) -> None:
    means = json.loads((folder / "voted" / "candidates.json").read_text())
    quality, cost, latency = zip(*(means[name] for name in ("coder", "poet")), strict=True)
    assert cost[1] == pytest.approx(2 * cost[0])
    assert 0.45 < quality[0] < quality[1] < 0.65  # the poet is a little stronger over all prompts
    assert latency == (None, None)
    assert json.loads((folder / "voted" / "reward.json").read_text())["cost_usd"] == pytest.approx(cost)


def test_training_alone_takes_candidates_and_prices_from_a_pool(aamc, data) -> None:
    trained = aamc("train", "--router", "mf", *data, "--pool", "tested/pool.yaml", "--out", "trained", "--json")
    assert json.loads(trained.stdout)["metrics"]["validation_votes_predicted"] > 0.7
    explained = aamc("route", prompt("short", 0), "--run", "trained", "--preference", "1,0,0", "--json")
    assert json.loads(explained.stdout)["candidate"] == "coder"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("run", "--router", "mf", "--pool", "tested/pool.yaml"), "name measured outcomes of the same candidates with --test-dataset"),
        (("train", "--router", "mf"), "no price for clerk, coder, poet; give candidates and their prices with --pool FILE"),
        (
            ("train", "--router", "knn", "--pool", "tested/pool.yaml"),
            "votes.csv holds comparisons alone; use one that these rows can train: best-single, ",
        ),
        (("run", "--router", "mf", "--routers", "ridge", "--test-dataset", "outcomes:tested"), "ridge learns from outcomes"),
        (("calibrate", "voted", "--strong-share", "0.5"), "votes.csv have nothing else; name measured outcomes"),
    ],
)
def test_what_votes_cannot_do_is_said_in_one_line(aamc, run, data, command, message) -> None:
    given = command if command[0] == "calibrate" else (*command, *data)
    failed = aamc(*given, status=1)
    assert message in failed.stderr
    assert "Traceback" not in failed.stderr
