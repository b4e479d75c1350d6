"""A training table of three candidates at list prices, made so that every choice can be worked out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest

from aamc_sdk.config import configure
from aamc_sdk.interfaces import Services, Training
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import LinearReward, build_request
from aamc_sdk.types import Dataset, Estimates, Latency, ModelSpec, Outcomes, Pool, Prices, Query, RoutingRequest

MakeRouter = Callable[..., Any]
MakeRequest = Callable[..., RoutingRequest]


def spec(name: str, price: float | None, latency_ms: float = 100.0) -> ModelSpec:
    prices = None if price is None else Prices(price, price)
    return ModelSpec(name, prices=prices, latency=Latency(service_ms=latency_ms))


@pytest.fixture
def make_pool() -> Callable[..., Pool]:
    """Make a pool from names and prices in USD per million tokens."""
    return lambda **prices: Pool(spec(name, price) for name, price in prices.items())


@pytest.fixture
def pool(make_pool: Callable[..., Pool]) -> Pool:
    return make_pool(small=1.0, middle=2.0, large=10.0)


@pytest.fixture
def training(pool: Pool) -> Training:
    """Mean quality 0.5, 0.8 and 0.9; the small one's answers are long, so that it costs more than its price says."""
    quality = np.array([[0.4, 0.8, 0.9], [0.6, 0.8, 0.9]])
    cost = np.array([[30.0, 2.0, 10.0], [30.0, 2.0, 10.0]])
    dataset = Dataset([Query("one"), Query("two")], pool, Outcomes(quality, cost, np.array([[100.0, 200.0, 500.0]] * 2)))
    return Training(dataset=dataset)


@pytest.fixture
def make_router(pool: Pool, training: Training) -> MakeRouter:
    """Make a router by name, as the core does; the reward's scales are those of the training table."""

    def make(name: str, train: bool = False, on: Training = training, **options: Any) -> Any:
        assert on.dataset.outcomes is not None
        reward = LinearReward()
        reward.fit(on.dataset.outcomes)
        target = Plugins().load("router", name)
        router = target(configure(target.Config, options), Services(pool=on.dataset.pool or pool, reward=reward, make=lambda *_: None))
        if train:
            router.train(on)
        return router

    return make


@pytest.fixture
def make_request(pool: Pool) -> MakeRequest:
    def make(
        candidates: Pool = pool,
        rows: int = 2,
        preference: tuple[float, float, float] = (0.9, 0.08, 0.02),
        complexity: Any = None,
        quality: Any = None,
        unavailable: Any = None,
        **rest: Any,
    ) -> RoutingRequest:
        unknown = np.full(rows, np.nan)
        estimates = Estimates(unknown if complexity is None else np.asarray(complexity), np.empty((rows, 0)), (), unknown)
        queries = [Query(f"query {n}") for n in range(rows)]
        request = build_request(queries, candidates, np.array(preference), estimates=estimates, quality=quality, **rest)
        return request if unavailable is None else attrs.evolve(request, mask=request.mask & ~unavailable)

    return make


@pytest.fixture
def choose() -> Callable[[Any, RoutingRequest], list[str]]:
    """Return the names that a router chooses without drawing."""

    def chosen(router: Any, request: RoutingRequest) -> list[str]:
        utility = np.where(request.mask, router.score(request).utility, -np.inf)
        return [request.pool.names[m] for m in utility.argmax(axis=1)]

    return chosen
