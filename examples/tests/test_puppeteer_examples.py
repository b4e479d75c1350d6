"""The examples do what they say: one learns to end at once, the others a real task and a business process."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parents[1]


def _main(name: str) -> Any:
    return runpy.run_path(str(HERE / name))["main"]


def _figures(line: str, *names: str) -> list[float]:
    """Return the numbers that follow, or precede, some names in a line."""
    found = [re.search(rf"{name} +(-?[\d.]+)", line) or re.search(rf"(-?[\d.]+) {name}", line) for name in names]
    return [float(match[1]) for match in found if match is not None]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_echo_learns_to_end_at_once(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    _main("run_mvp_training.py")(seed)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Starting DOA Framework MVP Training"
    assert "Initialized 2 agents: ['EchoAgent', 'TerminatorAgent']" in lines
    lines = [line for line in lines if line.startswith("Epoch ")]
    assert len(lines) == 50
    assert all(len(_figures(line, "Avg Reward:", "Success Rate:", "Steps:", "Loss:")) == 4 for line in lines)
    last = [_figures(line, "Success Rate:", "Steps:") for line in lines[-10:]]
    assert sum(success for success, _ in last) / 10 >= 90
    assert sum(steps for _, steps in last) / 10 <= 1.1


def test_a_real_task_is_learned_from_a_low_start(capsys: pytest.CaptureFixture[str]) -> None:
    _main("puppeteer_real_task.py")(0)
    before, after, *shown = capsys.readouterr().out.splitlines()
    (low, steps_before), (high, steps_after) = (_figures(line, "success", "steps") for line in (before, after))
    assert low <= 50
    assert high >= 90
    assert steps_after < steps_before
    assert any("right" in line for line in shown)


def test_a_business_process_is_learned_at_a_lower_cost(capsys: pytest.CaptureFixture[str]) -> None:
    _main("puppeteer_refunds.py")(0)
    before, after, external, *shown = capsys.readouterr().out.splitlines()
    (low, cost_before), (high, cost_after) = (_figures(line, "success", "USD per request") for line in (before, after))
    assert low <= 50
    assert high >= 95
    assert cost_after < 0.6 * cost_before
    assert _figures(external, "small orders:")[0] <= 3
    assert any("right" in line for line in shown)
