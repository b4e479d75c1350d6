"""The record of a training: every episode, and figures of their change."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from aamc_puppeteer.analysis.measures import LEARNED, episodes_to_learn, windows
from aamc_puppeteer.analysis.requirements import missing_modules
from aamc_puppeteer.analysis.topology import evolution
from aamc_puppeteer.episodes.trajectory import Trajectory
from aamc_puppeteer.episodes.trajectory_file import append_trajectories, read_trajectories, truncate_trajectories

logger = logging.getLogger(__name__)
EPISODES = "episodes.jsonl"
FIGURES = "figures"


class TrainingRecord:
    """Writes the episodes of a training to a file, in order.

    Args:
        folder: Folder of the file during the training.
        episodes: Number of episodes in an update.
    """

    def __init__(self, folder: Path, episodes: int) -> None:
        self._path = folder / EPISODES
        self._episodes = episodes
        self._begun = False

    def __call__(self, update: int, trajectories: Sequence[Trajectory]) -> None:
        """Add an update's episodes. The first call removes the records of this and later updates by an interrupted training.

        Args:
            update: The update's number, from 0.
            trajectories: The update's episodes.
        """
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
            "topology": [attrs.asdict(window) for window in evolution(trajectories)],
        }

    def save(self, folder: Path) -> None:
        """Copy the episodes into the trained orchestrator's folder, and draw them if the extra ``figures`` is installed."""
        trajectories = self._read()
        if not trajectories:
            return
        shutil.copyfile(self._path, folder / EPISODES)
        if missing := missing_modules():
            logger.warning("figures of the training need %s: pip install 'aamc-puppeteer[figures]'", ", ".join(missing))
            return
        from aamc_puppeteer.analysis.figures import draw_graph, draw_training, save_png

        save_png(draw_training(trajectories), folder / FIGURES / "training.png")
        parts = [part for _, part in windows(trajectories)]
        for name, part in (("first", parts[0]), ("last", parts[-1])):
            title = f"The {name} {len(part)} episodes: activations in order"
            save_png(draw_graph(part, title), folder / FIGURES / f"graph-{name}.png")

    def _read(self) -> list[Trajectory]:
        return list(read_trajectories(self._path)) if self._path.exists() else []
