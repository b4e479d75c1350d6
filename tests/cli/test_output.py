"""Output for people: names and paths unchanged, brackets included."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace

import pytest
from aamc_experiments.commands.tables import show_metrics
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from aamc_sdk.cli import LineProgress, console, figure_cell, new_table, one_line, print_table, printable, progress
from aamc_sdk.cli.output import show_explanation

NAMED = "mine[/old]:x:"


def test_a_comparison_shows_names_paths_and_intervals_as_they_are(capsys) -> None:
    row = {"success_rate": 0.5, "ci95": {"success_rate": [0.25, 0.75]}, "aiq": 0.4, "missing": 7}
    data = {"source": f"{NAMED}.jsonl", "queries": 3, "models": ["a"], "preference": [1, 0, 0], "cost_note": f"prices: {NAMED}", "dropped": 2}
    show_metrics({"data": data, "routers": {NAMED: row}}, NAMED, as_json=False)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "mine[/old]:x:.jsonl: 3 queries, 1 candidate, preference 1,0,0"
    assert "mine[/old]:x: 50.0 - - - 0.400" in lines
    assert "25.0..75.0" in lines
    assert "Below a number: its 95% interval." in lines
    assert "Costs: prices: mine[/old]:x:." in lines
    assert "Left out: 2 rows that the run was trained on, near-duplicates included." in lines
    assert "Left out for every router: 7 queries with a missing outcome." in lines


@pytest.mark.parametrize("width", [30, 60, 80, 100, 140])
def test_a_comparison_never_cuts_a_number_or_a_name(capsys, monkeypatch, width) -> None:
    monkeypatch.setattr("aamc_sdk.cli.output.console", lambda *_, **__: Console(markup=False, width=width))
    row = {"success_rate": 0.5, "mean_cost_usd": 0.0194, "mean_latency_ms": 6710.0, "efficiency": 11.28, "aiq": 0.95}
    row["ci95"] = {"success_rate": [0.491, 0.509], "mean_cost_usd": [0.0192, 0.0196], "mean_latency_ms": [6117, 7386], "efficiency": [10.83, 11.76]}
    data = {"source": "synthetic, seed 0", "queries": 1, "models": ["a", "b"], "preference": [0.9, 0.08, 0.02]}
    show_metrics({"data": data, "routers": {"best-single": row, "a-router-with-a-long-name": row}}, "best-single", as_json=False)
    out = capsys.readouterr().out
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= width
    assert "49.1..50.9" in out
    headings = [heading for heading in ("success, %", "USD / 1k", "latency, ms", "efficiency", "AIQ") if heading in out.split("Not shown in")[0]]
    assert ("Not shown in" in out) == (len(headings) < 5)
    assert len(headings) == {30: 1, 60: 3}.get(width, 5)


@pytest.mark.parametrize(
    ("value", "interval", "shown"),
    [
        (0.5, (0.25, 0.75), "50.0%\n25.0%..75.0%"),
        (0.5, None, "50.0%"),
        (0.5, (0.25, None), "50.0%"),
        (None, None, "-"),
        (None, (0.0, 1.0), "-"),
    ],
)
def test_a_figure_has_its_interval_below_it(value, interval, shown) -> None:
    cell = figure_cell(value, interval, "{:.1%}".format)
    assert cell.plain == shown
    assert cell.style == ""


def test_a_bold_figure_has_a_dim_interval() -> None:
    cell = figure_cell(0.5, (0.25, 0.75), "{:+.2f}".format, bold=True)
    assert cell.style == "bold"
    assert [(cell.plain[span.start : span.end], span.style) for span in cell.spans] == [("\n+0.25..+0.75", "dim not bold")]


def test_a_table_of_many_rows_is_plain_lines_with_whole_cells(capsys) -> None:
    table = new_table(["name"], ["cost"], ["note"], title="Keys", notes=["All of them."])
    for n in range(1_001):
        table.add_row(f"key-{n}", str(n), "x" * 200)
    print_table(table)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["Keys", "name      cost  note", "key-0        0  " + "x" * 200]
    assert lines[-2:] == ["key-1000  1000  " + "x" * 200, "All of them."]


def test_an_explanation_shows_names_and_ids_as_they_are(capsys) -> None:
    candidate = {"name": NAMED, "quality": 0.5, "cost_usd": None, "latency_ms": None, "utility": 0.5, "masked_why": None}
    document = {"id": f"7{NAMED}", "candidate": NAMED, "candidates": [candidate], "why": f"{NAMED} is best."}
    show_explanation(SimpleNamespace(to_dict=lambda: document), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "mine[/old]:x: is chosen"
    assert lines[-2:] == ["mine[/old]:x: is best.", "decision 7mine[/old]:x:"]


def test_names_and_words_of_others_steer_no_terminal(capsys) -> None:
    evil = "m3\x1b[2J\x1b]0;owned\x07\u009b31m"
    candidate = {"name": evil, "quality": 0.5, "cost_usd": None, "latency_ms": None, "utility": 0.5, "masked_why": evil}
    show_explanation(SimpleNamespace(to_dict=lambda: {"id": evil, "candidate": evil, "candidates": [candidate], "why": evil}), as_json=False)
    console().print(Text(evil, style="bold"), Tree(evil))
    LineProgress().say(evil)
    shown = "".join(capsys.readouterr())
    assert shown.count("m3\ufffd[2J\ufffd]0;owned\ufffd\ufffd31m") == 7  # whole, also as cells
    assert not {"\x1b", "\x07", "\x9b"} & set(shown)


def test_a_console_of_a_terminal_keeps_its_own_styles(monkeypatch) -> None:
    monkeypatch.setattr("sys.stdout", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    console().print("a\x1b[2Jb", style="bold", highlight=False)
    assert terminal.getvalue() == "\x1b[1ma\ufffd[2Jb\x1b[0m\n"


def test_a_bar_on_a_terminal_names_its_stage_as_it_is(monkeypatch) -> None:
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with progress() as shown:
        shown.start(f"Training {NAMED}", 2)
        shown.advance(2, loss=0.5)
        shown.say(f"{NAMED} is trained")
    assert f"Training {NAMED}" in terminal.getvalue()
    assert f"{NAMED} is trained" in terminal.getvalue()
    assert "loss 0.5" in terminal.getvalue()


def test_a_long_stage_ends_with_a_line_that_says_so(monkeypatch, capsys) -> None:
    clock = iter([0.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 21.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    shown = LineProgress()
    for stage in ("Jobs", "Streams"):
        shown.start(stage, 3)
        for _ in range(3):
            shown.advance()
    assert capsys.readouterr().err.splitlines() == ["Jobs ...", "Jobs: 1/3", "Jobs: 3/3", "Streams ..."]  # the second took 7 seconds


class Terminal(StringIO):
    """A standard error that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\n b\tc", "a b c"), ("\x1b[31mred", "\ufffd[31mred"), ("", ""), ("[bold]x", "[bold]x"), ("a\u200db\u200c\u202e", "a\u200db\u200c\ufffd")],
)
def test_a_text_is_shown_as_one_line_that_steers_no_terminal(text: str, shown: str) -> None:
    assert one_line(text, 100) == shown


def test_a_long_text_is_cut_to_one_line() -> None:
    assert one_line("x" * 2**20, 100) == "x" * 99 + "…"


def test_half_a_surrogate_pair_of_an_answer_can_be_printed() -> None:
    assert printable("a\ud800b\x1b[2J\n").encode() == "a\ufffdb\ufffd[2J\n".encode()
