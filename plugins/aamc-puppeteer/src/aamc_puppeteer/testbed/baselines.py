"""Baselines of a learned policy: the best fixed order of agents found, and the cheapest sequence of a task."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence
from itertools import count

import attrs
import numpy as np
from aamc_agents.state import Activation, TaskState, answer
from aamc_agents.tasks import Task
from aamc_agents.tool import AgentError

from aamc_puppeteer.episodes import EpisodeReward, Executor, in_order, play
from aamc_sdk import Agent


def best_pipeline(
    tasks: Sequence[Task], parts: Collection[tuple[str, ...]], executor: Executor, rule: EpisodeReward, steps: int
) -> tuple[tuple[str, ...], float]:
    """Return a fixed order of agents and its mean reward; parts are appended greedily, each time the one with the highest reward.

    An agent that cannot use a state leaves the answer as it is, so one order may solve several kinds of tasks, at the cost of
    the agents that fail.
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


@attrs.frozen
class AgentRoute:
    """Agents in order, and their total cost in USD."""

    agents: tuple[str, ...]
    cost: float


async def cheapest_route(task: Task, agents: Sequence[Agent], steps: int) -> AgentRoute | None:
    """Return the cheapest sequence of at most ``steps`` tools that solves a task, or None if there is none (Dijkstra 1959).

    Tools are assumed to be deterministic and to depend on the task and the last output alone. A sequence with a failure is
    never cheapest, as a failure has no output and is billed.
    """
    if task.verifier is None:
        return None
    truthless, order, seen = task.without_truth(), count(), set[tuple[str | None, int]]()
    queue: list[tuple[float, int, TaskState]] = [(0.0, next(order), TaskState(task=truthless, steps_left=steps))]
    while queue:
        cost, _, state = heapq.heappop(queue)
        said = answer(state)
        if (said, state.steps_left) in seen:
            continue
        seen.add((said, state.steps_left))
        if said is not None and (await task.verifier(task, said)).correct:
            return AgentRoute(tuple(activation.agent for activation in state.history), cost)
        for agent in agents if state.steps_left else ():
            try:
                output = await agent.execute(state)
            except AgentError:
                continue
            after = state.after(Activation(agent=agent.spec.name, output=output, cost=output.cost))
            heapq.heappush(queue, (cost + output.cost, next(order), after))
    return None
