"""The jobs of ``aamc bench scalability``: train routers in a pool of some size and measure their utility there; then time their decisions.

A pool grows by seeded variations of its candidates. A variation has about the price and latency of its model; a more expensive variation tends to
be better. No variation leaves the range of the given pool's prices and latencies. Every grown pool has the most expensive and the cheapest
candidate. If these are also the slowest and the fastest, as in the default pool, the reward's scales and the load, which follow from the extremes,
are the same at every size, and utilities can be compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_environments.queue import SimulatedWorld, Skill, read_world
from aamc_experiments.evaluation import HEADLINE, Comparison, Resampling, ratio
from aamc_experiments.measurement import Measurement
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import read_settings
from aamc_experiments.setup import make_setup
from aamc_experiments.training import Experiment

from aamc_bench.experiment_runs import train_each, without_left_out
from aamc_bench.samples import figure_over
from aamc_sdk.config import unstructure
from aamc_sdk.errors import PoolError
from aamc_sdk.interfaces import Progress, Reward, Router
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.routing import build_request, draw, find_pool, pool_to_dict
from aamc_sdk.storage import locked, write_yaml
from aamc_sdk.types import Estimates, Floats, Latency, ModelSpec, Pool, Prices, Query, sigmoid

PRICE_SPREAD, SPEED_SPREAD = 0.4, 0.3
"""Standard deviations of the logarithms of a variation's price and latency, relative to its model."""
ODDS_PER_PRICE = 0.75
"""Gain in log-odds of success of a variation that costs e times as much as its model."""
ODDS_SPREAD, CATEGORY_SPREAD = 0.3, 0.2
"""Standard deviations of further gains: one for all categories, and one for each."""


def grow(pool: Pool, world: SimulatedWorld, size: int, seed: int) -> tuple[Pool, SimulatedWorld]:
    """Return a pool of some size and the world with its candidates' skills; a larger pool contains every smaller one.

    The candidates of a pool that is smaller than the given one are spread over its prices.

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


FLOOR, CEILING = "random", "oracle"
"""The routers whose utilities are 0% and 100% of a router's share."""
RUN = "run"
"""The folder of the trained run, below that of its job."""


def train(folder: Path, progress: Progress, settings: Mapping[str, Any], size: int) -> list[dict[str, Any]]:
    """Train routers in a pool of some size, grown from the pool of the settings; return the name, the size and the :func:`utilities` of each."""
    experiment = _experiment(folder, progress, settings, size)
    with locked(experiment.run.folder):
        setup = experiment.begin()
        requests = experiment.requests(setup, experiment.estimator(setup))
        choices = experiment.compared()
        routers = train_each(choices, lambda name: experiment.router(name, choices[name], setup, requests), folder, progress)
        point = experiment.settings.preference.array[None]
        means, given = experiment.run.candidate_means, experiment.settings
        comparison = Measurement(setup, routers, requests["test"], means, given, progress=progress, preferences=point).compare()
        comparison.save(folder / "decisions.npz")
    resamplings = comparison.resamplings(experiment.settings.evaluation.resamples, experiment.settings.seed)
    figures = utilities(comparison, setup.services.reward, resamplings)
    return [{"router": name, "candidates": size, "queries": len(comparison.queries), **figures[name]} for name in routers]


def _experiment(folder: Path, progress: Progress, settings: Mapping[str, Any], size: int) -> Experiment:
    """Return the experiment in a grown pool, new or resumed."""
    plugins, folder = get_plugin_manager(), folder.resolve()  # the run is also resumed and timed from other working folders
    if (folder / RUN / "run.yaml").exists():
        return Experiment.resume(folder / RUN, plugins, progress)
    given = read_settings(settings)
    known = read_world(given.environment.options.get("world", "default"))
    pool, world = grow(find_pool(given.pool or "default", plugins), known, size, given.seed)
    write_yaml(folder / "pool.yaml", pool_to_dict(pool))
    write_yaml(folder / "world.yaml", unstructure(world))
    environment = {**given.environment.options, "name": "queue", "world": str(folder / "world.yaml")}
    grown = read_settings({**settings, "pool": str(folder / "pool.yaml"), "environment": environment})
    return Experiment(grown, plugins, folder / RUN, progress)


def utilities(comparison: Comparison, reward: Reward, resamplings: Sequence[Resampling]) -> dict[str, dict[str, Any]]:
    """Return by router ``utility``, its mean at the headline's preference, and ``share``.

    ``share`` is (utility - random's) / (oracle's - random's); null if these two are equal.
    """
    names = comparison.routers.tolist()
    weights = comparison.preferences[HEADLINE][None]
    rewards = np.column_stack([reward.scalar(comparison.realised(r).take([HEADLINE]), weights)[0] for r in range(len(names))])
    over = [dict(zip(names, resampling.with_data().means(rewards).T, strict=True)) for resampling in resamplings]
    return {
        name: {
            "utility": figure_over([means[name] for means in over]),
            "share": figure_over([ratio(means[name] - means[FLOOR], means[CEILING] - means[FLOOR]) for means in over]),
        }
        for name in names
    }


BATCH = 250
"""Decisions of a batch."""
ROUNDS = 5
"""Repetitions in batches, of which there are few."""
WARM_UP = 20
"""Decisions before the timing begins."""


def measure(folder: Path, progress: Progress, trained: str, n_queries: int) -> list[dict[str, Any]]:
    """Time ``n_queries`` decisions of each router of a training job, given by its key, except routers that cannot be served.

    Returns:
        For each router its name, the size, and the milliseconds of a decision: ``single_ms`` (median), ``single_p95_ms``
        and ``batch_ms`` (median over batches).
    """
    run, plugins = RunFolder.open(folder.parent / trained / RUN), get_plugin_manager()
    services, means = run.services(plugins), run.candidate_means
    estimator, setup = run.estimator(plugins, services), make_setup(run.settings, plugins)
    queries = setup.splits["test"].queries
    queries = [queries[n % len(queries)] for n in range(n_queries)]
    estimates = Estimates.unknown(n_queries) if estimator is None else estimator.estimate(queries)
    routers = {name: run.router(plugins, services, name) for name in without_left_out(run.router_names, folder.parent / trained)}
    served = {name: router for name, router in routers.items() if not router.privileged}
    pool, preference, seed = run.pool, run.settings.preference.array, run.settings.seed

    def decide(router: Router, asked: Sequence[Query], known: Estimates) -> None:
        """Decide queries with known estimates."""
        quality = None if estimator is None else estimator.quality(known, pool)
        request = build_request(asked, pool, preference, estimates=known, quality=quality, candidate_means=means)
        draw(router.score(request), request, router.samples, seed, [str(row) for row in range(len(asked))])

    progress.start("Timing", len(served))
    rows = []
    for name, router in served.items():
        rows.append({"router": name, "candidates": len(pool), **timings(partial(decide, router), queries, estimates)})
        progress.advance()
    return rows


def timings(decide: Callable[[Sequence[Query], Estimates], None], queries: Sequence[Query], estimates: Estimates) -> dict[str, Any]:
    """Return the wall-clock milliseconds of a decision, one at a time and in batches."""
    singly = [slice(row, row + 1) for row in range(len(queries))]
    batches = [slice(row, min(row + BATCH, len(queries))) for row in range(0, len(queries), BATCH)] * ROUNDS

    def timed(rows: slice) -> float:
        batch_queries, batch_estimates = queries[rows], estimates.take(rows)
        start = time.perf_counter()
        decide(batch_queries, batch_estimates)
        return 1000 * (time.perf_counter() - start) / len(batch_queries)

    for rows in singly[:WARM_UP]:
        timed(rows)
    single, batch = (np.array([timed(rows) for rows in these]) for these in (singly, batches))
    return {"single_ms": median(single), "single_p95_ms": {"value": float(np.quantile(single, 0.95))}, "batch_ms": median(batch)}


def median(times: Floats) -> dict[str, Any]:
    """Return the median of n times and its 95% interval between order statistics (Conover 1999, section 3.2)."""
    reach = 0.98 / np.sqrt(len(times))
    low, middle, high = np.quantile(times, (max(0.5 - reach, 0.0), 0.5, min(0.5 + reach, 1.0)))
    return {"value": float(middle), "ci95": [float(low), float(high)]}
