"""Orchestrator ``router-r1``: a language model thinks, consults models of the pool over several rounds, and answers (arXiv 2506.09033)."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import cached_property
from pathlib import Path
from typing import Any

from aamc_router_r1.config import RouterR1Config
from aamc_router_r1.episode import Episode, EpisodeBudget, Setup
from aamc_router_r1.measured_quality import measured_quality, overall
from aamc_router_r1.policy import policy_of
from aamc_router_r1.protocol import ModelNames, cards_of, codec_of, render_prompt
from aamc_router_r1.session import RouterR1Session, steps_of
from aamc_sdk import Dataset, Preference, Query, Services, Training
from aamc_sdk.errors import ConfigError, DataError, PoolError
from aamc_sdk.interfaces import Budget, EvaluatedOrchestrator, ModelCaller, Progress, Step
from aamc_sdk.serving import SessionOrchestrator


class RouterR1(SessionOrchestrator, EvaluatedOrchestrator):
    """Answers questions by a policy, a language model that consults others.

    Args:
        config: The options.
        services: Have the pool and the client for models.

    Raises:
        ConfigError: An option names no candidate of the pool.
    """

    Config = RouterR1Config
    config: RouterR1Config

    def __init__(self, config: RouterR1Config, services: Services) -> None:
        super().__init__(config, services)
        self.checkpoint: Path | None = None
        self.preference = config.stated(Preference.of(config.preference or None))

    @cached_property
    def setup(self) -> Setup:
        """The shared parts of all episodes.

        Raises:
            ConfigError: No policy is named, or an option names no candidate of the pool.
            PoolError: There is no model to consult.
        """
        config, pool = self.config, self.services.pool
        policy = policy_of(config, pool, self.checkpoint)
        models = {candidate.name: candidate for candidate in pool if config.consult_policy or candidate.name != policy.name}
        if not models:
            raise PoolError(f"the pool has no model besides the policy {policy.name!r}; add one, or set consult_policy=true")
        names = ModelNames(models, config.aliases)
        return Setup(
            policy=policy,
            names=names,
            models=models,
            codec=codec_of(config.codec, names, config.continues),
            limits=config.limits,
            policy_options=config.parameters,
            routed_options={"temperature": config.routed_temperature},
            call_seconds=config.call_seconds,
            aggregation=config.aggregates_by,
            quality=overall(self.quality),
        )

    @cached_property
    def quality(self) -> Mapping[str, Mapping[str, float]]:
        """Measured quality by candidate and category, from the log; the option ``quality`` takes precedence."""
        return measured_quality(self.config.quality_from, self.config.quality)

    @property
    def client(self) -> ModelCaller:
        """The client for models.

        Raises:
            ConfigError: The services have none.
        """
        if self.services.models is None:
            raise ConfigError("router-r1 calls models, and there is no client for them; give the candidates endpoints in a pool file")
        return self.services.models

    def prompt(self, task: Query, preference: Preference | None = None) -> str:
        """Return the policy's prompt for a question."""
        config, setup = self.config, self.setup
        return render_prompt(
            task.text.strip(),
            [card for card in cards_of(self.services.pool, self.quality) if card.name in setup.models],
            codec=config.codec,
            rounds=config.rounds,
            calls=config.calls,
            preference=config.stated(preference or self.preference) if config.show_preference or config.training_alphas else None,
            context=config.context,
            history=task.turns if config.show_history else (),
        )

    def episode(self, task: Query, budget: Budget | None = None, *, on_loop: bool = False, preference: Preference | None = None) -> Episode:
        """Return a new episode.

        Args:
            task: The question.
            budget: Its limits; those of the options count too.
            on_loop: Whether it is played on the event loop of the services.
            preference: The request's preference, for the prompt; that of the options when None.

        Raises:
            ConfigError: The policy is not a candidate, or has no price and there is a budget.
            DataError: The question is empty.
        """
        config, setup = self.config, self.setup
        if not task.text.strip():
            raise DataError("the question is empty; give a question to answer")
        limits = Budget(steps=self.default_steps) if budget is None else budget
        usd = min(limits.cost_usd, math.inf if config.episode_usd is None else config.episode_usd)
        episode_budget = EpisodeBudget(usd, config.episode_tokens, min(limits.seconds, config.episode_seconds))
        loop = None if on_loop else self.services.loop
        return Episode(setup, task.text, self.prompt(task, preference), episode_budget, self.client, loop, steps=limits.steps)

    async def run(self, task: Query, budget: Budget) -> AsyncGenerator[Step, None]:
        """Work on a question, yielding each call as a step; the content of the final step is the answer."""
        async with aclosing(steps_of(self.episode(task, budget), self.preference)) as steps:
            async for step in steps:
                yield step

    @property
    def default_steps(self) -> int:
        """The most calls that an episode can make."""
        return self.config.rounds * (1 + self.config.calls) + 1

    def session(self, task: Query, budget: Budget) -> RouterR1Session:
        """Return the work on a question for ``aamc orchestrate``."""
        return RouterR1Session(self, task, budget, self.episode(task, budget), self.preference)

    def evaluate(self, dataset: Dataset, routers: Sequence[str] | None, folder: Path | None, progress: Progress) -> Mapping[str, Any]:
        """Return the results of Router-R1, the policy's direct answers, the strongest model and routers on questions with gold answers."""
        from aamc_router_r1.evaluation.evaluation import evaluate

        return evaluate(self, dataset, routers, folder, progress)

    def table(self, document: Mapping[str, Any]) -> Any:
        """Return the results as a table."""
        from aamc_router_r1.evaluation.table import table

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

        prepare(self, training)

    def train(self, training: Training) -> Mapping[str, Any]:
        """Train the policy; return metrics."""
        from aamc_router_r1.training.job import train

        return train(self, training)

    def save(self, folder: Path) -> None:
        """Write the trained policy."""
        from aamc_router_r1.training.job import save

        save(self, folder)

    def load(self, folder: Path) -> None:
        """Read a trained policy; it is loaded into memory when it is first used."""
        self.checkpoint = folder
