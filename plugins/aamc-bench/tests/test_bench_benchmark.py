from __future__ import annotations

import pytest
from aamc_bench.benchmark import show_tables
from aamc_report.tables import Row, Table


def test_the_console_shows_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    named = Table("of [old]", ("router[s]",), (), [Row(["mine[/old]"], [])], note="[red]")
    show_tables({"named": named})
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if "[" in line] == ["of [old]", "router[s]", "mine[/old]", "[red]"]
