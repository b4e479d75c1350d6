"""What a learned policy is measured against: agents in a fixed order, agents by chance, and the best fixed order that is found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from aamc_puppeteer.episodes import begin
from aamc_puppeteer.executing import Executor
from aamc_puppeteer.rewards import RewardRule
from aamc_puppeteer.state import TaskState, Trajectory, answer
from aamc_puppeteer.tasks import Task
from aamc_sdk.interfaces import Budget

Choose = Callable[[TaskState], str | None]
"""Returns the agent to activate in a state, or None to stop."""


def in_order(agents: Sequence[str]) -> Choose:
    """Activate agents in a fixed order, whatever comes of it."""
    return lambda state: agents[len(state.history)] if len(state.history) < len(agents) else None


def by_chance(agents: Sequence[str], rng: np.random.Generator) -> Choose:
    """Activate any agent, or stop, with equal probabilities."""

    def choose(_: TaskState) -> str | None:
        number = int(rng.integers(len(agents) + 1))
        return agents[number] if number < len(agents) else None

    return choose


def play(tasks: Sequence[Task], choose: Choose, executor: Executor, rule: RewardRule, steps: int) -> list[Trajectory]:
    """Play an episode of each task, all side by side.

    Args:
        tasks: What to work on, each with a verifier.
        choose: Who decides.
        executor: Of the agents.
        rule: How episodes are paid.
        steps: Most activations of an episode.
    """
    budget = Budget(steps=steps)
    episodes = [begin(number, task, steps, 0) for number, task in enumerate(tasks)]
    while running := [episode for episode in episodes if episode.stop is None]:
        turns = []
        for episode in running:
            agent = choose(episode.state)
            if agent is None:
                episode.end_by_choice()
            else:
                turns.append((episode, agent))
        for (episode, _), activation in zip(turns, executor.activate([(agent, episode.state) for episode, agent in turns]), strict=True):
            episode.take(activation)
            episode.check_end(budget, 0.0)
    verdicts = executor.verify([(episode.state.task, answer(episode.state)) for episode in episodes])
    return [episode.finished(verdict, rule) for episode, verdict in zip(episodes, verdicts, strict=True)]


def best_pipeline(
    tasks: Sequence[Task], parts: Collection[tuple[str, ...]], executor: Executor, rule: RewardRule, steps: int
) -> tuple[tuple[str, ...], float]:
    """Return a fixed order of agents, and its mean reward: parts are appended greedily, each time the one that pays most.

    As an agent that can do nothing with a state leaves the answer as it is, one order may solve several kinds of tasks,
    at the price of the agents that fail.

    Args:
        tasks: What to be good at.
        parts: Sequences that are known to solve some task, such as those of :func:`aamc_puppeteer.suites.routes.cheapest_route`.
        executor: Of the agents.
        rule: How episodes are paid.
        steps: Most activations of an episode.
    """

    def worth(order: tuple[str, ...]) -> float:
        return float(np.mean([trajectory.total_reward for trajectory in play(tasks, in_order(order), executor, rule, steps)]))

    order: tuple[str, ...] = ()
    most = worth(order)
    while True:
        longer = [(*order, *part) for part in sorted(parts) if len(order) + len(part) <= steps]
        found = max(((worth(candidate), candidate) for candidate in longer), default=(most, order))
        if found[0] <= most:
            return order, most
        most, order = found
