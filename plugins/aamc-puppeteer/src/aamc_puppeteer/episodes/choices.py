"""Episodes without a policy: agents in a fixed order, or random agents."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from aamc_agents.state import TaskState
from aamc_agents.tasks import Task

from aamc_puppeteer.episodes.executor import Executor
from aamc_puppeteer.episodes.player import begin, play_out
from aamc_puppeteer.episodes.rewards import EpisodeReward
from aamc_puppeteer.episodes.trajectory import Trajectory

Choose = Callable[[TaskState], str | None]
"""Returns the agent to activate in a state, or None to stop."""


def in_order(agents: Sequence[str]) -> Choose:
    """Activate agents in a fixed order."""
    return lambda state: agents[len(state.history)] if len(state.history) < len(agents) else None


def by_chance(agents: Sequence[str], rng: np.random.Generator) -> Choose:
    """Activate any agent, or stop, with equal probabilities."""

    def choose(_: TaskState) -> str | None:
        number = int(rng.integers(len(agents) + 1))
        return agents[number] if number < len(agents) else None

    return choose


def play(tasks: Sequence[Task], choose: Choose, executor: Executor, rule: EpisodeReward, steps: int) -> list[Trajectory]:
    """Play an episode of at most ``steps`` activations of each task, in parallel."""
    episodes = [begin(number, task, steps, 0) for number, task in enumerate(tasks)]
    return play_out(episodes, lambda running: [choose(episode.state) for episode in running], executor, rule)
