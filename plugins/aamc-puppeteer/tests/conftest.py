"""Fixtures of this package's tests."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from aamc_agents.state import Activation, TaskState
from aamc_agents.tasks import Task
from aamc_puppeteer.testbed import AgentWorld, Kind, WorldAgent
from agent_fixtures import Make, make_agent, say, serve_model, services

from aamc_sdk import Agent

__all__ = ["make_agent", "say", "serve_model", "services"]


@pytest.fixture(scope="session")
def follow(make_agent: Make) -> Callable[[Task, Sequence[str]], TaskState]:
    """Let agents work on a task in a given order; one that fails stays in the history with its error."""
    agents: dict[str, Agent] = {}

    async def work(task: Task, route: Sequence[str]) -> TaskState:
        state = TaskState(task=task.without_truth(), steps_left=len(route))
        for name in route:
            agent = agents.setdefault(name, make_agent(name))
            try:
                output = await agent.execute(state)
                state = state.after(Activation(agent=name, output=output, cost=output.cost))
            except RuntimeError as error:
                state = state.after(Activation(agent=name, error=str(error), cost=getattr(error, "cost", 0.0)))
        return state

    return lambda task, route: asyncio.run(work(task, route))


@pytest.fixture(scope="session")
def essays() -> AgentWorld:
    """A world in which a writer does better once a critic has found faults, and so has to come twice."""
    return AgentWorld(
        agents=(
            WorldAgent(name="writer", description="Writes and revises.", cost=0.2),
            WorldAgent(name="critic", description="Finds faults.", cost=0.1),
        ),
        kinds=(
            Kind(
                name="essay",
                text="Write an essay.",
                moves={("start", "writer"): {"draft": 1.0}, ("draft", "critic"): {"faults": 1.0}, ("faults", "writer"): {"good draft": 1.0}},
                solved={"draft": 0.3, "good draft": 1.0},
            ),
        ),
        steps=5,
    )
