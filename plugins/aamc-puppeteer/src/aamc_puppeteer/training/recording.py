"""What a training leaves behind beside the policy: every episode, and figures of how they changed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from aamc_puppeteer.measures import LEARNED, episodes_to_learn, windows
from aamc_puppeteer.state import Trajectory
from aamc_puppeteer.topology import evolution
from aamc_puppeteer.trajectories import append_trajectories, cut_trajectories, read_trajectories

EPISODES = "episodes.jsonl"
FIGURES = "figures"


class Recording:
    """Keeps the episodes of a training, update by update, in its order.

    Args:
        folder: Where, while the training lasts.
        episodes: How many an update has.
    """

    def __init__(self, folder: Path, episodes: int) -> None:
        self._path = folder / EPISODES
        self._episodes = episodes
        self._begun = False

    def __call__(self, update: int, trajectories: Sequence[Trajectory]) -> None:
        """Add an update's episodes; what a stopped training left of this update and later ones is played anew, and goes.

        Args:
            update: Its number, from 0.
            trajectories: Its episodes.
        """
        if not self._begun:
            cut_trajectories(self._path, update * self._episodes)
            self._begun = True
        append_trajectories(self._path, trajectories)

    def figures(self) -> dict[str, Any]:
        """Return how many agents were activated, how soon the policy had learned, and the topology over the training."""
        trajectories = self._read()
        successes = [float(trajectory.succeeded) for trajectory in trajectories]
        return {
            "steps": sum(len(trajectory.state.history) for trajectory in trajectories),
            f"episodes_to_{round(100 * LEARNED)}_percent": episodes_to_learn(successes),
            "topology": [attrs.asdict(stretch) for stretch in evolution(trajectories)],
        }

    def keep(self, folder: Path) -> None:
        """Keep the episodes in the trained part's folder, and draw them."""
        from aamc_puppeteer.drawing import draw_graph, draw_training, save_png

        trajectories = self._read()
        if not trajectories:
            return
        save_png(draw_training(trajectories), folder / FIGURES / "training.png")
        parts = [part for _, part in windows(trajectories)]
        for name, part in (("first", parts[0]), ("last", parts[-1])):
            title = f"The {name} {len(part)} episodes: who was activated after whom"
            save_png(draw_graph(part, title), folder / FIGURES / f"graph-{name}.png")
        shutil.copyfile(self._path, folder / EPISODES)

    def _read(self) -> list[Trajectory]:
        return list(read_trajectories(self._path)) if self._path.exists() else []
