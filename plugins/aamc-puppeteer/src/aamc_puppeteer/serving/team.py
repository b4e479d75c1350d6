"""The agents of a puppeteer: made from their names or given, replaced, checked and run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from aamc_agents.state import Activation, TaskState
from aamc_agents.tasks import Task, Verdict

from aamc_puppeteer.config import DEFAULT_AGENTS, PuppeteerConfig
from aamc_puppeteer.episodes.executor import Executor, pool_of
from aamc_puppeteer.episodes.worker_threads import Cancellation
from aamc_puppeteer.policy.agent_policy import AgentPolicy
from aamc_sdk import Agent, Services
from aamc_sdk.errors import AamcError, ConfigError, PluginError
from aamc_sdk.interfaces import Budget
from aamc_sdk.messages import check_known, error_text
from aamc_sdk.serving import TeamOptions, TeamOrchestrator

AGENT_OPTIONS = "agent_options names no agent"
"""The beginning of the error on options of an agent that is not used."""


class Team(TeamOrchestrator):
    """Agents, how they are run, and the policy that chooses among them: the base of :class:`aamc_puppeteer.orchestrator.Puppeteer`."""

    config: PuppeteerConfig

    def __init__(self, config: PuppeteerConfig, services: Services, agents: Sequence[Agent] | None = None) -> None:
        super().__init__(config, services)
        self._executor = Executor({}, config.agent_timeout, config.max_characters)
        self._made: list[Agent] = []
        self.policy = AgentPolicy(config, services)
        if agents is None:
            self._make_team(config.agents or DEFAULT_AGENTS, config.agent_options)
        else:
            self.use(agents)
        self._any_team = agents is None and not config.agents

    def use(self, agents: Sequence[Agent]) -> None:
        """Replace the agents. The policy stays, and scores a new agent from its description.

        Raises:
            PoolError: There is no agent, or two share a name.
        """
        self.pool = pool_of(agents)
        self.close()
        self._made = []
        self._any_team = False
        self._agents = tuple(agents)
        by_name = dict(zip(self.pool.names, agents, strict=True))
        self._executor = Executor(by_name, self.config.agent_timeout, self.config.max_characters)
        self.policy.use(self.pool)

    def set_team(self, team: TeamOptions) -> None:
        """Replace agents, their options and the number of paths."""
        if team.paths is not None:
            self.config = attrs.evolve(self.config, paths=team.paths)
        if team.agents is None and not team.agent_options:
            return
        names = team.agents or self.pool.names
        check_known(team.agent_options, names, AGENT_OPTIONS, ConfigError, "the agents")
        trained = self.config.agent_options
        options = {name: {**trained.get(name, {}), **team.agent_options.get(name, {})} for name in names}
        self._make_team(names, options)

    def close(self) -> None:
        """End the agents' threads, and close the agents that were made here from their names; both restart when needed."""
        self._executor.close()
        for agent in self._made:
            close = getattr(agent, "close", None)
            if close is not None:
                close()

    def check_agents(self) -> None:
        """Raise ConfigError, with the name and the reason, if an agent cannot work."""
        for agent in self._agents:
            name = agent.spec.name
            try:
                agent.check()
            except AamcError as error:
                raise ConfigError(f"agent {name!r} cannot work: {error} (its options: agent_options.{name})") from error
            except Exception as error:
                raise PluginError(f"agent {name!r} failed: {error_text(error)}") from error

    def _make_team(self, names: Sequence[str], options: Mapping[str, Mapping[str, Any]]) -> None:
        """Make agents by their names, and use them."""
        agents: list[Agent] = [self.services.make("agent", name, options.get(name, {})) for name in names]
        self.use(agents)
        self._made = agents

    async def activate(self, turns: Sequence[tuple[str, TaskState]], seconds: float) -> list[Activation]:
        """Run agents on states, in parallel, for at most ``seconds`` or the option ``agent_timeout``. Cancelling it cancels them."""
        cancellation = Cancellation()
        try:
            return await asyncio.to_thread(self._executor.activate, turns, max(seconds, 0.0), cancellation)
        except asyncio.CancelledError:
            cancellation.cancel()
            raise

    def verify(self, task: Task, answer: str | None) -> Verdict | None:
        """Return the verdict on an answer; None if the task has no verifier."""
        return self._executor.verify([(task, answer)])[0]

    def forks(self, budget: Budget) -> bool:
        """Whether the work on a task with this budget has several paths."""
        return self.config.paths > 1 and budget.steps > 1
