"""Measuring routers on a split, or a run's routers on other data, and writing what every number follows from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.data import about_split, check_same_candidates, check_unchanged, fit_to_pool
from aamc_experiments.evaluation import HEADLINE, Comparison, Constants, compare_streams, compare_table, constant_routers, metrics, promotion
from aamc_experiments.leak_guard import rows_to_evaluate
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import Settings, Source
from aamc_experiments.setup import World, check_measured, dataset_readers, make_environment
from aamc_sdk.errors import CheckpointError, ConfigError
from aamc_sdk.interfaces import Estimator, Progress, Router
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import build_request
from aamc_sdk.serving import EVALUATION
from aamc_sdk.storage import write_json
from aamc_sdk.types import Estimates, Floats, Pool, Preference, Query, RoutingRequest


def describe(estimator: Estimator | None, queries: Sequence[Query], pool: Pool) -> tuple[Estimates, Floats | None]:
    """Return what an estimator says of queries, and the quality that it expects of each candidate."""
    if estimator is None:
        return Estimates.unknown(len(queries)), None
    estimates = estimator.estimate(queries)
    return estimates, estimator.quality(estimates, pool)


def predicted_categories(estimates: Estimates) -> NDArray[np.str_]:
    """Return each query's most probable category, ``""`` where the estimator names none."""
    if not estimates.category_names or np.isnan(estimates.categories).all():
        return np.full(len(estimates), "")
    names: NDArray[np.str_] = np.array(estimates.category_names)[np.nan_to_num(estimates.categories).argmax(axis=1)]
    return names


def measure(
    folder: Path | None,
    world: World,
    routers: Mapping[str, Router],
    request: RoutingRequest,
    candidate_means: Floats,
    settings: Settings,
    progress: Progress,
    gate: str | None = None,
) -> dict[str, Any]:
    """Compare routers on the test split; write ``decisions.npz`` and ``metrics.json``; return the metrics.

    Args:
        folder: Where both files go; None to write neither.
        world: The environment, its splits and the reward.
        routers: What to compare, by name.
        request: The test rows as a router sees them.
        candidate_means: The candidates' mean training quality, cost and latency, ``[M, 3]``.
        settings: The headline's preference, the seed that draws and intervals follow from, and how to compare.
        progress: Where to report.
        gate: The router of which ``gate`` in the metrics says whether it is worth having; None to leave that out.
    """
    how, test = settings.evaluation, world.splits["test"]
    comparison = play(world, "test", routers, request, candidate_means, settings, progress)
    result = metrics(
        comparison,
        world.services.reward,
        source=test.source,
        cost_note=test.cost_note,
        success_threshold=how.success_threshold,
        alpha=how.alpha,
        beta=how.beta,
        resamples=how.resamples,
        seed=settings.seed,
    )
    result["data"] |= {"split": world.tested, "dropped": world.dropped}
    if gate is not None:
        constants = _constants(folder, comparison, world, request, settings, progress)
        result["gate"] = promotion(comparison, constants, world.services.reward, gate, resamples=how.resamples, seed=settings.seed)
    if folder is not None:
        comparison.save(folder / "decisions.npz")
        write_json(folder / "metrics.json", result)
    return result


def _constants(
    folder: Path | None, comparison: Comparison, world: World, request: RoutingRequest, settings: Settings, progress: Progress
) -> Constants:
    """Return what comes of always choosing one candidate; where no table tells, they play, and ``constants.npz`` keeps it."""
    if comparison.is_table:
        return Constants.of_table(comparison, world.services.reward)
    headline = comparison.preferences[[HEADLINE]]
    everyone = constant_routers(world.services)
    played = play(world, "test", everyone, request, comparison.candidate_means, settings, progress, points=headline)
    if folder is not None:
        played.save(folder / "constants.npz")
    return Constants.of_streams(played, world.services.reward)


def play(
    world: World,
    split: str,
    routers: Mapping[str, Router],
    request: RoutingRequest,
    candidate_means: Floats,
    settings: Settings,
    progress: Progress,
    points: Floats | None = None,
) -> Comparison:
    """Let routers decide a split's queries, by the table where the environment is one, else in streams.

    Args:
        world: The environment, its splits and the reward.
        split: Whose queries.
        routers: Who decides, by name.
        request: The split's rows as a router sees them.
        candidate_means: The candidates' mean training quality, cost and latency, ``[M, 3]``.
        settings: The headline's preference, the seed, and how to compare.
        progress: Where to report.
        points: Preferences ``[P, 3]`` instead of a comparison's usual ones.
    """
    world.check_measured(split)
    dataset, predicted = world.splits[split], predicted_categories(request.estimates)
    labels = dataset.labels.category
    shared: dict[str, Any] = {
        "reward": world.services.reward,
        "headline": settings.preference,
        "seed": settings.seed,
        "categories": predicted if labels is None else np.where(labels == "", predicted, labels),
        "candidate_means": candidate_means,
        "progress": progress,
        "points": points,
    }
    if world.env.stationary:
        assert dataset.outcomes is not None
        return compare_table(routers, request, dataset.outcomes, **shared)
    how = settings.evaluation
    return compare_streams(routers, world.env, split, request, streams=how.streams, steps=how.steps, **shared)


def measure_run(
    run: RunFolder,
    plugins: Plugins,
    progress: Progress,
    *,
    names: Sequence[str],
    preference: Preference,
    source: Source | None = None,
    split: str = "test",
    strict: bool = False,
    out: Path | None = None,
    gate: bool = False,
) -> dict[str, Any]:
    """Compare a run's routers and return the metrics.

    Args:
        run: Whose routers.
        plugins: Where components come from.
        progress: Where to report.
        names: Which routers.
        preference: The headline's.
        source: What to evaluate on, read with the run's options where it has none; rows of the run itself when None.
        split: Which of its own rows; ignored where there is a source.
        strict: Whether rows that were trained on are an error; else they are left out.
        out: Where to write ``run.yaml``, ``metrics.json`` and ``decisions.npz``; nowhere when None.
        gate: Whether to decide on the promotion of the run's own router too, which must be among the names.

    Raises:
        ConfigError: It is not, or the gate is asked about rows that the router was trained on.
        CheckpointError: The run holds no such router, or is damaged.
        DataError: The data cannot be used, has other candidates, or none but rows that were trained on.
    """
    if not names:
        raise CheckpointError(f"{run.folder} holds no router to evaluate; train one with aamc train --router NAME, or make a run")
    if gate and run.router_name not in names:
        raise ConfigError(f"the gate decides on {run.router_name}, the router of {run.folder}; name it among the routers too")
    if gate and source is None and split != "test":
        raise ConfigError(f"the gate decides by rows that the router was not trained on, which the run's {split} rows are not; leave out --split")
    if out is not None:
        RunFolder(out).refuse_to_overwrite()
    source = None if source is None else source.like(run.settings.dataset)
    settings = attrs.evolve(run.settings, dataset=source or run.settings.dataset, test_dataset=None if source else run.settings.test_dataset)
    how = attrs.evolve(settings.evaluation, strict=strict or settings.evaluation.strict)
    settings = attrs.evolve(settings, preference=preference, evaluation=how)
    world = _world_of(run, settings, plugins, source, split)
    lent, test = world.services, world.splits["test"]
    estimates, quality = describe(run.estimator(plugins, lent), test.queries, run.pool)
    request = build_request(test.queries, run.pool, preference.array, estimates=estimates, quality=quality, typical=run.candidate_means)
    routers = {name: run.router(plugins, lent, name) for name in names}
    if out is not None:
        details = {"router": run.router_name, "goal": EVALUATION, "evaluates": str(run.folder), "source": test.source, "cost_note": test.cost_note}
        RunFolder(out).begin(settings, run.pool, lent.reward, details | {"splits": {"test": about_split(test)}})
    return measure(out, world, routers, request, run.candidate_means, settings, progress, run.router_name if gate else None)


def _world_of(run: RunFolder, settings: Settings, plugins: Plugins, source: Source | None, split: str) -> World:
    """Return a world whose test rows are those to evaluate a run on."""
    lent = run.services(plugins)
    tested = rows_to_evaluate(run, settings, dataset_readers(settings, plugins, lent), source, split)
    check_measured(tested.rows, f"the rows of {tested.rows.source}", "--dataset")
    check_same_candidates(tested.rows, run.pool)
    env = make_environment(settings, tested.rows, plugins, lent)
    env.prepare({"test": fit_to_pool(tested.rows, run.pool)})
    test = env.dataset("test")
    if tested.split is not None and env.stationary:  # a simulator's outcomes follow from the run and the questions
        check_unchanged({tested.split: test}, run.content["splits"], run.folder)
    return World(env=env, splits={"test": test}, services=lent, tested=tested.split, dropped=tested.dropped)
