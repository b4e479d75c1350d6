"""Baselines of a learned policy: agents in a fixed order, random agents, and the best fixed order found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
from aamc_agents.state import TaskState
from aamc_agents.tasks import Task

from aamc_puppeteer.episodes import EpisodeReward, Executor, Running, Trajectory, begin
from aamc_puppeteer.episodes.player import play_out

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
    """Play an episode of each task, in parallel.

    Args:
        tasks: Tasks with verifiers.
        choose: Decides.
        executor: Runs the agents.
        rule: The reward of an episode.
        steps: Maximum number of activations in an episode.
    """

    def choose_all(running: Sequence[Running]) -> list[str | None]:
        return [choose(episode.state) for episode in running]

    return play_out([begin(number, task, steps, 0) for number, task in enumerate(tasks)], choose_all, executor, rule)


def best_pipeline(
    tasks: Sequence[Task], parts: Collection[tuple[str, ...]], executor: Executor, rule: EpisodeReward, steps: int
) -> tuple[tuple[str, ...], float]:
    """Return a fixed order of agents and its mean reward; parts are appended greedily, each time the one with the highest reward.

    An agent that cannot use a state leaves the answer as it is, so one order may solve several kinds of tasks, at the cost of
    the agents that fail.

    Args:
        tasks: The tasks to solve.
        parts: Sequences that solve some task, such as those of :func:`aamc_puppeteer.testbed.cheapest_route`.
        executor: Runs the agents.
        rule: The reward of an episode.
        steps: Maximum number of activations in an episode.
    """

    def mean_reward(order: tuple[str, ...]) -> float:
        return float(np.mean([trajectory.total_reward for trajectory in play(tasks, in_order(order), executor, rule, steps)]))

    order: tuple[str, ...] = ()
    best = mean_reward(order)
    while True:
        longer = [(*order, *part) for part in sorted(parts) if len(order) + len(part) <= steps]
        found = max(((mean_reward(candidate), candidate) for candidate in longer), default=(best, order))
        if found[0] <= best:
            return order, best
        best, order = found
