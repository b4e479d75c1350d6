"""What people see: names and paths as they are, brackets too."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace

from aamc_experiments.commands.tables import show_metrics

from aamc_sdk.cli import progress, show_explanation

NAMED = "mine[/old]"


def test_a_comparison_shows_names_paths_and_intervals_as_they_are(capsys) -> None:
    row = {"success_rate": 0.5, "ci95": {"success_rate": [0.25, 0.75]}, "aiq": 0.4}
    data = {"source": f"{NAMED}.jsonl", "queries": 3, "models": ["a"], "preference": [1, 0, 0], "cost_note": f"prices: {NAMED}", "dropped": 2}
    show_metrics({"data": data, "routers": {NAMED: row}}, NAMED, as_json=False)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "mine[/old].jsonl: 3 queries, 1 candidates, preference 1,0,0"
    assert "mine[/old] 50.0 - - - - 0.400 -" in lines
    assert "25.0..75.0" in lines
    assert "prices: mine[/old]" in lines
    assert "2 rows that were trained on, or near-duplicates of them, are left out." in lines


def test_an_explanation_shows_names_and_ids_as_they_are(capsys) -> None:
    candidate = {"name": NAMED, "quality": 0.5, "cost_usd": None, "latency_ms": None, "utility": 0.5, "masked_why": None}
    document = {"id": f"7{NAMED}", "candidate": NAMED, "candidates": [candidate], "why": f"{NAMED} is best."}
    show_explanation(SimpleNamespace(to_dict=lambda: document), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "mine[/old] should answer"
    assert lines[-2:] == ["mine[/old] is best.", "decision 7mine[/old]"]


def test_a_bar_on_a_terminal_names_its_stage_as_it_is(monkeypatch) -> None:
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with progress() as shown:
        shown.start(f"Training {NAMED}", 2)
        shown.advance(2, loss=0.5)
        shown.say(f"{NAMED} is trained")
    assert f"Training {NAMED}" in terminal.getvalue()
    assert f"{NAMED} is trained" in terminal.getvalue()
    assert "loss 0.5" in terminal.getvalue()


class Terminal(StringIO):
    """A standard error that says that it is a terminal."""

    def isatty(self) -> bool:
        return True
