"""From this interface to the rest of the SDK and back: agents, and finished episodes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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
from aamc_sdk.pools import default_pool
from aamc_sdk.services import bare_services
from aamc_sdk.settings import read_settings
from aamc_sdk.types import Candidate


class CoreAgent(Agent):
    """An agent of this interface for the orchestrator ``puppeteer``. A terminator declares what was said last to be the answer.

    Args:
        agent: What acts.
        description: What it can do, in words, from which the policy judges when to use it.
    """

    def __init__(self, agent: AgentInterface, description: str) -> None:
        self.config = NoOptions()
        self.spec = Candidate(agent.name, description)
        self._agent = agent

    async def execute(self, state: TaskState) -> CoreOutput:
        """Act on the state of a task."""
        if isinstance(self._agent, TerminatorAgent):
            return CoreOutput(state.outputs[-1].content if state.outputs else "", 0.0, {ANSWER: True})
        output = await self._agent.aexecute(_seen(state))
        return CoreOutput(output.content, output.cost, output.metadata or {})


class InterfaceAgent(AgentInterface):
    """An agent of the SDK, such as a plugin's, for the orchestrator of this interface.

    Args:
        agent: What acts.
    """

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent.spec.name)
        self._agent = agent

    def execute(self, state: SystemState) -> AgentOutput:
        """Act on the state of a task."""
        with ThreadPoolExecutor(1) as elsewhere:  # this thread may run an event loop already
            return elsewhere.submit(asyncio.run, self.aexecute(state)).result()

    async def aexecute(self, state: SystemState) -> AgentOutput:
        """Act on the state of a task without keeping others waiting."""
        history = tuple(_activation(name, output) for name, output in state.history)
        task = Task(id="", text=state.task_specification)
        output = await self._agent.execute(TaskState(task=task, history=history, steps_left=state.max_steps - state.current_step))
        return AgentOutput(output.content, output.cost, dict(output.metadata))


def installed_agent(name: str, **options: Any) -> InterfaceAgent:
    """Return an agent that a plugin offers by the hook ``aamc_agents``.

    Args:
        name: Its name, such as ``"calculator"``.
        **options: Its own.

    Raises:
        UnknownComponentError: No plugin offers it.
        ConfigError: An option is unknown or wrong.
    """
    plugins = get_plugin_manager()
    services = bare_services(default_pool(), plugins, read_settings({}))
    return InterfaceAgent(services.make("agent", name, options))


def as_trajectory(episode: EpisodeTrajectory, agents: Sequence[AgentInterface]) -> Trajectory:
    """Return an episode as the rest of the package knows it: to be written, measured and drawn.

    Args:
        episode: What happened.
        agents: Those of its orchestrator, in the same order.
    """
    taken = [(agents[step.agent_index].name, step) for step in episode.steps]
    history = tuple(_activation(name, step.agent_output or AgentOutput("", 0.0)) for name, step in taken)
    task = Task(id=episode.task_specification, text=episode.task_specification)
    return Trajectory(
        state=TaskState(task=task, history=history),
        stop=episode.stop or Stop.TRUNCATED,
        verdict=episode.verdict or Verdict(episode.task_successful, "by whether the terminator was chosen in time"),
        probabilities=tuple(float(step.log_prob.detach().exp()) for step in episode.steps),
        rewards=tuple(step.reward for step in episode.steps),
    )


def _seen(state: TaskState) -> SystemState:
    history = [(turn.agent, _output(turn)) for turn in state.history]
    return SystemState(state.task.text, history, len(history), len(history) + state.steps_left)


def _output(turn: Activation) -> AgentOutput:
    if turn.output is None:
        assert turn.fault is not None
        return AgentOutput("", turn.cost, {"fault": turn.fault.value, "error": turn.error})
    return AgentOutput(turn.output.content, turn.output.cost, dict(turn.output.metadata))


def _activation(name: str, output: AgentOutput) -> Activation:
    metadata = output.metadata or {}
    if "fault" in metadata:
        return Activation(agent=name, fault=Fault(metadata["fault"]), error=metadata.get("error"), cost=output.cost)
    return Activation(agent=name, output=CoreOutput(str(output.content), output.cost, metadata), cost=output.cost)
