"""How long one decision takes, for pools of 6 to 1,000 candidates, beside a plain network in numpy.

``decide`` is what follows an estimate: the router's scores, the draw, the ``Decision`` and its entry in a log in memory.
``route`` is the whole of ``MetaController.route``, with an estimator that answers at once. ``batch`` is ``route_batch`` of
1,000 requests, per request. ``plain`` is the forward pass of a network of ppo's widths alone, on ready arrays:
what remains is the price of everything that a product needs around it. CPU time of one thread, the least of some repeats.

    python benchmarks/decision.py > decision.json
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np

from aamc_sdk import Estimator, MetaController, Query
from aamc_sdk.batch import Estimates, Floats
from aamc_sdk.pools import default_pool
from aamc_sdk.types import Pool

SIZES = (6, 20, 100, 1000)
BATCH = 1000
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


def cpu_us(work: Callable[[], Any], times: int, repeats: int) -> float:
    """Return the least mean CPU time of a call, in microseconds."""
    means = []
    for _ in range(repeats):
        started = time.thread_time()
        for _ in range(times):
            work()
        means.append((time.thread_time() - started) / times)
    return min(means) * 1e6


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


def measure(router: str, size: int, repeats: int) -> dict[str, Any]:
    """Return the figures of one router and one pool."""
    with MetaController.build(router=router, pool=pool_of(size)) as controller:
        controller.estimator = Instant(size)
        request = controller._request([QUERY], None, (), None)  # a part of route is what is measured
        figures = {
            "plain_us": cpu_us(plain_network(size), 1000, repeats),
            "decide_us": cpu_us(lambda: controller._decide(request, controller.router.score(request), None), 1000, repeats),
            "route_us": cpu_us(lambda: controller.route(QUERY), 1000, repeats),
            "batch_us": cpu_us(lambda: controller.route_batch([QUERY] * BATCH), 3, repeats) / BATCH,
        }
    ratios = {"decide_to_plain": figures["decide_us"] / figures["plain_us"], "route_to_batch": figures["route_us"] / figures["batch_us"]}
    return {"router": router, "candidates": size} | {name: round(value, 2) for name, value in (figures | ratios).items()}


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--routers", nargs="+", default=["ppo", "greedy"])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    rows = [measure(router, size, args.repeats) for router in args.routers for size in args.sizes]
    print(json.dumps({"machine": platform.processor() or platform.machine(), "numpy": np.__version__, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
