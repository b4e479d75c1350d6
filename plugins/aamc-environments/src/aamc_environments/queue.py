"""Environment ``queue``: a simulated pool of models under load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import numpy as np

from aamc_environments.environment import StreamEnvironment, StreamOptions, estimates_from_labels
from aamc_environments.events import Event, Schedule
from aamc_environments.queue_streams import Arrivals, MeanLatencies, QueueStreams, TrueOutcomes
from aamc_environments.single_queue_stream import SingleQueueStream
from aamc_environments.streams import StreamSetup
from aamc_environments.world import read_world
from aamc_sdk import Dataset, Outcomes, Preference, RoutingRequest, Services, option
from aamc_sdk.errors import DataError
from aamc_sdk.routing import build_request
from aamc_sdk.types import DEFAULT_OUTPUT_TOKENS, AnswerLengths, sigmoid


@attrs.frozen(kw_only=True)
class QueueOptions(StreamOptions):
    """Options of environment ``queue``."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {"service_by_length": False}}

    world: Any = option("default", "categories and skills of the candidates: default, a YAML file, or the content of one")  # noqa: RUF009  # an attrs field
    load: float = option(0.6, "utilisation of the slowest candidate if it served every query", above=0.0)
    arrival_rate: float | None = option(None, "queries per second and stream; none: from load", above=0.0)
    burst: float = option(1.0, "arrival rate within bursts as a multiple of the rate between them; 1: no bursts", at_least=1.0)
    burst_share: float = option(0.2, "share of queries within bursts", at_least=0.0, at_most=0.9)
    burst_length: float = option(20.0, "mean number of queries in a burst", at_least=1.0)
    service_by_length: bool = option(True, "service time grows with the world's answer length, which estimators then learn")
    events: list[Event] = option([], "changes of the pool: a list of {at, candidate, kind, ...}")  # noqa: RUF009  # an attrs field


class QueueEnvironment(StreamEnvironment):
    """A simulated pool of models under load; each candidate is a queue with one server in each stream.

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
        rate = self.config.arrival_rate or 1000 * self.config.load / slowest_ms
        return Arrivals(per_second=rate, burst=self.config.burst, share=self.config.burst_share, length=self.config.burst_length)

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
        streams = SingleQueueStream if len(setup.streams) == 1 else QueueStreams
        return streams(setup, self._truths[split], self.arrivals(split), self._schedule)
