"""The jobs of ``aamc bench scalability``: train routers in a pool of some size and measure their utility there; then time their decisions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from aamc_environments.queue import read_world
from aamc_experiments.evaluation import HEADLINE, Comparison, Resampling, ratio
from aamc_experiments.measurement import Measurement
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import read_settings
from aamc_experiments.setup import make_setup
from aamc_experiments.training import Experiment

from aamc_bench.experiment_runs import train_each, without_left_out
from aamc_bench.samples import figure
from aamc_bench.scalability.grown_pool import grow
from aamc_sdk.config import unstructure
from aamc_sdk.interfaces import Progress, Reward, Router
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.routing import build_request, draw, find_pool, pool_to_dict
from aamc_sdk.storage import locked, write_yaml
from aamc_sdk.types import Estimates, Floats, Query

FLOOR, CEILING = "random", "oracle"
"""The routers whose utilities are 0% and 100% of a router's share."""
RUN = "run"
"""The folder of the trained run, below that of its job."""


def train(folder: Path, progress: Progress, settings: Mapping[str, Any], size: int) -> list[dict[str, Any]]:
    """Train routers in a pool of some size and compare them there at the headline's preference.

    Args:
        folder: The folder for the pool, its world and the run.
        progress: Where to report.
        settings: The benchmark's settings; the pool grows from theirs.
        size: The number of candidates.

    Returns:
        For each router its name, the size, and its :func:`utilities`.
    """
    experiment = _experiment(folder, progress, settings, size)
    with locked(experiment.run.folder):
        world = experiment.begin()
        requests = experiment.requests(world, experiment.estimator(world))
        choices = experiment.compared()
        routers = train_each(choices, lambda name: experiment.router(name, choices[name], world, requests), folder, progress)
        point = experiment.settings.preference.array[None]
        means, given = experiment.run.candidate_means, experiment.settings
        comparison = Measurement.of(world, routers, requests["test"], means, given, progress=progress, preferences=point).compare()
        comparison.save(folder / "decisions.npz")
    resampling = Resampling.bootstrap(comparison.stream, experiment.settings.evaluation.resamples, experiment.settings.seed)
    figures = utilities(comparison, world.services.reward, resampling)
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


def utilities(comparison: Comparison, reward: Reward, resampling: Resampling) -> dict[str, dict[str, Any]]:
    """Return each router's mean utility at the headline's preference, and its share of the way from random to oracle.

    Args:
        comparison: With ``random`` and ``oracle`` among its routers.
        reward: The reward that is the utility.
        resampling: The resamples behind the intervals.

    Returns:
        By router ``utility`` and ``share``, (utility - random's) / (oracle's - random's); null if these two are equal.
    """
    names = comparison.routers.tolist()
    weights = comparison.preferences[HEADLINE][None]
    rewards = np.column_stack([reward.scalar(comparison.realised(r).take([HEADLINE]), weights)[0] for r in range(len(names))])
    means = dict(zip(names, resampling.with_data().means(rewards).T, strict=True))
    floor, ceiling = means[FLOOR], means[CEILING]
    return {name: {"utility": figure(values), "share": figure(ratio(values - floor, ceiling - floor))} for name, values in means.items()}


BATCH = 250
"""Decisions of a batch."""
ROUNDS = 5
"""Repetitions in batches, of which there are few."""
WARM_UP = 20
"""Decisions before the timing begins."""


def measure(folder: Path, progress: Progress, trained: str, n_queries: int) -> list[dict[str, Any]]:
    """Time the decisions of each router of a training job, except routers that cannot be served.

    Args:
        folder: Unused: the job keeps no files.
        progress: Where to report.
        trained: The key of the training job, whose folder is next to this one's.
        n_queries: The number of decisions timed one at a time.

    Returns:
        For each router its name, the size, and the milliseconds of a decision: ``single_ms`` (median), ``single_p95_ms``
        and ``batch_ms`` (median over batches).
    """
    run, plugins = RunFolder.open(folder.parent / trained / RUN), get_plugin_manager()
    services, means = run.services(plugins), run.candidate_means
    estimator, world = run.estimator(plugins, services), make_setup(run.settings, plugins)
    queries = world.splits["test"].queries
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
