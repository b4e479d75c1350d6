"""Adapters between this interface and the rest of the SDK: agents, outputs and finished episodes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from aamc_agents.state import ANSWER, Activation, Fault, TaskState
from aamc_agents.tasks import Task, Verdict

from aamc_puppeteer.doa.agents.base import AgentInterface
from aamc_puppeteer.doa.agents.core_agents import TerminatorAgent
from aamc_puppeteer.doa.structs import AgentOutput, EpisodeTrajectory, SystemState
from aamc_puppeteer.episodes.trajectory import Stop, Trajectory
from aamc_sdk.interfaces import Agent, NoOptions
from aamc_sdk.interfaces import AgentOutput as CoreOutput
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.routing import default_pool
from aamc_sdk.serving import make_services
from aamc_sdk.types import Candidate


class CoreAgent(Agent):
    """Makes an agent of this interface one of the SDK. A terminator declares the last output to be the answer.

    Args:
        agent: The agent.
        description: Its abilities in words, from which the puppeteer's policy scores it.
    """

    def __init__(self, agent: AgentInterface, description: str) -> None:
        self.config = NoOptions()
        self.spec = Candidate(agent.name, description)
        self._agent = agent

    async def execute(self, state: TaskState) -> CoreOutput:
        """Act on the state of a task."""
        if isinstance(self._agent, TerminatorAgent):
            return CoreOutput(state.outputs[-1].content if state.outputs else "", 0.0, {ANSWER: True})
        history = [(turn.agent, output_of(turn)) for turn in state.history]
        output = await self._agent.aexecute(SystemState(state.task.text, history, len(history), len(history) + state.steps_left))
        return CoreOutput(output.content, output.cost, output.metadata or {})


class InterfaceAgent(AgentInterface):
    """Makes an agent of the SDK, such as a plugin's, one of this interface."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent.spec.name)
        self._agent = agent

    def execute(self, state: SystemState) -> AgentOutput:
        """Act on the state of a task."""
        with ThreadPoolExecutor(1) as elsewhere:  # this thread may run an event loop already
            return elsewhere.submit(copy_context().run, asyncio.run, self.aexecute(state)).result()  # with the context, which counts calls

    async def aexecute(self, state: SystemState) -> AgentOutput:
        """Act on the state of a task without blocking the event loop."""
        output = await self._agent.execute(task_state(state))
        return AgentOutput(output.content, output.cost, dict(output.metadata))


def installed_agent(name: str, **options: Any) -> InterfaceAgent:
    """Return an agent that a plugin offers by the hook ``aamc_agents``, with options.

    Raises:
        UnknownComponentError: No plugin offers it.
        ConfigError: An option is unknown or wrong.
    """
    services = make_services(default_pool(), get_plugin_manager())
    return InterfaceAgent(services.make("agent", name, options))


def as_trajectory(episode: EpisodeTrajectory, agents: Sequence[AgentInterface]) -> Trajectory:
    """Return an episode as a trajectory of the puppeteer, to be written, measured and drawn; ``agents`` are those of its orchestrator, in order."""
    taken = [(agents[step.agent_index].name, step.agent_output or AgentOutput("", 0.0)) for step in episode.steps]
    history = tuple(activation_of(name, output) for name, output in taken)
    return Trajectory(
        state=TaskState(task=Task(id=episode.task_specification, text=episode.task_specification), history=history),
        stop=episode.stop or Stop.TRUNCATED,
        verdict=episode.verdict or Verdict(episode.task_successful, "by whether the terminator was chosen in time"),
        probabilities=tuple(float(step.log_prob.detach().exp()) for step in episode.steps),
        rewards=tuple(step.reward for step in episode.steps),
    )


def task_state(state: SystemState) -> TaskState:
    """Return a state of this interface as one of the SDK."""
    history = tuple(activation_of(name, output) for name, output in state.history)
    return TaskState(task=Task(id="", text=state.task_specification), history=history, steps_left=state.max_steps - state.current_step)


def output_of(turn: Activation) -> AgentOutput:
    """Return an activation as an output; a failure is an empty one with ``"fault"`` and ``"error"`` in its metadata."""
    if turn.output is None:
        assert turn.fault is not None
        return AgentOutput("", turn.cost, {"fault": turn.fault.value, "error": turn.error})
    return AgentOutput(turn.output.content, turn.output.cost, dict(turn.output.metadata))


def activation_of(name: str, output: AgentOutput) -> Activation:
    """Return an output as an activation."""
    metadata = output.metadata or {}
    if "fault" in metadata:
        return Activation(agent=name, fault=Fault(metadata["fault"]), error=metadata.get("error"), cost=output.cost)
    return Activation(agent=name, output=CoreOutput(str(output.content), output.cost, metadata), cost=output.cost)
