"""Pools of any size for the simulator: candidates of a given pool, then seeded variations of them.

A variation has about the price and latency of its model; a more expensive variation tends to be better. No variation leaves the
range of the given pool's prices and latencies. Every grown pool has the most expensive and the cheapest candidate. If these are
also the slowest and the fastest, as in the default pool, the reward's scales and the load, which follow from the extremes, are the
same at every size, and utilities can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from aamc_environments.queue import SimulatedWorld, Skill

from aamc_sdk.errors import PoolError
from aamc_sdk.types import Floats, Latency, ModelSpec, Pool, Prices, sigmoid

PRICE_SPREAD, SPEED_SPREAD = 0.4, 0.3
"""Standard deviations of the logarithms of a variation's price and latency, relative to its model."""
ODDS_PER_PRICE = 0.75
"""Gain in log-odds of success of a variation that costs e times as much as its model."""
ODDS_SPREAD, CATEGORY_SPREAD = 0.3, 0.2
"""Standard deviations of further gains: one for all categories, and one for each."""


def grow(pool: Pool, world: SimulatedWorld, size: int, seed: int) -> tuple[Pool, SimulatedWorld]:
    """Return a pool of some size and the world with its candidates' skills; a larger pool contains every smaller one.

    Args:
        pool: Candidates with prices, latencies and skills in the world. A smaller pool's candidates are spread over its prices.
        world: The skills.
        size: The number of candidates, at least 2.
        seed: The seed of the variations.

    Raises:
        PoolError: The size is too small, or a candidate lacks prices, latency or skill.
    """
    if size < 2:
        raise PoolError(f"a pool to choose from needs at least 2 candidates, not {size}")
    specs = [_known(candidate, world) for candidate in pool]
    figures, order = np.array([_figures(spec) for spec in specs]), _spread_first(specs)
    bounds = np.stack((figures.min(axis=0), figures.max(axis=0)))
    grown, skills = [specs[m] for m in order][:size], dict(world.candidates)
    for number in range(len(specs), size):
        model = specs[order[number % len(specs)]]
        rng = np.random.default_rng((seed, number))
        level = float(rng.normal())
        variation = _variation(model, f"{model.name}-{number // len(specs) + 1}", level, bounds, rng)
        grown.append(variation)
        skills[variation.name] = _skill(world.candidates[model.name], level, rng)
    return Pool(grown), attrs.evolve(world, candidates=skills)


def _known(candidate: object, world: SimulatedWorld) -> ModelSpec:
    if not isinstance(candidate, ModelSpec) or candidate.prices is None or candidate.latency is None or candidate.name not in world.candidates:
        raise PoolError(f"a pool grows from candidates with prices, latency and a skill in the world, which {candidate!r:.80} lacks")
    return candidate


def _spread_first(specs: Sequence[ModelSpec]) -> list[int]:
    """Order candidates so that the first are spread over the prices: the most expensive, then always the one farthest from those before."""
    price = np.log([spec.prices.output for spec in specs if spec.prices is not None])
    order = [int(price.argmax())]
    while len(order) < len(specs):
        distance = np.abs(price[:, None] - price[order]).min(axis=1)
        distance[order] = -1.0
        order.append(int(distance.argmax()))
    return order


def _variation(model: ModelSpec, name: str, level: float, bounds: Floats, rng: np.random.Generator) -> ModelSpec:
    """Return a variation of a candidate.

    ``level`` is the deviation of its log price, in standard deviations; ``bounds`` are the minimum and maximum figures of the pool, ``[2, 4]``.
    """
    price_factor, latency_factor = np.exp(PRICE_SPREAD * level), np.exp(SPEED_SPREAD * rng.normal())
    figures = np.clip(_figures(model) * (price_factor, price_factor, latency_factor, latency_factor), *bounds)
    read, paid, network, service = figures.tolist()
    assert model.prices is not None  # _known has checked them
    assert model.latency is not None
    shares = paid / model.prices.output, service / model.latency.service_ms
    words = f"{model.description} A variation of {model.name} at {shares[0]:.0%} of its price and {shares[1]:.0%} of its latency."
    return attrs.evolve(model, name=name, description=words, prices=Prices(read, paid), latency=Latency(network, service), endpoint=None)


def _skill(skill: Skill, level: float, rng: np.random.Generator) -> Skill:
    gained = ODDS_PER_PRICE * PRICE_SPREAD * level + ODDS_SPREAD * rng.normal()
    chances = np.array(list(skill.success.values()))
    log_odds = np.log(chances / (1 - chances)) + gained + CATEGORY_SPREAD * rng.normal(size=len(chances))
    return attrs.evolve(skill, success=dict(zip(skill.success, sigmoid(log_odds).tolist(), strict=True)), price=None)


def _figures(spec: ModelSpec) -> Floats:
    assert spec.prices is not None
    assert spec.latency is not None
    return np.array([spec.prices.input, spec.prices.output, spec.latency.network_ms, spec.latency.service_ms])
