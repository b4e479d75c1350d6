"""Training the puppeteer: episodes and updates in turn, with checkpoints from which a stopped training goes on exactly.

What an update draws follows from the seed and the update's number, so a checkpoint holds no generator.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from aamc_puppeteer.config import PuppeteerConfig
from aamc_puppeteer.encoder import Features, described
from aamc_puppeteer.episodes import Played, Player
from aamc_puppeteer.reinforce import Batch, Learner
from aamc_puppeteer.rewards import discounted_returns
from aamc_puppeteer.state import Trajectory
from aamc_puppeteer.tasks import Task
from aamc_sdk.features import Array32
from aamc_sdk.files import to_json
from aamc_sdk.interfaces import Progress
from aamc_sdk.resuming import find_interrupted, leave_checkpoint
from aamc_sdk.types import Candidate

Watch = Callable[[int, Sequence[Trajectory]], None]
"""Is told of each update's number, from 0, and of its episodes, before anything is learned from them."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread, the fastest for nets this small, and set its threads back at the end."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def decide(learner: Learner, features: Features, told: Array32, there: NDArray[np.bool_]) -> Array32:
    """Return a policy's probabilities, ``[B, M + 1]``."""
    with torch.no_grad():
        return np.asarray(learner.log_probabilities(features, told, there).exp().numpy())


def as_batch(played: Played, told: Array32, there: NDArray[np.bool_], discount: float) -> Batch:
    """Return the actions of episodes with their returns (4)."""
    returns = [discounted_returns(trajectory.rewards, discount) for trajectory in played.trajectories]
    choices = played.choices
    episodes = [choice.episode for choice in choices]
    empty = Features(np.zeros((0, 0), np.float32), np.zeros((0, 0, 0), np.float32))
    return Batch(
        features=Features.concatenate([choice.features for choice in choices]) if choices else empty,
        told=told[episodes],
        there=there[episodes],
        action=np.array([choice.action for choice in choices], np.intp),
        returns=np.array([returns[choice.episode][choice.step] for choice in choices], np.float64),
        step=np.array([choice.step for choice in choices], np.intp),
        episodes=len(played.trajectories),
    )


@attrs.define
class Job:
    """One training.

    Attributes:
        config: The options.
        seed: All randomness follows from it.
        learner: What learns.
        player: Plays the episodes.
        tasks: What is practised on.
        agents: Who may be activated.
        curve: Figures of each update so far, of the episodes in which no agent was absent.
        folder: Where checkpoints are kept, if anywhere.
        watch: Is told of every episode.
    """

    config: PuppeteerConfig
    seed: int
    learner: Learner
    player: Player
    tasks: Sequence[Task]
    agents: Sequence[Candidate]
    folder: Path | None = None
    watch: Watch | None = None
    curve: list[dict[str, Any]] = attrs.field(factory=list)
    _done: int = 0

    def run(self, progress: Progress) -> None:
        """Train to the end, leaving checkpoints on the way."""
        progress.start("puppeteer", self.config.updates)
        progress.advance(self._done)
        while self._done < self.config.updates:
            began = time.perf_counter()
            figures = self._update()
            self._done += 1
            self.curve.append({"step": self._done, **figures})
            shown = {"reward": figures["reward"], "success": figures["success"], "activations": figures["activations"]}
            progress.advance(1, **shown, episodes_per_s=self.config.episodes / (time.perf_counter() - began))
            if self._done % self.config.checkpoint_every == 0 or self._done == self.config.updates:
                self._keep()

    def _update(self) -> dict[str, float]:
        config = self.config
        rng = np.random.default_rng((self.seed, self._done))
        drawn = rng.integers(len(self.tasks), size=config.episodes)
        told = withholdings(rng, config.episodes, len(self.agents), config.withheld)
        there = absences(rng, config.episodes, len(self.agents), config.absent_agents)
        played = self.player.play(
            lambda *seen: decide(self.learner, *seen), [self.tasks[place] for place in drawn], config.max_steps, rng, told=told, there=there
        )
        if self.watch is not None:
            self.watch(self._done, played.trajectories)
        losses = self.learner.update(as_batch(played, told, there, config.discount), 1 - self._done / config.updates)
        whole = [trajectory for trajectory, row in zip(played.trajectories, there, strict=True) if row.all()]
        return {**averages(whole or played.trajectories), **losses}

    def _made_for(self) -> dict[str, Any]:
        """Return what a checkpoint must agree on, in JSON's own types."""
        return {
            "options": json.loads(to_json(attrs.asdict(self.config))),
            "seed": self.seed,
            "agents": {agent.name: described(agent) for agent in self.agents},
            "tasks": sha256(to_json([(task.id, task.text, task.reference) for task in self.tasks]).encode(errors="replace")).hexdigest(),
        }

    def _keep(self) -> None:
        leave_checkpoint(self.folder, self.learner.state(), self._done, self.curve, self._made_for())

    def restore(self) -> None:
        """Go on from the checkpoint; from the beginning where the training stopped before the first.

        Raises:
            CheckpointError: It is damaged, or was made with other options, seed, agents or tasks.
        """
        found = find_interrupted(self.folder, self._made_for())
        if found is not None:
            self.learner.restore(found.arrays, found.path)
            self._done, self.curve = found.done, found.curve


def absences(rng: np.random.Generator, episodes: int, agents: int, share: float) -> NDArray[np.bool_]:
    """Return which agents are there, ``[N, M]``: all, but in a share of the episodes about half of them, and never none."""
    there = rng.random((episodes, agents)) < 0.5
    there[np.arange(episodes), rng.integers(agents, size=episodes)] = True
    there[rng.random(episodes) >= share] = True
    return there


def withholdings(rng: np.random.Generator, episodes: int, agents: int, share: float) -> Array32:
    """Return what the policy is told of each agent, and last whether its stop head is told the task, ``[N, M + 1, 2]``.

    A share of agents lacks the name, half of it the description too; in the same share of episodes the stop head lacks the task.
    """
    drawn = rng.random((episodes, agents + 1, 1))
    return np.asarray(drawn >= (share, share / 2), np.float32)


def averages(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Return mean reward, share of successes, activations and cost of an episode."""
    return {
        "reward": float(np.mean([trajectory.total_reward for trajectory in trajectories])),
        "success": float(np.mean([trajectory.succeeded for trajectory in trajectories])),
        "activations": float(np.mean([len(trajectory.state.history) for trajectory in trajectories])),
        "cost": float(np.mean([trajectory.state.cost for trajectory in trajectories])),
    }
