"""The job: all routers in all streams of one dataset, seed and kind of estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from aamc_experiments.settings import Settings, read_settings
from numpy.typing import NDArray

from aamc_bench.bandit.replay import Rows, replay
from aamc_bench.bandit.replay_data import ReplayData, make_replay_data
from aamc_bench.bandit.scenarios import Stream, make_stream
from aamc_sdk.config import Choice
from aamc_sdk.interfaces import Progress, Router
from aamc_sdk.plugins import Plugins, get_plugin_manager
from aamc_sdk.storage import write_arrays
from aamc_sdk.types import Floats

BEST_FIXED = "best fixed"
"""The yardstick: the candidate that was best in hindsight."""
POINTS = 40
"""The number of points of a curve."""
FIGURES = ("regret", "quality", "cost_usd")
FILE = "streams.npz"


def measure(
    folder: Path, progress: Progress, settings: Mapping[str, Any], knowledge: str, scenarios: Sequence[str], streams: int, steps: int
) -> dict[str, Any]:
    """Replay every router in every stream, save the sums of each stream, and return the streams' length.

    The file holds ``regret``, ``quality`` and ``cost_usd``, each ``[scenarios, routers + 1, streams, points]``: sums up to each
    point. The last router is the best fixed candidate.
    """
    given, plugins = read_settings(settings), get_plugin_manager()
    data = make_replay_data(given, knowledge, plugins, progress)
    assert given.routers is not None  # the benchmark names them
    length = min(steps, len(data.request))
    points = np.unique(np.linspace(1, length, POINTS).astype(int))
    progress.start("Streams", len(scenarios) * streams)
    found = []
    for scenario in scenarios:
        own = []
        for number in range(streams):
            stream = make_stream(scenario, data, length, given.seed, number)
            own.append(_all_sums(given.routers, stream, data, plugins, given, number)[..., points - 1])
            progress.advance()
        found.append(np.stack(own, axis=2))
    figures = dict(zip(FIGURES, np.stack(found, axis=1), strict=True))
    write_arrays(folder / FILE, figures | {"points": points})
    names = data.request.pool.names
    return {"steps": length, "candidates": list(names), "best_in_training": names[data.best]}


def _all_sums(choices: Mapping[str, Choice], stream: Stream, data: ReplayData, plugins: Plugins, settings: Settings, number: int) -> Floats:
    """Return the sums up to each decision of every router, then of the best fixed candidate, ``[3, R + 1, T]``."""
    rows, chosen = Rows.of(stream), []
    for name, choice in choices.items():
        make = partial(_make, choice, data, plugins, settings.preset)
        chosen.append(replay(make, stream, rows, settings.seed, f"{name}/{number}"))
    chosen.append(np.full(len(stream.best), stream.best_fixed))
    return np.stack([_sums(stream, columns) for columns in chosen], axis=1)


def _make(choice: Choice, data: ReplayData, plugins: Plugins, preset: str) -> Router:
    router: Router = plugins.make("router", choice.name, data.services, choice.options, preset)
    router.train(data.training)
    return router


def _sums(stream: Stream, columns: NDArray[np.intp]) -> Floats:
    """Return regret, quality and cost of choices ``[T]``, summed up to each decision, ``[3, T]``."""
    cells = np.arange(len(columns)), columns
    each = stream.best - stream.reward[cells], stream.outcomes.known_quality[cells], stream.outcomes.cost_usd[cells]
    return np.cumsum(each, axis=1)
