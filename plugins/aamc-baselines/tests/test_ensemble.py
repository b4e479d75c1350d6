from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from aamc_baselines.learned.ensemble import member_weights
from aamc_baselines.quality.examples import Examples
from aamc_lexical.quality import Questions

from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Training
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import build_request
from aamc_sdk.types import Dataset, Estimates, Outcomes, Pool, Query


def make_training(pool: Pool, rows: int, signal: float) -> Training:
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(rows, 4))
    rate = np.clip(0.5 + signal * embedding[:, :3], 0, 1)
    outcomes = Outcomes((rng.random((rows, 3)) < rate).astype(float), np.tile([1.0, 2.0, 10.0], (rows, 1)), np.tile([100.0, 200.0, 500.0], (rows, 1)))
    queries, unknown = [Query(f"question {n}") for n in range(rows)], np.full(rows, np.nan)
    estimates = Estimates(unknown, np.empty((rows, 0)), (), unknown, embedding)
    return Training(dataset=Dataset(queries, pool, outcomes), request=build_request(queries, pool, np.array([1.0, 0.0, 0.0]), estimates=estimates))


@pytest.fixture
def make_ensemble(make_router: Any) -> Any:
    def make(on: Training, **options: Any) -> Any:
        router, plugins = make_router("ensemble", on=on, **options), Plugins()
        router.services = attrs.evolve(router.services, make=lambda kind, name, given: plugins.make(kind, name, router.services, given))
        return router

    return make


def test_weights_are_those_of_the_best_mixture() -> None:
    rng = np.random.default_rng(0)
    first, second, third = rng.random((3, 200, 2))
    quality = 0.3 * first + 0.7 * second
    quality[rng.random(quality.shape) < 0.4] = np.nan
    table = Examples(np.zeros((200, 1)), quality, Questions(np.arange(200)))
    np.testing.assert_allclose(member_weights([first, second, third], table), [0.3, 0.7, 0.0], atol=1e-4)


def test_the_better_member_gets_the_weight(make_ensemble: Any, pool: Pool) -> None:
    training = make_training(pool, rows=400, signal=0.2)
    members = {"ridge": {"alpha": 10.0}, "knn": {"neighbours": 1, "shrinkage": 0.0}}
    weights = make_ensemble(training, members=members, folds=3).train(training)["weights"]
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["ridge"] > 0.7


def test_where_nothing_can_be_learned_the_means_get_the_weight(make_ensemble: Any, pool: Pool) -> None:
    training = make_training(pool, rows=400, signal=0.0)
    members = {"knn": {"neighbours": 1, "shrinkage": 0.0}, "ridge": {"alpha": 0.1}}
    assert make_ensemble(training, members=members).train(training)["weights"]["means"] > 0.8


def test_a_members_options_are_its_own(make_ensemble: Any, pool: Pool) -> None:
    training = make_training(pool, rows=50, signal=0.2)
    with pytest.raises(ConfigError, match="neighbors"):
        make_ensemble(training, members={"knn": {"neighbors": 3}}).train(training)


def test_only_routers_that_expect_quality_can_be_members(make_ensemble: Any, pool: Pool) -> None:
    training = make_training(pool, rows=50, signal=0.2)
    with pytest.raises(ConfigError, match="'random' is none of them"):
        make_ensemble(training, members={"random": {}}).train(training)
    with pytest.raises(ConfigError, match="at least one member"):
        make_ensemble(training, members={})
