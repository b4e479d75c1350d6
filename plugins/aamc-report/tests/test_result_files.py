from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_experiments.evaluation import Comparison
from aamc_report.commands import report
from aamc_report.formats import DASH, aligned, dollars_per_thousand, fixed, percent, shortest, significant
from aamc_report.report import write_report
from aamc_report.result_files import read_results
from click.testing import CliRunner

from aamc_sdk.errors import CheckpointError, OutputError
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.storage import read_json, write_json


def test_a_missing_run_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="aamc run --router ppo --estimator tce"):
        write_report(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["metrics.json", "decisions.npz", "run.yaml", "estimator/training.json"])
def test_a_truncated_file_is_one_line_and_leaves_no_page(make_run: Any, name: str) -> None:
    folder = make_run()
    path = folder / name
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(CheckpointError) as caught:
        write_report(folder)
    assert Path(name).name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (folder / "report.html").exists()


def test_decisions_of_another_run_are_an_error(make_run: Any) -> None:
    folder = make_run()
    decisions = Comparison.load(folder / "decisions.npz")
    attrs.evolve(decisions, chosen=(decisions.chosen + 1) % len(decisions.candidates)).save(folder / "decisions.npz")
    with pytest.raises(CheckpointError, match=r"metrics\.json and decisions\.npz of .* are of two measurements: ppo chose otherwise"):
        read_results(folder)


def test_flipped_bits_are_an_error(make_run: Any) -> None:
    folder = make_run()
    path = folder / "decisions.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200] = b"\xff" * 200
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        write_report(folder)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("routers", {}),
        ("routers", []),
        ("data", None),
        ("routers", {"ppo": {"success_rate": "high"}}),
        ("routers", {"other": {}}),
        ("routers", {"ppo": 3}),
        ("routers", {"ppo": {"per_category": 3}}),
        ("routers", {"ppo": {"per_category": {"math": {}}}}),
        ("routers", {"ppo": {"frontier": [{"mean_quality": 0.5}]}}),
        ("routers", {"ppo": {"ci95": {"success_rate": 0.5}}}),
        ("routers", {"ppo": {"model_share": [1.0]}}),
        ("comparisons", [{"a": "ppo"}]),
        ("comparisons", 3),
    ],
)
def test_metrics_of_another_shape_are_an_error(make_run: Any, part: str, value: Any) -> None:
    folder = make_run(routers=("ppo",))
    write_json(folder / "metrics.json", read_json(folder / "metrics.json") | {part: value})
    with pytest.raises(CheckpointError, match=r"metrics\.json"):
        write_report(folder)


def test_a_folder_of_aamc_train_has_no_report(make_run: Any) -> None:
    folder = make_run(routers=("ppo",))
    (folder / "metrics.json").unlink()
    content = (folder / "run.yaml").read_text(encoding="utf-8")
    (folder / "run.yaml").write_text(content.replace("goal: comparison", "goal: router"), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"was made by aamc train and holds no comparison; .* aamc evaluate .* --out FOLDER"):
        write_report(folder)


def test_missing_metrics_are_measured_again_by_completing_the_run(make_run: Any) -> None:
    folder = make_run(routers=("ppo",))
    (folder / "metrics.json").unlink()
    with pytest.raises(CheckpointError, match=r"metrics\.json is missing; complete the run with: aamc run --resume and its folder"):
        write_report(folder)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("aiq", "high", "routers.ppo.aiq must be a number or null, not 'high'"),
        ("mean_cost_usd", [1.0], "routers.ppo.mean_cost_usd must be a number or null, not [1.0]"),
        ("mean_quality", True, "routers.ppo.mean_quality must be a number or null, not True"),
        ("ci95", {"aiq": [0.1, "x"]}, "routers.ppo.ci95.aiq must be two numbers or null, not [0.1, 'x']"),
        ("ci95", {"aiq": [0.1]}, "routers.ppo.ci95.aiq must be two numbers or null, not [0.1]"),
        ("ci95", {"aiq": 0.1}, "routers.ppo.ci95.aiq must be two numbers or null, not 0.1"),
        ("model_share", {"a": "most"}, "routers.ppo.model_share.a must be a number or null, not 'most'"),
        ("per_category", {"math": {"n": 3, "mean_quality": []}}, "routers.ppo.per_category.math.mean_quality must be a number"),
        ("frontier", [{"mean_cost_usd": 1.0, "mean_quality": "x"}], "routers.ppo.frontier[0].mean_quality must be a number"),
    ],
)
def test_a_figure_that_is_no_number_is_named(make_run: Any, key: str, value: Any, words: str) -> None:
    folder = make_run(routers=("ppo",))
    content = read_json(folder / "metrics.json")
    content["routers"]["ppo"][key] = value
    write_json(folder / "metrics.json", content)
    with pytest.raises(CheckpointError, match=re.escape(f"metrics.json is damaged: {words}")):
        write_report(folder)


def test_a_count_of_the_data_that_is_no_number_is_named(make_run: Any) -> None:
    folder = make_run(routers=("ppo",))
    content = read_json(folder / "metrics.json")
    write_json(folder / "metrics.json", content | {"data": {**content["data"], "dropped": "many"}})
    with pytest.raises(CheckpointError, match=r"data\.dropped must be a number or null, not 'many'"):
        write_report(folder)


@pytest.mark.parametrize(
    "damage",
    [
        {"chosen": np.full((1, 43, 240), 7)},
        {"chosen": np.full((1, 43, 240), -1)},
        {"chosen": np.zeros((1, 21, 240), dtype=int)},
        {"category": np.array(["math"])},
        {"expected_quality": np.zeros((1, 240, 6))},
        {"candidate_means": np.zeros((7, 2))},
    ],
)
def test_decisions_that_do_not_fit_together_are_an_error(make_run: Any, damage: Any) -> None:
    folder = make_run(routers=("ppo",))
    path = folder / "decisions.npz"
    attrs.evolve(Comparison.load(path), **damage).save(path)
    with pytest.raises(CheckpointError, match="do not fit together") as caught:
        write_report(folder)
    assert next(iter(damage)) in str(caught.value)


def test_an_unwritable_place_is_an_error(make_run: Any) -> None:
    folder = make_run(routers=("ppo",))
    with pytest.raises(OutputError, match=r"run\.yaml"):
        write_report(folder, folder / "run.yaml" / "page.html")


@pytest.mark.parametrize("streams", [False, True])
def test_latencies_are_those_of_the_chosen_candidates_at_the_headline(make_run: Any, streams: bool) -> None:
    results = read_results(make_run(streams=streams))
    expected = results.value("greedy", "mean_latency_ms")
    assert results.latencies("greedy").mean() == pytest.approx(expected)


def test_candidate_points_come_from_the_table_else_from_training(make_run: Any) -> None:
    results = read_results(make_run())
    assert np.allclose(results.candidate_points[:, 1], results.decisions.quality.mean(axis=0))
    played = read_results(make_run(streams=True))
    assert np.array_equal(played.candidate_points, played.decisions.candidate_means[:, [1, 0]])


def test_the_command_prints_where_the_page_is(make_run: Any, tmp_path: Path) -> None:
    folder = make_run(routers=("ppo",))
    page = tmp_path / "elsewhere" / "page.html"
    result = CliRunner().invoke(report, [str(folder), "--out", str(page)], catch_exceptions=False)
    assert result.output == f"{page}\n"
    assert page.read_text().startswith("<!doctype html>")
    assert not (folder / "report.html").exists()


def test_a_finished_run_gets_its_report_and_no_half_written_file(make_run: Any) -> None:
    folder = make_run(routers=("ppo",))
    get_plugin_manager().notify("aamc_run_finished", folder=folder)
    assert (folder / "report.html").is_file()
    assert [path.name for path in folder.rglob(".*")] == []


def test_the_plugin_itself_imports_no_plotting_library() -> None:
    code = "import sys, aamc_report.plugin, aamc_report.commands; print([m for m in ('matplotlib', 'jinja2', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    (entry,) = [found for found in importlib.metadata.entry_points(group="aamc") if found.name == "report"]
    assert entry.value == "aamc_report.plugin"


def test_numbers_read_as_people_write_them() -> None:
    assert percent(0.9412) == "94.1%"
    assert percent(float("nan")) == DASH
    assert dollars_per_thousand(0.00041234) == "$0.412"
    assert dollars_per_thousand(1.2345) == "$1,234"
    assert dollars_per_thousand(0.0) == "$0"
    assert significant(3)(34.41) == "34.4"
    assert fixed(0)(1547.3) == "1,547"
    assert shortest(0.003, "$") == "$0.003"
    assert shortest(10.0) == "10"


def test_a_column_keeps_two_digits_of_its_least_number() -> None:
    write = aligned([0.0204154, 0.0000723, 0.0, float("nan")])
    assert [write(0.0204154), write(0.0000723)] == ["0.020415", "0.000072"]
    assert aligned([0.0204154, 0.0000723], factor=1000)(0.0204154) == "20.415"
    assert aligned([])(0.0) == "0"


def test_the_folder_of_an_orchestrator_is_told_what_it_is_for(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("{schema: 1, settings: {}, router: '', goal: orchestrator, versions: {}}")
    with pytest.raises(CheckpointError, match=r"holds an orchestrator and no router.*aamc orchestrate TASK"):
        read_results(tmp_path)
