"""Episodes of agents on tasks as a Gymnasium environment, for other libraries' learners.

Importing this module registers ``aamc/Agents-v0``; ``gymnasium.make("aamc_puppeteer.gymnasium_env:aamc/Agents-v0")`` imports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from aamc_agents.state import TaskState, answer
from aamc_agents.tasks import Task

from aamc_puppeteer.config import DEFAULT_AGENTS, EpisodeOptions
from aamc_puppeteer.episodes.executor import Executor, pool_of
from aamc_puppeteer.episodes.player import begin
from aamc_puppeteer.episodes.trajectory import Trajectory
from aamc_puppeteer.policy.encoder import Encoder, described
from aamc_puppeteer.policy.text_embedding import TextEmbedding
from aamc_puppeteer.tasks.sources import check_tasks, split_tasks, tasks_of
from aamc_sdk import Agent, get_plugin_manager
from aamc_sdk.config import ServingSettings, configure
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Budget
from aamc_sdk.messages import check_known
from aamc_sdk.routing import Array32, default_pool
from aamc_sdk.serving import make_services

ALL, SIDES = "all", ("train", "validation", "test")
BOUND = 1e6
"""Bound of the observations, which have no natural one."""


class AgentsEnv(gymnasium.Env[Array32, np.int64]):
    """One episode is one task: an action activates an agent, the last action stops.

    The observation ``[S + 11 M]`` is that of the puppeteer's policy, :class:`aamc_puppeteer.policy.encoder.Encoder`: the state, then
    the agents in their order. The reward is R_t by :class:`aamc_puppeteer.episodes.rewards.EpisodeReward`. Episodes terminate and are
    never truncated: the steps left are observed, so their end belongs to the task. ``info`` has the action's ``cost_usd``, and at
    the end ``is_success``, the verdict. ``reset`` draws a task, or takes the task number ``options["task"]``.

    Args:
        tasks: A suite as in the dataset format ``tasks``, such as ``mixed`` or ``gsm-hard:FILE``, or tasks with verifiers.
        side: Part of the tasks that is played: ``train``, ``validation``, ``test``, or ``all``. The estimator is always trained on
            the texts of the training part, so that all parts have the same features.
        size: Number of tasks in the suite, all parts together.
        seed: Seed of the suite, its division and the estimator.
        team: The agents, instead of those in the option ``agents``.
        **options: Options of :class:`aamc_puppeteer.config.EpisodeOptions`.

    Raises:
        ConfigError: An option is unknown or wrong.
        DataError: The suite is unknown, no task has text, or a task has no verifier.
        PoolError: There is no agent, or two share a name.

    Attributes:
        tasks: The played tasks.
        pool: The agents, in the order of the actions.
        trajectory: The last finished episode.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  # as Gymnasium declares it

    def __init__(
        self,
        tasks: str | Sequence[Task] = "mixed",
        *,
        side: str = "train",
        size: int = 300,
        seed: int = 0,
        team: Sequence[Agent] | None = None,
        **options: Any,
    ) -> None:
        self.config = configure(EpisodeOptions, options, where="aamc/Agents-v0")
        if not self.config.max_steps:
            raise ConfigError("aamc/Agents-v0 needs max_steps of at least 1: without a step there is nothing to decide")
        services = make_services(default_pool(), get_plugin_manager(), ServingSettings(seed=seed))
        names = self.config.agents or DEFAULT_AGENTS
        if isinstance(tasks, str):
            suite = services.make("dataset", "tasks", {"size": size}).read(tasks)
            tasks, names = tasks_of(suite), self.config.agents or suite.agents or names
        practised, self.tasks = _of_side(tasks, side, seed)
        if team is None:
            team = [services.make("agent", name, self.config.agent_options.get(name, {})) for name in names]
        self.pool = pool_of(team)
        self._executor = Executor(dict(zip(self.pool.names, team, strict=True)), self.config.agent_timeout, self.config.max_characters)
        estimator = services.make("estimator", self.config.estimator, self.config.estimator_options)
        others = [*map(described, self.pool), *self.pool.names]
        self._encoder = Encoder(list(self.pool), TextEmbedding.trained(estimator, [task.text for task in practised], others))
        self._encoder.learn_tasks([task.text for task in self.tasks])
        self.trajectory: Trajectory | None = None
        self._episode = begin(0, self.tasks[0], self.config.max_steps, 0)
        bound = np.full(self.observe(self._episode.state).shape, BOUND, np.float32)
        self.observation_space = gymnasium.spaces.Box(-bound, bound)
        self.action_space = gymnasium.spaces.Discrete(len(self.pool) + 1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array32, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        drawn, episode_seed = int(self.np_random.integers(len(self.tasks))), int(self.np_random.integers(2**62))
        number = drawn if options is None else options.get("task", drawn)
        self._episode = begin(number, self.tasks[number], self.config.max_steps, episode_seed)
        return self.observe(self._episode.state), {}

    def step(self, action: np.int64) -> tuple[Array32, float, bool, bool, dict[str, Any]]:
        """Activate an agent, or stop.

        Raises:
            InvalidAction: No agent has that number.
            ResetNeeded: The episode has ended.
        """
        if not self.action_space.contains(action):
            raise gymnasium.error.InvalidAction(f"an action is a number from 0 to {len(self.pool)}, not {action!r}")
        episode = self._episode
        if episode.stop is not None:
            raise gymnasium.error.ResetNeeded("the episode has ended; call reset()")
        if action == len(self.pool):
            episode.end_by_choice()
        else:
            episode.take(self._executor.activate([(self.pool.names[action], episode.state)])[0])
            episode.check_end(Budget(), 0.0)
        observation, cost = self.observe(episode.state), episode.costs[-1]
        if episode.stop is None:
            return observation, -self.config.rule.charge(len(episode.costs), cost), False, False, {"cost_usd": cost}
        verdict = self._executor.verify([(episode.state.task, answer(episode.state))])[0]
        self.trajectory = episode.finished(verdict, self.config.rule)
        return observation, self.trajectory.rewards[-1], True, False, {"cost_usd": cost, "is_success": self.trajectory.succeeded}

    def observe(self, state: TaskState) -> Array32:
        """Return the features of a state, ``[S + 11 M]``."""
        features = self._encoder.encode([state])
        return np.concatenate((features.state[0], features.pair[0].ravel()))

    def close(self) -> None:
        """End the threads in which agents work."""
        self._executor.close()


def _of_side(tasks: Sequence[Task], side: str, seed: int) -> tuple[Sequence[Task], Sequence[Task]]:
    """Return the training tasks and the played tasks, without tasks that have no text."""
    check_known([side], (ALL, *SIDES), "tasks have no side", ConfigError, "there are")
    tasks = [task for task in tasks if task.text.strip()]
    check_tasks(tasks)
    if side == ALL:
        return tasks, tasks
    sides = dict(zip(SIDES, split_tasks(tasks, seed), strict=True))
    return sides["train"], sides[side]


gymnasium.register("aamc/Agents-v0", entry_point=f"{__name__}:AgentsEnv")
