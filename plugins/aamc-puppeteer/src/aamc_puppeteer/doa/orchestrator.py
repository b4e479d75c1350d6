"""The orchestrator of the framework's interface, as an adapter of the puppeteer's executor, verifiers and rewards."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from aamc_agents.state import Activation, TaskState
from aamc_agents.tasks import Verdict

from aamc_puppeteer.config import AGENT_TIMEOUT, MAX_CHARACTERS
from aamc_puppeteer.doa.agents.base import AgentInterface
from aamc_puppeteer.doa.agents.core_agents import TerminatorAgent
from aamc_puppeteer.doa.bridge import output_of, task_state
from aamc_puppeteer.doa.policy import PolicyNetwork
from aamc_puppeteer.doa.structs import AgentOutput, EpisodeTrajectory, RewardConfig, SystemState, TrajectoryStep
from aamc_puppeteer.episodes.executor import Executor
from aamc_puppeteer.episodes.output_checks import short_error_text
from aamc_puppeteer.episodes.trajectory import Stop
from aamc_sdk.errors import PoolError
from aamc_sdk.interfaces import Agent
from aamc_sdk.interfaces import AgentOutput as CoreOutput
from aamc_sdk.messages import one_of

TERMINATOR = "TerminatorAgent"


class Orchestrator:
    """Runs episodes.

    Args:
        agents: At least one; each has its own name. An agent that is a :class:`TerminatorAgent`, or has its name, ends an
            episode. Without one, episodes end when no steps are left.
        policy: Chooses among the agents by their indices.
        reward_config: The weights of the reward.
        verifier: Returns whether the final state solves the task. Without it, success is defined as in the Dynamic Orchestrator Agent
            framework calls success: the terminator was chosen before the steps were used up.

    Raises:
        PoolError: There is no agent, two share a name, or the policy chooses among another number of agents.
    """

    def __init__(
        self,
        agents: Sequence[AgentInterface],
        policy: PolicyNetwork,
        reward_config: RewardConfig,
        verifier: Callable[[SystemState], bool] | None = None,
    ) -> None:
        self.agents = list(agents)
        self.policy = policy
        self.reward_config = reward_config
        self.verifier = verifier
        self.agent_name_to_idx = {agent.name: index for index, agent in enumerate(agents)}
        names = [agent.name for agent in agents]
        if not names:
            raise PoolError("an orchestrator needs at least one agent, and there is none")
        if twice := {name for name in names if names.count(name) > 1}:
            raise PoolError(f"agents' names must be unique; used twice: {one_of(twice)}")
        if policy.num_agents != len(names):
            raise PoolError(f"the policy chooses among {policy.num_agents} agents, and there are {len(names)}: {one_of(names)}")

    def run_episode(self, initial_state: SystemState) -> EpisodeTrajectory:
        """Run an episode, with agents in the calling thread; a failing agent does not end it."""
        episode = _Episode(self, initial_state)
        while episode.stop is None:
            turn = episode.choose(blocking=True)
            activation = _executor(turn).activate_here(turn.name, task_state(episode.state))
            if turn.interrupt is not None:
                raise turn.interrupt
            episode.record(turn, activation)
        return episode.trajectory()

    async def arun_episode(self, initial_state: SystemState, timeout: float = AGENT_TIMEOUT) -> EpisodeTrajectory:
        """Run an episode in the event loop, with agents by ``aexecute``, each for at most ``timeout`` seconds a step."""
        episode = _Episode(self, initial_state)
        while episode.stop is None:
            turn = episode.choose(blocking=False)
            episode.record(turn, await _executor(turn).aactivate(turn.name, task_state(episode.state), timeout))
        return episode.trajectory()

    def ends(self, agent: AgentInterface) -> bool:
        """Whether choosing an agent ends the episode."""
        return isinstance(agent, TerminatorAgent) or agent.name == TERMINATOR


class _Turn(Agent):
    """One turn of an agent, as an agent of the SDK. Keeps the returned output, whose content need not be text."""

    def __init__(self, agent: AgentInterface, state: SystemState, *, blocking: bool) -> None:
        self.name = agent.name
        self._agent, self._state, self._blocking = agent, state, blocking
        self._returned: AgentOutput | None = None
        self.interrupt: KeyboardInterrupt | SystemExit | None = None

    async def execute(self, state: TaskState) -> CoreOutput:
        """Act on a copy of the state; ``custom_data`` is shared, as agents expect."""
        history = [(name, replace(output, metadata=output.metadata and dict(output.metadata))) for name, output in self._state.history]
        seen = replace(self._state, history=history)
        try:
            output = self._agent.execute(seen) if self._blocking else await self._agent.aexecute(seen)
        except (KeyboardInterrupt, SystemExit) as interrupt:
            self.interrupt = interrupt
            raise
        if not hasattr(output, "content") or not hasattr(output, "cost"):
            return output  # type: ignore[return-value]  # the executor makes it a fault
        self._returned = output
        content = output.content if isinstance(output.content, str) else ""
        return CoreOutput(content, output.cost, getattr(output, "metadata", None) or {})

    def output(self, activation: Activation) -> AgentOutput:
        """Return the checked output: empty after a failure, truncated if it is too long."""
        if activation.output is None or self._returned is None:
            return output_of(activation)
        content, metadata = self._returned.content, dict(activation.output.metadata)
        metadata |= getattr(self._returned, "metadata", None) or {}
        return AgentOutput(activation.output.content if isinstance(content, str) else content, activation.cost, metadata or None)


class _Episode:
    """A running episode."""

    def __init__(self, orchestrator: Orchestrator, state: SystemState) -> None:
        self._owner = orchestrator
        self._specification = state.task_specification
        self._steps: list[TrajectoryStep] = []
        self._costs: list[float] = []
        self.stop: Stop | None = None if state.current_step < state.max_steps else Stop.TRUNCATED
        self.state = state

    def choose(self, *, blocking: bool) -> _Turn:
        """Let the policy choose the next agent."""
        policy = self._owner.policy
        self._embedding = policy._embed_state(self.state)
        self._index, self._log_prob = policy.select_action(self.state)
        return _Turn(self._owner.agents[self._index], self.state, blocking=blocking)

    def record(self, turn: _Turn, activation: Activation) -> None:
        """Go on to the state after the chosen agent's turn."""
        owner, output = self._owner, turn.output(activation)
        history = [*self.state.history, (turn.name, output)]
        self.state = replace(self.state, history=history, current_step=self.state.current_step + 1)
        if owner.ends(owner.agents[self._index]):
            self.stop = Stop.STOPPED
        elif self.state.current_step >= self.state.max_steps:
            self.stop = Stop.TRUNCATED
        next_embedding = None if self.stop else owner.policy._embed_state(self.state)
        self._costs.append(output.cost)
        self._steps.append(TrajectoryStep(self._embedding, self._index, self._log_prob, 0.0, next_embedding, self.stop is not None, output))

    def trajectory(self) -> EpisodeTrajectory:
        """Judge the final state, and return the episode with its rewards."""
        verifier, rule = self._owner.verifier, self._owner.reward_config.rule
        verdict = _verify(verifier, self.state) if verifier is not None and self._steps else None
        successful = self.stop is Stop.STOPPED if verdict is None else verdict.correct
        for step, reward in zip(self._steps, rule.rewards(self._costs, rule.outcome(successful)), strict=True):
            step.reward = reward
        total = float(sum(step.reward for step in self._steps))
        return EpisodeTrajectory(self._steps, total, successful, self.stop, verdict, self._specification)


def _executor(turn: _Turn) -> Executor:
    return Executor({turn.name: turn}, AGENT_TIMEOUT, MAX_CHARACTERS, max_cost=sys.float_info.max)


def _verify(verifier: Callable[[SystemState], bool], state: SystemState) -> Verdict:
    try:
        return Verdict(bool(verifier(state)))
    except Exception as error:  # a verifier may raise anything
        return Verdict(False, f"the verifier raised {short_error_text(error)}")
