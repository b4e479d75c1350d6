"""Environment ``agents``: routers learn which agent should work on a task.

Each query is a task and each candidate an agent with one turn; the environment replays a table of the outcomes. Environments
have one outcome a query and no history; whole episodes are :class:`aamc_puppeteer.gymnasium_env.AgentsEnv`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from aamc_agents.state import TaskState, answer
from aamc_agents.tasks import Task
from aamc_environments.replay import ReplayEnvironment, ReplayOptions

from aamc_puppeteer.config import AGENT_TIMEOUT, MAX_CHARACTERS
from aamc_puppeteer.episodes.executor import Executor
from aamc_puppeteer.tasks.sources import check_tasks, tasks_of
from aamc_sdk import Agent, Candidate, Dataset, Outcomes, option
from aamc_sdk.errors import PoolError, UnknownComponentError
from aamc_sdk.messages import component_errors
from aamc_sdk.types import Floats

_AT_ONCE = 32
"""Number of tasks that an agent works on at once."""


@attrs.frozen(kw_only=True)
class OneTurnOptions(ReplayOptions):
    """The agents' options and limits, and the replay of their outcomes."""

    agent_options: Mapping[str, Mapping[str, Any]] = option({}, "Options of agents, by the agent's name.")
    agent_timeout: float = option(AGENT_TIMEOUT, "Timeout of an agent's turn in seconds.", above=0)
    max_characters: int = option(MAX_CHARACTERS, "Maximum characters of an output; the rest is cut off.", at_least=1)


class OneTurnEnvironment(ReplayEnvironment):
    """Outcomes of one agent's turn on a task: the verdict as quality, and the turn's cost.

    Latency is unknown: the measured time of a turn is not reproducible.
    """

    Config = OneTurnOptions
    config: OneTurnOptions

    def prepare(self, splits: Mapping[str, Dataset]) -> None:
        """Run each agent of the pool on each task; a split with outcomes is used as it is.

        Raises:
            DataError: A split has neither outcomes nor tasks with verifiers.
            PoolError: A candidate is not an agent.
        """
        super().prepare({name: self._tried(split) if split.outcomes is None else split for name, split in splits.items()})

    def _tried(self, dataset: Dataset) -> Dataset:
        tasks, pool = tasks_of(dataset), self.services.pool
        check_tasks(tasks)
        executor = Executor({agent.name: self._agent(agent) for agent in pool}, self.config.agent_timeout, self.config.max_characters)
        try:
            columns = [_turns(executor, agent.name, tasks) for agent in pool]
        finally:
            executor.close()
        quality, cost_usd = np.stack(columns, axis=2)
        return attrs.evolve(dataset, pool=pool, outcomes=Outcomes(quality, cost_usd, np.full_like(cost_usd, np.nan)))

    def _agent(self, candidate: Candidate) -> Agent:
        try:
            agent: Agent = self.services.make("agent", candidate.name, self.config.agent_options.get(candidate.name, {}))
        except UnknownComponentError as error:
            raise PoolError(f"environment agents needs a pool of agents (--pool FILE that names them): {error}") from error
        with component_errors(f"agent {candidate.name!r} failed"):
            agent.check()
        return agent


def _turns(executor: Executor, name: str, tasks: Sequence[Task]) -> Floats:
    """Return quality and cost of an agent's turns on Q tasks, ``[2, Q]``."""
    found: list[tuple[bool, float]] = []
    for first in range(0, len(tasks), _AT_ONCE):
        states = [TaskState(task=task, steps_left=1) for task in tasks[first : first + _AT_ONCE]]
        activations = executor.activate([(name, state) for state in states])
        after = [state.after(activation) for state, activation in zip(states, activations, strict=True)]
        verdicts = executor.verify([(state.task, answer(state)) for state in after])
        found += [(verdict is not None and verdict.correct, state.cost) for verdict, state in zip(verdicts, after, strict=True)]
    return np.array(found, np.float64).T
