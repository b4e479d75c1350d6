"""Orchestrator ``puppeteer``: a policy activates agents one after the other; torch is imported when it is trained or used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aamc_puppeteer.config import PuppeteerConfig
from aamc_puppeteer.embedding import TextEmbedding
from aamc_puppeteer.encoder import PAIR_NUMBERS, Encoder, Features, described, state_width
from aamc_puppeteer.episodes import Player, Running, begin
from aamc_puppeteer.executing import Executor
from aamc_puppeteer.forking import check_judge, fork
from aamc_puppeteer.measures import in_words, summarise
from aamc_puppeteer.recording import Recording
from aamc_puppeteer.solving import solve, work_on
from aamc_puppeteer.state import Activation, TaskState, Trajectory
from aamc_puppeteer.tasks import Task, Verdict, as_task, check_tasks, tasks_of
from aamc_puppeteer.team import pool_of
from aamc_sdk import Agent, Estimator, Orchestrator, Query, Services, Training, get_plugin_manager
from aamc_sdk.config import configure
from aamc_sdk.errors import CheckpointError, ConfigError, nearest, one_of
from aamc_sdk.interfaces import Budget, Progress, Silence, Step
from aamc_sdk.routing import Array32, LinearReward, default_pool
from aamc_sdk.storage import read_arrays, read_json, write_arrays, write_json

if TYPE_CHECKING:
    from aamc_puppeteer.reinforce import Learner
    from aamc_puppeteer.training import Watch


class Puppeteer(Orchestrator):
    """Activates agents by a learned policy; see :mod:`aamc_puppeteer.policy` for its formulas.

    Args:
        config: The options.
        services: Make the agents and the estimator.
        agents: The agents themselves, instead of those that ``config.agents`` names.

    Raises:
        ConfigError: The options name an agent that there is not.
        PoolError: There is no agent, or two have one name.
    """

    Config = PuppeteerConfig
    config: PuppeteerConfig
    default_dataset = "tasks:mixed"

    def __init__(self, config: PuppeteerConfig, services: Services, agents: Sequence[Agent] | None = None) -> None:
        super().__init__(config, services)
        self._embedding: TextEmbedding | None = None
        self._learner: Learner | None = None
        self._trained_names: frozenset[str] = frozenset()
        self._recording: Recording | None = None
        self._executor = Executor({}, config.agent_timeout, config.max_characters)
        if agents is None:
            agents = [services.make("agent", name, config.agent_options.get(name, {})) for name in config.agents]
        self.use(agents)
        names = self.pool.names
        for name in config.agent_options:
            if name not in names:
                raise ConfigError(f"agent_options names {name!r}, which is none of the agents ({one_of(names)}){nearest(name, names)}")
        check_judge(config, names)

    @classmethod
    def of(cls, agents: Sequence[Agent | str], *, seed: int = 0, preset: str | None = None, **options: Any) -> Puppeteer:
        """Return an untrained puppeteer of some agents.

        Args:
            agents: Who may be activated: agents, or the names of those that plugins offer.
            seed: All randomness follows from it.
            preset: The name of options to begin with, such as ``quick``.
            **options: Those of :class:`PuppeteerConfig`; they win over the preset.

        Raises:
            ConfigError: An option is unknown or wrong.
            PoolError: There is no agent, or two have one name.
        """
        plugins = get_plugin_manager()

        def make(kind: str, name: str, options: Mapping[str, Any]) -> Any:
            return plugins.make(kind, name, lent, options)

        lent = Services(pool=default_pool(), reward=LinearReward(), make=make, seed=seed)
        config = configure(PuppeteerConfig, options, preset=preset, where="puppeteer")
        made = [make("agent", agent, config.agent_options.get(agent, {})) if isinstance(agent, str) else agent for agent in agents]
        return cls(config, lent, made)

    def use(self, agents: Sequence[Agent]) -> None:
        """Take another set of agents; what was learned stays, and a newcomer is scored from its description.

        Raises:
            PoolError: There is no agent, or two have one name.
        """
        self.pool = pool_of(agents)
        self.close()
        by_name = dict(zip(self.pool.names, agents, strict=True))
        self._executor = Executor(by_name, self.config.agent_timeout, self.config.max_characters)
        self._encoder: Encoder | None = None
        if self._learner is not None:
            self._meet_agents()

    def close(self) -> None:
        """End the threads in which agents work; they come back when needed."""
        self._executor.close()

    # Learning

    def train(self, training: Training) -> Mapping[str, Any]:
        """Learn from a dataset whose format is ``tasks``, and measure on validation tasks; see :meth:`fit`.

        Where there is a folder, every episode is kept, and :meth:`save` draws how they changed.
        """
        tasks, validation = tasks_of(training.dataset), training.validation
        if training.folder is not None:
            self._recording = Recording(training.folder, self.config.episodes)
        metrics = dict(self.fit(tasks, folder=training.folder, resume=training.resume, progress=training.progress, watch=self._recording))
        if self._recording is not None:
            metrics |= self._recording.figures()
        if validation is not None:
            metrics["validation"] = summarise(self.play(tasks_of(validation)))
            training.progress.say(f"validation, {in_words(metrics['validation'])}")
        return metrics

    def fit(
        self,
        tasks: Sequence[Task],
        *,
        folder: Path | None = None,
        resume: bool = False,
        progress: Progress | None = None,
        watch: Watch | None = None,
    ) -> Mapping[str, Any]:
        """Learn by practising on tasks, from the beginning, whatever was learned before; return metrics, with the curve by update.

        Args:
            tasks: What to practise on, each with a verifier.
            folder: Where to keep what makes a stopped training resumable; None not to.
            resume: Whether to go on from what the folder holds.
            progress: Where to report.
            watch: Is told of the episodes of each update.

        Raises:
            CheckpointError: Asked to resume, but the checkpoint is damaged, or from other options, agents or tasks.
            DataError: There is no task, or one has no verifier.
        """
        from aamc_puppeteer.training import Job, one_thread

        check_tasks(tasks)
        with one_thread():
            self._begin([task.text for task in tasks])
            learner, encoder = self.parts()
            self._trained_names = frozenset(self.pool.names)
            encoder.learn_tasks([task.text for task in tasks])
            job = Job(self.config, self.services.seed, learner, self.player(), tasks, list(self.pool), folder, watch)
            if resume:
                job.restore()
            job.run(progress or Silence())
        return {"updates": self.config.updates, "episodes": self.config.updates * self.config.episodes, "curve": job.curve}

    def _begin(self, texts: Sequence[str]) -> None:
        """Start untrained: the estimator learns the words of tasks and agents, the policy's weights are drawn."""
        self._embedding = TextEmbedding.learned(self._estimator(), texts, [*map(described, self.pool), *self.pool.names])
        self._learner = None
        self._meet_agents()

    def _estimator(self) -> Estimator:
        made: Estimator = self.services.make("estimator", self.config.estimator, self.config.estimator_options)
        return made

    def _meet_agents(self) -> None:
        """Read the descriptions of the present agents, and give what was learned, or an untrained policy, to them."""
        from aamc_puppeteer.policy import Policy
        from aamc_puppeteer.reinforce import Learner

        assert self._embedding is not None
        encoder = self._encoder = Encoder(list(self.pool), self._embedding)
        sizes = (state_width(encoder.width), len(PAIR_NUMBERS), encoder.descriptions.shape[1], encoder.names.shape[1], encoder.width)
        policy = Policy(*sizes, self.config.hidden, self.services.seed) if self._learner is None else self._learner.policy
        self._learner = Learner(self.config, policy, encoder.descriptions, encoder.names)

    def parts(self) -> tuple[Learner, Encoder]:
        """Return the policy and the encoder; an untrained policy where nothing was learned."""
        if self._learner is None:
            self._begin([])
        assert self._learner is not None
        assert self._encoder is not None
        return self._learner, self._encoder

    # Working

    def play(self, tasks: Sequence[Task], *, sample: bool | None = None, seed: int = 0) -> list[Trajectory]:
        """Play an episode of each task, all side by side, without learning.

        Args:
            tasks: What to work on.
            sample: Whether actions are drawn from the policy; as the option says when None.
            seed: All randomness follows from it.
        """
        from aamc_puppeteer.training import one_thread

        with one_thread():
            played = self.player().play(
                self.decide,
                tasks,
                self.config.max_steps,
                np.random.default_rng((self.services.seed, seed)),
                sample=self.config.sample if sample is None else sample,
                told=np.repeat(self._told(), len(tasks), axis=0),
            )
        return played.trajectories

    def player(self) -> Player:
        """Return what plays episodes with the present agents."""
        return Player(self.parts()[1], self._executor, self.pool.names, self.config.rule)

    async def run(self, task: Query | Task, budget: Budget) -> AsyncIterator[Step]:
        """Work on a task, yielding each step as it is done; the last one's content is the answer.

        With ``paths`` above 1 several paths go on side by side, and their answers are joined: see :mod:`aamc_puppeteer.forking`.
        """
        work = as_task(task)
        forks = self.config.paths > 1 and budget.steps > 1
        async for step in fork(self, work, budget) if forks else self.steps(begin(0, work, budget.steps, 0), budget):
            yield step

    async def solve(self, task: Query | Task, budget: Budget) -> Trajectory:
        """Work on a task along one path and return what happened, judged where the task has a verifier."""
        return await solve(self, as_task(task), budget)

    def steps(self, episode: Running, budget: Budget) -> AsyncIterator[Step]:
        """Carry an episode on to its end along one path, yielding each step as it is done."""
        return work_on(self, episode, budget)

    def activate(self, turns: Sequence[tuple[str, TaskState]], seconds: float) -> list[Activation]:
        """Let agents work on states, side by side, for ``seconds`` or the option's timeout, whichever is shorter."""
        return self._executor.activate(turns, max(seconds, 0.0))

    def verify(self, task: Task, answer: str | None) -> Verdict | None:
        """Return the verdict on an answer; None where the task has no verifier."""
        return self._executor.verify([(task, answer)])[0]

    def probabilities(self, states: Sequence[TaskState]) -> Array32:
        """Return the probability of each agent, and last of stopping, in each state, ``[B, M + 1]``."""
        _, encoder = self.parts()
        told = np.repeat(self._told(), len(states), axis=0)
        return self.decide(encoder.encode(states), told, np.ones((len(states), len(self.pool)), bool))

    def decide(self, features: Features, told: Array32, there: NDArray[np.bool_]) -> Array32:
        """Return the policy's probabilities, ``[B, M + 1]``."""
        from aamc_puppeteer.training import decide

        return decide(self.parts()[0], features, told, there)

    def _told(self) -> Array32:
        """Return what the policy is told, ``[1, M + 1, 2]``: every description, and the names of those that it was trained with.

        Where a stranger is among them the stop head is not told the task: what it learned that nobody can do, the stranger may.
        """
        known = [name in self._trained_names for name in self.pool.names]
        return np.array([[*((name, True) for name in known), (all(known), True)]], np.float32)

    # Keeping

    def save(self, folder: Path) -> None:
        """Write the policy, the estimator, and the names of the agents that it was trained with."""
        learner, _ = self.parts()
        assert self._embedding is not None
        write_arrays(folder / "policy.npz", {name: array.numpy() for name, array in learner.policy.state_dict().items()})
        write_json(folder / "policy.json", {"agents": sorted(self._trained_names)})
        self._embedding.save(folder)
        if self._recording is not None:
            self._recording.keep(folder)

    def load(self, folder: Path) -> None:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: It is missing, damaged, or of other sizes than the configuration's.
        """
        import torch

        arrays, about = read_arrays(folder / "policy.npz"), read_json(folder / "policy.json")
        self._embedding = TextEmbedding.load(folder, self._estimator())
        try:
            self._trained_names, self._learner = frozenset(map(str, about["agents"])), None
            self._meet_agents()
            self.parts()[0].policy.load_state_dict({name: torch.as_tensor(array) for name, array in arrays.items()})
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{folder / 'policy.npz'} does not fit ({error}); use its own configuration or train again") from error
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise CheckpointError(f"{folder / 'policy.npz'} is damaged: it has values that are not finite; train again")
