"""The job: all routers in all streams of one dataset, seed and kind of estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aamc_bench.bandit.material import Material, make_material
from aamc_bench.bandit.replay import Rows, replay
from aamc_bench.bandit.scenarios import Stream, make_stream
from aamc_sdk.batch import Floats
from aamc_sdk.files import write_arrays
from aamc_sdk.interfaces import Progress, Router
from aamc_sdk.plugins import Plugins, get_plugin_manager
from aamc_sdk.settings import Choice, Settings, read_settings

BEST_FIXED = "best fixed"
"""The yardstick: the candidate that was best in hindsight."""
POINTS = 40
"""Points of a curve."""
FIGURES = ("regret", "quality", "cost_usd")
FILE = "streams.npz"


def measure(
    folder: Path, progress: Progress, settings: Mapping[str, Any], knowledge: str, scenarios: Sequence[str], streams: int, steps: int
) -> dict[str, Any]:
    """Replay every router in every stream; keep the figures of each stream, and return how long the streams are.

    The file holds ``regret``, ``quality`` and ``cost_usd``, each ``[scenarios, routers + 1, streams, points]``: sums up to each of
    the points, the last router being the best fixed candidate.
    """
    given, plugins = read_settings(settings), get_plugin_manager()
    material = make_material(given, knowledge, plugins, progress)
    assert given.routers is not None  # the experiment names them
    length = min(steps, len(material.request))
    points = np.unique(np.linspace(1, length, POINTS).astype(int))
    progress.start("Streams", len(scenarios) * streams)
    found = []
    for scenario in scenarios:
        own = []
        for number in range(streams):
            stream = make_stream(scenario, material, length, given.seed, number)
            own.append(_figures_of_all(given.routers, stream, material, plugins, given, number)[..., points - 1])
            progress.advance()
        found.append(np.stack(own, axis=2))
    figures = dict(zip(FIGURES, np.stack(found, axis=1), strict=True))
    write_arrays(folder / FILE, figures | {"points": points})
    names = material.request.pool.names
    return {"steps": length, "candidates": list(names), "best_in_training": names[material.best]}


def _figures_of_all(choices: Mapping[str, Choice], stream: Stream, material: Material, plugins: Plugins, settings: Settings, number: int) -> Floats:
    """Return every figure of every router, then of the best fixed candidate, summed up to each decision, ``[3, R + 1, T]``."""
    rows, chosen = Rows.of(stream), []
    for name, choice in choices.items():
        make = partial(_make, choice, material, plugins, settings.preset)
        chosen.append(replay(make, stream, rows, settings.seed, f"{name}/{number}"))
    chosen.append(np.full(len(stream.best), stream.best_fixed))
    return np.stack([_figures(stream, columns) for columns in chosen], axis=1)


def _make(choice: Choice, material: Material, plugins: Plugins, preset: str) -> Router:
    router: Router = plugins.make("router", choice.name, material.services, choice.options, preset)
    router.train(material.training)
    return router


def _figures(stream: Stream, columns: NDArray[np.intp]) -> Floats:
    """Return what choices ``[T]`` came to, summed up to each decision, ``[3, T]``."""
    cells = np.arange(len(columns)), columns
    each = stream.best - stream.reward[cells], stream.outcomes.known_quality[cells], stream.outcomes.cost_usd[cells]
    return np.cumsum(each, axis=1)
