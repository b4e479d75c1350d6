"""Orchestrator ``puppeteer``: a policy activates one agent after the other. torch is imported when it is trained or used."""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from aamc_agents.state import answer
from aamc_agents.tasks import Task

from aamc_puppeteer.config import DEFAULT_AGENTS, PuppeteerConfig
from aamc_puppeteer.episodes.executor import Executor
from aamc_puppeteer.episodes.player import Decide, Player, Running, begin
from aamc_puppeteer.episodes.spans import episode_span
from aamc_puppeteer.episodes.trajectory import Trajectory
from aamc_puppeteer.serving.decision_log import LoggedEpisodes, logged_episodes
from aamc_puppeteer.serving.orchestration import PuppeteerOrchestration, by_policy, in_fixed_order, work_on
from aamc_puppeteer.serving.parallel_paths import check_judge, fork
from aamc_puppeteer.serving.team import AGENT_OPTIONS, Team
from aamc_puppeteer.tasks.sources import as_task, check_tasks, tasks_of
from aamc_puppeteer.training.cost_estimate import CostEstimate
from aamc_puppeteer.training.training_record import TrainingRecord
from aamc_puppeteer.training.validation import baselines_of, compared, max_turns
from aamc_sdk import Agent, Dataset, Query, Services, Training, get_plugin_manager
from aamc_sdk.config import ServingSettings, configure
from aamc_sdk.errors import CheckpointError, ConfigError, DataError
from aamc_sdk.interfaces import Budget, EvaluatedOrchestrator, NoProgress, Progress, Step
from aamc_sdk.messages import check_known
from aamc_sdk.routing import default_pool
from aamc_sdk.serving import TeamOptions, make_services
from aamc_sdk.types import Experience

if TYPE_CHECKING:
    from aamc_puppeteer.training.job import Watch


TRAIN = "train one with: aamc train --orchestrator puppeteer"
UNDECIDED = f"several paths (--paths) need a policy that decides where to fork; {TRAIN}"
UNSERVED = "an untrained puppeteer cannot learn from a log that another training served; name that one: --from RUN"


class Puppeteer(Team, EvaluatedOrchestrator):
    """Activates agents by a learned policy; :mod:`aamc_puppeteer.policy.network` has its formulas.

    Args:
        config: The options.
        services: Makes the agents and the estimator.
        agents: The agents, instead of those in ``config.agents``.

    Raises:
        ConfigError: An option names an unknown agent.
        PoolError: There is no agent, or two share a name.
    """

    Config = PuppeteerConfig
    config: PuppeteerConfig
    default_dataset = "tasks:mixed"

    def __init__(self, config: PuppeteerConfig, services: Services, agents: Sequence[Agent] | None = None) -> None:
        self._record: TrainingRecord | None = None
        super().__init__(config, services, agents)
        if not self._any_team:
            self._check_options()

    @classmethod
    def of(cls, agents: Sequence[Agent | str], *, seed: int = 0, preset: str | None = None, **options: Any) -> Puppeteer:
        """Return an untrained puppeteer.

        Args:
            agents: Agents, or names of agents that plugins offer.
            seed: Seed of all randomness.
            preset: Name of a preset, such as ``quick``.
            **options: Options of :class:`PuppeteerConfig`; they override the preset.

        Raises:
            ConfigError: An option is unknown or wrong.
            PoolError: There is no agent, or two share a name.
        """
        services = make_services(default_pool(), get_plugin_manager(), ServingSettings(preset="full", seed=seed))
        config = configure(PuppeteerConfig, options, preset=preset, where="puppeteer")
        team = [services.make("agent", agent, config.agent_options.get(agent, {})) if isinstance(agent, str) else agent for agent in agents]
        puppeteer = cls(config, services, team)
        puppeteer._made = [made for made, agent in zip(team, agents, strict=True) if isinstance(agent, str)]
        return puppeteer

    # Agents

    @classmethod
    def untrained_options(cls, team: TeamOptions) -> Mapping[str, Any]:
        """Return the options of an untrained puppeteer, whose agents work once each, in their order."""
        if team.agents is None:
            raise CheckpointError(
                f"there is no trained orchestrator under runs; {TRAIN}, or name its folder with --run; "
                "or name agents that work in a fixed order: --agents calculator,python (for a gateway: run and agents in its file)"
            )
        if team.paths is not None:
            raise ConfigError(UNDECIDED)
        return {"agents": tuple(team.agents), "agent_options": dict(team.agent_options)}

    def _check_options(self) -> None:
        check_known(self.config.agent_options, self.pool.names, AGENT_OPTIONS, ConfigError, "the agents")
        check_judge(self.config, self.pool.names)

    # Learning

    def prepare(self, training: Training) -> None:
        """Use the agents that the dataset's suite is made for, unless the options name agents, and check that the training can begin.

        Raises:
            ConfigError: An option names an agent that is not in the team, an agent cannot work, or a budget lacks prices.
            DataError: The dataset has no tasks, or it is a log and the policy is untrained.
        """
        dataset = training.dataset
        if dataset.experience is not None and not self.policy.trained:
            raise DataError(UNSERVED)
        self._settle_team(dataset)
        if dataset.experience is None:
            self._estimate(tasks_of(dataset), training.budget_usd)

    def train(self, training: Training) -> Mapping[str, Any]:
        """Learn from a dataset of format ``tasks``, and measure on validation tasks; see :meth:`fit`. A log teaches by :meth:`learn`.

        The validation is compared with :func:`aamc_puppeteer.training.validation.baselines_of`.
        With a folder every episode is recorded, and :meth:`save` draws their figures.
        """
        self._settle_team(training.dataset)
        if training.dataset.experience is not None:
            return self.learn(training.dataset.experience, progress=training.progress)
        from aamc_puppeteer.training.job import one_thread

        tasks, validation = tasks_of(training.dataset), training.validation
        if training.folder is not None:
            self._record = TrainingRecord(training.folder, self.config.episodes)
        checks = [] if validation is None else tasks_of(validation)
        progress, budget_usd = training.progress, training.budget_usd
        with one_thread():
            before = copy.deepcopy(self.policy.begin([task.text for task in tasks])[0]) if self.policy.trained else None
        metrics = self.fit(
            tasks,
            folder=training.folder,
            resume=training.resume,
            progress=progress,
            watch=self._record,
            budget_usd=budget_usd,
            validation_tasks=len(checks),
        )
        if self._record is not None:
            metrics |= self._record.figures()
        if validation is not None:
            played_before = None if before is None else partial(self.play, checks, decide=before.probabilities)
            others = baselines_of(checks, played_before, self.player(), self.config.max_steps, self.services.seed)
            with self._spending(budget_usd - metrics["spent_usd"]) as executor:
                metrics["validation"] = compared("validation", partial(self.play, checks), others, progress)
            metrics["spent_usd"] += executor.spent_usd
        return metrics

    def _settle_team(self, dataset: Dataset) -> None:
        """Use the agents that the dataset's suite is made for, unless the team is settled."""
        if self._any_team:
            self.config = attrs.evolve(self.config, agents=getattr(dataset, "agents", ()) or DEFAULT_AGENTS)
            self._make_team(self.config.agents, self.config.agent_options)
            self._check_options()

    @contextmanager
    def _spending(self, budget_usd: float) -> Iterator[Executor]:
        """Limit the cost of the agents' turns; yield their executor, which counts it from 0."""
        executor = self._executor
        executor.spent_usd, executor.budget_usd = 0.0, max(budget_usd, 0.0)
        try:
            yield executor
        finally:
            executor.budget_usd = math.inf

    def fit(
        self,
        tasks: Sequence[Task],
        *,
        folder: Path | None = None,
        resume: bool = False,
        progress: Progress | None = None,
        watch: Watch | None = None,
        budget_usd: float = math.inf,
        validation_tasks: int = 0,
    ) -> dict[str, Any]:
        """Train the policy on tasks, from where it is; return metrics, with the curve by update.

        Args:
            tasks: Training tasks, each with a verifier.
            folder: Folder of the checkpoints; None for no checkpoints.
            resume: Whether to resume from the folder.
            progress: Receives the progress.
            watch: Called with every update's episodes.
            budget_usd: The training ends when the rest of this amount does not cover an agent's next turn.
            validation_tasks: Number of tasks that the caller validates after the training; the estimated cost covers that too.

        Raises:
            CheckpointError: The checkpoint to resume from is damaged, or has other options, agents or tasks.
            ConfigError: There is a budget, and an agent or the judge calls a model without prices.
            DataError: There is no task, or one has no verifier.
            OutOfBudgetError: The budget is spent before the first update of an untrained policy.
        """
        from aamc_puppeteer.training.job import TrainingJob, one_thread

        check_tasks(tasks)
        shown, config, estimate = progress or NoProgress(), self.config, self._estimate(tasks, budget_usd, validation_tasks)
        shown.say(estimate.in_words(budget_usd))
        with one_thread(), self._spending(budget_usd) as executor:
            learner, _ = self.policy.begin([task.text for task in tasks])
            job = TrainingJob(self.config, self.services.seed, learner, self.player(), tasks, list(self.pool), folder, watch, self.policy.updates)
            if resume:
                job.restore()
            job.run(shown)
        self.policy.updates += job.done
        spending = {"spent_usd": executor.spent_usd, "estimate": estimate.document()}
        return {"updates": job.done, "episodes": job.done * config.episodes, **spending, "curve": job.curve}

    def learn(self, experience: Experience, *, progress: Progress | None = None) -> Mapping[str, Any]:
        """Train the policy on served episodes of a log with feedback, from where it is, without calling an agent; return metrics.

        Raises:
            DataError: The policy is untrained, so it served none of the episodes, or no episode of the log can be used.
        """
        from aamc_puppeteer.training.job import one_thread

        if not self.policy.trained:
            raise DataError(UNSERVED)
        config = self.config
        with one_thread():
            learner, found = self.policy.parts()[0], self.logged(experience)
            curve, shown = [], progress or NoProgress()
            shown.start("puppeteer", config.updates)
            for step in range(config.updates):
                rng = np.random.default_rng((self.services.seed, self.policy.updates + step))
                figures = learner.update(found.drawn(rng, config.episodes), 0.0)
                curve.append({"step": step + 1, **figures})
                shown.advance(1, **figures)
        self.policy.updates += config.updates
        counts = {"logged_episodes": len(found.quality), "left_out": found.left_out, "mean_quality": float(np.mean(found.quality))}
        return {"updates": config.updates, **counts, "curve": curve}

    def logged(self, experience: Experience) -> LoggedEpisodes:
        """Return the usable episodes of a log, as the policy saw them in service; raise DataError if there is none."""
        return logged_episodes(experience, self.policy.parts()[1], self.pool.names, self.config.rule, self.policy.known)

    def _estimate(self, tasks: Sequence[Task], budget_usd: float, validation_tasks: int = 0) -> CostEstimate:
        """Return the estimated cost of a training and its validation, whose agents can work, and whose budget can be kept."""
        self.check_agents()
        config = self.config
        practice = config.updates * config.episodes * config.max_steps
        validation = max_turns(validation_tasks, config.max_steps, len(self.pool), continued=self.policy.trained)
        estimate = CostEstimate.of(self._agents, practice + validation, tasks)
        estimate.check(budget_usd, tasks)
        return estimate

    # Working

    def play(self, tasks: Sequence[Task], *, sample: bool | None = None, seed: int = 0, decide: Decide | None = None) -> list[Trajectory]:
        """Play an episode of each task, in parallel, without learning.

        Actions are drawn from the policy if ``sample`` (default: the option ``sample``); ``decide`` replaces the policy.
        """
        from aamc_puppeteer.training.job import one_thread

        with one_thread():
            trajectories, _ = self.player().play(
                decide or self.policy.decide,
                tasks,
                self.config.max_steps,
                np.random.default_rng((self.services.seed, seed)),
                sample=self.config.sample if sample is None else sample,
                visibility=self.policy.visibility(len(tasks)),
            )
        return trajectories

    def player(self) -> Player:
        """Return a player of episodes with the present agents."""
        return Player(self.policy.parts()[1], self._executor, self.pool.names, self.config.rule)

    async def run(self, task: Query | Task, budget: Budget) -> AsyncIterator[Step]:
        """Work on a task, yielding each step as it is done; the content of the final step is the answer.

        With ``paths`` above 1, several paths run in parallel and their answers are joined; see
        :mod:`aamc_puppeteer.serving.parallel_paths`.
        """
        work = as_task(task)
        async for step in fork(self, work, budget, []) if self.forks(budget) else self.steps(begin(0, work, budget.steps, 0), budget):
            yield step

    async def solve(self, task: Query | Task, budget: Budget) -> Trajectory:
        """Work on a task along one path and return the episode, with a verdict if the task has a verifier."""
        work = as_task(task)
        episode = begin(0, work, budget.steps, 0)
        with episode_span(episode.state) as end:
            async for _ in self.steps(episode, budget):
                pass
            verdict = await asyncio.to_thread(self.verify, work, answer(episode.state))
            trajectory = episode.finished(verdict, self.config.rule)
            end(trajectory)
        return trajectory

    def steps(self, episode: Running, budget: Budget) -> AsyncIterator[Step]:
        """Play an episode to its end along one path, yielding each step as it is done."""
        return work_on(self.activate, by_policy(self), episode, budget)

    @property
    def default_steps(self) -> int:
        """The option ``max_steps``; without a training more than there are agents, so that a fixed order ends by itself."""
        return self.config.max_steps if self.policy.trained else len(self.pool) + 1

    def orchestration(self, task: Query, budget: Budget) -> PuppeteerOrchestration:
        """Return the work on a task for ``aamc orchestrate``; without a training the agents work in a fixed order, once each.

        Raises:
            ConfigError: An agent cannot work, or there is a budget and an agent calls a model without prices, or several paths and no policy.
        """
        if not self.policy.trained and self.config.paths > 1:
            raise ConfigError(UNDECIDED)
        self.check_agents()
        CostEstimate.of(self._agents, 0).check(budget.cost_usd)
        choose = by_policy(self) if self.policy.trained else in_fixed_order(self.pool.names)
        return PuppeteerOrchestration(self, task, budget, choose)

    # Evaluation

    def evaluate(self, dataset: Dataset, routers: Sequence[str] | None, folder: Path | None, progress: Progress) -> Mapping[str, Any]:
        """Return the figures of the policy, of random actions, and of the best single agent on tasks with verifiers.

        Raises:
            CheckpointError: The policy is untrained.
            ConfigError: Routers are named, or an agent cannot work.
            DataError: The dataset has no tasks, or one has no verifier.
        """
        from aamc_puppeteer.evaluation import evaluate

        if not self.policy.trained:
            raise CheckpointError(f"an untrained puppeteer has nothing to evaluate; {TRAIN}")
        if routers is not None:
            raise ConfigError("the puppeteer is compared with random actions and its best single agent; leave --routers out")
        tasks = tasks_of(dataset)
        check_tasks(tasks)
        self.check_agents()
        turns = max_turns(len(tasks), self.config.max_steps, len(self.pool), continued=False)
        progress.say(CostEstimate.of(self._agents, turns, tasks).in_words(math.inf))
        others = baselines_of(tasks, None, self.player(), self.config.max_steps, self.services.seed)
        return evaluate(self.play(tasks), others, dataset.source, folder, progress)

    def table(self, document: Mapping[str, Any]) -> Any:
        """Return the results as a table."""
        from aamc_puppeteer.evaluation import table

        return table(document)

    # Checkpoints

    def save(self, folder: Path) -> None:
        """Write the policy, and the record of its training."""
        self.policy.save(folder)
        if self._record is not None:
            self._record.save(folder)

    def load(self, folder: Path) -> None:
        """Read a saved puppeteer.

        Raises:
            CheckpointError: The files are missing or damaged, or their sizes differ from the configuration's.
        """
        self.policy.load(folder)
