"""The job of the budgets: routers that pace a day's spending, on each traffic and at each budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_experiments.settings import read_settings
from numpy.typing import NDArray

from aamc_bench.bandit.jobs import replay
from aamc_bench.bandit.pareto_bandit import NAME as PARETO
from aamc_bench.bandit.pareto_bandit import pareto_choices
from aamc_bench.bandit.replay_data import ReplayData, make_replay_data
from aamc_bench.bandit.traffic import BudgetStream, make_budget_stream
from aamc_sdk.interfaces import Progress, Router
from aamc_sdk.plugins import Plugins, get_plugin_manager
from aamc_sdk.storage import write_arrays

WRAPPED = "linear-thompson"
PER_DAY, UNKNOWN, PER_REQUEST, UNPACED = "paced (day)", "paced (day, unknown traffic)", "paced (mean)", f"{WRAPPED}, no limit"
OWN_ROUTERS = (PER_DAY, UNKNOWN, PER_REQUEST)
FIGURES = ("regret", "overspend", "quality", "cost_usd")
"""Regret to the linear program and quality, as means over requests; spending over the budget as a share of it; cost of a request in USD."""
FILE = "budgets.npz"


def measure(
    folder: Path,
    progress: Progress,
    settings: Mapping[str, Any],
    knowledge: str,
    traffic: Sequence[str],
    budgets: Sequence[float],
    routers: Sequence[str],
    streams: int,
    steps: int,
) -> dict[str, Any]:
    """Let every router decide every stream, and save ``FIGURES`` as ``[traffic, budgets, routers, streams]`` each."""
    given, plugins = read_settings(settings), get_plugin_manager()
    data = make_replay_data(given, knowledge, plugins, progress)
    found = np.empty((len(FIGURES), len(traffic), len(budgets), len(routers), streams))
    progress.start("Budgets", found[0, ..., 0, :].size)
    for place in np.ndindex(len(traffic), len(budgets), streams):
        t, b, number = place
        stream = make_budget_stream(traffic[t], data, steps, budgets[b], given.seed, number)
        for r, name in enumerate(routers):
            found[:, t, b, r, number] = figures_of(stream, choices_of(name, stream, data, plugins, given.seed, number))
        progress.advance()
    write_arrays(folder / FILE, dict(zip(FIGURES, found, strict=True)))
    return {"steps": min(steps, len(data.request)), "candidates": list(data.request.pool.names)}


def choices_of(name: str, stream: BudgetStream, data: ReplayData, plugins: Plugins, seed: int, number: int) -> NDArray[np.intp]:
    """Return the column of the candidate that a router chose for each request, ``[T]``."""
    if name == PARETO:
        return np.asarray(pareto_choices(stream, data, seed))
    size = len(stream.reward)
    limits: Mapping[str, Mapping[str, float]] = {
        PER_DAY: {"usd_per_day": stream.budget_usd, "requests_per_day": float(size)},
        UNKNOWN: {"usd_per_day": stream.budget_usd},
        PER_REQUEST: {"usd_per_1k": 1000 * stream.budget_usd / size},
    }
    options = {"router": WRAPPED, "over_budget": "cheapest", **limits.get(name, {})}

    def make() -> Router:
        router: Router = plugins.make("router", "paced", data.services, options) if name in limits else plugins.make("router", WRAPPED, data.services)
        quality_alone = np.array((1.0, 0.0, 0.0))
        router.train(attrs.evolve(data.training, request=data.training_request.with_preference(quality_alone)))
        return router

    return replay(make, stream, seed, f"{name}/{number}")


def figures_of(stream: BudgetStream, chosen: NDArray[np.intp]) -> tuple[float, float, float, float]:
    """Return ``FIGURES`` of choices ``[T]``."""
    cells = np.arange(len(chosen)), chosen
    quality, cost = stream.outcomes.known_quality[cells].mean(), stream.outcomes.cost_usd[cells]
    regret = stream.best_quality / len(chosen) - quality
    return float(regret), float(cost.sum() / stream.budget_usd - 1), float(quality), float(cost.mean())
