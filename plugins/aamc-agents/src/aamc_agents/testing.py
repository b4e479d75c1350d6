"""Fixtures for tests of agents: import them in a ``conftest.py``. This module needs pytest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from aamc_agents.state import Activation, TaskState
from aamc_agents.tasks import Task
from aamc_agents.tool import AgentError
from aamc_sdk import Agent, AgentOutput, Services, get_plugin_manager
from aamc_sdk.routing import default_pool
from aamc_sdk.serving import DefaultSettings, make_services

Make = Callable[..., Agent]


@pytest.fixture(scope="session")
def services() -> Services:
    """Services with every installed plugin and the seed 3."""
    return make_services(default_pool(), get_plugin_manager(), DefaultSettings(preset="full", seed=3, device="cpu"))


@pytest.fixture(scope="session")
def make_agent(services: Services) -> Make:
    """Make an agent by its name, with options."""

    def make(name: str, **options: object) -> Agent:
        agent: Agent = services.make("agent", name, options)
        return agent

    return make


def state_of(task: Task | str, *said: str) -> TaskState:
    """Return the state of a task after some outputs."""
    task = Task(id="t", text=task) if isinstance(task, str) else task
    history = tuple(Activation(agent="somebody", output=AgentOutput(content)) for content in said)
    return TaskState(task=task, history=history, steps_left=5)


@pytest.fixture
def say(make_agent: Make) -> Callable[..., str]:
    """Return an agent's output for a task, or for the last of some outputs."""

    def say(name: str, task: Task | str, *said: str, **options: object) -> str:
        return asyncio.run(make_agent(name, **options).execute(state_of(task, *said))).content

    return say


def seconds_on_a_long_text(say: Callable[..., str], agent: str, start: str, repeated: str, length: int = 20_000) -> float:
    """Return an agent's processor time for a long text: while a pattern searches, no timeout can stop it."""
    said = (start + repeated * length)[:length]
    began = time.process_time()
    with suppress(AgentError):
        say(agent, "?", said)
    return time.process_time() - began
