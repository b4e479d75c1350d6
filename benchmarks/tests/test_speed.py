"""``aamc bench speed``: its table, its parts, and what is counted by hand."""

import gc
import itertools
import json
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from aamc_bench import commands
from aamc_environments.queue import standalone
from aamc_ppo.router import PPOConfig, PPORouter
from click.testing import CliRunner
from speed import benchmark, clock, reach, sb3
from speed.clock import minimum_call_us, minimum_cpu_s, missing
from speed.decision import pool_of, time_of
from speed.measurement import Measurement, result
from speed.ppo import operations, train

from aamc_sdk.cli import aamc
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import NoProgress, Training


def test_a_part_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="no part 'simulater' to measure"):
        benchmark.SpeedBenchmark().options(parts="startup,simulater")


def test_every_part_names_functions_that_exist():
    for part in benchmark.PARTS:
        for job in benchmark.SpeedBenchmark().jobs({"parts": [part], "preset": "full"}):
            module, _, name = job.function.partition(":")
            assert callable(getattr(import_module(module), name))
            assert job.arguments == {"full": True}


def test_a_measured_training_undoes_no_step():
    assert train(standalone(pool_of(6)), 64, n_streams=64, n_steps=64).config.kl_limit == 0


def test_the_ratio_is_measured_over_compared_and_nothing_where_either_is_unknown():
    assert Measurement(what="a", unit="s", value=6.0, other=3.0).record("part")["ratio"] == {"value": 2.0}
    assert Measurement(what="a", unit="s", value=6.0).record("part")["ratio"] == {}
    assert Measurement(what="a", unit="s", value=None, other=3.0).record("part")["ratio"] == {}


def test_the_table_says_why_a_figure_is_unknown():
    options = {"parts": ["startup"], "preset": "quick"}
    found = {"startup-measure": result([Measurement(what="a start", unit="ms", value=None, why="there is no interpreter")], "startup")}
    document = benchmark.SpeedBenchmark().document(options, found, Path())
    assert "a start: there is no interpreter" in benchmark.SpeedBenchmark().tables(document)["speed"].note
    assert document["machine"]["matmul_gflops"] > 0


def test_what_is_not_installed_is_left_out_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.setattr(sb3, "missing", lambda *modules: missing("json", "no_such_module"))
    (record,) = sb3.measure(tmp_path, NoProgress(), full=False)["records"]
    assert (record["value"], record["why"]) == ({}, "no_such_module is not installed")


def test_the_least_cpu_time_leaves_waiting_out():
    seconds = minimum_cpu_s({"waits": lambda: time.sleep(0.5), "counts": lambda: sum(range(10_000_000))}, repeats=2)
    assert 5 * seconds["waits"] < seconds["counts"]


def test_a_call_has_its_share_of_the_time_of_many(monkeypatch):
    ticks, done = itertools.count(), []
    monkeypatch.setattr(clock.time, "process_time", lambda: float(next(ticks)))  # a second passes between any two looks
    assert minimum_call_us({"one": lambda: done.append(1)}, calls=4, repeats=3) == {"one": 250_000}
    assert len(done) == 12


def test_operations_are_those_of_the_formulas():
    config = PPOConfig(hidden=2, embedding=1, epochs=1)
    # Q = 3, M = 4, E + F = 8: hidden layers 3x2 and 20x2; head 2x24, critic 2x3, match 1x4; weighing 24, load 28
    first, given, others = 6 + 40, 24 + 28, 48 + 6 + 4
    assert operations(config, query=3, candidates=4) == 2 * (3 * (first + given) + 2 * others + 2 * others)


@pytest.fixture
def only_work_is_timed():
    """Keep collections out of the time: how long one takes depends on what other tests have left behind."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("only_work_is_timed")
def test_a_decision_takes_longer_than_the_network_alone():
    us = time_of("ppo", 6, repeats=3)
    assert us["decide"] > us["plain"]
    assert us["route"] > us["batch"]


def test_a_random_policy_is_no_step_of_the_way_to_the_oracle():
    world, rng = reach.INSTANCES["the default"](), np.random.default_rng(0)
    course = reach.Course(world)
    assert not course.look(lambda observations: rng.integers(len(world.services.pool), size=len(observations)), steps=5, seconds=1.5)
    (point,) = course.points
    assert (point["steps"], point["cpu_s"]) == (5, 1.5)
    assert abs(point["way"]) < 0.05


def test_the_policy_measured_at_a_checkpoint_is_the_trained_one(tmp_path):
    world = reach.INSTANCES["the default"]()
    router = PPORouter(PPOConfig(total_timesteps=65_536), world.services)
    router.train(Training(dataset=world.dataset("train"), request=reach.blind(world), env=world, folder=tmp_path))
    policy = reach.checkpoint_policy(tmp_path / "checkpoint.npz", world)
    streams = world.vector(64, "train", request=reach.blind(world), seed=1, preferences=np.random.default_rng(0).dirichlet((6, 1, 1), 64))
    observations, _ = streams.reset(seed=1)
    chosen = router.score(streams.request()).utility.argmax(axis=1)
    assert len(set(chosen)) > 2
    np.testing.assert_array_equal(policy(observations), chosen)


def test_the_command_writes_one_table_and_one_document(tmp_path):
    done = CliRunner().invoke(aamc, ["bench", "speed", "--parts", "startup", "--json", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert {record["what"] for record in document["records"]} >= {"aamc --version", "aamc plugins"}
    assert all(record["value"]["value"] > 0 for record in document["records"])
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == document
    assert (tmp_path / "out" / "speed.md").exists()


def test_without_a_checkout_the_command_says_what_it_needs(monkeypatch, tmp_path):
    monkeypatch.setattr(commands, "__file__", str(tmp_path / "site-packages" / "aamc_bench" / "commands.py"))
    done = CliRunner().invoke(aamc, ["bench", "speed", "--parts", "startup"])
    assert "needs the scripts of the repository" in str(done.exception)
