"""The second job of ``aamc bench scalability``: time the decisions of trained routers.

A decision is timed from a query's estimates to the drawn candidate: the expected quality of each candidate, the request, the
router's scores, the draw. Estimates follow from the text alone, independently of the pool's size, and are not timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.setup import make_setup

from aamc_bench.failed_routers import without_left_out
from aamc_bench.scalability.training_job import RUN
from aamc_sdk.interfaces import Estimator, Progress, Router
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.routing import build_request, draw
from aamc_sdk.types import Estimates, Floats, Pool, Query

BATCH = 250
"""Decisions of a batch."""
ROUNDS = 5
"""Repetitions in batches, of which there are few."""
WARM_UP = 20
"""Decisions before the timing begins."""


@attrs.frozen(kw_only=True)
class TimedRouter:
    """The parts of a decision.

    Attributes:
        estimator: Estimates each candidate's quality.
        router: Scores the candidates.
        pool: The candidates.
        preference: The weights, ``[3]``.
        typical: The candidates' mean training quality, cost and latency, ``[M, 3]``.
        seed: The seed of the draws.
    """

    estimator: Estimator | None
    router: Router
    pool: Pool
    preference: Floats
    typical: Floats
    seed: int

    def decide(self, queries: Sequence[Query], estimates: Estimates) -> None:
        """Decide B queries with known estimates."""
        quality = None if self.estimator is None else self.estimator.quality(estimates, self.pool)
        request = build_request(queries, self.pool, self.preference, estimates=estimates, quality=quality, typical=self.typical)
        draw(self.router.score(request), request, self.router.samples, self.seed, [str(row) for row in range(len(queries))])


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
    progress.start("Timing", len(served))
    rows = []
    for name, router in served.items():
        decider = TimedRouter(
            estimator=estimator, router=router, pool=run.pool, preference=run.settings.preference.array, typical=means, seed=run.settings.seed
        )
        rows.append({"router": name, "candidates": len(run.pool), **timings(decider.decide, queries, estimates)})
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
