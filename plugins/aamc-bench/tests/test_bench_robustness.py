from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import click
import numpy as np
import pytest
import yaml
from aamc_bench.experiment_runs import complete_run, settings_of
from aamc_bench.robustness.benchmark import RobustnessBenchmark, noises
from aamc_bench.robustness.jobs import TrainedRun, check_trained_here, divide, without
from aamc_bench.robustness.tables import figures_of
from aamc_bench.samples import Sample
from aamc_experiments.evaluation import Comparison
from aamc_experiments.run_folder import RunFolder

from aamc_sdk.cli import main
from aamc_sdk.config import Choice
from aamc_sdk.errors import CheckpointError, ConfigError
from aamc_sdk.interfaces import NoProgress
from aamc_sdk.storage import plain, read_arrays, read_json, write_yaml
from aamc_sdk.types import Dataset, Labels, Query

pytestmark = [pytest.mark.one_python, pytest.mark.usefixtures("in_process")]

ROUTERS = ["greedy", "best-single", "oracle"]


@pytest.fixture(scope="module")
def trained(outcomes: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three routers on the small world."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    settings = settings_of(ROUTERS, ["evaluation.resamples=50"], estimator="lexical", dataset=outcomes)
    complete_run(folder, NoProgress(), plain(settings.to_dict()))
    return folder


@pytest.fixture(scope="module")
def measured(in_process: None, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What noise and shift did to the run's routers."""
    folder = tmp_path_factory.mktemp("measured") / "out"
    assert run(str(trained), "--kinds", "estimates,typos,shift", "--noise-levels", "0.0,0.9", "--n-episodes", "6", "--out", str(folder)) == 0
    return folder


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["bench", "robustness", *arguments])
    return int(caught.value.code or 0)


def noise(folder: Path) -> dict[tuple[str, str], Any]:
    return {(record["noise"], record["router"]): record for record in read_json(folder / "results.json")["noise"]}


def test_every_noise_and_router_has_a_row(measured: Path) -> None:
    assert list(noise(measured)) == [(kind, router) for kind in ("none", "estimates", "typos") for router in ROUTERS]
    assert {path.name for path in (measured / "figures").iterdir()} == {"noise.png", "noise.svg", "shift.png", "shift.svg"}
    for table in ("lost", "unchanged", "noise", "shift"):
        assert "nan" not in (measured / f"{table}.md").read_text()


def test_nothing_is_lost_without_noise_or_by_those_who_do_not_look(measured: Path) -> None:
    found = noise(measured)
    for key in [("none", "greedy"), ("estimates", "best-single"), ("estimates", "oracle"), ("typos", "best-single"), ("typos", "oracle")]:
        assert found[key]["lost"] == {"value": 0.0, "ci95": [0.0, 0.0], "best": False}


def test_a_router_that_trusts_estimates_loses_by_their_noise(measured: Path) -> None:
    found = noise(measured)["estimates", "greedy"]
    assert found["lost"]["ci95"][0] > 0
    assert found["lost"]["best"]
    assert found["lost"]["value"] == pytest.approx(noise(measured)["none", "greedy"]["mean_reward"]["value"] - found["mean_reward"]["value"])


def test_choices_stay_the_same_without_noise_and_for_those_who_do_not_look(measured: Path) -> None:
    found = noise(measured)
    assert found["none", "greedy"]["unchanged"] == {"value": 1.0, "ci95": [1.0, 1.0]}  # by definition
    seen = len(set(Sample.load(measured / "jobs" / "none" / "sample.npz").unit))
    for key in [("typos", "best-single"), ("estimates", "oracle")]:
        assert found[key]["unchanged"] == {"value": 1.0, "ci95": pytest.approx([0.025 ** (1 / seen), 1.0])}
    flipped = found["estimates", "greedy"]["unchanged"]
    assert 0 < flipped["ci95"][0] <= flipped["value"] <= flipped["ci95"][1] < 1
    clean, noisy = (read_arrays(measured / "jobs" / key / "choices.npz") for key in ("none", "estimates-0.9"))
    assert flipped["value"] == pytest.approx(1 - np.mean(clean["chosen"][0] != noisy["chosen"][0]))


def test_every_noise_meets_the_same_queries(measured: Path) -> None:
    units = [Sample.load(path) for path in sorted(measured.glob("jobs/*/sample.npz"))]
    oracle = [sample.rewards[ROUTERS.index("oracle")] for sample in units]
    assert len(units) == 3
    assert all(np.array_equal(oracle[0], rewards) for rewards in oracle)


def test_each_group_is_tested_once_on_the_same_queries(measured: Path) -> None:
    groups = {}
    for folder in sorted(measured.glob("jobs/shift-?")):
        home, away = (Sample.load(folder / f"{name}.npz") for name in ("home", "away"))
        np.testing.assert_array_equal(home.unit, away.unit)
        groups[folder.name] = set(Comparison.load(folder / "decisions.npz").category.tolist())
    first, second = groups.values()
    assert first.isdisjoint(second)
    assert first | second == {"code", "math", "facts", "chat"}
    records = read_json(measured / "results.json")["shift"]
    assert [record["held_out"] for record in records[:: len(ROUTERS)]] == [", ".join(sorted(group)) for group in (first, second)]


def test_shift_measures_both_by_the_same_scales(measured: Path) -> None:
    records = read_json(measured / "results.json")["shift"]
    for record in records:
        lost = record["mean_reward_home"]["value"] - record["mean_reward_away"]["value"]
        assert record["lost"]["value"] == pytest.approx(lost)
    assert [record["lost"]["value"] for record in records if record["router"] == "oracle"] == [0, 0]  # it looks the outcomes up


def test_training_rows_lack_what_is_held_out_and_test_rows_are_nothing_else(trained: Path) -> None:
    setup = TrainedRun.open(trained, []).setup
    narrow = without(setup, ["code"])
    counts = {name: dict(zip(*np.unique(split.labels.category, return_counts=True), strict=True)) for name, split in setup.splits.items()}
    for name in ("train", "validation"):
        assert set(narrow.splits[name].labels.category) == set(counts[name]) - {"code"}
        assert len(narrow.splits[name]) == len(setup.splits[name]) - counts[name].get("code", 0)
    assert set(narrow.splits["test"].labels.category) == {"code"}
    assert len(narrow.splits["test"]) == counts["test"]["code"]
    assert len(narrow.env.dataset("test")) == counts["test"]["code"]


def test_what_no_candidate_in_question_lacks_is_measured(outcomes: str, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in Path(outcomes.removeprefix("outcomes:")).read_text().splitlines()]
    for line in lines[::2]:
        line["needs"] = ["vision"]
        del line["outcomes"]["small"]  # which cannot see
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    able = [{"name": name, "abilities": ["vision"]} for name in ("middle", "large")]
    write_yaml(tmp_path / "pool.yaml", {"candidates": [{"name": "small"}, *able]})
    settings = settings_of(["best-single", "random"], ["evaluation.resamples=50"], dataset=f"outcomes:{tmp_path}/rows.jsonl")
    complete_run(tmp_path / "run", NoProgress(), plain(settings.to_dict()))
    assert run(str(tmp_path / "run"), "--kinds", "typos", "--noise-levels", "0.5", "--n-episodes", "2", "--out", str(tmp_path / "out")) == 0
    choices = [read_arrays(path)["chosen"] for path in tmp_path.glob("out/jobs/*/choices.npz")]
    assert [chosen.shape[-1] for chosen in choices] == [2 * len(Comparison.load(tmp_path / "run" / "decisions.npz").queries)] * 2


def test_a_run_of_the_simulator_is_played_in_as_many_streams(tmp_path: Path) -> None:
    small = ["dataset.n_train=60", "dataset.n_validation=20", "dataset.n_test=40", "evaluation.resamples=20", "evaluation.steps=4"]
    options = ["--routers", "best-single,random", "--estimator", "none", *(part for one in small for part in ("--set", one))]
    assert run(*options, "--kinds", "estimates,shift", "--noise-levels", "0.5", "--n-episodes", "5", "--out", str(tmp_path / "out")) == 0
    sample = Sample.load(tmp_path / "out" / "jobs" / "none" / "sample.npz")
    assert sample.rewards.shape == (2, 20)
    assert len(set(sample.unit)) == 5
    assert len({record["held_out"] for record in read_json(tmp_path / "out" / "results.json")["shift"]}) == 2


def test_options_name_every_noise_and_none_first() -> None:
    options = RobustnessBenchmark().options(routers="greedy", estimator="lexical", kinds="typos,shift", noise_levels=[0.0, 0.2], n_episodes=3)
    assert noises(options) == [("none", 0.0), ("typos", 0.2)]


def test_what_was_not_asked_for_is_neither_measured_nor_drawn(trained: Path, tmp_path: Path) -> None:
    assert noises(RobustnessBenchmark().options(routers="greedy", estimator="lexical", kinds="shift")) == []
    assert figures_of({"noise": [], "shift": []}) == {}
    assert run(str(trained), "--kinds", "typos", "--noise-levels", "0", "--n-episodes", "2", "--out", str(tmp_path / "out")) == 0
    assert list(noise(tmp_path / "out")) == [("none", router) for router in ROUTERS]
    assert not (tmp_path / "out" / "figures").exists()


def test_data_without_categories_has_no_shift_and_says_so(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = yaml.safe_load((trained / "run.yaml").read_text())
    bare = tmp_path / "bare.jsonl"
    bare.write_text(Path(content["settings"]["dataset"]["path"]).read_text().replace('"category"', '"kind"'))
    shared = ["--dataset", f"outcomes:{bare}", "--estimator", "lexical", "--routers", "best-single", "--noise-levels", "0", "--n-episodes", "2"]
    assert run(*shared, "--out", str(tmp_path / "out")) == 0
    assert "fewer categories than there are groups" in capsys.readouterr().err
    assert run(*shared, "--kinds", "shift", "--out", str(tmp_path / "asked")) == 1
    assert "the training rows name 0 categories" in capsys.readouterr().err


def test_more_groups_than_categories_are_refused_before_anything_runs(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(trained), "--kinds", "shift", "--groups", "5", "--out", str(tmp_path / "out")) == 1
    assert "5 groups of categories in turn, and the training rows name 4 categories" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--noise-levels", "0,2"], "must be numbers from 0 to 1"),
        (["--noise-levels", "nan"], "must be numbers from 0 to 1"),
        (["--n-episodes", "1000000000"], "--n-episodes must be from 1 to 10000, not 1000000000"),
    ],
)
def test_absurd_amounts_are_refused(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*options) == 2
    assert message in capsys.readouterr().err


def test_what_a_run_took_over_cannot_be_trained_again(trained: Path) -> None:
    settings = RunFolder.open(trained).settings
    check_trained_here(settings, ROUTERS)
    taken = attrs.evolve(settings, estimator=Choice(str(trained / "estimator")))
    with pytest.raises(ConfigError, match="the estimator is the checkpoint"):
        check_trained_here(taken, ROUTERS)
    taken = attrs.evolve(settings, router=Choice(str(trained / "routers" / "greedy")))
    with pytest.raises(ConfigError, match="the router is the checkpoint"):
        check_trained_here(taken, ["greedy"])
    check_trained_here(taken, ["best-single"])


def test_wrong_options_are_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'typos'"):
        RobustnessBenchmark().options(kinds="typo")
    with pytest.raises(click.UsageError, match="--kinds must be names such as estimates,shift"):
        RobustnessBenchmark().options(kinds=",")
    with pytest.raises(click.UsageError, match="--kinds must not name anything twice, as in 'typos,shift,typos'"):
        RobustnessBenchmark().options(kinds="typos,shift,typos")
    with pytest.raises(ConfigError, match="use --n-episodes"):
        RobustnessBenchmark().options(routers="greedy", assignments=["evaluation.streams=9"])
    with pytest.raises(ConfigError, match="measured as it was trained"):
        RobustnessBenchmark().options(run=trained, estimator="tce")
    with pytest.raises(CheckpointError, match="holds no router ppo"):
        RobustnessBenchmark().options(run=trained, routers="ppo")
    with pytest.raises(CheckpointError, match="there is no run in"):
        RobustnessBenchmark().options(run=tmp_path)


def test_categories_are_dealt_to_groups_of_nearly_one_size() -> None:
    names = np.array(["a", "b", "c", "d", "e", "a", ""])
    dataset = Dataset([Query(str(n)) for n in range(7)], labels=Labels(category=names))
    groups = divide(dataset, 2, seed=0)
    assert sorted(map(len, groups)) == [2, 3]
    assert sorted(groups[0] + groups[1]) == ["a", "b", "c", "d", "e"]
    assert divide(dataset, 2, seed=0) == groups
    assert divide(dataset, 6, seed=0) == [[]] * 6
    assert divide(Dataset([Query("x")]), 2, seed=0) == [[], []]
