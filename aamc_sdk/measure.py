"""Measuring routers on a split and writing what every number follows from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aamc_sdk.batch import Estimates, Floats, RoutingRequest
from aamc_sdk.evaluation import compare_streams, compare_table, metrics
from aamc_sdk.files import write_json
from aamc_sdk.interfaces import Estimator, Progress, Router
from aamc_sdk.types import Pool, Preference, Query
from aamc_sdk.world import World


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
    preference: Preference,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Compare routers on the test split; write ``decisions.npz`` and ``metrics.json``; return the metrics.

    Args:
        folder: Where both files go; None to write neither.
        world: The environment, its splits and the reward.
        routers: What to compare, by name.
        request: The test rows as a router sees them.
        candidate_means: The candidates' mean training quality, cost and latency, ``[M, 3]``.
        preference: The headline's.
        seed: Draws and intervals follow from it.
        progress: Where to report.
    """
    test = world.splits["test"]
    predicted = predicted_categories(request.estimates)
    shared: dict[str, Any] = {
        "reward": world.services.reward,
        "headline": preference,
        "seed": seed,
        "categories": predicted if test.labels.category is None else test.labels.category,
        "candidate_means": candidate_means,
        "progress": progress,
    }
    if world.env.stationary:
        assert test.outcomes is not None
        comparison = compare_table(routers, request, test.outcomes, **shared)
    else:
        comparison = compare_streams(routers, world.env, "test", request, **shared)
    result = metrics(comparison, world.services.reward, source=test.source, cost_note=test.cost_note, seed=seed)
    if folder is not None:
        comparison.save(folder / "decisions.npz")
        write_json(folder / "metrics.json", result)
    return result
