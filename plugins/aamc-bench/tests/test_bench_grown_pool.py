from __future__ import annotations

import numpy as np
import pytest
from aamc_bench.scalability.jobs import grow
from aamc_environments.queue import SimulatedWorld, read_world

from aamc_sdk.config import configure, unstructure
from aamc_sdk.errors import PoolError
from aamc_sdk.routing import default_pool, pool_from_dict, pool_to_dict
from aamc_sdk.types import Candidate, Pool


def _figures(pool: Pool) -> np.ndarray:
    return np.array([(c.prices.input, c.prices.output, c.latency.network_ms, c.latency.service_ms) for c in pool])


@pytest.fixture(scope="module")
def world() -> SimulatedWorld:
    return read_world("default")


def test_a_greater_pool_holds_every_lesser_one(world) -> None:
    largest, _ = grow(default_pool(), world, 40, seed=3)
    for size in (2, 5, 7, 8, 21):
        assert grow(default_pool(), world, size, seed=3)[0].candidates == largest.candidates[:size]


def test_the_first_ones_are_spread_over_the_prices(world) -> None:
    """Of log prices -2.8 (Tiny), -1.7, -0.5, -0.2, 1.4 (Tools), 2.3 and 4.3 (XLarge), 1.4 is the farthest from both ends."""
    assert grow(default_pool(), world, 3, seed=0)[0].names == ("LLM-XLarge", "SLM-Tiny", "LLM-Tools")


def test_variations_stay_within_the_prices_and_latencies_of_the_pool(world) -> None:
    given, grown = _figures(default_pool()), _figures(grow(default_pool(), world, 200, seed=1)[0])
    assert (grown.min(axis=0) == given.min(axis=0)).all()
    assert (grown.max(axis=0) == given.max(axis=0)).all()


def test_variations_differ_and_dearer_ones_tend_to_do_better(world) -> None:
    pool, skills = grow(default_pool(), world, 700, seed=0)
    medium = [c for c in pool if c.name.startswith("SLM-Medium-")]
    price = np.log([c.prices.output for c in medium])
    chances = np.array([list(skills.candidates[c.name].success.values()) for c in medium])
    log_odds = np.log(chances / (1 - chances)).mean(axis=1)
    assert len(set(price.tolist())) == len(medium)
    assert 0.5 < np.corrcoef(price, log_odds)[0, 1] < 0.9


def test_a_description_tells_the_price_that_the_variation_has(world) -> None:
    variation = grow(default_pool(), world, 10, seed=0)[0].candidates[9]
    model = default_pool().candidates[default_pool().index("LLM-Tools")]
    assert f"at {variation.prices.output / model.prices.output:.0%} of its price" in variation.description


def test_the_same_seed_gives_the_same_pool_and_another_seed_another(world) -> None:
    assert grow(default_pool(), world, 12, seed=5) == grow(default_pool(), world, 12, seed=5)
    assert grow(default_pool(), world, 12, seed=5)[0] != grow(default_pool(), world, 12, seed=6)[0]


def test_pool_and_world_survive_their_files(world) -> None:
    pool, grown = grow(default_pool(), world, 30, seed=0)
    assert pool_from_dict(pool_to_dict(pool), "here") == pool
    assert configure(SimulatedWorld, unstructure(grown), where="here") == grown
    assert np.isfinite(grown.skills(pool).log_odds).all()


@pytest.mark.parametrize("size", [0, 1])
def test_one_candidate_is_no_choice(world, size) -> None:
    with pytest.raises(PoolError, match="at least 2"):
        grow(default_pool(), world, size, seed=0)


def test_a_candidate_without_price_or_skill_is_refused(world) -> None:
    with pytest.raises(PoolError, match="Nobody"):
        grow(Pool([Candidate("Nobody")]), world, 3, seed=0)
