from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from aamc_experiments.evaluation import Comparison, Resampling, interval
from aamc_report.commands import report
from aamc_report.runs import comparison_page, differences, pairs, read_runs
from click.testing import CliRunner

from aamc_sdk.errors import ConfigError


def two_runs(make_run: Any, tmp_path: Path, **second: Any) -> list[Path]:
    return [make_run(routers=("ppo", "greedy")).rename(tmp_path / "before"), make_run(routers=("greedy", "ppo"), **second).rename(tmp_path / "after")]


def test_differences_are_those_of_the_runs_own_routers_question_by_question(make_run: Any, tmp_path: Path) -> None:
    folders = two_runs(make_run, tmp_path)
    (pair,) = pairs(read_runs(folders))
    before, after = (Comparison.load(folder / "decisions.npz") for folder in folders)
    rows = np.arange(240)
    cost = after.cost_usd[rows, after.chosen[0, 0]] - before.cost_usd[rows, before.chosen[0, 0]]
    found = pair.differences["mean_cost_usd"]
    spread = Resampling.bootstrap(rows, 60, seed=7).means(cost[:, None])[:, 0]
    assert (pair.run, pair.other, pair.why_not) == ("after", "before", "")
    assert found.difference == pytest.approx(cost.mean())
    assert found.ci95 == pytest.approx(interval(spread))
    assert found.p_holm >= found.p


def test_a_run_and_its_copy_differ_in_nothing(make_run: Any, tmp_path: Path) -> None:
    folders = [make_run().rename(tmp_path / "one"), make_run().rename(tmp_path / "two")]
    runs = read_runs(folders)
    (pair,) = pairs(runs)
    assert [(found.difference, found.ci95, found.p) for found in pair.differences.values()] == [(0.0, (0.0, 0.0), 1.0)] * 2
    assert differences(runs) == {}


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ({"split": "beef"}, "their splits have different hashes"),
        ({"streams": True}, "one was measured on a table, the other in a simulation"),
    ],
)
def test_runs_of_other_questions_are_shown_but_not_paired(make_run: Any, tmp_path: Path, second: Any, why: str) -> None:
    runs = read_runs(two_runs(make_run, tmp_path, **second))
    paired = pairs(runs)
    assert paired[0].differences == {}
    assert why in paired[0].why_not
    page = comparison_page(runs, paired)
    (section,) = [section for section in page.sections if section.name == "paired"]
    assert section.tables == []
    assert section.notes[0].startswith("No paired differences between after and before: ")
    assert "Not all runs answered the same test questions" in page.sections[0].notes[0]


def test_runs_that_left_out_other_rows_are_not_paired(make_run: Any, tmp_path: Path) -> None:
    folders = two_runs(make_run, tmp_path)
    decisions = Comparison.load(folders[1] / "decisions.npz")
    decisions.queries[0] = "f" * 64
    decisions.save(folders[1] / "decisions.npz")
    assert "rows were left out" in pairs(read_runs(folders))[0].why_not


def test_settings_that_differ_are_listed_with_each_runs_value(make_run: Any, tmp_path: Path) -> None:
    found = differences(read_runs(two_runs(make_run, tmp_path, seed=8)))
    assert found == {"settings.router.name": ["ppo", "greedy"], "settings.seed": ["7", "8"]}


def test_of_what_only_some_runs_have_settings_alone_are_listed(make_run: Any, tmp_path: Path) -> None:
    one, two = two_runs(make_run, tmp_path, split="beef")
    resolved = {"resolved": {"estimator": {"layers": 4}, "routers": {"ppo": {"clip": 0.2}}}}
    for folder, more in ((one, resolved), (two, {"resolved": {"estimator": {"layers": 2}}})):
        content = yaml.safe_load((folder / "run.yaml").read_text())
        content["settings"]["dataset"] |= {"path": folder.name, **({"size": 20} if folder is one else {})}
        (folder / "run.yaml").write_text(yaml.safe_dump(content | more))
    assert differences(read_runs([one, two])) == {
        "settings.dataset.path": ["before", "after"],
        "settings.dataset.size": ["20", ""],
        "settings.router.name": ["ppo", "greedy"],
        "resolved.estimator.layers": ["4", "2"],
        "splits.test.sha256": ["5eed", "beef"],
    }


def test_runs_are_called_by_their_folders_and_by_their_paths_where_two_share_a_name(make_run: Any, tmp_path: Path) -> None:
    one, two = two_runs(make_run, tmp_path)
    namesake = two.rename((tmp_path / "elsewhere").mkdir() or tmp_path / "elsewhere" / "before")
    assert list(read_runs([one, namesake])) == [str(one), str(namesake)]
    with pytest.raises(ConfigError, match="named twice"):
        read_runs([one, namesake, tmp_path / "elsewhere" / ".." / "before"])


def test_the_command_puts_runs_side_by_side_and_prints_where(make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = two_runs(make_run, tmp_path)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(report, [str(folder) for folder in folders], catch_exceptions=False)
    text = (tmp_path / "comparison.html").read_text()
    assert result.output == "comparison.html\n"
    assert not (folders[0] / "report.html").exists()
    assert '<th scope="row">before: greedy</th>' in text
    assert '<th scope="row">after minus before</th>' in text
    assert 'aria-label="Frontiers"' in text
    assert "http" not in text


def test_json_of_one_run_is_that_runs_alone(make_run: Any) -> None:
    folder = make_run(routers=("random",), candidates=("small",), categories=("",), latency=False, curves=False)
    document = json.loads(CliRunner().invoke(report, [str(folder), "--json"], catch_exceptions=False).output)
    assert document["page"] == str(folder / "report.html")
    assert (len(document["runs"]), document["settings"], document["paired"]) == (1, {}, [])


def test_json_has_each_runs_metrics_and_the_paired_differences(make_run: Any, tmp_path: Path) -> None:
    folders = two_runs(make_run, tmp_path)
    result = CliRunner().invoke(report, [*map(str, folders), "--json", "--out", str(tmp_path / "page.html")], catch_exceptions=False)
    document = json.loads(result.output)
    assert {"schema", "page", "runs", "settings", "paired"} == document.keys()
    assert [run["name"] for run in document["runs"]] == ["before", "after"]
    assert document["runs"][0]["routers"] == json.loads((folders[0] / "metrics.json").read_text())["routers"]
    assert document["runs"][0]["test_sha256"] == "5eed"
    assert document["paired"][0]["differences"].keys() == {"mean_quality", "mean_cost_usd"}
    assert Path(document["page"]).is_file()


def test_a_fact_that_no_run_has_is_no_column(make_run: Any, tmp_path: Path) -> None:
    folders = two_runs(make_run, tmp_path)
    assert "Split" not in about(folders)
    content = json.loads((folders[1] / "metrics.json").read_text())
    content["data"]["split"] = "train"
    (folders[1] / "metrics.json").write_text(json.dumps(content))
    assert about(folders)["Split"] == ["", "train"]


def about(folders: list[Path]) -> dict[str, list[str]]:
    """Return what the page says that each run was measured on, by heading."""
    runs = read_runs(folders)
    table = comparison_page(runs, pairs(runs)).sections[0].tables[1]
    return {column.title: [row.cells[n].text for row in table.rows] for n, column in enumerate(table.columns)}
