from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from aamc_bench.results import show_results
from aamc_bench.tables import Column, Table
from aamc_report.formats import DASH, fixed
from markdown_it import MarkdownIt
from rich.console import Console

RECORDS = [
    {"dataset": "a|b_c", "router": "50%_&", "aiq": {"value": 0.5, "ci95": [0.4, 0.6], "best": True}, "cost": {"value": None, "ci95": None}},
    {"dataset": "d", "router": "knn", "aiq": {"value": 0.25, "ci95": None}, "cost": {"value": 2.0, "ci95": [1.0, None]}},
]


@pytest.fixture
def table() -> Table:
    columns = [Column("aiq", "AIQ", fixed(2)), Column("cost", "cost $", fixed(1))]
    return Table(title="Fig_1", names=("dataset", "router"), columns=columns, records=RECORDS, note="Less & more.")


def test_markdown_is_one_table_with_every_cell(table: Table) -> None:
    html = MarkdownIt().enable("table").render(table.markdown())
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)]
    assert rows == [
        ["dataset", "router", "AIQ", "cost $"],
        ["a|b_c", "50%_&amp;", "<strong>0.50</strong> (0.40 to 0.60)", DASH],
        ["d", "knn", "0.25", f"2.0 (1.0 to {DASH})"],
    ]
    assert "<p>Less &amp; more.</p>" in html


def test_latex_is_one_table_with_every_cell_escaped(table: Table) -> None:
    latex = table.latex()
    (body,) = re.findall(r"\\midrule\n(.*?)\\bottomrule", latex, re.DOTALL)
    assert body.splitlines() == [
        r"a|b\_c & 50\%\_\& & \textbf{0.50} (0.40 to 0.60) & -- \\",
        r"d & knn & 0.25 & 2.0 (1.0 to --) \\",
    ]
    assert r"\caption{Fig\_1. Less \& more.}" in latex
    assert r"\begin{tabular}{llrr}" in latex
    assert re.findall(r"\\begin{(\w+)}", latex) == re.findall(r"\\end{(\w+)}", latex)[::-1]


def test_csv_holds_bare_numbers(table: Table) -> None:
    first, second = csv.DictReader(io.StringIO(table.csv()))
    assert first == {
        **{"dataset": "a|b_c", "router": "50%_&", "aiq": "0.5", "aiq_low": "0.4", "aiq_high": "0.6"},
        **{"cost": "", "cost_low": "", "cost_high": ""},
    }
    assert (second["cost"], second["cost_low"], second["cost_high"]) == ("2.0", "1.0", "")


def test_the_console_has_intervals_below_figures(table: Table) -> None:
    file = io.StringIO()
    Console(file=file, width=100).print(table.rich())
    lines = [line.split() for line in file.getvalue().splitlines()]
    assert ["a|b_c", "50%_&", "0.50", DASH] in lines
    assert ["0.40..0.60"] in lines
    assert [f"1.0..{DASH}"] in lines


def test_the_console_shows_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    named = Table(title="of [old]", names=("router[s]",), columns=[], records=[{"router[s]": "mine[/old]"}], note="[red]")
    show_results(Path("there"), {}, {"named": named}, as_json=False)
    captured = capsys.readouterr()
    lines = [line.strip() for line in captured.out.splitlines()]
    assert [line for line in lines if "[" in line] == ["of [old]", "router[s]", "mine[/old]", "[red]"]
    assert captured.err == "Everything is in there\n"
