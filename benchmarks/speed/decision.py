"""One decision, for pools of 6 to 1,000 candidates, beside a plain network in numpy.

``decide`` is what follows an estimate: the router's scores, the draw, the ``Decision`` and its entry in a log in memory.
``route`` is the whole of ``MetaController.route``, with an estimator that answers at once; ``batch`` is ``route_batch`` of 1,000
requests, per request. ``plain`` is the forward pass of a network of ppo's widths alone, on ready arrays: what remains is the
price of everything that a product needs around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from aamc_bench.speed.clock import lacking, least_cpu_s, repeated
from aamc_bench.speed.figures import Figure, result
from aamc_sdk import Estimator, MetaController, Query
from aamc_sdk.batch import Estimates, Floats
from aamc_sdk.interfaces import Progress
from aamc_sdk.pools import default_pool
from aamc_sdk.types import Pool

GOALS_US = {6: 25, 20: 30, 100: 45, 1000: 160}
"""Microseconds of a decision that are aimed at, by the number of candidates."""
BATCH = 1000
CALLS = 1000
"""Calls that are timed together: one alone is too short for the clock."""
QUERY = Query("Sort a list in Python", prompt_tokens=100, output_tokens=200)


class Instant(Estimator):
    """Answers from what is ready, so that only deciding takes time."""

    def __init__(self, candidates: int) -> None:
        super().__init__(None, None)  # type: ignore[arg-type]  # it needs neither options nor services
        self._quality = np.random.default_rng(0).random((BATCH, candidates))
        self._batches = {rows: self._describe(rows) for rows in (1, BATCH)}

    @staticmethod
    def _describe(rows: int) -> Estimates:
        return Estimates(np.full(rows, 0.4), np.full((rows, 8), 0.125), tuple("abcdefgh"), np.full(rows, 0.1))

    def estimate(self, queries: Sequence[Query]) -> Estimates:
        """Return ready estimates."""
        return self._batches[len(queries)]

    def quality(self, estimates: Estimates, pool: Pool) -> Floats:
        """Return ready qualities."""
        return self._quality[: len(estimates)]


def measure(folder: Path, progress: Progress, full: bool) -> dict[str, Any]:
    """Measure microseconds of CPU time."""
    if (why := lacking("aamc_ppo")) is not None:
        return result([Figure(what="one decision by ppo", unit="us", value=None, why=why)], "decision")
    figures, details = [], []
    for size, goal in GOALS_US.items():
        us = time_of("ppo", size, 7 if full else 3)
        details.append({"candidates": size, **us})
        what, plain = f"{size:,} candidates", "the network alone"
        figures += [
            Figure(what=f"decide, {what}", unit="us", value=us["decide"], beside=plain, other=us["plain"], goal=f"at most {goal}"),
            Figure(what=f"route, {what}", unit="us", value=us["route"], beside="in batches of 1,000", other=us["batch"], goal="ratio at least 10"),
        ]
    return result(figures, "decision", rows=details)


def time_of(router: str, size: int, repeats: int) -> dict[str, float]:
    """Return the microseconds of each way to a decision, by one router from a pool of one size."""
    with MetaController.build(router=router, pool=pool_of(size)) as controller:
        controller.estimator = Instant(size)
        request = controller._request([QUERY], None, (), None)  # a part of route is what is measured
        works = {
            "plain": (plain_network(size), CALLS, 1),
            "decide": (lambda: controller._decide(request, controller.router.score(request), None), CALLS, 1),
            "route": (lambda: controller.route(QUERY), CALLS, 1),
            "batch": (lambda: controller.route_batch([QUERY] * BATCH), 3, BATCH),
        }
        seconds = least_cpu_s({name: repeated(work, times) for name, (work, times, _) in works.items()}, repeats)
    return {name: 1e6 * seconds[name] / (times * decisions) for name, (_, times, decisions) in works.items()}


def plain_network(candidates: int) -> Callable[[], Any]:
    """Return the forward pass of a two-tower network on ready arrays, with its argmax."""
    rng = np.random.default_rng(0)
    query, first, second = (rng.random(shape, dtype=np.float32) for shape in ((1, 15), (15, 64), (64, 21)))
    pair, embedded = rng.random((1, candidates, 5), dtype=np.float32), rng.random((candidates, 16), dtype=np.float32)

    def forward() -> Any:
        head = np.tanh(query @ first) @ second
        return (head[:, :16] @ embedded.T + (pair @ head[:, 16:, None])[:, :, 0]).argmax(axis=1)

    return forward


def pool_of(size: int) -> Pool:
    """Return a pool of any size, made of the default one's candidates under other names."""
    known = default_pool().candidates
    return Pool(attrs.evolve(known[number % len(known)], name=f"candidate-{number}") for number in range(size))
