"""Fixtures of this package's tests."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from aamc_agents.state import Activation, TaskState
from aamc_agents.tasks import Task
from aamc_puppeteer.testbed import AgentWorld, Kind, WorldAgent
from aamc_puppeteer.testbed.agents import make_agent as agent_by_name

from aamc_sdk import Agent, AgentOutput, Services, get_plugin_manager
from aamc_sdk.routing import LinearReward, default_pool

Make = Callable[..., Agent]


@pytest.fixture(scope="session")
def services() -> Services:
    plugins = get_plugin_manager()

    def make(kind: str, name: str, options: Any) -> Any:
        return plugins.make(kind, name, lent, options)

    lent = Services(pool=default_pool(), reward=LinearReward(), make=make, seed=3, device="cpu")
    return lent


@pytest.fixture(scope="session")
def make_agent(services: Services) -> Make:
    """Make an agent by its name, with options."""

    def make(name: str, **options: Any) -> Agent:
        return agent_by_name(services, name, options)

    return make


def state_of(task: Task | str, *said: str) -> TaskState:
    """Return the state of a task on which somebody said something."""
    task = Task(id="t", text=task) if isinstance(task, str) else task
    history = tuple(Activation(agent="somebody", output=AgentOutput(content)) for content in said)
    return TaskState(task=task, history=history, steps_left=5)


@pytest.fixture
def say(make_agent: Make) -> Callable[..., str]:
    """Return what an agent says to a task, or to what was said before."""

    def say(name: str, task: Task | str, *said: str, **options: Any) -> str:
        return asyncio.run(make_agent(name, **options).execute(state_of(task, *said))).content

    return say


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
