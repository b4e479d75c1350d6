from __future__ import annotations

import shutil

import attrs
import numpy as np
import pytest
from aamc_experiments import target_preferences
from aamc_experiments.commands.calibrate import calibrate as calibrate_command
from aamc_experiments.evaluation import Resampling
from aamc_experiments.measurement import Measurement
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import read_settings
from aamc_experiments.target_preferences import Calibration, Target, _DecidedRows, calibrate, save_calibration
from aamc_experiments.training import Experiment, out_of_fold
from aamc_experiments.training.out_of_fold import OUT_OF_FOLD, write_out_of_fold
from click.testing import CliRunner
from tiny import Tiny, TinyRouter

from aamc_sdk import MetaController, Preference, Requirements, builtin
from aamc_sdk.errors import CheckpointError, ConfigError, DataError, OutputError, PreferenceError
from aamc_sdk.interfaces import NoProgress
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import build_request
from aamc_sdk.storage import COMPONENT, read_json, write_json
from aamc_sdk.types import AnswerLengths

CONTENT = {"router": "best-expected", "estimator": "means", "environment": "table", "dataset": "tiny:400", "routers": []}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins(extra={"core": builtin, "tiny": Tiny()}, discover=False)


@pytest.fixture(scope="module")
def run(plugins, tmp_path_factory) -> RunFolder:
    folder = tmp_path_factory.mktemp("calibration") / "run"
    Experiment(read_settings(CONTENT), plugins, folder, NoProgress()).complete()
    (folder / "estimator" / OUT_OF_FOLD).unlink()  # so that validation rows alone count
    return RunFolder.open(folder)


def calibrated(run: RunFolder, plugins: Plugins, kind: str, value: float, confidence: float = 0.0) -> Calibration:
    return calibrate(run, plugins, NoProgress(), Target(kind, value, confidence))


def reachable(run: RunFolder, plugins: Plugins) -> dict[str, np.ndarray]:
    """Return what the router gives on the validation rows at each preference of the ray, worked out row by row."""
    dataset = Experiment(run.settings, plugins, run.folder, NoProgress()).begin().splits["validation"]
    assert dataset.outcomes is not None
    outcomes, lent = dataset.outcomes, run.services(plugins)
    estimator, router = run.estimator(plugins, lent), run.router(plugins, lent)
    assert estimator is not None
    quality = estimator.quality(estimator.estimate(dataset.queries), run.pool)
    request = build_request(dataset.queries, run.pool, Preference().array, quality=quality, candidate_means=run.candidate_means)
    found = []
    for preference in Target("quality-floor", 0.9).ray:
        utility = np.where(request.mask, router.score(request.with_preference(preference)).utility, -np.inf)
        cells = np.arange(len(dataset)), utility.argmax(axis=1)
        found.append((outcomes.known_quality[cells].mean(), 1000 * outcomes.cost_usd[cells].mean()))
    best = outcomes.known_quality.mean(axis=0).max()
    return {"quality": np.array(found)[:, 0] / best, "cost": np.array(found)[:, 1]}


def test_the_ray_goes_from_quality_alone_to_cost_alone() -> None:
    points = Target("quality-floor", 0.9).ray
    assert points[0].tolist() == [1, 0, 0]
    assert points[-1].tolist() == [0, 1, 0]
    np.testing.assert_allclose(points.sum(axis=1), 1)
    assert (np.diff(points[:, 1]) > 0).all()


@pytest.mark.parametrize("floor", [0.5, 0.8, 0.95])
def test_a_quality_floor_is_met_as_cheaply_as_can_be(run, plugins, floor) -> None:
    found = calibrated(run, plugins, "quality-floor", floor)
    assert found.figures["relative_quality"] >= floor
    points = reachable(run, plugins)
    assert found.figures["usd_per_1k"] <= points["cost"][points["quality"] >= floor].min() + 1e-12


def test_a_surer_floor_costs_more_and_is_met_on_more_resamples(run, plugins) -> None:
    floor = float(np.sort(reachable(run, plugins)["quality"])[len(Target("quality-floor", 0.9).ray) // 2])
    taken_as_it_is, sure = (calibrated(run, plugins, "quality-floor", floor, confidence) for confidence in (0.0, 0.95))
    assert sure.confidence >= 0.95 > taken_as_it_is.confidence
    assert sure.figures["usd_per_1k"] > taken_as_it_is.figures["usd_per_1k"]
    assert sure.figures["relative_quality"] > taken_as_it_is.figures["relative_quality"] >= floor - 1e-12


def test_where_no_preference_is_sure_enough_the_surest_misses_the_target(run, plugins) -> None:
    budget = float(reachable(run, plugins)["cost"].min()) + 1e-9
    found = calibrated(run, plugins, "budget-usd-per-1k", budget, 0.99)
    assert found.figures["usd_per_1k"] == pytest.approx(budget)
    assert found.confidence < 0.99
    assert not found.met
    assert found.to_dict()["met"] is False


def test_a_budget_is_kept_and_used(run, plugins) -> None:
    points = reachable(run, plugins)
    budget = float(np.median(points["cost"]))
    found = calibrated(run, plugins, "budget-usd-per-1k", budget)
    assert found.figures["usd_per_1k"] <= budget
    assert found.figures["relative_quality"] >= points["quality"][points["cost"] <= budget].max() - 1e-12


def test_preferences_between_those_of_the_ray_use_more_of_a_budget(run, plugins, monkeypatch) -> None:
    budget = float(np.median(reachable(run, plugins)["cost"]))
    monkeypatch.setattr(target_preferences, "POINTS", 2)
    coarse = reachable(run, plugins)
    found = calibrated(run, plugins, "budget-usd-per-1k", budget)
    assert coarse["cost"][coarse["cost"] <= budget].max() < found.figures["usd_per_1k"] <= budget
    assert coarse["quality"][coarse["cost"] <= budget].max() < found.figures["relative_quality"]


def test_a_share_of_no_strong_calls_avoids_the_strongest_candidate(run, plugins) -> None:
    assert calibrated(run, plugins, "strong-share", 1.0).figures["strong_share"] > 0.5
    none = calibrated(run, plugins, "strong-share", 0.0)
    assert none.figures["strong_share"] == 0
    assert none.ci95["strong_share"] == pytest.approx([0, 1 - 0.025 ** (1 / none.rows)])  # exact: none of these rows is not none at all


def test_a_service_level_is_kept_with_the_best_quality(run, plugins) -> None:
    anything = calibrated(run, plugins, "p95-ms", 1e9)
    with pytest.raises(DataError, match=r"no preference meets --p95-ms 0 .* 95th percentile of latency at least (\d+) ms") as missed:
        calibrated(run, plugins, "p95-ms", 0.0)
    attainable = float(str(missed.value).split("latency at least ")[1].split(" ms")[0])
    middle = (attainable + anything.figures["p95_ms"]) / 2 + 1
    quick = calibrated(run, plugins, "p95-ms", middle)
    assert attainable - 1 <= quick.figures["p95_ms"] <= middle < anything.figures["p95_ms"] + 1
    assert quick.figures["relative_quality"] <= anything.figures["relative_quality"]
    assert quick.preference.cost == 0 < quick.preference.latency
    low, high = quick.ci95["p95_ms"]
    assert low <= quick.figures["p95_ms"] <= high


def test_without_latencies_there_is_no_service_level(run, plugins, monkeypatch) -> None:
    compare = Measurement.compare
    monkeypatch.setattr(Measurement, "compare", lambda self: without_latency(compare(self)))
    with pytest.raises(DataError, match="--p95-ms needs the latency of each call"):
        calibrated(run, plugins, "p95-ms", 1000.0)


def without_latency(comparison):
    """Return the comparison as if no latency were known."""
    return attrs.evolve(comparison, latency_ms=np.full_like(comparison.latency_ms, np.nan))


def test_each_figure_lies_in_its_interval(run, plugins) -> None:
    found = calibrated(run, plugins, "quality-floor", 0.8)
    for name, value in found.figures.items():
        low, high = found.ci95[name]
        assert low - 1e-12 <= value <= high + 1e-12


@pytest.mark.parametrize(("router", "splits"), [("best-expected", {"validation", "train"}), ("favourite", {"validation"})])
def test_training_rows_count_where_the_router_has_learned_nothing_from_them(plugins, tmp_path, monkeypatch, router, splits) -> None:
    monkeypatch.setattr(TinyRouter, "requires", Requirements(training=True))
    settings = read_settings(CONTENT | {"router": router})
    experiment = Experiment(settings, plugins, tmp_path / "run", NoProgress())
    experiment.complete()
    sizes = {name: about["queries"] for name, about in experiment.run.content["splits"].items()}
    found = calibrated(RunFolder.open(tmp_path / "run"), plugins, "budget-usd-per-1k", 1e6)
    assert found.rows == sum(sizes[name] for name in splits)


def test_one_validation_row_alone_makes_nothing_sure(run, plugins, monkeypatch) -> None:
    compare = Measurement.compare
    monkeypatch.setattr(Measurement, "compare", lambda self: one_row(compare(self)))
    found = calibrated(run, plugins, "budget-usd-per-1k", 1e6)
    assert found.confidence == 0
    assert set(found.ci95.values()) == {None}


def one_row(comparison):
    """Return the comparison as if all of its rows were one question, or one stream of a simulation."""
    return attrs.evolve(comparison, stream=np.zeros(len(comparison.queries), dtype=np.intp))


def test_draws_of_the_same_questions_in_streams_make_nothing_surer(run, plugins, monkeypatch) -> None:
    compare, budget = Measurement.compare, float(np.median(reachable(run, plugins)["cost"]))
    once = calibrated(run, plugins, "budget-usd-per-1k", budget)
    monkeypatch.setattr(Measurement, "compare", lambda self: in_streams(compare(self), times=20))
    found = calibrated(run, plugins, "budget-usd-per-1k", budget)
    assert found.preference == once.preference
    assert (found.rows, found.questions) == (20 * once.rows, once.questions)
    assert found.confidence == pytest.approx(once.confidence, abs=0.05)
    assert np.ptp(found.ci95["usd_per_1k"]) == pytest.approx(np.ptp(once.ci95["usd_per_1k"]), rel=0.15)


@pytest.mark.parametrize(("kind", "value", "is_sure"), [("budget-usd-per-1k", 1e6, True), ("quality-floor", 0.1, True), ("p95-ms", 1e9, False)])
def test_a_single_stream_makes_no_latency_sure_but_does_not_count_for_quality_and_cost(run, plugins, monkeypatch, kind, value, is_sure) -> None:
    compare = Measurement.compare
    monkeypatch.setattr(Measurement, "compare", lambda self: one_row(in_streams(compare(self), times=20)))
    found = calibrated(run, plugins, kind, value)
    assert found.confidence > 0.9 if is_sure else found.confidence == 0
    assert set(found.ci95.values()) == {None}  # as in metrics.json


def test_a_service_level_must_be_met_on_resamples_of_the_streams_too(run, plugins, monkeypatch) -> None:
    compare = Measurement.compare
    monkeypatch.setattr(Measurement, "compare", lambda self: in_streams(compare(self), times=20))
    sure = calibrated(run, plugins, "p95-ms", 2000.0)
    monkeypatch.setattr(Measurement, "compare", lambda self: one_slow_stream(in_streams(compare(self), times=20)))
    unsure = calibrated(run, plugins, "p95-ms", 2000.0)
    assert sure.confidence == 1
    assert 0.6 < unsure.confidence < 0.8  # the slow one of 32 streams is above 5% of a resample that draws it twice: 26%


def test_a_service_level_that_few_questions_never_exceed_is_not_sure(run, plugins, monkeypatch) -> None:
    compare = Measurement.compare
    monkeypatch.setattr(Measurement, "compare", lambda self: attrs.evolve(compare(self), latency_ms=np.ones_like(compare(self).latency_ms)))
    found = calibrated(run, plugins, "p95-ms", 1000.0)
    assert found.rows == found.questions == 32
    assert found.confidence == pytest.approx(1 - 0.95**32, abs=0.04)  # as likely as that not all are below a 95th percentile


def in_streams(comparison, times):
    """Return the comparison as if each of its 32 queries were drawn some times, in 32 streams."""
    cells, streams = (np.arange(len(comparison.queries)), comparison.chosen), np.tile(np.arange(32), times)
    repeated = {name: np.tile(getattr(comparison, name), times) for name in ("queries", "category", "chosen", "spent_usd", "spent_ms")}
    realised = {name: np.tile(getattr(comparison, name)[cells], times) for name in ("quality", "cost_usd", "latency_ms")}
    return attrs.evolve(comparison, **repeated, **realised, stream=np.random.default_rng(0).permutation(streams))


def one_slow_stream(comparison):
    return attrs.evolve(comparison, latency_ms=np.where(comparison.stream == 0, 1e4, comparison.latency_ms))


def test_a_target_out_of_reach_says_what_was_reached(run, plugins) -> None:
    with pytest.raises(DataError, match=r"no preference meets --budget-usd-per-1k 0 .* cost at least"):
        calibrated(run, plugins, "budget-usd-per-1k", 0.0)


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        ("quality-floor", -0.1, "a share of the best single candidate's quality, at least 0 and at most 2"),
        ("quality-floor", 97.0, "a share of the best single candidate's quality, at least 0 and at most 2"),
        ("strong-share", 1.5, "a share from 0 to 1"),
        ("budget-usd-per-1k", float("nan"), "USD of at least 0"),
        ("p95-ms", -1.0, "milliseconds of at least 0"),
    ],
)
def test_a_target_that_cannot_be_is_refused(kind, value, wanted) -> None:
    with pytest.raises(ConfigError, match=f"--{kind} must be {wanted}.*, not {value}"):
        Target(kind, value)
    assert Target("quality-floor", 1.2).value == 1.2  # a router may do better than any candidate


def test_a_confidence_of_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--confidence must be a share of at least 0 and below 1, not 1\.0"):
        Target("quality-floor", 0.9, 1.0)


def test_a_calibrated_preference_is_used_by_its_name(run, plugins) -> None:
    found = calibrated(run, plugins, "quality-floor", 0.8)
    save_calibration(run, "thrifty", found)
    assert run.preference("thrifty") == found.preference
    assert run.preference("0.5,0.5,0") == Preference(0.5, 0.5, 0)
    with MetaController.load(run.folder, store="memory:", plugins=plugins) as controller:
        assert controller.route("Write a Python function", preference="thrifty").preference == found.preference


def test_a_calibration_replaces_no_file_outside_its_run(run, plugins, tmp_path) -> None:
    copy = RunFolder.open(shutil.copytree(run.folder, tmp_path / "run", ignore=shutil.ignore_patterns("calibrations.json")))
    (copy.folder / "calibrations.json").symlink_to(tmp_path / "outside.json")
    with pytest.raises(OutputError, match="a link leads to"):
        save_calibration(copy, "thrifty", calibrated(run, plugins, "quality-floor", 0.8))
    assert not (tmp_path / "outside.json").exists()


def test_an_unknown_name_is_refused_with_the_known_ones(run, plugins) -> None:
    save_calibration(run, "thrifty", calibrated(run, plugins, "quality-floor", 0.8))
    message = r"three numbers such as .*, not 'thrify'; did you mean 'thrifty'\? \(calibrated preferences: .*thrifty\)"
    with pytest.raises(PreferenceError, match=message):
        run.preference("thrify")
    with MetaController.load(run.folder, store="memory:", plugins=plugins) as controller, pytest.raises(PreferenceError, match=message):
        controller.route("Write a Python function", preference="thrify")


@pytest.mark.parametrize("name", ["0.5,0.3,0.2", "", "two words", "../up", "a/b"])
def test_a_name_that_is_hard_to_give_or_a_preference_itself_is_refused(run, plugins, name) -> None:
    found = calibrated(run, plugins, "quality-floor", 0.8)
    with pytest.raises(ConfigError, match="letters, digits and"):
        save_calibration(run, name, found)
    for usual in ("thrifty", "floor_0.8", Target("budget-usd-per-1k", 1e6).name):
        save_calibration(run, usual, found)
        assert run.preference(usual) == found.preference


def test_where_every_candidate_fails_there_is_nothing_to_be_a_share_of(run, plugins, monkeypatch) -> None:
    compare = Measurement.compare
    monkeypatch.setattr(Measurement, "compare", lambda self: all_wrong(compare(self)))
    with pytest.raises(DataError, match=r"^every candidate's quality is 0 on the \d+ rows to calibrate on"):
        calibrated(run, plugins, "budget-usd-per-1k", 1e6)


def all_wrong(comparison):
    return attrs.evolve(comparison, quality=np.zeros_like(comparison.quality))


def test_resamples_on_which_every_candidate_fails_meet_no_floor() -> None:
    one_success = np.eye(8)[:, :1]
    rows = _DecidedRows(quality=one_success, cost_usd=one_success, strong=one_success, singles=one_success, units=np.arange(8)[:, None], questions=8)
    resampling = Resampling.bootstrap(rows.units[:, 0], 200, 0)
    relative = rows.figures(resampling)["relative_quality"]
    assert (np.isnan(relative) == (resampling.weights[:, :1] == 0)).all()
    assert 0 < np.isnan(relative).mean() < 1
    assert (Target("quality-floor", 1.0).met({"relative_quality": relative}) == ~np.isnan(relative)).all()


class StagesOnly(NoProgress):
    """Remembers the names of the stages."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def start(self, what: str, total: int) -> None:
        self.stages.append(what)


def test_training_rows_are_decided_with_the_lengths_expected_out_of_fold(plugins, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    Experiment(read_settings(CONTENT), plugins, folder, NoProgress()).complete()
    run = RunFolder.open(folder)
    setup = Experiment(run.settings, plugins, folder, NoProgress()).begin()
    rows, models = len(setup.splits["train"]), len(setup.services.pool)
    lengths = AnswerLengths(np.full((rows, models), 77.0), np.full(models, 77.0))
    write_out_of_fold(folder / "estimator", np.full((rows, models), 0.5), setup, lengths)
    about = read_json(folder / "estimator" / COMPONENT)
    write_json(folder / "estimator" / COMPONENT, about | {"files": {}})
    seen = []
    monkeypatch.setattr(out_of_fold, "build_request", lambda *given, **known: seen.append(known) or build_request(*given, **known))

    progress = StagesOnly()
    calibrate(run, plugins, progress, Target("strong-share", 0.5, 0.0))

    assert progress.stages == ["Comparing on the validation split", "Comparing on the train split"] * 2
    assert [known["quality"] is not None for known in seen] == [False, True]
    assert np.array_equal(seen[1]["lengths"].tokens, lengths.tokens)


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_result_that_cannot_be_saved_is_shown(run, plugins, monkeypatch, words) -> None:
    def refuse(*arguments) -> None:
        raise OutputError("cannot write calibrations.json: Permission denied; choose another folder")

    monkeypatch.setattr(target_preferences, "save_calibration", refuse)
    command = [str(run.folder), "--quality-floor", "0.5", "--confidence", "0", *words]
    result = CliRunner().invoke(calibrate_command, command, obj=plugins)
    assert isinstance(result.exception, OutputError)
    preference = calibrated(run, plugins, "quality-floor", 0.5).preference
    assert str(result.exception).endswith(f"Permission denied, so the run does not keep it; use --preference {preference}")
    assert result.exception.document["preference"] == preference.array.tolist()
    assert words or f"preference {preference}" in result.stdout


def test_a_result_is_saved_before_it_is_shown(run, plugins, monkeypatch) -> None:
    def broken(text: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("aamc_experiments.commands.calibrate.click.echo", broken)
    CliRunner().invoke(calibrate_command, [str(run.folder), "--quality-floor", "0.5", "--confidence", "0", "--name", "piped"], obj=plugins)
    assert "piped" in run.calibrations


def test_damaged_calibrations_are_refused_before_the_work(run, plugins, monkeypatch) -> None:
    monkeypatch.setattr(target_preferences, "calibrate", None)
    (run.folder / "calibrations.json").write_text("[]")
    result = CliRunner().invoke(calibrate_command, [str(run.folder), "--quality-floor", "0.5"], obj=plugins)
    (run.folder / "calibrations.json").unlink()
    assert isinstance(result.exception, CheckpointError)
