"""A small table whose every figure can be worked out by hand, and routers that do as they are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_experiments.evaluation import Comparison, ComparisonRequest, compare_table

from aamc_sdk.interfaces import NoOptions, Router, Services
from aamc_sdk.routing import LinearReward, build_request
from aamc_sdk.types import Estimates, Latency, ModelSpec, Outcomes, Pool, Preference, Prices, Query, RoutingRequest, Scores


@attrs.frozen
class Table:
    """Queries with outcomes, and the reward that they were scaled by."""

    request: RoutingRequest
    outcomes: Outcomes
    reward: LinearReward
    services: Services

    @property
    def means(self) -> Any:
        columns = (self.outcomes.known_quality, self.outcomes.cost_usd, self.outcomes.latency_ms)
        return np.column_stack([values.mean(axis=0) for values in columns])

    def compare(self, routers: dict[str, Router], **changes: Any) -> Comparison:
        """Compare routers on the table, at the default preference unless told otherwise."""
        arguments: dict[str, Any] = {
            "reward": self.reward,
            "headline": Preference(),
            "seed": 0,
            "categories": ["even" if n % 2 == 0 else "odd" for n in range(len(self.request))],
            "candidate_means": self.means,
        }
        return compare_table(ComparisonRequest(routers=routers, request=self.request, **(arguments | changes)), self.outcomes)


class Greedy(Router):
    """Takes the expected utility, and remembers what it was shown."""

    def __init__(self, config: Any, services: Services) -> None:
        super().__init__(config, services)
        self.seen: list[RoutingRequest] = []

    def score(self, request: RoutingRequest) -> Scores:
        self.seen.append(request)
        return Scores(self.services.reward.scalar(request.expected, request.preferences))


class Always(Router):
    """Takes one candidate, whatever the preference, at a price and after a while."""

    uses_preference = False
    candidate = 0
    spent_usd = 0.0
    spent_ms = 0.0

    def score(self, request: RoutingRequest) -> Scores:
        utility = np.tile(np.arange(len(request.pool)) == self.candidate, (len(request), 1))
        return Scores(utility.astype(np.float64), spent_usd=self.spent_usd, spent_ms=self.spent_ms)


class Dice(Router):
    """Draws a candidate, each as likely."""

    uses_preference = False
    samples = True

    def score(self, request: RoutingRequest) -> Scores:
        shape = request.mask.shape
        return Scores(np.zeros(shape), probabilities=np.full(shape, 1 / shape[1]))


class Prophet(Router):
    """Takes the maximum utility in hindsight."""

    privileged = True

    def score(self, request: RoutingRequest) -> Scores:
        assert request.hindsight is not None
        return Scores(self.services.reward.scalar(request.hindsight, request.preferences), expected_quality=request.hindsight.quality)


MakeTable = Callable[..., Table]


@pytest.fixture
def make_table() -> MakeTable:
    def make(quality: Sequence[Sequence[float]], cost: Sequence[Sequence[float]], latency: Sequence[Sequence[float]] | None = None) -> Table:
        costs = np.asarray(cost, dtype=float)
        rows, candidates = costs.shape
        specs = [ModelSpec(f"m{m}", prices=Prices(m + 1.0, m + 1.0), latency=Latency(service_ms=100.0 * (m + 1))) for m in range(candidates)]
        pool = Pool(specs)
        latencies = np.full(costs.shape, np.nan) if latency is None else np.asarray(latency, dtype=float)
        outcomes = Outcomes(np.asarray(quality, dtype=float), costs, latencies)
        reward = LinearReward()
        reward.fit(outcomes)
        queries = [Query(f"query {n}") for n in range(rows)]
        request = build_request(queries, pool, np.array([0.9, 0.08, 0.02]), estimates=Estimates.unknown(rows), quality=outcomes.quality)
        return Table(request, outcomes, reward, Services(pool=pool, reward=reward, make=lambda *_: None))

    return make


@pytest.fixture
def table(make_table: MakeTable) -> Table:
    """Four queries, two candidates: the second is better, ten times as expensive, and slower."""
    return make_table(
        quality=[[1, 1], [0, 1], [0.4, 0.6], [0, 0]],
        cost=[[1, 10], [1, 10], [1, 10], [1, 10]],
        latency=[[100, 200], [100, 200], [100, 200], [100, 600]],
    )


@pytest.fixture
def large_table(make_table: MakeTable) -> Table:
    """Sixty queries, four candidates, of which the more expensive are better more often."""
    rng = np.random.default_rng(3)
    chance = np.linspace(0.3, 0.9, 4)
    scale = np.array([1.0, 3.0, 5.0, 20.0])
    size = (60, 4)
    return make_table(rng.random(size) < chance, scale * rng.uniform(0.5, 1.5, size), 100 * rng.exponential(size=size) + scale)


@pytest.fixture
def routers() -> type:
    """The routers above, as attributes: a test directory is not a package to import from."""
    return type("Routers", (), {"Greedy": Greedy, "Always": Always, "Dice": Dice, "Prophet": Prophet, "options": NoOptions()})
