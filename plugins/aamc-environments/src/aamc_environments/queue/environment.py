"""Environment ``queue``: a simulated pool of models under load."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

from aamc_environments.environment import StreamEnvironment, estimates_from_labels
from aamc_environments.queue.events import Schedule
from aamc_environments.queue.options import QueueOptions
from aamc_environments.queue.queue_streams import Arrivals, MeanLatencies, QueueStreams, TrueOutcomes
from aamc_environments.queue.single_stream import SingleQueueStream
from aamc_environments.queue.world import read_world, sample_queries
from aamc_environments.resources import DailyBudget, PromptCache, Resource, Slots, TokenLimit
from aamc_environments.streams import StreamSetup
from aamc_sdk import Dataset, Outcomes, Pool, Preference, RoutingRequest, Services
from aamc_sdk.errors import ConfigError, DataError, PluginError, PoolError
from aamc_sdk.routing import LinearReward, build_request, token_counts
from aamc_sdk.types import DEFAULT_OUTPUT_TOKENS, AnswerLengths, Floats, sigmoid


def make_resource(options: QueueOptions, request: RoutingRequest, truth: TrueOutcomes, per_second: float, *, trains: bool) -> Resource | None:
    """Return the resource that calls share in a scenario, in streams for training or for comparing; None for queues with one server.

    The request has all rows of the split as routers see them.

    Raises:
        PoolError: The pool lacks the candidates that the scenario needs.
        ConfigError: The budget is below the cost of the cheapest candidate.
    """
    name, pool = options.scenario, request.pool
    if name == "batching":
        return Slots(np.array([c.latency.service_ms for c in pool if c.latency]), options.slots)
    cost_usd = truth.prompt_usd + truth.answer_usd
    cheapest = cost_usd.mean(axis=0).argmin()
    if name == "rate-limit":
        tokens = truth.prompt_tokens + truth.output_tokens
        per_minute = options.tokens_per_minute or 60 * per_second * float(tokens.mean()) / options.present_load
        if per_minute < tokens.max():
            raise ConfigError(
                f"tokens_per_minute must hold the longest call ({tokens.max():.0f} tokens), not {per_minute:g}; raise it, or the arrival rate"
            )
        return TokenLimit(per_minute, np.arange(len(pool)) != cheapest, tokens, per_second)
    if name == "daily-budget":
        return DailyBudget(_budget_usd(options, cost_usd.mean(axis=0), pool), options.day, cost_usd, trains=trains)
    if name == "prompt-cache":
        prices = [c.prices for c in pool if c.prices]
        full, cached = (np.array([getattr(price, field) for price in prices], dtype=np.float64) / 1e6 for field in ("input", "cached_input"))
        cached = np.where(np.isnan(cached), full, cached)
        if not (cached < full).any():
            raise PoolError(
                "scenario prompt-cache needs a candidate with a price for cached input below its price for input; give one in the pool's file"
            )
        (prompt, answer), learned = token_counts(request.queries).T[:, :, None], request.expected.output_tokens
        room_tokens = pool.arrays.window - prompt - (answer if learned is None else learned)  # as in build_request
        return PromptCache(full, cached, options.turn_tokens, options.session_turns, room_tokens)
    return None


def _budget_usd(options: QueueOptions, mean_usd: Floats, pool: Pool) -> float:
    minimum, maximum = float(mean_usd.min()) * options.day, float(mean_usd.max()) * options.day
    needed = f"{options.day} queries of the cheapest candidate, {pool.names[int(mean_usd.argmin())]}, cost {minimum:.4g} USD"
    budget = options.budget_usd
    if budget is None:
        if options.load is not None and maximum / options.load < minimum:
            raise ConfigError(f"load must be at most {maximum / minimum:.4g} in scenario daily-budget, not {options.load:g}: {needed}; lower it")
        return max(maximum / options.present_load, 1.001 * minimum)  # candidates of similar cost may need more than the scenario's load leaves
    if budget <= minimum:
        raise ConfigError(f"budget_usd must be more than {minimum:.4g}, not {budget:g}: {needed}; raise it, or lower day")
    return budget


def _no_component(kind: str, name: str, options: Any) -> Any:
    raise PluginError(f"a simulator alone cannot make other components, such as {kind} {name!r}")


logger = logging.getLogger(__name__)
NARROW = 0.05
"""Share of the slowest candidate's latency below which the range of all candidates is not a scale for waits."""


class QueueEnvironment(StreamEnvironment):
    """A simulated pool of models under load; each candidate is a queue with one server in each stream, unless the scenario says otherwise.

    Queries must be labelled with complexity, category and tool use.
    """

    Config = QueueOptions
    stationary = False
    config: QueueOptions

    def __init__(self, config: QueueOptions, services: Services) -> None:
        super().__init__(config, services)
        self._world = read_world(config.world)
        self._skills = self._world.skills(services.pool)
        self._latencies = MeanLatencies.of(services.pool)
        self._schedule = Schedule(config.events, services.pool)
        self._warned = False
        if config.scenario != "default" and (size := len(services.pool)) < 2:
            needed = f"scenario {config.scenario} needs at least two candidates to choose from"
            raise PoolError(f"{needed}, and the pool has {size}; add one to the pool's file")

    @classmethod
    def sampled(cls, config: QueueOptions, pool: Pool, reward: LinearReward, queries: Mapping[str, tuple[int, int]], seed: int) -> QueueEnvironment:
        """Return the simulator with queries of its world's own distribution, and fit the reward to the outcomes of split ``"train"``.

        ``queries`` has the number and the seed of the queries of each split; ``seed`` is that of outcomes.
        """
        environment = cls(config, Services(pool=pool, reward=reward, make=_no_component, seed=seed))
        environment.prepare({split: sample_queries(environment._world, size, own) for split, (size, own) in queries.items()})
        outcomes = environment.dataset("train").outcomes
        assert outcomes is not None  # sampled just now
        reward.fit(outcomes)
        return environment

    @classmethod
    def category_shares(cls, config: Any) -> Mapping[str, float]:
        """Return the relative frequencies of the world's categories, those of frequency 0 left out."""
        return {name: share for name, share in read_world(config.world).shares.items() if share}

    def prepare(self, splits: Mapping[str, Dataset]) -> None:
        """Set the labelled queries of each split.

        Raises:
            DataError: A label is missing, or the world lacks a category.
        """
        self._truths = {name: self._true(name, dataset) for name, dataset in splits.items()}
        super().prepare(splits)

    def dataset(self, split: str) -> Dataset:
        """Return a split with an outcome of each candidate, sampled without load.

        All candidates share a row's random numbers, as in the streams: a query that fails with a weak
        candidate may succeed with a strong one, rarely the other way round.
        """
        truth = self._truths[split]
        dataset = self._split(split)
        generator = np.random.default_rng((self.services.seed, *split.encode()))
        success, length = generator.random((2, len(dataset), 1))
        service = generator.standard_exponential((len(dataset), 1))
        outcomes = Outcomes(
            quality=(success < sigmoid(truth.log_odds)).astype(np.float64),
            cost_usd=truth.prompt_usd + truth.answer_usd * (0.5 + length),
            latency_ms=self._latencies.network_ms + service * self._latencies.service_ms * truth.longer[:, None],
            output_tokens=np.tile(truth.output_tokens[:, None] * (0.5 + length), len(self.services.pool)) if self.config.service_by_length else None,
        )
        return attrs.evolve(dataset, pool=self.services.pool, outcomes=outcomes, cost_note="list prices times simulated tokens")

    def arrivals(self, split: str) -> Arrivals:
        """Return the arrival process of a split: ``load`` is relative to its mean service times, so lengths of answers do not change it."""
        slowest_ms = self._latencies.service_ms.max() * self._truths[split].longer.mean()
        config = self.config
        rate = config.arrival_rate or self._default_rate(slowest_ms)
        burst, warning = config.present_burst, config.present_warning
        return Arrivals(per_second=rate, burst=burst, share=config.burst_share, length=config.burst_length, warning=warning)

    def _default_rate(self, slowest_ms: float) -> float:
        config = self.config
        if config.scenario == "rate-limit":
            return 1.0
        servers = config.slots if config.scenario == "batching" else 1
        return float(1000 * servers * config.present_load / slowest_ms)

    def _true(self, name: str, dataset: Dataset) -> TrueOutcomes:
        labels = dataset.labels
        complexity, tool_use = (np.full(len(dataset), np.nan) if values is None else values for values in (labels.complexity, labels.tool_use))
        if labels.category is None or not np.isfinite((complexity, tool_use)).all():
            wanted = "labels of complexity, category and tool use for each query"
            raise DataError(f"environment queue needs {wanted}, and the {name} split lacks some; with outcomes, use --environment replay")
        category = self._skills.index([str(category) for category in labels.category])
        log_odds = self._skills.of(complexity, category, tool_use)
        request = build_request(dataset.queries, self.services.pool, Preference().array)
        return TrueOutcomes.of(request, log_odds, self._world.output_tokens(complexity), service_by_length=self.config.service_by_length)

    def _true_request(self, split: str) -> RoutingRequest:
        dataset, truth, candidates = self._split(split), self._truths[split], len(self.services.pool)
        tokens = np.tile(truth.output_tokens[:, None], candidates) if self.config.service_by_length else None
        return build_request(
            dataset.queries,
            self.services.pool,
            Preference().array,
            estimates=estimates_from_labels(dataset, self._skills.categories),
            quality=sigmoid(truth.log_odds),
            lengths=None if tokens is None else AnswerLengths(tokens, np.full(candidates, float(DEFAULT_OUTPUT_TOKENS))),
        )

    def _make_streams(self, split: str, setup: StreamSetup) -> QueueStreams:
        self._warn_of_narrow_scale()
        streams = SingleQueueStream if len(setup.streams) == 1 else QueueStreams
        truth, arrivals = self._truths[split], self.arrivals(split)
        resource = make_resource(self.config, setup.request, truth, arrivals.per_second, trains=split == "train")
        return streams(setup, truth, arrivals, self._schedule, resource)

    def _warn_of_narrow_scale(self) -> None:
        reward = self.services.reward
        if self._warned or not isinstance(reward, LinearReward) or reward.config.latency_ms or not reward.latency.known:
            return
        span = reward.latency.maximum - reward.latency.minimum
        if span < NARROW * reward.latency.maximum:
            self._warned = True
            counts = "outweigh all else" if span else "count for nothing"
            advice = "give latency a scale of its own, such as --set reward.latency_ms=[0,5000]"
            logger.warning("the candidates' mean latencies differ by %.3g ms, the reward's scale, so waits %s; %s", span, counts, advice)
