from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from aamc_bench.scalability import jobs
from aamc_bench.scalability.benchmark import ScalabilityBenchmark
from aamc_experiments.evaluation import Comparison
from aamc_experiments.run_folder import RunFolder

from aamc_sdk.errors import ConfigError
from aamc_sdk.routing import LinearReward, Scale
from aamc_sdk.types import Estimates, Query

pytestmark = pytest.mark.usefixtures("in_process")

TINY = ("--estimator", "lexical", "--routers", "greedy,best-single", "--set", "dataset.n_train=80", "--set", "dataset.n_validation=20")
SMALL = ("--set", "dataset.n_test=40", "--set", "evaluation.streams=4", "--set", "evaluation.steps=5")


@pytest.fixture
def comparison() -> Comparison:
    """Two queries and two candidates, right and expensive or wrong and free; random is right once, x once, the oracle twice."""
    routers, names = ("x", "random", "oracle"), np.array(["right", "wrong"])
    quality, cost = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    chosen = np.array([[[0, 1]], [[1, 1]], [[0, 0]]])
    return Comparison(
        routers=np.array(routers),
        preferences=np.array([[0.8, 0.2, 0.0]]),
        queries=np.array(["a", "b"]),
        category=np.array(["", ""]),
        candidates=names,
        candidate_means=np.zeros((2, 3)),
        scales=np.zeros((2, 2)),
        chosen=chosen,
        spent_usd=np.zeros((3, 1, 2)),
        spent_ms=np.zeros((3, 1, 2)),
        expected_quality=np.full((3, 2, 2), np.nan),
        utility=np.zeros((3, 2, 2)),
        stream=np.array([0, 1]),
        quality=quality,
        cost_usd=cost,
        latency_ms=np.full((2, 2), np.nan),
        missing=np.array(0),
    )


@pytest.fixture
def reward() -> LinearReward:
    reward = LinearReward()
    reward.cost, reward.latency = Scale(0.0, 1.0), Scale()
    return reward


def test_a_share_lies_between_random_and_oracle(comparison, reward) -> None:
    """Right is worth 0.8, wrong 0.2: x has 0.5, random 0.2, the oracle 0.8."""
    found = jobs.utilities(comparison, reward, comparison.resamplings(50, seed=0))
    assert [found[name]["utility"]["value"] for name in ("x", "random", "oracle")] == pytest.approx([0.5, 0.2, 0.8])
    assert [found[name]["share"]["value"] for name in ("x", "random", "oracle")] == pytest.approx([0.5, 0.0, 1.0])
    assert found["x"]["share"]["ci95"] == pytest.approx([0.0, 1.0])
    assert found["oracle"]["share"]["ci95"] == pytest.approx([1.0, 1.0])


def test_there_is_no_share_where_random_is_as_good_as_the_oracle(comparison, reward) -> None:
    comparison.chosen[1] = comparison.chosen[2]
    share = jobs.utilities(comparison, reward, comparison.resamplings(50, seed=0))["x"]["share"]
    assert share == {"value": None, "ci95": None}


def test_a_median_lies_between_order_statistics() -> None:
    """Of 1 to 101, ranks (0.5 -+ 0.98 / sqrt(101)) 100 lie 9.75 from the median, 51."""
    found = jobs.median(np.arange(1.0, 102.0))
    assert found["value"] == 51
    assert found["ci95"] == pytest.approx([51 - 9.75, 51 + 9.75], abs=0.01)


def test_the_median_of_one_time_is_that_time() -> None:
    assert jobs.median(np.array([3.0])) == {"value": 3.0, "ci95": [3.0, 3.0]}


def test_decisions_are_timed_one_at_a_time_and_in_batches(monkeypatch) -> None:
    ticks = count()
    monkeypatch.setattr(jobs.time, "perf_counter", lambda: float(next(ticks)))  # a second passes between any two looks
    decided = []
    queries = [Query(f"query {n}") for n in range(600)]
    found = jobs.timings(lambda asked, known: decided.append((len(asked), len(known))), queries, Estimates.unknown(600))
    assert decided == [(1, 1)] * (jobs.WARM_UP + 600) + [(250, 250), (250, 250), (100, 100)] * jobs.ROUNDS
    assert found["single_ms"]["value"] == found["single_p95_ms"]["value"] == 1000
    assert found["batch_ms"]["value"] == pytest.approx(1000 / 250)


def test_ratios_are_to_the_smallest_pool_and_what_was_not_timed_has_none() -> None:
    trained = {"train-9": [{"router": "x", "candidates": 9}, {"router": "oracle", "candidates": 9}], "train-3": [{"router": "x", "candidates": 3}]}
    timed = {
        f"time-{size}": [{"router": "x", "candidates": size, "single_ms": {"value": ms}, "batch_ms": {"value": 2 * ms}}]
        for size, ms in ((9, 6.0), (3, 4.0))
    }
    document = ScalabilityBenchmark().document({}, trained | timed, Path())
    assert [(row["candidates"], row["router"]) for row in document["records"]] == [(3, "x"), (9, "x"), (9, "oracle")]
    assert [row.get("single_ratio") for row in document["records"]] == [{"value": 1.0}, {"value": 1.5}, None]
    assert len(ScalabilityBenchmark().tables(document)["time"].rows) == 2


def test_the_yardsticks_are_always_there_once() -> None:
    options = ScalabilityBenchmark().options(model_counts=[10, 3], routers="oracle,greedy", estimator="lexical", seed=7)
    assert list(options["settings"]["routers"]) == ["greedy", "random", "oracle"]
    assert options["model_counts"] == [3, 10]
    assert options["settings"]["seed"] == 7


def test_an_option_of_the_router_must_say_of_which() -> None:
    with pytest.raises(ConfigError, match=r"name one, as in routers.ppo.hidden=8"):
        ScalabilityBenchmark().options(routers="ppo,greedy", assignments=["router.hidden=8"])


def test_only_sizes_that_were_trained_are_timed() -> None:
    options = ScalabilityBenchmark().options(model_counts=[2, 4, 8], routers="greedy", estimator="lexical")
    assert [job.key for job in list(ScalabilityBenchmark().stages(options, {"train-2": [], "train-8": []}))[1].jobs] == ["time-2", "time-8"]


@pytest.mark.one_python
def test_the_command_writes_its_tables_and_does_no_job_twice(aamc) -> None:
    arguments = ("bench", "scalability", "--model-counts", "2,9", "--n-queries", "30", *TINY, *SMALL, "--out", "there", "--json")
    status, out, err = aamc(*arguments)
    assert status == 0, err
    document = json.loads(out)
    assert {(row["candidates"], row["router"]) for row in document["records"]} == {
        (size, router) for size in (2, 9) for router in ("greedy", "best-single", "random", "oracle")
    }
    assert all(("single_ms" in row) == (row["router"] != "oracle") for row in document["records"])
    for name in ("results.json", "quality.md", "time.csv", "time.tex", "figures/scalability.png", "figures/scalability.svg"):
        assert Path("there", name).stat().st_size > 0
    before = {path: path.stat().st_mtime_ns for path in Path("there/jobs").glob("*.json")}
    assert len(before) == 4
    settings = RunFolder.open(Path("there/jobs/train-2/run")).settings
    assert all(Path(path).is_absolute() for path in (settings.pool, settings.environment.options["world"]))
    again = aamc("bench", "scalability", "--resume", "there", "--json")
    assert (again[0], json.loads(again[1])) == (0, document)
    assert {path: path.stat().st_mtime_ns for path in Path("there/jobs").glob("*.json")} == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model-counts", "3,1000000000"), "must be whole numbers from 2 to 10,000"),
        (("--n-queries", "10000000000000"), "--n-queries must be from 1 to 1000000, not 10000000000000"),
    ],
)
def test_absurd_sizes_are_refused(aamc, options, message) -> None:
    status, out, err = aamc("bench", "scalability", *options, *TINY, "--out", "there")
    assert (status, out) == (2, "")
    assert message in err
    assert not Path("there").exists()


def test_a_world_that_knows_no_such_pool_is_a_failed_job_in_one_line(aamc) -> None:
    Path("pool.yaml").write_text("candidates: [{name: Nobody, prices: {input: 1, output: 1}, latency: {service_ms: 1}}]")
    status, out, err = aamc("bench", "scalability", "--model-counts", "2", "--pool", "pool.yaml", *TINY, "--out", "there")
    assert (status, out) == (1, "")
    assert "Nobody" in err.splitlines()[-1]
