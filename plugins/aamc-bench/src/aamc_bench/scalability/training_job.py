"""The first job of ``aamc bench scalability``: train routers in a pool of some size and measure their utility there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from aamc_environments.queue import read_world
from aamc_experiments.evaluation import HEADLINE, Comparison, Resampling
from aamc_experiments.experiment import Experiment
from aamc_experiments.measurement import Measurement
from aamc_experiments.settings import read_settings

from aamc_bench.failed_routers import train_each
from aamc_bench.samples import figure
from aamc_bench.scalability.grown_pool import grow
from aamc_sdk.config import unstructure
from aamc_sdk.interfaces import Progress, Reward
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.routing import find_pool, pool_to
from aamc_sdk.storage import locked, write_yaml
from aamc_sdk.types import Floats

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
        point, means = experiment.settings.preference.array[None], experiment.run.candidate_means
        comparison = Measurement(
            setup=world,
            routers=routers,
            request=requests["test"],
            candidate_means=means,
            settings=experiment.settings,
            progress=progress,
            preferences=point,
        ).compare()
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
    write_yaml(folder / "pool.yaml", pool_to(pool))
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
    found = {}
    once, resampled = Resampling.once(comparison.stream).means(rewards), resampling.means(rewards)
    for r, name in enumerate(names):
        shares = [_share(means[:, r], means[:, names.index(FLOOR)], means[:, names.index(CEILING)]) for means in (once, resampled)]
        found[name] = {"utility": figure(np.append(once[:, r], resampled[:, r])), "share": figure(np.concatenate(shares))}
    return found


def _share(values: Floats, low: Floats, high: Floats) -> Floats:
    gap = high - low
    return np.asarray(np.divide(values - low, gap, out=np.full(len(gap), np.nan), where=gap > 0))
