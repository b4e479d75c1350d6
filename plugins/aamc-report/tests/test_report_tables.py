from __future__ import annotations

import csv
import io
import re

import pytest
from aamc_report.formats import DASH, fixed
from aamc_report.tables import Cell, Column, Table, TableRow
from markdown_it import MarkdownIt
from rich.console import Console

RECORDS = [
    {"dataset": "a|b_c", "router": "50%_&", "aiq": {"value": 0.5, "ci95": [0.4, 0.6], "best": True}, "cost": {"value": None, "ci95": None}},
    {"dataset": "d", "router": "knn", "aiq": {"value": 0.25, "ci95": None}, "cost": {"value": 2.0, "ci95": [1.0, None]}},
]


@pytest.fixture
def table() -> Table:
    columns = [Column("AIQ", key="aiq", write=fixed(2)), Column("cost $", key="cost", write=fixed(1))]
    return Table.of_records("Fig_1", ("dataset", "router"), columns, RECORDS, note="Less & more.")


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


def test_a_table_is_divided_by_its_first_names_and_keeps_some_columns(table: Table) -> None:
    parts = table.with_columns(lambda column: column.key == "aiq").divided(1)
    assert list(parts) == [("a|b_c",), ("d",)]
    assert parts[("d",)].headings == ["router", "AIQ"]
    assert [(row.names, [cell.text for cell in row.cells]) for row in parts[("d",)].rows] == [(["knn"], ["0.25"])]


def test_a_table_of_texts_is_not_sorted() -> None:
    numbers, texts = ([TableRow(["a"], [Cell(value)])] for value in (1.0, "one"))
    assert Table("", ["name"], [Column("n")], numbers).sortable
    assert not Table("", ["name"], [Column("n")], texts).sortable
