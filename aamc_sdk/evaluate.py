"""A run's routers on other data: what ``aamc evaluate`` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from aamc_sdk.interfaces import Progress
from aamc_sdk.measure import describe, measure
from aamc_sdk.plugins import Plugins
from aamc_sdk.requests import build_request
from aamc_sdk.runs import Run
from aamc_sdk.settings import Source
from aamc_sdk.splits import check_same_candidates, fit_to_pool, read_splits, read_whole, split_hash
from aamc_sdk.types import Preference
from aamc_sdk.world import World, dataset_formats, make_environment


def evaluate_run(
    run: Run,
    plugins: Plugins,
    progress: Progress,
    *,
    names: Sequence[str],
    preference: Preference,
    source: Source | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Compare a run's routers and return the metrics.

    Args:
        run: Whose routers.
        plugins: Where components come from.
        progress: Where to report.
        names: Which routers.
        preference: The headline's.
        source: What to evaluate on; the run's own test rows when None.
        out: Where to write ``run.yaml``, ``metrics.json`` and ``decisions.npz``; nowhere when None.

    Raises:
        CheckpointError: The run holds no such router, or is damaged.
        DataError: The data cannot be used, or has other candidates.
    """
    settings = attrs.evolve(run.settings, dataset=source or run.settings.dataset, test_dataset=None if source else run.settings.test_dataset)
    settings = attrs.evolve(settings, preference=preference)
    lent = run.services(plugins)
    formats = dataset_formats(settings, plugins, lent)
    test = read_splits(settings, formats)["test"] if source is None else read_whole(source, formats)
    check_same_candidates(test, run.pool)
    env = make_environment(settings, test, plugins, lent)
    env.prepare({"test": fit_to_pool(test, run.pool)})
    world = World(env=env, splits={"test": env.dataset("test")}, services=lent)
    estimates, quality = describe(run.estimator(plugins, lent), test.queries, run.pool)
    request = build_request(test.queries, run.pool, preference.array, estimates=estimates, quality=quality)
    routers = {name: run.router(plugins, lent, name) for name in names}
    if out is not None:
        details = {"router": run.router_name, "goal": "evaluation", "evaluates": str(run.folder), "source": test.source, "cost_note": test.cost_note}
        Run(out).begin(settings, run.pool, lent.reward, details | {"splits": {"test": {"queries": len(test), "sha256": split_hash(test)}}})
    return measure(out, world, routers, request, run.candidate_means, preference, run.settings.seed, progress)
