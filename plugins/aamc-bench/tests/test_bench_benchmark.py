from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aamc_bench import benchmark
from aamc_bench.benchmark import Benchmark, Stage, show_tables
from aamc_bench.experiment_runs import LEFT_OUT, RoutersLeftOut
from aamc_bench.grid import GridJob, JobsFailed
from aamc_report.formats import whole
from aamc_report.tables import Column, Table, TableRow

from aamc_sdk.storage import write_json


class Squares(Benchmark):
    """Squares numbers, then the squares of those that succeeded."""

    command = "bench squares"

    def options(self, numbers: list[int] | None = None, unlucky: int = -1, **given: Any) -> dict[str, Any]:
        return {"numbers": numbers or [2, 3], "unlucky": unlucky}

    def stages(self, options: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[Stage]:
        yield Stage([GridJob(f"first-{n}", "bench_jobs:square", {"number": n, "unlucky": options["unlucky"]}) for n in options["numbers"]])
        yield Stage([GridJob(f"second-{key}", "bench_jobs:square", {"number": square}) for key, square in results.items()], one_at_a_time=True)

    def content(self, options: Mapping[str, Any], results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        return {"records": [{"key": key, "square": {"value": square}} for key, square in results.items()]}

    def tables(self, document: Mapping[str, Any]) -> dict[str, Table]:
        return {"squares": Table.of_records("Squares", ("key",), [Column("square", key="square", write=whole)], document["records"])}


@pytest.mark.usefixtures("in_process")
def test_a_stage_sees_the_results_of_those_before_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Squares().run(out=tmp_path / "there", resume=None, as_json=True)
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document == json.loads((tmp_path / "there" / "results.json").read_text())
    assert list(document) == ["schema", "command", "options", "records"]
    assert [record["square"]["value"] for record in document["records"]] == [4, 9, 16, 81]
    assert (tmp_path / "there" / "squares.csv").read_text().splitlines()[:2] == ["key,square,square_low,square_high", "first-2,4,,"]
    assert captured.err.splitlines()[-1] == f"Everything is in {tmp_path / 'there'}"


@pytest.mark.usefixtures("in_process")
def test_a_job_that_fails_is_the_error_to_end_with_after_the_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(tmp_path / "jobs" / "first-2" / LEFT_OUT, {"knn": "ValueError: no rows"})
    (tmp_path / "experiment.yaml").write_text("{schema: 1, command: bench squares, options: {numbers: [2, 3], unlucky: 3}}")
    with pytest.raises(JobsFailed, match="first-3: ValueError: unlucky 3") as failed:
        Squares().run(out=None, resume=tmp_path, as_json=True)
    assert not capsys.readouterr().out  # the command line writes the error's document, the only one
    assert failed.value.document is not None
    assert [record["key"] for record in failed.value.document["records"]] == ["first-2", "second-first-2"]
    (tmp_path / "experiment.yaml").write_text("{schema: 1, command: bench squares, options: {numbers: [2], unlucky: 3}}")
    with pytest.raises(RoutersLeftOut, match="knn in first-2: ValueError: no rows"):
        Squares().run(out=None, resume=tmp_path, as_json=False)


@pytest.mark.usefixtures("in_process")
def test_nothing_is_written_if_every_job_fails(tmp_path: Path) -> None:
    with pytest.raises(JobsFailed):
        Squares().run(out=tmp_path, resume=None, as_json=False, numbers=[5], unlucky=5)
    assert not (tmp_path / "results.json").exists()


def test_the_console_shows_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    named = Table("of [old]", ("router[s]",), (), [TableRow(["mine[/old]"], [])], note="[red]")
    show_tables({"named": named})
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if "[" in line] == ["of [old]", "router[s]", "mine[/old]", "[red]"]


def test_records_name_each_value_once_in_their_order() -> None:
    assert benchmark.distinct([{"a": 2}, {"a": 1}, {"a": 2}], "a") == [2, 1]
