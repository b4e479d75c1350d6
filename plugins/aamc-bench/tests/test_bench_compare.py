from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aamc_bench import datasets
from aamc_bench.compare import CompareBenchmark
from aamc_bench.experiment_runs import try_to_begin
from aamc_bench.samples import Sample

from aamc_sdk.cli import main
from aamc_sdk.storage import read_json

pytestmark = [pytest.mark.one_python, pytest.mark.usefixtures("in_process")]

ROUTERS = ["best-single", "slm-only", "random", "oracle"]


def arguments(data: str, folder: Path) -> list[str]:
    shared = ["--routers", ",".join(ROUTERS), "--estimator", "none", "--set", "evaluation.resamples=50"]
    return ["bench", "compare", "--dataset", data, "--seeds", "0,1", *shared, "--out", str(folder)]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


@pytest.fixture(scope="module")
def compared(in_process: None, outcomes: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared") / "out"
    assert run(*arguments(outcomes, folder)) == 0
    return folder


def test_every_router_has_a_row_and_every_form_has_every_row(compared: Path) -> None:
    document = read_json(compared / "results.json")
    assert [(record["dataset"], record["router"]) for record in document["records"]] == [("outcomes:rows.jsonl", name) for name in ROUTERS]
    assert [about["seeds"] for about in document["datasets"]] == [2]
    assert len(document["tests"]) == 6
    for form in ("md", "tex", "csv"):
        text = (compared / f"comparison.{form}").read_text()
        assert all(text.count(name) >= 1 for name in ROUTERS)
        assert "nan" not in text
    gains = (compared / "llmrouterbench.md").read_text()
    assert "| dataset | router | AvgAcc | Gain@R | Gain@B | Gap@O | PerfGain | CostSave |" in gains
    assert all(gains.count(f"| {name} |") == 1 for name in ROUTERS)
    assert {path.name for path in (compared / "figures").iterdir()} == {"comparison.png", "comparison.svg"}


def test_a_figure_is_the_mean_of_what_the_runs_measured(compared: Path) -> None:
    runs = _runs(compared)
    for record in read_json(compared / "results.json")["records"]:
        for metric in ("aiq", "expected_utility", "mean_reward", "success_rate", "mean_cost_usd"):
            assert record[metric]["value"] == pytest.approx(np.mean([run["routers"][record["router"]][metric] for run in runs]))
        shares = [run["routers"][record["router"]]["cost_at_quality"]["0.97"] for run in runs]
        assert record["cost_at_0.97"]["value"] == (None if None in shares else pytest.approx(np.mean(shares)))
        assert record["mean_latency_ms"]["value"] is None


def _runs(folder: Path) -> list[dict[str, Any]]:
    return [read_json(path) for path in sorted(folder.glob("jobs/*/metrics.json"))]


def test_the_oracle_is_a_yardstick_and_competes_with_nobody(compared: Path) -> None:
    records = {record["router"]: record for record in read_json(compared / "results.json")["records"]}
    assert records["oracle"]["wins"] == {"value": 3}
    assert not any(figure.get("best") for figure in records["oracle"].values() if isinstance(figure, dict))


def test_a_second_start_does_nothing_again(compared: Path, outcomes: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in compared.glob("jobs/**/*")}
    assert run("bench", "compare", "--resume", str(compared), "--json") == 0
    assert json.loads(capsys.readouterr().out) == read_json(compared / "results.json")
    assert run(*arguments(outcomes, compared)) == 0
    assert {path: path.stat().st_mtime_ns for path in compared.glob("jobs/**/*")} == before


def test_a_comparison_that_was_killed_goes_on_to_the_same_table(compared: Path, outcomes: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-m", "aamc_sdk.cli", *arguments(outcomes, folder), "--workers", "1"], stderr=subprocess.DEVNULL)
    first = wait_for(folder, "jobs/*seed0.json")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(folder.glob("jobs/*seed1.json"))
    written = first.stat().st_mtime_ns
    assert run("bench", "compare", "--resume", str(folder), "--workers", "1") == 0
    assert first.stat().st_mtime_ns == written
    assert (folder / "comparison.csv").read_text() == (compared / "comparison.csv").read_text()


def wait_for(folder: Path, pattern: str, seconds: float = 120) -> Path:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for path in folder.glob(pattern):
            return path
        time.sleep(0.02)
    raise TimeoutError(pattern)


def test_a_dataset_that_fails_leaves_the_others_in_the_table(
    outcomes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lost.jsonl").write_text(Path(outcomes.partition(":")[2]).read_text())

    def begin_and_lose(settings: Any) -> None:
        try_to_begin(settings)
        (tmp_path / "lost.jsonl").unlink(missing_ok=True)

    monkeypatch.setattr(datasets, "try_to_begin", begin_and_lose)
    options = arguments(outcomes, tmp_path / "out")
    options[options.index("0,1")] = "0"
    assert run(*options[:2], "--dataset", f"outcomes:{tmp_path / 'lost.jsonl'}", *options[2:]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "1 of 2 jobs failed, first 1-" in told
    assert "lost.jsonl does not exist" in told
    assert {record["dataset"] for record in read_json(tmp_path / "out" / "results.json")["records"]} == {"outcomes:rows.jsonl"}


def test_several_datasets_have_a_mean(outcomes: str, tmp_path: Path) -> None:
    other = Path(outcomes.partition(":")[2]).parent / "other.jsonl"
    other.write_text(Path(outcomes.partition(":")[2]).read_text().replace("question", "task"))
    options = arguments(outcomes, tmp_path / "out")
    options[options.index("0,1")] = "0"
    assert run(*options, "--dataset", f"outcomes:{other}") == 0
    records = read_json(tmp_path / "out" / "results.json")["records"]
    assert [record["dataset"] for record in records[::4]] == ["outcomes:rows.jsonl", "outcomes:other.jsonl", "all datasets"]
    one, two, mean = records[0::4]
    assert mean["aiq"]["value"] == pytest.approx((one["aiq"]["value"] + two["aiq"]["value"]) / 2)
    assert mean["ties"]["value"] == one["ties"]["value"] + two["ties"]["value"]


def test_spellings_of_a_question_are_one_unit(outcomes: str, tmp_path: Path) -> None:
    lines = Path(outcomes.partition(":")[2]).read_text().splitlines()
    rows = [json.loads(line) for line in lines[120:]]
    spelt = [{**row, "query": query} for row in rows for query in (row["query"].upper(), f" {row['query']} ")]
    for name, part in (("rows", lines[:120]), ("others", [json.dumps(row) for row in spelt])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(part))
    options = [*arguments(f"outcomes:{tmp_path / 'rows.jsonl'}", tmp_path / "out"), "--set", f"test_dataset=outcomes:{tmp_path / 'others.jsonl'}"]
    assert run(*options) == 0
    first, second = (Sample.load(path) for path in sorted(tmp_path.glob("out/jobs/*/sample.npz")))
    assert (len(first.unit), len(set(first.unit))) == (80, 40)
    np.testing.assert_array_equal(first.unit, second.unit)


def test_seeds_that_are_measured_on_the_same_rows_share_their_resamples(outcomes: str, tmp_path: Path) -> None:
    lines = Path(outcomes.partition(":")[2]).read_text().splitlines()
    for name, part in (("rows", lines[:120]), ("others", lines[120:])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(part))
    options = [*arguments(f"outcomes:{tmp_path / 'rows.jsonl'}", tmp_path / "out"), "--set", f"test_dataset=outcomes:{tmp_path / 'others.jsonl'}"]
    assert run(*options) == 0
    first, second = (Sample.load(path) for path in sorted(tmp_path.glob("out/jobs/*/sample.npz")))
    oracle = ROUTERS.index("oracle")  # the same whatever it was trained on
    np.testing.assert_array_equal(first.unit, second.unit)
    np.testing.assert_allclose(first.figures["success_rate"][oracle], second.figures["success_rate"][oracle])
    records = {record["router"]: record for record in read_json(tmp_path / "out" / "results.json")["records"]}
    bounds = np.quantile(first.figures["success_rate"][oracle, 1:], (0.025, 0.975))
    assert records["oracle"]["success_rate"]["ci95"] == pytest.approx(bounds)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--routers", "gredy"], "did you mean 'greedy'"),
        (["--routers", ""], "--routers must be names"),
        (["--estimator", ""], "estimator must be a name"),
        (["--preference", ""], "three numbers"),
        (["--seeds", "0,0"], "has a number twice"),
        (["--seeds", "0,4294967296"], "seed must be a whole number from 0 to 4294967295"),
        (["--estimator", "lexcal"], "'lexical'"),
        (["--dataset", "a:b"] * 2, "has a dataset twice"),
        (["--set", "router=knn"], "use --routers"),
        (["--set", "seed=9"], "--set seed=9 would have no effect; use --seeds"),
        (["--set", "dataset=outcomes:rows.jsonl"], "use --dataset"),
        (["--estimator", "lexical", "--dataset", "llmruter:rows"], "did you mean 'llmrouter'"),
        (["--estimator", "lexical", "--set", "dataset.n_tran=9"], "did you mean 'n_train'"),
        (["--estimator", "lexical", "--routers", "slm-only,random", "--set", "routers.slm-only.shar=0.5"], "did you mean 'share'"),
        (["--estimator", "lexical", "--set", "estimator.nonsense=1"], "nonsense"),
    ],
)
def test_wrong_usage_is_told_before_anything_runs(options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bench", "compare", *options, "--out", str(tmp_path / "out")) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_data_that_is_not_there_is_told_once_before_anything_runs(outcomes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments(outcomes, tmp_path / "out"), "--dataset", "outcomes:missing.jsonl") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("aamc: missing.jsonl does not exist")
    assert not (tmp_path / "out").exists()


def test_options_of_datasets_go_to_all_of_the_first_ones_format() -> None:
    given = CompareBenchmark().options(
        datasets=["llmrouter:a", "outcomes:b", "llmrouter:c"],
        routers="random",
        estimator="lexical",
        seeds=[0],
        assignments=["dataset.output_tokens=128"],
    )
    plain = {"name": "llmrouter", "output_tokens": 128}
    found = [job.arguments["settings"]["dataset"] for job in CompareBenchmark().jobs(given)]
    assert found == [plain | {"path": "a"}, {"name": "outcomes", "path": "b"}, plain | {"path": "c"}]


def test_resamples_are_those_of_the_run(compared: Path) -> None:
    sample = Sample.load(next(compared.glob("jobs/*seed0/sample.npz")))
    assert sample.figures["aiq"].shape == (4, 51)
    metrics = _runs(compared)[0]["routers"]
    for position, name in enumerate(ROUTERS):
        assert np.quantile(sample.figures["aiq"][position, 1:], (0.025, 0.975)) == pytest.approx(metrics[name]["ci95"]["aiq"])
