from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from aamc_environments.queue import QueueEnvironment, standalone
from aamc_environments.replay import ReplayEnvironment, ReplayOptions

from aamc_sdk import Dataset, Labels, Latency, ModelSpec, Outcomes, Pool, Prices, Query, Services
from aamc_sdk.config import configure
from aamc_sdk.routing import LinearReward


@pytest.fixture(scope="session")
def queue() -> QueueEnvironment:
    """The simulator at its defaults."""
    return standalone(queries=2000)


@pytest.fixture
def one_queue() -> Pool:
    """A pool of one candidate that serves one query a second on average."""
    return Pool([ModelSpec("LLM-XLarge", prices=Prices(1.0, 2.0), latency=Latency(network_ms=100, service_ms=1000))])


@pytest.fixture
def table() -> Dataset:
    """Outcomes of two candidates for four queries, of which the last lacks a cell."""
    quality = np.array([[1.0, 0.0], [0.5, 1.0], [0.0, 0.25], [1.0, np.nan]])
    cost = np.array([[0.01, 0.02], [0.03, 0.04], [0.05, 0.06], [0.07, 0.08]])
    queries = [Query(text) for text in ("a", "b", "c", "d")]
    pool = Pool([ModelSpec("small", prices=Prices(1, 1)), ModelSpec("large", prices=Prices(2, 2))])
    labels = Labels(category=np.array(["x", "y", "x", "y"]))
    return Dataset(queries, pool=pool, outcomes=Outcomes(quality, cost, cost * 1e4), labels=labels)


@pytest.fixture
def make_replay() -> Any:
    def make(dataset: Dataset, **options: Any) -> ReplayEnvironment:
        reward = LinearReward()
        assert dataset.outcomes is not None
        assert dataset.pool is not None
        reward.fit(dataset.outcomes)
        services = Services(pool=dataset.pool, reward=reward, make=lambda *_: None)
        environment = ReplayEnvironment(configure(ReplayOptions, options), services)
        environment.prepare({"train": dataset, "test": attrs.evolve(dataset)})
        return environment

    return make
