"""Environment ``agents``: routers practise on which agent should be given a task.

Each query is a task and each candidate an agent that gets one turn: a table of what came of it, which is replayed. This is
what of orchestration fits the contract of environments, whose streams have one outcome a query and no history; whole
episodes are :class:`aamc_puppeteer.gymnasium_env.AgentsEnv`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
from aamc_environments.replay import ReplayEnvironment, ReplayOptions

from aamc_puppeteer.config import AGENT_TIMEOUT, MAX_CHARACTERS
from aamc_puppeteer.executing import Executor
from aamc_puppeteer.state import TaskState, answer
from aamc_puppeteer.tasks import Task, check_tasks, tasks_of
from aamc_sdk import Agent, Candidate, Dataset, Outcomes, option
from aamc_sdk.errors import PoolError, UnknownComponentError
from aamc_sdk.types import Floats

_AT_ONCE = 32
"""Tasks that an agent works on side by side."""


@attrs.frozen(kw_only=True)
class OneTurnOptions(ReplayOptions):
    """How agents are tried, and their outcomes replayed."""

    agent_options: Mapping[str, Mapping[str, Any]] = option({}, "options of agents, by the agent's name")
    agent_timeout: float = option(AGENT_TIMEOUT, "seconds after which an agent's turn counts as failed", above=0)
    max_characters: int = option(MAX_CHARACTERS, "characters of an output that are kept", at_least=1)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}


class OneTurnEnvironment(ReplayEnvironment):
    """What comes of giving a task to one agent: quality is the verifier's word, cost what the turn cost.

    Latency is not known: the time that a turn takes here is another one at the next try.
    """

    Config = OneTurnOptions
    config: OneTurnOptions

    def prepare(self, splits: Mapping[str, Dataset]) -> None:
        """Let each agent of the pool work on each task; a split that has outcomes is taken as it is.

        Raises:
            DataError: A split has neither outcomes nor tasks with verifiers.
            PoolError: A candidate is no agent.
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
        return agent


def _turns(executor: Executor, name: str, tasks: Sequence[Task]) -> Floats:
    """Return quality and cost of an agent's turn on each of Q tasks, ``[2, Q]``."""
    found: list[tuple[bool, float]] = []
    for first in range(0, len(tasks), _AT_ONCE):
        states = [TaskState(task=task, steps_left=1) for task in tasks[first : first + _AT_ONCE]]
        activations = executor.activate([(name, state) for state in states])
        after = [state.after(activation) for state, activation in zip(states, activations, strict=True)]
        verdicts = executor.verify([(state.task, answer(state)) for state in after])
        found += [(verdict is not None and verdict.correct, state.cost) for verdict, state in zip(verdicts, after, strict=True)]
    return np.array(found, np.float64).T
