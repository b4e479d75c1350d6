"""The evaluation of a trained puppeteer and of baselines on tasks with verifiers, for ``aamc evaluate``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from aamc_puppeteer.episodes.trajectory import Trajectory, write_trajectories
from aamc_puppeteer.training.validation import Baseline, compared
from aamc_sdk.cli import INTERVALS, figure_cell, new_table
from aamc_sdk.interfaces import Progress
from aamc_sdk.storage import write_json

COLUMNS = {"success_rate": "success", "mean_reward": "reward", "mean_steps": "steps", "mean_cost_usd": "USD", "mean_tokens": "tokens"}
"""The columns of :func:`aamc_puppeteer.analysis.summarise`, each with its heading."""


def evaluate(played: Sequence[Trajectory], others: Iterable[Baseline], source: str, folder: Path | None, progress: Progress) -> dict[str, Any]:
    """Return the figures of a puppeteer's episodes and of baselines on the same tasks; a folder receives them and the episodes."""
    if folder is not None:
        write_trajectories(folder / "episodes.jsonl", played)
    figures = compared("puppeteer", lambda: played, others, progress)
    assert figures is not None  # there is no budget
    baselines = figures.pop("baselines")
    document = {"schema": 1, "data": {"source": source, "tasks": len(played)}, "systems": {"puppeteer": figures, **baselines}}
    if folder is not None:
        write_json(folder / "results.json", document)
    return document


def table(document: Mapping[str, Any]) -> Table:
    """Return a row for each system, with 95% intervals below the figures."""
    data = document["data"]
    gain = "gain: mean difference in reward between the puppeteer and the system on the same tasks."
    notes = [f"{INTERVALS} Figures are means per task; {gain}", "best-single: the agent that earns the most on these tasks, in one turn."]
    shown = new_table(["system"], [*COLUMNS.values(), "gain"], title=f"{data['source']}: {data['tasks']} tasks", notes=notes)
    for name, system in document["systems"].items():
        cells = [figure_cell(system[column], system["ci95"][column], "{:.3g}".format) for column in COLUMNS]
        if "gain" in system:
            cells.append(figure_cell(system["gain"]["mean_reward"], system["gain"]["ci95"], "{:.3g}".format))
        shown.add_row(f"{name} ({system['agent']})" if "agent" in system else name, *cells)
    return shown
