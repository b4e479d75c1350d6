"""The cheapest sequence of agents that solves a task, found by search: what a policy can be measured against."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import count

import attrs

from aamc_puppeteer.agents.tool import AgentError
from aamc_puppeteer.state import Activation, TaskState, answer
from aamc_puppeteer.tasks import Task
from aamc_sdk import Agent


@attrs.frozen
class Route:
    """Agents in order, and what they cost together in USD."""

    agents: tuple[str, ...]
    cost: float


async def cheapest_route(task: Task, agents: Sequence[Agent], steps: int) -> Route | None:
    """Return the cheapest sequence of tools that solves a task, or None where none of at most so many steps does (Dijkstra 1959).

    Tools are taken to look at the task and at what was said last, and to be deterministic. A sequence with a failure
    is never cheapest, as a failure says nothing and is billed.
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
            return Route(tuple(activation.agent for activation in state.history), cost)
        for agent in agents if state.steps_left else ():
            try:
                output = await agent.execute(state)
            except AgentError:
                continue
            after = state.after(Activation(agent=agent.spec.name, output=output, cost=output.cost))
            heapq.heappush(queue, (cost + output.cost, next(order), after))
    return None
