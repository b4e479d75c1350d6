"""The router ``gmtrouter`` in worlds of known truth, compared with per-user ridge and the exact posterior, and its speed.

Run it with ``python benchmarks/gmtrouter.py --graph-worlds 1 --out results.json``; about fifteen minutes on one core.
Intervals are 95% t-intervals over worlds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from aamc_bench.samples import student_interval
from aamc_gmtrouter.graph.network import GraphNetwork, ServedNetwork, parameters_of
from aamc_gmtrouter.graph.training import needed_errors
from aamc_gmtrouter.history import UserHistory
from aamc_gmtrouter.options import GMTRouterConfig
from speed.clock import cpu_s

sys.path.append(str(Path(__file__).parents[1] / "plugins/aamc-gmtrouter/tests"))
from taste_world import TasteWorld, WorldSettings, WorldTrial  # it is next to the tests that use it too

SETTINGS = {"w=0": {}, "w=0.5": {"query_weight": 0.5}}
SUPPORT = ("0", "1", "3", "10")
OTHERS: dict[str, dict[str, Any]] = {
    "d=16, 12 models, w=0.5": {"dimensions": 16, "models": 12, "query_weight": 0.5},
    "d=4, temperature 0.6": {"dimensions": 4, "temperature": 0.6},
    "20 users": {"users": 40},
}

STRUCTURED: dict[str, dict[str, Any]] = {"4 groups, 160 users": {"groups": 4, "users": 160}, "2 topics, 160 users": {"topics": 2, "users": 160}}


def interval(values: list[float]) -> dict[str, float]:
    low, high = student_interval(np.array(values)) or (np.nan, np.nan)
    return {"mean": float(np.mean(values)), "low": low, "high": high}


def world_areas(settings: dict[str, Any], worlds: int, with_graph: int, folder: Path) -> dict[str, Any]:
    """Return areas under the ROC curve over worlds, by router and number of ratings; the first worlds also train the graph network."""
    rows: dict[str, list[list[float]]] = {"gmtrouter": [], "user-ridge": [], "posterior": []}
    opposite, shuffled, used, gains, seconds = [], [], 0, [], ([], [])
    for seed in range(worlds):
        began = time.process_time()
        trial = WorldTrial(
            TasteWorld.drawn(seed, WorldSettings(**settings)), folder, GMTRouterConfig(model="combined" if seed < with_graph else "preference")
        )
        seconds[seed < with_graph].append(time.process_time() - began)
        areas, users = trial.areas(), trial.world.unseen_users
        areas["posterior"] = trial.posterior_areas()
        for name in rows:
            rows[name].append(areas[name])
        opposite.append(trial.areas(trial.world.opposite)["gmtrouter"][3])
        order = np.random.default_rng(seed).permutation(len(users))
        donor = {users[place]: users[other] for place, other in zip(order, np.roll(order, 1), strict=True)}
        shuffled.append(trial.areas(donor.__getitem__)["gmtrouter"][3])
        used += bool(trial.metrics.get("graph_used"))
        if seed < with_graph:
            gains.append({name: trial.metrics[name] for name in ("graph_gain", "graph_gain_error")})
    named = {name: cells(found) for name, found in rows.items()}
    others = {"above_ridge": "user-ridge", "minus_posterior": "posterior"}
    differences = {name: cells(np.subtract(rows["gmtrouter"], rows[other]).tolist()) for name, other in others.items()}
    checks: dict[str, Any] = {
        "opposite": interval(opposite),
        "shuffled": interval(shuffled),
        "graph_used": used,
        "graph_trained": min(worlds, with_graph),
        "graph_gains": gains,
    }
    checks |= {name: float(np.mean(found)) for name, found in zip(("cpu_seconds", "cpu_seconds_with_graph"), seconds, strict=True) if found}
    return {**named, **differences, **checks}


def structured_areas(worlds: int, folder: Path) -> dict[str, Any]:
    """Return areas in worlds with groups and topics, of the preference model, the graph network alone, per-user ridge and the posterior."""
    parts = {"preference": GMTRouterConfig(model="preference"), "graph": GMTRouterConfig(model="graph", steps=400, learning_rate=3e-3)}
    found: dict[str, Any] = {}
    for kind, settings in STRUCTURED.items():
        rows: dict[str, list[list[float]]] = {name: [] for name in (*parts, "user-ridge", "posterior")}
        for seed in range(worlds):
            world = TasteWorld.drawn(seed, WorldSettings(**settings))
            trials = {name: WorldTrial(world, folder, options) for name, options in parts.items()}
            areas = {name: trial.areas() for name, trial in trials.items()}
            for name, own in areas.items():
                rows[name].append(own["gmtrouter"])
            rows["user-ridge"].append(areas["graph"]["user-ridge"])
            rows["posterior"].append(trials["graph"].posterior_areas(300))
        found[kind] = {name: cells(own) for name, own in rows.items()}
    return found


def profile_areas(worlds: int, folder: Path) -> dict[str, Any]:
    """Return areas at w = 0 with and without the users' contexts and preferred models."""
    kinds = {"neither": (False, False), "context": (True, False), "preferred": (False, True), "both": (True, True)}
    found: dict[str, list[list[float]]] = {name: [] for name in kinds}
    for seed in range(worlds):
        world = TasteWorld.drawn(seed, WorldSettings(profiles=True))
        for name, (context, preferred) in kinds.items():
            options = GMTRouterConfig(model="preference", use_context=context, use_preferred=preferred)
            found[name].append(WorldTrial(world, folder, options).areas()["gmtrouter"])
    return {name: cells(rows) for name, rows in found.items()}


def cells(rows: list[list[float]]) -> dict[str, dict[str, float]]:
    """Return the interval of each number of ratings."""
    return {size: interval([row[place] for row in rows]) for place, size in enumerate(SUPPORT)}


def false_positives(users: int, validations: int = 10, trainings: int = 20_000) -> dict[str, float]:
    """Return how often a graph network without any effect is used, with and without the correction for the number of validations.

    The gain of each held-out user is a random walk over the validations.
    """
    draw, used = np.random.default_rng(0), {"uncorrected": 0, "corrected": 0}
    for _ in range(trainings):
        gains = draw.normal(size=(validations, users)).cumsum(axis=0)
        best = gains[gains.mean(axis=1).argmax()]
        errors = best.mean() / (best.std(ddof=1) / np.sqrt(users))
        for name, counted in (("uncorrected", 1), ("corrected", validations)):
            used[name] += errors > needed_errors(users, counted)
    return {name: float(count / trainings) for name, count in used.items()}


def speed(folder: Path) -> dict[str, float]:
    """Return milliseconds of processor time of a score over 10 models, of an update, and of a pass over the graphs of all users."""
    config = GMTRouterConfig(model="preference")
    trial = WorldTrial(TasteWorld.drawn(0, WorldSettings(models=10)), folder, config)
    model = trial.router._trained()  # the parts are timed one by one
    network = ServedNetwork(config, model.dimensions, parameters_of(GraphNetwork(config, model.dimensions)))
    histories = list(trial.router._users.values())
    full = max(histories, key=lambda history: len(history.judgements))
    features, query, vector, state = (
        model.features(trial.pool.names),
        np.ones(model.dimensions),
        model.user_vector(full),
        network.user_state(full, model),
    )

    def update_all() -> None:
        for history in histories:
            network.user_state(history, model)
            model.user_vector(history)

    ten = UserHistory(full.judgements[:10])
    parts: dict[str, Callable[[], object]] = {
        "score_ms": lambda: model.utility(vector, query, features) + network.scores(state, query, features.x),
        "update_10_turns_ms": lambda: (network.user_state(ten, model), model.user_vector(ten)),
        "update_30_turns_ms": lambda: (network.user_state(full, model), model.user_vector(full)),
        "all_users_ms": update_all,
    }
    return {name: median_ms(part, 3 if name == "all_users_ms" else 30) for name, part in parts.items()} | {"users": float(len(histories))}


def median_ms(part: Callable[[], object], times: int) -> float:
    """Return the median processor time of a call in milliseconds, which other programs do not change."""
    part()
    return 1e3 * float(np.median([cpu_s(part) for _ in range(times)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=12)
    parser.add_argument("--other-worlds", type=int, default=4)
    parser.add_argument("--graph-worlds", type=int, default=3, help="worlds of each kind in which the graph network is trained")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: dict[str, Any] = {key: world_areas(settings, arguments.worlds, arguments.graph_worlds, folder) for key, settings in SETTINGS.items()}
        found |= {key: world_areas(settings, arguments.other_worlds, 0, folder) for key, settings in OTHERS.items()}
        found["profiles"] = profile_areas(arguments.other_worlds, folder)
        found["structured"] = structured_areas(arguments.other_worlds, folder)
        found["false_positives"] = {str(users): false_positives(users) for users in (10, 20, 100)}
        found["speed"] = speed(folder)
    text = json.dumps({"schema": 1, "worlds": arguments.worlds, "results": found}, indent=1)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
