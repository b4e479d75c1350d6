"""The job: all routers in all streams of one dataset, seed and kind of estimates.

The router scores, the core draws, and the router learns feedback when it arrives.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_experiments.settings import Settings, read_settings
from numpy.typing import NDArray

from aamc_bench.bandit.replay_data import ReplayData, make_replay_data
from aamc_bench.bandit.scenarios import NEVER, Stream, make_stream
from aamc_sdk.config import Choice
from aamc_sdk.interfaces import OnlineRouter, Progress, Router
from aamc_sdk.plugins import Plugins, get_plugin_manager
from aamc_sdk.routing import decide
from aamc_sdk.storage import write_arrays
from aamc_sdk.types import Attempt, Decision, Experience, Feedback, Floats


def replay(make: Callable[[], Router], stream: Stream, seed: int, name: str) -> NDArray[np.intp]:
    """Return the column of the candidate that a router chose in each decision, ``[T]``; ``make`` returns a fresh router.

    The decisions' ids begin with ``name``: a router with the same scores draws the same candidates in every scenario.
    """
    router, columns = make(), {candidate: m for m, candidate in enumerate(stream.request.pool.names)}
    due: defaultdict[int, list[int]] = defaultdict(list)
    for step in np.flatnonzero(stream.feedback_at != NEVER).tolist():
        due[int(stream.feedback_at[step])].append(step)
    decisions: list[Decision] = []
    for step, request in enumerate(stream.requests):
        if step == stream.restart:
            router = _restarted(router, make)
        if stream.times is not None and hasattr(router, "clock"):  # a simulation replaces it
            router.clock = partial(float, stream.times[step])
        if isinstance(router, OnlineRouter):
            for past in due[step]:
                entries = stream.reported(past, decisions[past], columns[decisions[past].candidate])
                router.learn(_experience(stream, past, decisions[past], entries))
        (decision,) = decide(router.score(request), request, [f"{name}/{step}"], router=name, sample=router.samples, seed=seed)
        decisions.append(decision if stream.times is None else attrs.evolve(decision, time=float(stream.times[step])))
        if isinstance(router, OnlineRouter):
            router.learn(_experience(stream, step, decisions[-1], made=1))
    return np.array([columns[decision.candidate] for decision in decisions])


def _experience(stream: Stream, step: int, decision: Decision, entries: Sequence[Attempt | Feedback] = (), made: int = 0) -> Experience:
    request = stream.requests[step]
    return Experience(step, request.queries, request.estimates, (decision,), entries, made=made, expected_quality=(stream.expected[step],))


def _restarted(router: Router, make: Callable[[], Router]) -> Router:
    """Return a fresh router that has loaded a router's saved state."""
    with tempfile.TemporaryDirectory() as folder:
        router.save(Path(folder))
        fresh = make()
        fresh.load(Path(folder))
    return fresh


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
    chosen = []
    for name, choice in choices.items():
        make = partial(_make, choice, data, plugins, settings.preset)
        chosen.append(replay(make, stream, settings.seed, f"{name}/{number}"))
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
