"""The loop: the policy chooses an agent, the agent acts, until the terminator is chosen or the steps are used up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from aamc_agents.tasks import Verdict
from torch import Tensor

from aamc_puppeteer.doa.agents.base import AgentInterface
from aamc_puppeteer.doa.agents.core_agents import TerminatorAgent
from aamc_puppeteer.doa.attempt import attempt, attempt_async
from aamc_puppeteer.doa.policy import PolicyNetwork
from aamc_puppeteer.doa.rewards import calculate_reward
from aamc_puppeteer.doa.structs import AgentOutput, EpisodeTrajectory, RewardConfig, SystemState, TrajectoryStep
from aamc_puppeteer.episodes.trajectory import Stop
from aamc_sdk.errors import PoolError, one_of

TERMINATOR = "TerminatorAgent"


class Orchestrator:
    """Runs episodes.

    Args:
        agents: At least one; each has a name of its own. One that is a :class:`TerminatorAgent`, or has its name, ends an
            episode. Without one, episodes end when the steps are used up.
        policy: Chooses among them, by their places in ``agents``.
        reward_config: What counts.
        verifier: Says of the final state whether the task was solved. Without one, success is what the Dynamic Orchestrator
            Agent framework calls success: the terminator was chosen before the steps were used up.

    Raises:
        PoolError: There is no agent, two share a name, or the policy chooses among another number of them.
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
        _check(self.agents, policy)

    def run_episode(self, initial_state: SystemState) -> EpisodeTrajectory:
        """Run an episode; an agent that fails does not end it."""
        episode = _Episode(self, initial_state)
        while not episode.over:
            episode.choose()
            episode.record(attempt(episode.agent, episode.state))
        return episode.trajectory()

    async def arun_episode(self, initial_state: SystemState, timeout: float = 60.0) -> EpisodeTrajectory:
        """Run an episode without keeping others waiting, agents by ``aexecute``, each for at most ``timeout`` seconds a step."""
        episode = _Episode(self, initial_state)
        while not episode.over:
            episode.choose()
            episode.record(await attempt_async(episode.agent, episode.state, timeout))
        return episode.trajectory()

    def ends(self, agent: AgentInterface) -> bool:
        """Whether choosing an agent ends the episode."""
        return isinstance(agent, TerminatorAgent) or agent.name == TERMINATOR


class _Episode:
    """An episode under way."""

    def __init__(self, orchestrator: Orchestrator, state: SystemState) -> None:
        self._owner = orchestrator
        self._specification = state.task_specification
        self._steps: list[TrajectoryStep] = []
        self._verdict: Verdict | None = None
        self._stop: Stop | None = None if state.current_step < state.max_steps else Stop.TRUNCATED
        self._embedding: Tensor
        self.state = state
        self.agent: AgentInterface

    @property
    def over(self) -> bool:
        return self._stop is not None

    def choose(self) -> None:
        policy = self._owner.policy
        self._embedding = policy._embed_state(self.state)
        self._index, self._log_prob = policy.select_action(self.state)
        self.agent = self._owner.agents[self._index]

    def record(self, output: AgentOutput) -> None:
        """Go on to the state that follows the chosen agent's turn."""
        owner, before = self._owner, self.state
        history = [*before.history, (self.agent.name, output)]
        self.state = replace(before, history=history, current_step=before.current_step + 1)
        terminated = owner.ends(self.agent)
        if terminated or self.state.current_step >= self.state.max_steps:
            self._stop = Stop.STOPPED if terminated else Stop.TRUNCATED
            self._verdict = None if owner.verifier is None else _verify(owner.verifier, self.state)
        reward = calculate_reward(output, self.over, self._successful, owner.reward_config)
        following = None if self.over else owner.policy._embed_state(self.state)
        self._steps.append(TrajectoryStep(self._embedding, self._index, self._log_prob, reward, following, self.over, output))

    @property
    def _successful(self) -> bool:
        if self._verdict is not None:
            return self._verdict.correct
        return self._stop is Stop.STOPPED

    def trajectory(self) -> EpisodeTrajectory:
        total = float(sum(step.reward for step in self._steps))
        return EpisodeTrajectory(self._steps, total, self._successful, self._stop, self._verdict, self._specification)


def _verify(verifier: Callable[[SystemState], bool], state: SystemState) -> Verdict:
    try:
        return Verdict(bool(verifier(state)))
    except Exception as error:  # a verifier may raise anything
        return Verdict(False, f"the verifier raised {type(error).__name__}: {error}"[:500])


def _check(agents: Sequence[AgentInterface], policy: PolicyNetwork) -> None:
    names = [agent.name for agent in agents]
    if not names:
        raise PoolError("an orchestrator needs at least one agent, and there is none")
    if twice := {name for name in names if names.count(name) > 1}:
        raise PoolError(f"each agent needs a name of its own; twice among them: {one_of(twice)}")
    if policy.num_agents != len(names):
        raise PoolError(f"the policy chooses among {policy.num_agents} agents, and there are {len(names)}: {one_of(names)}")
