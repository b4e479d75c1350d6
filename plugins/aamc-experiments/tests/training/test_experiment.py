from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np
import pytest
import yaml
from aamc_experiments.measurement import EvaluationRequest, evaluate_run
from aamc_experiments.run_folder import Goal, RunFolder
from aamc_experiments.settings import Source, read_settings
from aamc_experiments.training import Experiment
from aamc_experiments.training.out_of_fold import read_out_of_fold
from tiny import Greedy, Seer, TableEnvironment, Tiny, TinyEstimator, TinyFormat, TinyFormatOptions, TinyRouter

from aamc_sdk import Candidate, Pool, Query, Requirements, option
from aamc_sdk.errors import AamcError, CheckpointError, ConfigError, DataError, EstimatesError, OutputError, PluginError, UnknownComponentError
from aamc_sdk.interfaces import NoProgress
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import LinearReward
from aamc_sdk.serving import find_checkpoint
from aamc_sdk.testing import make_dataset

LARGE = "{name: LLM-XLarge, abilities: [tools], prices: {input: 1, output: 1}}"
ELSEWHERE = Source.of({"name": "tiny", "path": "50", "first": 1000}, "")
CONTENT = {
    "router": "favourite",
    "estimator": "means",
    "environment": "table",
    "dataset": "tiny:200",
    "routers": ["best-expected", "seer"],
}


@pytest.fixture
def plugins() -> Plugins:
    from aamc_sdk import builtin

    return Plugins(extra={"core": builtin, "tiny": Tiny()}, discover=False)


@pytest.fixture
def experiment(tmp_path, plugins):
    def make(goal: Goal = Goal.COMPARISON, folder: str = "run", **changes) -> Experiment:
        return Experiment(read_settings(CONTENT | changes), plugins, tmp_path / folder, NoProgress(), goal)

    return make


def test_the_progress_of_an_experiment_has_the_methods_of_a_progress(plugins: Plugins, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"progress must have the methods of aamc_sdk\.interfaces\.Progress, as NoProgress has, .*, not <function"):
        Experiment(read_settings(CONTENT), plugins, tmp_path / "run", lambda *_, **__: None)  # type: ignore[arg-type]  # on purpose


def test_a_run_leaves_everything_that_the_design_names(experiment) -> None:
    made = experiment()
    metrics = made.complete()
    folder = made.run.folder
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"run.yaml", "pool.yaml", "reward.json", "metrics.json", "decisions.npz", "estimator/component.json"} <= names
    assert {f"routers/{name}/{file}" for name in ("favourite", "best-expected", "seer") for file in ("component.json", "training.json")} <= names
    assert json.loads((folder / "metrics.json").read_text())["routers"].keys() == metrics["routers"].keys()
    assert list(metrics["routers"]) == ["favourite", "best-expected", "seer"]


def test_the_metrics_are_those_of_the_saved_decisions(experiment) -> None:
    made = experiment()
    metrics = made.complete()
    with np.load(made.run.folder / "decisions.npz") as saved:
        arrays = dict(saved)
    rows = np.arange(len(arrays["queries"]))
    for r, name in enumerate(arrays["routers"]):
        quality = arrays["quality"][rows, arrays["chosen"][r, 0]]
        cost = arrays["cost_usd"][rows, arrays["chosen"][r, 0]] + arrays["spent_usd"][r, 0]
        assert metrics["routers"][str(name)]["success_rate"] == pytest.approx((quality >= 0.5).mean())
        assert metrics["routers"][str(name)]["mean_cost_usd"] == pytest.approx(cost.mean())


def test_test_rows_without_a_complete_one_are_refused_before_anything_is_trained(experiment, monkeypatch) -> None:
    def read(self: TinyFormat, path: str):
        rows = make_dataset(int(path), self.config.first)
        if self.config.first:
            rows.outcomes.quality[:, -1] = np.nan  # of the candidate that is allowed everywhere
        return rows

    monkeypatch.setattr(TinyFormat, "read", read)
    made = experiment(dataset="tiny:200", test_dataset={"name": "tiny", "path": "50", "first": 1000})
    with pytest.raises(DataError, match=r"no test query has an outcome of every candidate .*; fill the gaps, or take a smaller pool"):
        made.complete()
    assert not (made.run.folder / "estimator").exists()


def test_hindsight_is_only_for_the_privileged_and_is_an_upper_bound(experiment) -> None:
    metrics = experiment().complete()["routers"]
    assert metrics["seer"]["mean_reward"] >= max(metrics[name]["mean_reward"] for name in ("favourite", "best-expected"))
    assert metrics["seer"]["mean_reward"] > metrics["favourite"]["mean_reward"]


def test_routers_are_trained_on_out_of_fold_quality(experiment) -> None:
    made = experiment(goal=Goal.ROUTER)
    assert made.complete()["expected"] == 0.5


def test_routers_that_train_on_predictions_of_seen_rows_say_so(experiment, monkeypatch) -> None:
    monkeypatch.setattr(TinyEstimator, "out_of_fold", lambda self: None)
    said: list[str] = []
    made = experiment(goal=Goal.ROUTER)
    made.progress.say = said.append
    assert made.complete()["expected"] != 0.5
    (warning,) = [line for line in said if "out-of-fold" in line]
    assert warning.startswith("estimator 'means' gives no out-of-fold predictions of the training rows, as its out_of_fold returns None")


def test_a_checkpoint_of_the_same_rows_brings_its_out_of_fold_quality(experiment) -> None:
    kept = experiment(goal=Goal.ESTIMATOR, folder="kept")
    kept.complete()
    again = experiment(goal=Goal.ROUTER, estimator=str(kept.run.folder))
    assert again.complete()["expected"] == 0.5


def test_out_of_fold_quality_is_found_by_the_candidates_names(experiment, tmp_path) -> None:
    kept = experiment(goal=Goal.ESTIMATOR, folder="kept", estimator="numbered")
    kept.complete()
    pool = tmp_path / "pool.yaml"
    content = yaml.safe_load((kept.run.folder / "pool.yaml").read_text())
    pool.write_text(yaml.safe_dump({"candidates": content["candidates"][::-1]}))
    again = experiment(goal=Goal.ROUTER, estimator=str(kept.run.folder), pool=str(pool))
    setup = again.begin()
    again.estimator(setup)
    expected = read_out_of_fold(again.run.folder / "estimator", setup)
    assert expected is not None
    assert expected.quality[0].tolist() == [0.3, 0.2, 0.1, 0]


def test_a_resumed_run_notices_that_its_data_changed(experiment, plugins, monkeypatch) -> None:
    made = experiment()
    made.complete()
    monkeypatch.setattr(TinyFormat, "read", lambda *_: make_dataset(200, first=7))
    with pytest.raises(DataError, match="not what it was when the run began"):
        Experiment.resume(made.run.folder, plugins, NoProgress()).complete()


def test_two_sources_of_one_format_have_options_of_their_own(experiment) -> None:
    made = experiment(dataset={"name": "tiny", "path": "200", "first": 0}, test_dataset={"name": "tiny", "path": "50", "first": 1000})
    splits = made.begin().splits
    assert len(splits["test"]) == 50
    assert len(splits["train"]) + len(splits["validation"]) == 200


def test_a_checkpoint_of_other_rows_is_taken_as_it_is_and_said(experiment) -> None:
    kept = experiment(goal=Goal.ESTIMATOR, folder="kept")
    kept.complete()
    said: list[str] = []
    other = experiment(goal=Goal.ROUTER, estimator=str(kept.run.folder), seed=1)
    other.progress.say = said.append
    assert other.complete()["expected"] != 0.5
    assert "was trained on other rows" in said[0]


def test_success_is_what_the_user_says_it_is(experiment) -> None:
    usual = experiment(folder="usual").complete()["routers"]["favourite"]
    strict = experiment(evaluation={"success_threshold": 0.0, "alpha": 1.0, "beta": 0.0}, folder="strict").complete()["routers"]["favourite"]
    assert strict["success_rate"] == 1.0 > usual["success_rate"]
    assert strict["efficiency"] == pytest.approx(1 / strict["mean_cost_usd"])


def test_an_evaluation_is_no_run(experiment, plugins, tmp_path) -> None:
    made = experiment()
    made.complete()
    run = RunFolder.open(made.run.folder)
    evaluate_run(run, EvaluationRequest(names=["seer"], preference=run.settings.preference, out=tmp_path / "o"), plugins)
    evaluation = RunFolder.open(tmp_path / "o")
    for asked in (
        lambda: evaluation.router_names,
        lambda: evaluation.fingerprints,
        lambda: evaluation.services(plugins),
        lambda: find_checkpoint(str(evaluation.folder), "router"),
    ):
        with pytest.raises(CheckpointError, match=f"holds an evaluation and no router; use the evaluated run {run.folder}"):
            asked()
    before = (made.run.folder / "run.yaml").read_bytes()
    with pytest.raises(OutputError, match="holds a run already"):
        evaluate_run(run, EvaluationRequest(names=["seer"], preference=run.settings.preference, out=made.run.folder), plugins)
    assert (made.run.folder / "run.yaml").read_bytes() == before


def test_an_estimator_alone_can_be_trained(experiment) -> None:
    made = experiment(goal=Goal.ESTIMATOR)
    assert made.complete() == {"rows": len(made.begin().splits["train"])}
    assert not (made.run.folder / "routers").exists()


def test_a_presets_options_reach_the_router_and_the_users_win(experiment) -> None:
    made = experiment(preset="full")
    made.begin()
    assert made.run.content["resolved"]["routers"]["favourite"]["favourite"] == 1
    other = experiment(preset="full", router={"name": "favourite", "favourite": 2}, folder="other")
    other.begin()
    assert other.run.content["resolved"]["routers"]["favourite"]["favourite"] == 2


def test_the_same_seed_gives_the_same_table(experiment) -> None:
    assert experiment().complete() == experiment(folder="again").complete()


@pytest.mark.parametrize(
    ("estimator", "requires", "hint"), [(None, {"training": True}, True), (None, {}, False), ("means", {"training": True}, False)]
)
def test_a_router_that_is_trained_blind_is_told(plugins, tmp_path, monkeypatch, estimator, requires, hint) -> None:
    class Heard(NoProgress):
        lines: ClassVar[list[str]] = []

        def say(self, line: str) -> None:
            self.lines.append(line)

    monkeypatch.setattr(TinyRouter, "requires", Requirements(**requires))
    settings = read_settings(CONTENT | {"estimator": estimator, "routers": []})
    Experiment(settings, plugins, tmp_path / "run", Heard()).begin()
    expected = "without an estimator favourite cannot see the texts, only prices and waits; add --estimator NAME (means, numbered)"
    assert (expected in Heard.lines) == hint


@pytest.fixture
def rows_in_files(monkeypatch) -> None:
    """Let the tiny dataset read the number of its rows from a file."""

    def read(self: TinyFormat, path: str):
        try:
            return make_dataset(int(Path(path).read_text()), self.config.first)
        except OSError as error:
            raise DataError(f"there is no file {path}; check the path") from error

    monkeypatch.setattr(TinyFormat, "read", read)


@pytest.mark.usefixtures("rows_in_files")
def test_a_run_means_the_same_in_every_working_directory(plugins, tmp_path, monkeypatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("rows").write_text("200")
    made = Experiment(read_settings(CONTENT | {"dataset": "tiny:rows"}), plugins, Path("run"), NoProgress())
    expected = made.complete()
    taken_over = Experiment(
        read_settings(CONTENT | {"dataset": "tiny:rows", "router": "run/routers/favourite", "estimator": "./run"}),
        plugins,
        Path("second"),
        NoProgress(),
    )
    taken_over.complete()
    (tmp_path / "here" / "second" / "metrics.json").unlink()
    monkeypatch.chdir(tmp_path)
    run = RunFolder.open("here/run")
    again = evaluate_run(run, EvaluationRequest(names=run.router_names, preference=run.settings.preference), plugins)
    assert again["routers"] == expected["routers"]
    assert Experiment.resume(Path("here/second"), plugins, NoProgress()).complete()["routers"] == expected["routers"]


@pytest.mark.usefixtures("rows_in_files")
def test_data_that_is_gone_can_be_named_elsewhere(plugins, tmp_path) -> None:
    (tmp_path / "rows").write_text("200")
    expected = Experiment(read_settings(CONTENT | {"dataset": f"tiny:{tmp_path}/rows"}), plugins, tmp_path / "run", NoProgress()).complete()
    (tmp_path / "rows").rename(tmp_path / "moved")
    run = RunFolder.open(tmp_path / "run")
    request = EvaluationRequest(names=run.router_names, preference=run.settings.preference)
    with pytest.raises(
        DataError, match=r"the data of .*run cannot be read again: there is no file .*rows; name the same rows elsewhere with --dataset tiny:PATH"
    ):
        evaluate_run(run, request, plugins)
    again = evaluate_run(run, attrs.evolve(request, source=Source.of(f"tiny:{tmp_path}/moved", "")), plugins)
    assert again["routers"] == expected["routers"]


def test_a_finished_part_is_not_trained_again_on_resume(experiment, plugins) -> None:
    made = experiment()
    expected = made.complete()
    (made.run.folder / "metrics.json").unlink()
    marked = made.run.folder / "routers" / "favourite" / "training.json"
    marked.write_text('{"steps": 99}')
    resumed = Experiment.resume(made.run.folder, plugins, NoProgress())
    assert resumed.complete() == expected
    assert json.loads(marked.read_text()) == {"steps": 99}


def test_options_that_were_edited_after_the_training_are_refused_on_resume(experiment, plugins) -> None:
    made = experiment()
    made.complete()
    file = made.run.folder / "run.yaml"
    content = yaml.safe_load(file.read_text())
    content["settings"]["router"] = {"name": "favourite", "favourite": 2}
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(CheckpointError, match=r"was trained with favourite 0, not 2 as run\.yaml says: restore run\.yaml"):
        Experiment.resume(made.run.folder, plugins, NoProgress()).complete()


def test_an_interrupted_run_goes_on_to_the_same_result(experiment, plugins, monkeypatch) -> None:
    expected = experiment(folder="uninterrupted").complete()
    stopped = experiment()
    with monkeypatch.context() as patch:
        patch.setattr(TinyRouter, "score", stop)
        with pytest.raises(KeyboardInterrupt):
            stopped.complete()
    assert not (stopped.run.folder / "metrics.json").exists()
    assert Experiment.resume(stopped.run.folder, plugins, NoProgress()).complete() == expected


@pytest.mark.parametrize(("error", "is_left"), [(DataError("no users"), False), (ConfigError("too wide"), False), (OutputError("disk full"), True)])
def test_a_run_that_resuming_cannot_mend_leaves_no_folder(experiment, monkeypatch, error: AamcError, is_left: bool) -> None:
    def fail(router: TinyRouter, training) -> None:
        raise error

    made = experiment(estimator=None, routers=["seer"])
    monkeypatch.setattr(TinyRouter, "train", fail)
    with pytest.raises(type(error)):
        made.complete()
    assert made.run.folder.exists() == is_left


def test_a_run_with_a_trained_component_keeps_it_after_an_error(experiment, monkeypatch) -> None:
    def fail(router: TinyRouter, training) -> None:
        raise DataError("no users")

    made = experiment()
    monkeypatch.setattr(TinyRouter, "train", fail)
    with pytest.raises(DataError):
        made.complete()
    assert (made.run.folder / "estimator" / "component.json").exists()


def test_a_part_that_was_interrupted_in_training_leaves_no_checkpoint(experiment, monkeypatch) -> None:
    stopped = experiment()
    monkeypatch.setattr(TinyRouter, "train", stop)
    with pytest.raises(KeyboardInterrupt):
        stopped.complete()
    assert not (stopped.run.folder / "routers" / "favourite").exists()
    assert (stopped.run.folder / "estimator" / "component.json").exists()


def stop(*arguments) -> None:
    raise KeyboardInterrupt


def test_a_checkpoint_is_used_instead_of_training(experiment) -> None:
    first = experiment(router={"name": "favourite", "favourite": 3})
    first.complete()
    second = experiment(folder="second", router=str(first.run.folder), estimator=str(first.run.folder / "estimator"))
    assert second.router_name == "favourite"
    metrics = second.complete()
    assert metrics["routers"]["favourite"]["model_share"]["LLM-XLarge"] > 0
    assert second.run.router_names == ["favourite", "best-expected", "seer"]


def test_a_run_of_checkpoints_is_evaluated_without_them(experiment, plugins) -> None:
    first = experiment()
    first.complete()
    second = experiment(folder="second", router=str(first.run.folder), estimator=str(first.run.folder / "estimator"))
    expected = second.complete()
    shutil.rmtree(first.run.folder)
    run = RunFolder.open(second.run.folder)
    again = evaluate_run(run, EvaluationRequest(names=run.router_names, preference=run.settings.preference), plugins)
    assert again["routers"] == expected["routers"]


def test_two_variants_of_one_router_are_compared_under_their_own_names(experiment) -> None:
    metrics = experiment(routers={"second": {"name": "favourite", "favourite": 1}, "third": {"name": "favourite", "favourite": 3}}).complete()
    assert list(metrics["routers"]) == ["favourite", "second", "third"]
    assert metrics["routers"]["second"]["mean_cost_usd"] < metrics["routers"]["third"]["mean_cost_usd"]


def test_a_pool_may_leave_candidates_out(experiment, tmp_path) -> None:
    pool = tmp_path / "pool.yaml"
    pool.write_text(f"candidates: [{LARGE}, {{name: SLM-Tiny, prices: {{input: 1, output: 1}}}}]")
    metrics = experiment(pool=str(pool), estimator=None, routers=["seer"]).complete()
    assert metrics["data"]["models"] == ["LLM-XLarge", "SLM-Tiny"]


def test_a_pool_of_one_routes_to_it(experiment, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Seer, "requires", Requirements(comparisons=True))  # with one candidate the only outcome is all that there is to compare
    pool = tmp_path / "pool.yaml"
    pool.write_text(f"candidates: [{LARGE}]")
    metrics = experiment(pool=str(pool), routers=["seer"]).complete()
    assert metrics["routers"]["favourite"]["model_share"] == {"LLM-XLarge": 1.0}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"router": "favorite"}, UnknownComponentError, "did you mean 'favourite'"),
        ({"estimator": "men"}, UnknownComponentError, "no estimator"),
        ({"router": {"name": "favourite", "favorite": 1}}, ConfigError, "did you mean 'favourite'"),
        ({"router": {"name": "favourite", "favourite": -1}}, ConfigError, "at least 0"),
        ({"router": {"name": "favourite", "favourite": "x"}}, ConfigError, "whole number"),
        ({"routers": ["nobody"]}, UnknownComponentError, "no router"),
        ({"routers": {"favourite": {"favourite": 3}}}, ConfigError, "routers.favourite is another router than the run's own"),
        ({"dataset": "tony"}, UnknownComponentError, "did you mean 'tiny'"),
        ({"environment": "tabel"}, UnknownComponentError, "did you mean 'table'"),
        ({"dataset": "tiny:1"}, DataError, "too few"),
        ({"pool": "defualt"}, UnknownComponentError, "did you mean 'default'"),
        ({"pool": "default"}, DataError, "no outcomes for"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(experiment, tmp_path, changes, error, message) -> None:
    def run() -> None:
        experiment(**changes).complete()

    with pytest.raises(error, match=message):
        run()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("goal", [Goal.ESTIMATOR, Goal.ROUTER, Goal.COMPARISON])
def test_an_option_of_the_estimator_is_refused_before_data_are_read(experiment, monkeypatch, goal) -> None:
    monkeypatch.setattr(TinyFormat, "read", stop)
    with pytest.raises(ConfigError, match="means has no option 'epochs'"):
        experiment(goal, estimator={"name": "means", "epochs": 3}).complete()


@pytest.mark.parametrize("part", [TinyEstimator, TinyRouter])
def test_a_device_that_is_not_there_is_refused_before_data_are_read(experiment, monkeypatch, part) -> None:
    def refuse(cls, device):
        raise ConfigError(f"there is no {device}")

    monkeypatch.setattr(TinyFormat, "read", stop)
    monkeypatch.setattr(part, "check_device", classmethod(refuse), raising=False)
    with pytest.raises(ConfigError, match="there is no cuda"):
        experiment(device="cuda").complete()


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_a_device_that_is_always_there_is_not_asked_for(experiment, monkeypatch, device) -> None:
    monkeypatch.setattr(TinyRouter, "check_device", stop, raising=False)
    assert experiment(device=device).begin().splits


def test_what_was_trained_on_a_device_is_taken_over_without_it(experiment, monkeypatch) -> None:
    trained = experiment(device="cuda")
    trained.complete()
    monkeypatch.setattr(TinyRouter, "check_device", stop, raising=False)
    monkeypatch.setattr(TinyEstimator, "check_device", stop, raising=False)
    folder = str(trained.run.folder)
    assert experiment(folder="second", device="cuda", router=folder, estimator=folder).complete()["routers"]
    assert Experiment.resume(trained.run.folder, trained.plugins, NoProgress()).complete()["routers"]


def test_an_option_that_does_not_fit_the_data_is_refused_before_anything_is_trained(experiment, monkeypatch) -> None:
    def vector(self: TableEnvironment, n: int, split: str, **_: object):
        raise ConfigError(f"budget_usd must be more than 5 for the {split} split, not 1")

    monkeypatch.setattr(TableEnvironment, "stationary", False)
    monkeypatch.setattr(TableEnvironment, "vector", vector)
    monkeypatch.setattr(TinyEstimator, "train", lambda *_: pytest.fail("trained"))
    made = experiment()
    with pytest.raises(ConfigError, match="budget_usd must be more than 5"):
        made.complete()
    assert not made.run.folder.exists()


def test_a_router_that_needs_an_estimator_says_so_before_anything_is_trained(experiment, monkeypatch) -> None:
    monkeypatch.setattr(TinyRouter, "train", stop)
    with pytest.raises(ConfigError, match="'best-expected' needs an estimator"):
        experiment(estimator=None).complete()


def test_without_an_estimator_baselines_that_need_one_are_left_out(experiment, monkeypatch) -> None:
    monkeypatch.setattr("aamc_experiments.training.experiment.COMPARED", ("best-expected", "seer"))
    assert list(experiment(estimator=None, routers=None).compared()) == ["favourite", "seer"]
    assert list(experiment(routers=None).compared()) == ["favourite", "best-expected", "seer"]


@pytest.fixture
def no_expected_quality(monkeypatch):
    """Let the estimator predict no quality, and the router ``best-expected`` refuse such requests."""

    def score(self, request):
        if np.isnan(request.expected.known_quality).any():
            raise EstimatesError("best-expected needs each candidate's expected quality; use another estimator")
        return self.services.reward.scalar(request.expected, request.preferences)

    monkeypatch.setattr(TinyEstimator, "quality", lambda self, estimates, pool: None)
    monkeypatch.setattr(TinyEstimator, "out_of_fold", lambda self: None)
    monkeypatch.setattr(Greedy, "score", score)
    monkeypatch.setattr("aamc_experiments.training.experiment.COMPARED", ("best-expected", "seer"))


def test_a_baseline_that_lacks_an_estimate_is_left_out_and_said(experiment, no_expected_quality) -> None:
    said: list[str] = []
    made = experiment(routers=None)
    made.progress.say = said.append
    assert list(made.complete()["routers"]) == ["favourite", "seer"]
    assert "best-expected is left out: best-expected needs each candidate's expected quality" in said
    run = RunFolder.open(made.run.folder)
    assert run.router_names == ["favourite", "seer"]
    assert not (run.folder / "routers" / "best-expected").exists()
    request = EvaluationRequest(names=run.router_names, preference=run.settings.preference)
    assert list(evaluate_run(run, request, made.plugins)["routers"]) == ["favourite", "seer"]
    assert list(Experiment.resume(run.folder, made.plugins, NoProgress()).complete()["routers"]) == ["favourite", "seer"]


@pytest.mark.parametrize("named", [{"routers": ["best-expected"]}, {"router": "best-expected", "routers": ["seer"]}])
def test_a_router_that_the_user_named_and_that_lacks_an_estimate_is_an_error_before_others_are_trained(
    experiment, no_expected_quality, monkeypatch, named
) -> None:
    monkeypatch.setattr(Seer, "train", stop)
    with pytest.raises(EstimatesError, match="best-expected needs each candidate's expected quality"):
        experiment(**named).complete()


@pytest.fixture
def one_outcome_a_row(monkeypatch):
    """Read rows of which one candidate's outcome is known, and whole ones to test on; the router ``seer`` compares outcomes."""

    def read(self, path):
        rows = make_dataset(int(path), self.config.first)
        served = np.eye(len(rows.pool), dtype=bool)[np.arange(len(rows)) % len(rows.pool)]
        known = np.where(served, rows.outcomes.known_quality, np.nan)
        return rows if self.config.first else attrs.evolve(rows, outcomes=attrs.evolve(rows.outcomes, quality=known))

    monkeypatch.setattr(TinyFormat, "read", read)
    monkeypatch.setattr(Seer, "requires", Requirements(comparisons=True))
    monkeypatch.setattr("aamc_experiments.training.experiment.COMPARED", ("favourite", "seer"))
    return {"estimator": None, "test_dataset": {"name": "tiny", "path": "50", "first": 1000}}


def test_a_baseline_that_the_data_cannot_train_is_left_out_and_said(experiment, one_outcome_a_row) -> None:
    said: list[str] = []
    made = experiment(routers=None, **one_outcome_a_row)
    made.progress.say = said.append
    assert list(made.complete()["routers"]) == made.run.router_names == ["favourite"]
    why = "it learns which candidate of each row did best, and the training rows of aamc_sdk.testing have one outcome each"
    assert f"seer is left out: {why}" in said


def test_a_router_that_the_user_named_and_the_data_cannot_train_is_an_error(experiment, one_outcome_a_row, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(TinyRouter, "requires", Requirements(training=True))
    with pytest.raises(DataError, match=r"^seer learns which candidate of each row did best, .*; use one that these rows can train: favourite$"):
        experiment(routers=["seer"], **one_outcome_a_row).complete()
    with pytest.raises(DataError, match=r"^seer learns which"):
        experiment(router="seer", routers=None, **one_outcome_a_row).complete()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("preference", "warns"), [("0.9,0.1,0", True), ("1,0,0", False)])
def test_a_training_says_which_candidates_have_neither_prices_nor_measured_costs(experiment, monkeypatch, preference, warns) -> None:
    def read(self, path):
        rows = make_dataset(int(path))
        unknown = attrs.evolve(rows.outcomes, cost_usd=np.full_like(rows.outcomes.cost_usd, np.nan))
        priced, *others = rows.pool
        pool = Pool([priced, *(Candidate(each.name, abilities=each.abilities) for each in others)])
        return attrs.evolve(rows, pool=pool, outcomes=unknown)

    monkeypatch.setattr(TinyFormat, "read", read)
    said: list[str] = []
    made = experiment(Goal.ROUTER, estimator=None, preference=preference)
    made.progress.say = said.append
    made.complete()
    unpriced = ", ".join(made.run.pool.names[1:])
    assert any(f"the costs of {unpriced} are unknown" in line and "--pool" in line for line in said) is warns


@pytest.mark.parametrize(
    ("preference", "ratio", "remark"),
    [
        ("0.8,0.1,0.1", 1.1, "the candidates' mean costs differ by 9.1% only, and the preference lets that difference count like 0.12 of quality"),
        ("1,0,0", 1.1, ""),
        ("0,1,0", 1.1, ""),  # quality does not count
        ("0.8,0.1,0.1", 1.0, ""),  # equal costs do not count
        ("0.8,0.1,0.1", 2.0, ""),
    ],
)
def test_a_training_says_that_costs_are_nearly_equal(experiment, monkeypatch, preference, ratio, remark) -> None:
    def read(self, path):
        rows = make_dataset(int(path))
        cost_usd = np.broadcast_to(np.linspace(1.0, ratio, len(rows.pool)), rows.outcomes.cost_usd.shape)
        return attrs.evolve(rows, outcomes=attrs.evolve(rows.outcomes, cost_usd=cost_usd))

    monkeypatch.setattr(TinyFormat, "read", read)
    said: list[str] = []
    made = experiment(Goal.ROUTER, preference=preference)
    made.progress.say = said.append
    made.begin()
    found = [line for line in said if "reward.cost_usd" in line]
    assert found == ([f"{remark}; for less, add --set reward.cost_usd=[0,1.1]"] if remark else [])


@pytest.mark.parametrize("biased", [True, False])
def test_a_training_says_which_candidate_is_better_on_equal_rows(experiment, monkeypatch, biased) -> None:
    def read(self, path):
        rows = make_dataset(int(path))
        quality = np.full(rows.outcomes.cost_usd.shape, 0.2)
        quality[:, 0], quality[:, -1] = 0.3, 0.4  # the last candidate is the best one
        hard = np.arange(len(quality)) % 2 == 0
        quality[~hard] += 0.5
        if biased:
            quality[~hard, -1] = np.nan  # and was asked only what is hard
        return attrs.evolve(rows, outcomes=attrs.evolve(rows.outcomes, quality=quality))

    monkeypatch.setattr(TinyFormat, "read", read)
    said: list[str] = []
    made = experiment(Goal.ROUTER)
    made.progress.say = said.append
    made.begin()
    names = make_dataset(1).pool.names
    assert any(f"{names[-1]} has 0.1 more quality than {names[0]}, whose mean" in line for line in said) is biased


def test_a_router_whose_training_fails_is_named(experiment, monkeypatch) -> None:
    monkeypatch.setattr(TinyRouter, "train", lambda *_: np.zeros(2) + np.zeros(3))
    with pytest.raises(PluginError, match=r"^router 'favourite' failed: ValueError: operands could not be broadcast"):
        experiment().complete()


def test_an_environment_that_fails_in_a_training_is_named_beside_the_router(experiment, monkeypatch) -> None:
    monkeypatch.setattr(TinyRouter, "train", lambda _, training: training.env.vector(2, "train"))
    monkeypatch.setattr(TableEnvironment, "vector", lambda *_, **__: {}["streams"])
    with pytest.raises(PluginError, match=r"^router 'favourite': environment 'table' failed: KeyError: 'streams'$"):
        experiment().complete()


def test_an_environment_without_a_table_is_named(experiment, monkeypatch) -> None:
    monkeypatch.setattr(TableEnvironment, "dataset", lambda *_: None)
    with pytest.raises(PluginError, match=r"^environment 'table' failed: TypeError: dataset\('.*'\) must return aamc_sdk.Dataset, not None$"):
        experiment().complete()


@attrs.frozen(kw_only=True)
class GeneratedOptions(TinyFormatOptions):
    """Options of a format whose queries have the environment's categories."""

    shares: Mapping[str, float] = option({}, "Relative frequencies of categories.")


@pytest.mark.parametrize(
    ("part", "method", "name"),
    [
        (TinyEstimator, "train", "estimator 'means'"),
        (TinyEstimator, "out_of_fold", "estimator 'means'"),
        (TableEnvironment, "prepare", "environment 'table'"),
        (TableEnvironment, "dataset", "environment 'table'"),
        (TableEnvironment, "category_shares", "environment 'table'"),
        (LinearReward, "fit", "reward 'linear'"),
        (TinyFormat, "read", "dataset format 'tiny'"),
    ],
)
def test_a_component_that_fails_is_named(experiment, monkeypatch, part, method, name) -> None:
    def fail(*arguments):
        raise KeyError("rows")

    monkeypatch.setattr(part, method, fail)
    monkeypatch.setattr(TinyFormat, "Config", GeneratedOptions)
    with pytest.raises(PluginError, match=f"^{name} failed: KeyError: 'rows'$"):
        experiment(dataset="tiny").complete()


class OfRouterInside:
    """The requirements of a router that wraps another one: none on its class."""

    def __init__(self, requires: Requirements) -> None:
        self.requires = requires

    def __get__(self, router: TinyRouter | None, owner: type[TinyRouter]) -> Requirements:
        return Requirements() if router is None else self.requires


def test_what_a_wrapped_router_requires_reaches_the_run(experiment, one_outcome_a_row, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(TinyRouter, "requires", OfRouterInside(Requirements(comparisons=True)))
    with pytest.raises(DataError, match=r"^favourite learns which candidate of each row did best"):
        experiment(routers=[], **one_outcome_a_row).complete()
    monkeypatch.setattr(TinyRouter, "requires", OfRouterInside(Requirements(estimator=True)))
    with pytest.raises(ConfigError, match="'favourite' needs an estimator"):
        experiment(routers=[], **one_outcome_a_row).complete()
    assert not (tmp_path / "run").exists()


class NoSuchRouterInside:
    """The requirements of a router whose option names an unknown router."""

    def __get__(self, router: TinyRouter | None, owner: type[TinyRouter]) -> Requirements:
        if router is None:
            return Requirements()
        raise UnknownComponentError("no router is named 'nosuch'")


def test_an_unknown_wrapped_router_is_refused_before_anything_is_trained(experiment, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(TinyRouter, "requires", NoSuchRouterInside())
    with pytest.raises(UnknownComponentError, match="'nosuch'"):
        experiment(routers=["best-expected", "favourite"]).complete()
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_is_an_error(experiment, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="--out"):
        experiment(folder="file/run").complete()


def test_evaluating_elsewhere_changes_nothing_in_the_run(experiment, plugins, tmp_path) -> None:
    made = experiment()
    expected = made.complete()
    before = {path: path.stat().st_mtime_ns for path in made.run.folder.rglob("*")}
    run = RunFolder.open(made.run.folder)
    again = evaluate_run(run, EvaluationRequest(names=run.router_names, preference=run.settings.preference), plugins)
    assert again == expected
    other = evaluate_run(run, EvaluationRequest(names=["seer"], preference=run.settings.preference, source=ELSEWHERE, out=tmp_path / "o"), plugins)
    assert other["data"]["queries"] == 50
    assert list(other["routers"]) == ["seer"]
    assert (tmp_path / "o" / "decisions.npz").exists()
    assert before == {path: path.stat().st_mtime_ns for path in made.run.folder.rglob("*")}


def test_other_data_of_the_same_format_is_read_with_the_runs_options(experiment, plugins, monkeypatch) -> None:
    @attrs.frozen(kw_only=True)
    class Note(TinyFormatOptions):
        note: str = option("none", "what the data says of its costs")

    class Noting(TinyFormat):
        Config = Note

        def read(self, path):
            return attrs.evolve(super().read(path), cost_note=self.config.note)

    monkeypatch.setattr("tiny.TinyFormat", Noting)
    made = experiment(dataset={"name": "tiny", "path": "200", "note": "guessed"})
    made.complete()
    run = RunFolder.open(made.run.folder)
    for source, note in (("tiny:50", "guessed"), ({"name": "tiny", "path": "50", "note": "counted"}, "counted")):
        metrics = evaluate_run(run, EvaluationRequest(names=["seer"], preference=run.settings.preference, source=Source.of(source, "")), plugins)
        assert metrics["data"]["cost_note"] == note


@pytest.mark.parametrize(
    "file", ["reward.json", "pool.yaml", "run.yaml", "estimator/means.json", "routers/favourite/component.json", "candidates.json"]
)
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_run_is_a_one_line_error(experiment, plugins, file, damage) -> None:
    made = experiment()
    made.complete()
    path = made.run.folder / file
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])

    def evaluate() -> None:
        run = RunFolder.open(made.run.folder)
        evaluate_run(run, EvaluationRequest(names=["favourite"], preference=run.settings.preference), plugins)

    with pytest.raises(AamcError) as caught:
        evaluate()
    assert "\n" not in str(caught.value)


def test_half_a_run_is_damaged_and_another_schema_is_another_version(experiment) -> None:
    made = experiment()
    made.complete()
    file = made.run.folder / "run.yaml"
    text = file.read_text()
    file.write_text("".join(text.splitlines(keepends=True)[: text.count("\n") // 2]))
    with pytest.raises(CheckpointError, match=r"run\.yaml is damaged: it lacks .*versions; restore the file, or train again"):
        _ = RunFolder.open(made.run.folder).settings
    file.write_text(text.replace("schema: 1", "schema: 2", 1))
    with pytest.raises(CheckpointError, match="has schema 2, not 1: it was made by another version"):
        _ = RunFolder.open(made.run.folder).settings


def test_a_router_that_the_run_does_not_hold_is_named(experiment, plugins) -> None:
    made = experiment()
    made.complete()
    run = RunFolder.open(made.run.folder)
    with pytest.raises(CheckpointError, match=r"no router 'oracle' \(it holds: best-expected, favourite, seer\)"):
        evaluate_run(run, EvaluationRequest(names=["oracle"], preference=run.settings.preference), plugins)


def test_a_folder_without_a_run_names_the_command_that_makes_one(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="aamc run"):
        RunFolder.open(tmp_path)


def test_a_name_is_no_checkpoint_and_a_path_without_one_is_an_error(tmp_path, monkeypatch) -> None:
    (tmp_path / "ppo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint("ppo", "router") is None
    with pytest.raises(CheckpointError, match="holds no router checkpoint"):
        find_checkpoint(str(tmp_path), "router")


@pytest.mark.parametrize("content", ["", "goal: [", "schema: 99"])
def test_a_run_that_is_damaged_is_not_overwritten(tmp_path, content) -> None:
    (tmp_path / "run.yaml").write_text(content)
    with pytest.raises(OutputError, match="holds a run already; continue it with --resume"):
        RunFolder(tmp_path).refuse_to_overwrite()
    with pytest.raises(OutputError, match="holds a run already; choose another folder with --out"):
        RunFolder(tmp_path).refuse_to_overwrite(resumes=False)


def test_an_evaluation_is_not_overwritten_nor_gone_on_with(experiment, plugins, tmp_path) -> None:
    made = experiment()
    made.complete()
    run = RunFolder.open(made.run.folder)
    evaluate_run(run, EvaluationRequest(names=["seer"], preference=run.settings.preference, out=tmp_path / "o"), plugins)
    with pytest.raises(OutputError, match="holds an evaluation already; choose another folder"):
        RunFolder(tmp_path / "o").refuse_to_overwrite()


def test_a_folder_with_other_files_is_left_alone(experiment, tmp_path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        experiment().complete()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]


def test_a_router_whose_checkpoint_is_gone_is_missed(experiment, plugins) -> None:
    made = experiment()
    made.complete()
    (made.run.folder / "routers" / "seer" / "component.json").unlink()
    run = RunFolder.open(made.run.folder)
    with pytest.raises(CheckpointError, match=r"'seer' of .* is incomplete"):
        evaluate_run(run, EvaluationRequest(names=run.router_names, preference=run.settings.preference), plugins)


def test_an_estimator_alone_has_nothing_to_evaluate(experiment, plugins) -> None:
    made = experiment(goal=Goal.ESTIMATOR)
    made.complete()
    run = RunFolder.open(made.run.folder)
    with pytest.raises(CheckpointError, match="holds no router to evaluate"):
        evaluate_run(run, EvaluationRequest(names=run.router_names, preference=run.settings.preference), plugins)


def test_another_runs_pool_is_noticed(experiment) -> None:
    made = experiment()
    made.complete()
    (made.run.folder / "pool.yaml").write_text("candidates: [{name: other}]")
    with pytest.raises(CheckpointError, match="name different candidates"):
        _ = RunFolder.open(made.run.folder).candidate_means


def test_the_query_of_a_run_is_named_by_its_hash_alone(experiment) -> None:
    made = experiment()
    made.complete()
    text = make_text(made)
    assert all(text.encode() not in path.read_bytes() for path in made.run.folder.rglob("*") if path.is_file())


def make_text(made: Experiment) -> str:
    query: Query = made.begin().splits["test"].queries[0]
    return query.text


def test_settings_of_an_evaluation_are_the_runs_own_but_for_what_was_asked(experiment, plugins, tmp_path) -> None:
    made = experiment()
    made.complete()
    run = RunFolder.open(made.run.folder)
    evaluate_run(run, EvaluationRequest(names=["seer"], preference=run.settings.preference, source=ELSEWHERE, out=tmp_path / "o"), plugins)
    changed = attrs.evolve(run.settings, dataset=ELSEWHERE)
    assert RunFolder.open(tmp_path / "o").settings == changed
