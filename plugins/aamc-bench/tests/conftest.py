"""Tests of the bench: a small world of outcomes, and jobs that other processes import by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from aamc_bench import grid

from aamc_sdk.interfaces import Progress
from aamc_sdk.testing import run_command

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _jobs_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)  # other processes search where this one does


@pytest.fixture(scope="module")
def in_process() -> Iterator[None]:
    """Do jobs one after the other in this process: a new one takes a second to start, and ``test_bench_grid.py`` is about these."""

    def work_off(jobs: Sequence[grid.GridJob], place: Path, workers: int, progress: Progress) -> dict[str, str]:
        return {job.key: why for job in jobs if (why := grid.do(job, place)) is not None}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "_work_off", work_off)
        yield


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dataset of 160 questions in four categories: the middle candidate is good at code alone."""
    rng, lines = Random(0), []
    for number in range(160):
        category, hardness = ("code", "math", "facts", "chat")[number % 4], rng.random()
        words = " ".join("".join(rng.choices("abcdefghijklmnop", k=6)) for _ in range(8))  # so that no two questions are nearly alike
        qualities = {"small": hardness < 0.5, "middle": hardness < 0.5 or category == "code", "large": hardness < 0.9}
        costs = {"small": 1e-5, "middle": 1e-4, "large": 1e-3}
        cells = {name: {"quality": float(good), "cost_usd": costs[name]} for name, good in qualities.items()}
        lines.append(json.dumps({"query": f"{category} question {number}: {words}", "category": category, "outcomes": cells}))
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    path.write_text("\n".join(lines))
    return f"outcomes:{path}"


@pytest.fixture
def aamc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run the command line in an empty folder; return exit status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    return run_command
