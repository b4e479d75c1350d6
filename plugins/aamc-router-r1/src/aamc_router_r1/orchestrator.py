"""Orchestrator ``router-r1``: a language model thinks, consults models of the pool over several rounds, and answers (arXiv 2506.09033)."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import cached_property
from pathlib import Path
from typing import Any

from aamc_router_r1 import trace
from aamc_router_r1.config import REPLIES, RouterR1Config, nearest_trained
from aamc_router_r1.data import RoutingTask
from aamc_router_r1.episode.calls import EpisodeBudget
from aamc_router_r1.episode.dialogue import ANSWERED
from aamc_router_r1.episode.episode import POLICY_FAILED, Episode, Setup
from aamc_router_r1.policy import measured_quality, overall, policy_of, prompt_of, stated, trained_alphas
from aamc_router_r1.protocol import ModelNames, codec_of
from aamc_sdk import Dataset, Preference, Query, Services, Training
from aamc_sdk.concurrency import EventLoopThread
from aamc_sdk.errors import CheckpointError, ConfigError, DataError, PoolError
from aamc_sdk.interfaces import Budget, EvaluatedOrchestrator, ModelCaller, Progress, Step
from aamc_sdk.messages import quantity
from aamc_sdk.serving import LoggedOrchestrator, Orchestration
from aamc_sdk.types import Attempt, Candidate, Record


class RouterR1Orchestration(Orchestration):
    """One episode as an orchestration."""

    def __init__(self, orchestrator: RouterR1, task: Query, budget: Budget) -> None:
        super().__init__(orchestrator, task, budget)
        self.episode = orchestrator.episode(task, budget)
        self._preference = orchestrator.preference

    async def steps(self) -> AsyncGenerator[Step, None]:
        """Work on the task, yielding each call as a step; the last step is final if the policy answered."""
        episode = self.episode
        try:
            async with aclosing(episode.play()) as calls:
                async for call in calls:
                    decision = trace.decision_of(episode, call, self._preference)
                    final = episode.dialogue.answer is not None
                    content = str(episode.dialogue.answer) if final else call.text or call.shown_error
                    cost = 0.0 if math.isnan(call.cost_usd) else call.cost_usd
                    yield Step(decision=decision, content=content, cost_usd=cost, tokens=call.tokens, prompt_tokens=call.prompt_tokens, final=final)
        finally:
            self.answer, self.stop = episode.answer, episode.outcome
            self.failure = episode.calls[-1].failure if episode.outcome == POLICY_FAILED and episode.calls else None

    @property
    def cost_usd(self) -> float:
        """The known cost of the calls."""
        return self.episode.cost_usd

    @property
    def count(self) -> int:
        """Number of calls."""
        return len(self.episode.calls)

    def describe(self, step: Step) -> Sequence[Any]:
        """Return the line of a call."""
        return [trace.line(trace.step(call)) for call in self.episode.calls if step.decision is not None and call.id == step.decision.id]

    def ending(self) -> str:
        """Return the reason for the end of the episode, in words."""
        words = self.episode.outcome.replace("_", " ")
        if self.episode.reason and self.episode.outcome != ANSWERED:
            words = f"{words} ({self.episode.reason})"
        unknown = sum(math.isnan(call.cost_usd) for call in self.episode.calls)
        return f"{words} with {quantity(unknown, 'call')} of unknown cost" if unknown else words

    def document(self) -> dict[str, Any]:
        """Return the result and the steps in plain JSON values."""
        return {"stop": self.stop, **trace.document(self.episode)}

    def log(self) -> tuple[Sequence[Record], Sequence[Attempt]]:
        """Return each call as a decision and an attempt."""
        return trace.logged(self.episode, self.task, self._preference)


class RouterR1(LoggedOrchestrator, EvaluatedOrchestrator):
    """Answers questions by a policy, a language model that consults others.

    Raises:
        ConfigError: An option names no candidate of the pool.
    """

    Config = RouterR1Config
    config: RouterR1Config

    def __init__(self, config: RouterR1Config, services: Services) -> None:
        super().__init__(config, services)
        self.checkpoint: Path | None = None
        self.preference = nearest_trained(Preference.of(config.preference or None), config.training_alphas)

    @cached_property
    def setup(self) -> Setup:
        """The shared parts of all episodes."""
        config, pool = self.config, self.services.pool
        policy = policy_of(config, pool, self.checkpoint)
        models = {candidate.name: candidate for candidate in pool if config.consult_policy or candidate.name != policy.name}
        if not models:
            raise PoolError(f"the pool has no model besides the policy {policy.name!r}; add one, or set consult_policy=true")
        return self._setup(policy, ModelNames(models, config.aliases), models, self.quality)

    @cached_property
    def _alphas(self) -> tuple[float, ...]:
        """The weights of the cost that the policy was trained for."""
        return trained_alphas(self.setup.policy, self.config)

    def _setup(self, policy: Candidate, names: ModelNames, models: Mapping[str, Candidate], quality: Mapping[str, Mapping[str, float]]) -> Setup:
        codec = codec_of(self.config.codec, names, self.config.continues)
        return Setup(options=self.config, policy=policy, names=names, models=models, codec=codec, quality=overall(quality))

    @cached_property
    def quality(self) -> Mapping[str, Mapping[str, float]]:
        """Measured quality by candidate and category, from the log; the option ``quality`` takes precedence."""
        return measured_quality(self.config.quality_from, self.config.quality, self.services.pool.names)

    @property
    def client(self) -> ModelCaller:
        """The client for models; ConfigError if the services have none."""
        if self.services.models is None:
            raise ConfigError("router-r1 calls models, and there is no client for them; give the candidates endpoints in a pool file")
        return self.services.models

    def prompt(self, task: Query) -> str:
        """Return the policy's prompt for a question."""
        return self._prompt(task, self.setup.models.values(), self.quality)

    def _prompt(self, task: Query, models: Iterable[Candidate], quality: Mapping[str, Mapping[str, float]]) -> str:
        shown = stated(self.preference, self._alphas, self.config.show_preference)
        return prompt_of(self.config, task, models, quality, shown, calls=self.config.calls)

    def episode(self, task: Query, budget: Budget | None = None, *, on_loop: bool = False) -> Episode:
        """Return a new episode within the budget and the limits of the options, ``on_loop`` if the event loop of the services plays it.

        Raises:
            ConfigError: The policy is not a candidate, or has no price and there is a budget.
            DataError: The question is empty.
        """
        if not task.text.strip():
            raise DataError("the question is empty; give a question to answer")
        return self._episode(self.setup, task, self.prompt(task), budget, None if on_loop else self.services.loop)

    def task_episode(self, task: RoutingTask) -> Episode:
        """Return a new episode on a task of a dataset, played on the event loop of the services.

        As in training, it may consult the task's models, and the prompt describes them as the task does.
        """
        pool, query, quality = self.services.pool, Query(task.question), task.quality or self.quality
        models = {spec.name: pool.candidates[pool.index(spec.name)] for spec in task.specs}
        names = ModelNames(models, {alias: name for alias, name in self.config.aliases.items() if name in models})
        setup = self._setup(self.setup.policy, names, models, quality)
        return self._episode(setup, query, self._prompt(query, task.specs, quality))

    def _episode(self, setup: Setup, task: Query, prompt: str, budget: Budget | None = None, loop: EventLoopThread | None = None) -> Episode:
        config = self.config
        limits = Budget(steps=self.default_steps) if budget is None else budget
        usd = min(limits.cost_usd, math.inf if config.episode_usd is None else config.episode_usd)
        episode_budget = EpisodeBudget(usd, config.episode_tokens, min(limits.seconds, config.episode_seconds))
        return Episode(setup, task.text, prompt, episode_budget, self.client, loop, steps=limits.steps)

    async def run(self, task: Query, budget: Budget) -> AsyncGenerator[Step, None]:
        """Work on a question, yielding each call as a step; the content of the final step is the answer."""
        async with aclosing(self.orchestration(task, budget).steps()) as steps:
            async for step in steps:
                yield step

    @property
    def default_steps(self) -> int:
        """The most calls that an episode can make."""
        return self.config.rounds * (1 + self.config.calls) + 1

    def orchestration(self, task: Query, budget: Budget) -> RouterR1Orchestration:
        """Return the work on a question for ``aamc orchestrate``."""
        return RouterR1Orchestration(self, task, budget)

    def evaluate(self, dataset: Dataset, routers: Sequence[str] | None, folder: Path | None, progress: Progress) -> Mapping[str, Any]:
        """Return the results of Router-R1, the policy's direct answers, the strongest model and routers on questions with gold answers."""
        from aamc_router_r1.evaluation import evaluate

        return evaluate(self.setup, self.services, self.task_episode, dataset, routers, folder, progress)

    def table(self, document: Mapping[str, Any]) -> Any:
        """Return the results as a table."""
        from aamc_router_r1.evaluation import table

        return table(document)

    def close(self) -> None:
        """Close the connections to models."""
        close = getattr(self.services.models, "close", None)
        if close is not None and self.services.loop.started:
            self.services.loop.submit(close()).result()
        self.services.loop.close()

    def prepare(self, training: Training) -> None:
        """Check that the training can begin."""
        from aamc_router_r1.training.job import prepare

        prepare(self.config, self.services, training)

    def train(self, training: Training) -> Mapping[str, Any]:
        """Train the policy; return metrics."""
        from aamc_router_r1.training.job import train

        folder = training.folder or Path(tempfile.mkdtemp(prefix="router-r1-"))
        metrics = train(self.config, self.services, self.checkpoint, training, folder)
        self.checkpoint = folder
        return metrics

    def save(self, folder: Path) -> None:
        """Write the trained policy, the checkpoints ``best`` and ``last``, and the live replies of its training.

        Raises:
            CheckpointError: The policy was not trained.
        """
        if self.checkpoint is None:
            raise CheckpointError("router-r1 has no trained policy to save; train it with: aamc train --orchestrator router-r1")
        for name in ("best", "last"):
            if (source := self.checkpoint / name).is_dir():
                shutil.copytree(source, folder / name, dirs_exist_ok=True)
        if (replies := self.checkpoint / REPLIES).is_file():
            shutil.copyfile(replies, folder / REPLIES)

    def load(self, folder: Path) -> None:
        """Read a trained policy; it is loaded into memory when it is first used."""
        self.checkpoint = folder
