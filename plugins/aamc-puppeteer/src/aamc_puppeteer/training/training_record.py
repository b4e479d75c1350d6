"""The record of a training: every episode, and figures of their change."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aamc_agents.tool import check_extra

from aamc_puppeteer.analysis.measures import LEARNED, episodes_to_learn, evolution, windows
from aamc_puppeteer.episodes.trajectory import Trajectory, append_trajectories, read_trajectories, truncate_trajectories
from aamc_sdk.errors import ConfigError

logger = logging.getLogger(__name__)
EPISODES = "episodes.jsonl"
FIGURES = "figures"
FIGURE_MODULES = ("aamc_report", "matplotlib", "networkx")


class TrainingRecord:
    """Writes the episodes of a training to a file, in order; each update has the same number of ``episodes``."""

    def __init__(self, folder: Path, episodes: int) -> None:
        self._path = folder / EPISODES
        self._episodes = episodes
        self._begun = False

    def __call__(self, update: int, trajectories: Sequence[Trajectory]) -> None:
        """Add an update's episodes. The first call removes the records of this and later updates by an interrupted training."""
        if not self._begun:
            truncate_trajectories(self._path, update * self._episodes)
            self._begun = True
        append_trajectories(self._path, trajectories)

    def figures(self) -> dict[str, Any]:
        """Return the number of activations, the convergence speed, and the topology over the training."""
        trajectories = self._read()
        successes = [float(trajectory.succeeded) for trajectory in trajectories]
        return {
            "steps": sum(len(trajectory.state.history) for trajectory in trajectories),
            f"episodes_to_{round(100 * LEARNED)}_percent": episodes_to_learn(successes),
            "topology": evolution(trajectories),
        }

    def save(self, folder: Path) -> None:
        """Copy the episodes into the trained orchestrator's folder, and draw them if the extra ``figures`` is installed."""
        trajectories = self._read()
        if not trajectories:
            return
        shutil.copyfile(self._path, folder / EPISODES)
        try:
            check_extra("drawing the training", "aamc-puppeteer[figures]", *FIGURE_MODULES)
        except ConfigError as missing:
            logger.warning("%s", missing)
            return
        from aamc_puppeteer.analysis.figures import draw_graph, draw_training, save_png

        save_png(draw_training(trajectories), folder / FIGURES / "training.png")
        parts = [part for _, part in windows(trajectories)]
        for name, part in (("first", parts[0]), ("last", parts[-1])):
            title = f"The {name} {len(part)} episodes: activations in order"
            save_png(draw_graph(part, title), folder / FIGURES / f"graph-{name}.png")

    def _read(self) -> list[Trajectory]:
        return list(read_trajectories(self._path)) if self._path.exists() else []
