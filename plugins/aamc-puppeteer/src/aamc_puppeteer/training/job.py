"""A training of the puppeteer: episodes and updates in turn, with checkpoints from which it resumes exactly.

An update's random draws depend only on the seed and the update's number, so a checkpoint has no generator state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from aamc_agents.tasks import Task

from aamc_puppeteer.config import PuppeteerConfig
from aamc_puppeteer.episodes.executor import OutOfBudgetError
from aamc_puppeteer.episodes.player import Player
from aamc_puppeteer.episodes.trajectory import Trajectory
from aamc_puppeteer.policy.encoder import described
from aamc_puppeteer.policy.visibility import Visibility, drawn_descriptions, drawn_presence
from aamc_puppeteer.training.reinforce import ReinforceLearner
from aamc_sdk.interfaces import Progress
from aamc_sdk.messages import checkpoint_errors
from aamc_sdk.storage import RESTORE, load_training_checkpoint, plain, read_json, save_training_checkpoint, to_json, write_json
from aamc_sdk.types import Candidate

Watch = Callable[[int, Sequence[Trajectory]], None]
"""Called with each update's number, from 0, and its episodes, before the update."""

SPENT_FILE = "spent.json"
"""Holds the cost so far, also that of updates after the last checkpoint: a resumed training repeats them, and the budget covers both."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread, the fastest for networks this small; the previous number is restored."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@attrs.define
class TrainingJob:
    """One training.

    Attributes:
        folder: Folder of the checkpoints; None for no checkpoints.
        begun: Number of updates before this training; it draws tasks that differ from theirs.
        curve: Figures of each update so far, over the episodes with all agents.
        done: Number of updates so far: all, unless the budget of the player's executor ended the training.
    """

    config: PuppeteerConfig
    seed: int
    learner: ReinforceLearner
    player: Player
    tasks: Sequence[Task]
    agents: Sequence[Candidate]
    folder: Path | None = None
    watch: Watch | None = None
    begun: int = 0
    curve: list[dict[str, Any]] = attrs.field(factory=list)
    done: int = 0

    def run(self, progress: Progress) -> None:
        """Train to the end and write checkpoints."""
        progress.start("puppeteer", self.config.updates)
        progress.advance(self.done)
        while self.done < self.config.updates:
            began, before = time.perf_counter(), self.player.executor.spent_usd
            try:
                figures = self._update()
            except OutOfBudgetError as spent:
                if self.begun + self.done == 0:
                    advice = "give more with --budget-usd, or fewer orchestrator.episodes per update"
                    raise OutOfBudgetError(f"{spent} before its first update, so nothing was learned: {advice}") from spent
                progress.say(f"{spent} after {self.done} of {self.config.updates} updates; the training ends")
                self._keep()
                return
            finally:
                if self.folder is not None and self.player.executor.spent_usd > before:
                    write_json(self.folder / SPENT_FILE, self.player.executor.spent_usd)
            self.done += 1
            self.curve.append({"step": self.done, **figures})
            shown = {"reward": figures["reward"], "success": figures["success"], "activations": figures["activations"]}
            progress.advance(1, **shown, episodes_per_s=self.config.episodes / (time.perf_counter() - began))
            if self.done % self.config.checkpoint_every == 0 or self.done == self.config.updates:
                self._keep()

    def _update(self) -> dict[str, float]:
        config = self.config
        rng = np.random.default_rng((self.seed, self.begun + self.done))
        drawn = rng.integers(len(self.tasks), size=config.episodes)
        described = drawn_descriptions(rng, config.episodes, len(self.agents), config.withheld)
        visibility = Visibility(described, drawn_presence(rng, config.episodes, len(self.agents), config.absent_agents))
        tasks = [self.tasks[place] for place in drawn]
        trajectories, batch = self.player.play(self.learner.probabilities, tasks, config.max_steps, rng, visibility=visibility)
        if self.watch is not None:
            self.watch(self.done, trajectories)
        losses = self.learner.update(batch, 1 - self.done / config.updates)
        whole = [trajectory for trajectory, row in zip(trajectories, visibility.present, strict=True) if row.all()]
        return {**averages(whole or trajectories), **losses}

    def _made_for(self) -> dict[str, Any]:
        """Return the inputs that a checkpoint must share with this training, as plain JSON values."""
        return {
            "options": plain(attrs.asdict(self.config)),
            "seed": self.seed,
            **({"begun": self.begun} if self.begun else {}),
            "agents": {agent.name: described(agent) for agent in self.agents},
            "tasks": sha256(to_json([(task.id, task.text, task.reference) for task in self.tasks]).encode(errors="replace")).hexdigest(),
        }

    def _keep(self) -> None:
        save_training_checkpoint(self.folder, self.learner.state(), self.done, self.curve, self._made_for())

    def restore(self) -> None:
        """Resume from the checkpoint, or start from the beginning if there is none yet; what was spent stays spent."""
        found = load_training_checkpoint(self.folder, self._made_for())
        if found is not None:
            self.learner.restore(found.arrays, found.path)
            self.done, self.curve = found.done, found.curve
        if self.folder is not None and (path := self.folder / SPENT_FILE).exists():
            with checkpoint_errors(path, RESTORE):
                self.player.executor.spent_usd = float(read_json(path))


def averages(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Return the mean reward, success, number of activations and cost of episodes."""
    return {
        "reward": float(np.mean([trajectory.total_reward for trajectory in trajectories])),
        "success": float(np.mean([trajectory.succeeded for trajectory in trajectories])),
        "activations": float(np.mean([len(trajectory.state.history) for trajectory in trajectories])),
        "cost": float(np.mean([trajectory.state.cost for trajectory in trajectories])),
    }
