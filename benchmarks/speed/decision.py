"""One decision, for pools of 6 to 1,000 candidates, compared with a plain network in numpy.

``decide`` is the part after the estimate: the router's scores, the draw, the ``Decision`` and its entry in a log in memory.
``route`` is the whole of ``MetaController.route``, with an estimator that answers at once; ``batch`` is ``route_batch`` of 1,000
requests, per request. ``plain`` is the forward pass of a network of ppo's widths alone, on prepared arrays: the difference is the
cost of everything that a product needs around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from aamc_sdk import Estimator, MetaController, Query, get_plugin_manager
from aamc_sdk.config import ServingSettings
from aamc_sdk.interfaces import Progress
from aamc_sdk.routing import default_pool
from aamc_sdk.serving import components_from_settings
from aamc_sdk.serving.arguments import RouteArguments
from aamc_sdk.types import Estimates, Floats, Pool
from speed.clock import minimum_cpu_s, repeated
from speed.measurement import Measurement, result

GOALS_US = {6: 25, 20: 30, 100: 45, 1000: 160}
"""The goals for a decision in microseconds, by the number of candidates."""
BATCH = 1000
CALLS = 1000
"""Calls that are timed together: a single call is too short for the clock."""
QUERY = Query("Sort a list in Python", prompt_tokens=100, output_tokens=200)


class Instant(Estimator):
    """Returns prepared estimates, so that only deciding takes time."""

    def __init__(self, candidates: int) -> None:
        super().__init__(None, None)  # type: ignore[arg-type]  # it needs neither options nor services
        self._quality = np.random.default_rng(0).random((BATCH, candidates))
        self._batches = {rows: self._describe(rows) for rows in (1, BATCH)}

    @staticmethod
    def _describe(rows: int) -> Estimates:
        return Estimates(np.full(rows, 0.4), np.full((rows, 8), 0.125), tuple("abcdefgh"), np.full(rows, 0.1))

    def estimate(self, queries: Sequence[Query]) -> Estimates:
        return self._batches[len(queries)]

    def quality(self, estimates: Estimates, pool: Pool) -> Floats:
        return self._quality[: len(estimates)]


def measure(folder: Path, progress: Progress, full: bool) -> dict[str, Any]:
    """Measure microseconds of CPU time."""
    figures, details = [], []
    for size, goal in GOALS_US.items():
        us = time_of("ppo", size, 7 if full else 3)
        details.append({"candidates": size, **us})
        what, plain = f"{size:,} candidates", "the network alone"
        figures += [
            Measurement(what=f"decide, {what}", unit="us", value=us["decide"], beside=plain, other=us["plain"], goal=f"at most {goal}"),
            Measurement(
                what=f"route, {what}", unit="us", value=us["route"], beside="in batches of 1,000", other=us["batch"], goal="ratio at least 10"
            ),
        ]
    return result(figures, "decision", rows=details)


def time_of(router: str, size: int, repeats: int) -> dict[str, float]:
    """Return the microseconds of each way to a decision, with one router and a pool of one size."""
    settings = ServingSettings.of({"router": router})
    components = components_from_settings(settings, get_plugin_manager(), pool=pool_of(size), allow_untrained=True)
    with MetaController(attrs.evolve(components, estimator=Instant(size))) as controller:
        decider, arguments = controller._decider, RouteArguments([QUERY])  # only a part of route is measured
        request = decider.request(arguments)
        works = {
            "plain": (plain_network(size), CALLS, 1),
            "decide": (lambda: decider.log(decider.draw_from(controller.router.score(request), request, arguments)), CALLS, 1),
            "route": (lambda: controller.route(QUERY), CALLS, 1),
            "batch": (lambda: controller.route_batch([QUERY] * BATCH), 3, BATCH),
        }
        seconds = minimum_cpu_s({name: repeated(work, times) for name, (work, times, _) in works.items()}, repeats)
    return {name: 1e6 * seconds[name] / (times * decisions) for name, (_, times, decisions) in works.items()}


def plain_network(candidates: int) -> Callable[[], Any]:
    """Return the forward pass of a two-tower network on prepared arrays, with its argmax."""
    rng = np.random.default_rng(0)
    query, first, second = (rng.random(shape, dtype=np.float32) for shape in ((1, 15), (15, 64), (64, 23)))
    pair, embedded = rng.random((1, candidates, 7), dtype=np.float32), rng.random((candidates, 16), dtype=np.float32)

    def forward() -> Any:
        head = np.tanh(query @ first) @ second
        return (head[:, :16] @ embedded.T + (pair @ head[:, 16:, None])[:, :, 0]).argmax(axis=1)

    return forward


def pool_of(size: int) -> Pool:
    """Return a pool of any size, made of the default one's candidates under other names."""
    known = default_pool().candidates
    return Pool(attrs.evolve(known[number % len(known)], name=f"candidate-{number}") for number in range(size))
