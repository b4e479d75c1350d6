"""``aamc bench control``: the share of the gain from planning ahead that PPO reaches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from aamc_environments.queue import SCENARIOS, NotConvergedError, read_world, reference_rule
from aamc_report.formats import fixed, whole
from aamc_report.tables import Column, Table

from aamc_bench.benchmark import Benchmark, Stage
from aamc_bench.control.jobs import EVALUATION, QUERIES, REWARDS_FILE, ScenarioWorld
from aamc_bench.grid import JOBS, GridJob
from aamc_bench.options import chosen_names
from aamc_bench.samples import student_interval
from aamc_sdk import Preference
from aamc_sdk.config import configure, set_option, unstructure
from aamc_sdk.errors import ConfigError, PoolError
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.routing import find_pool, pool_to_dict
from aamc_sdk.storage import plain, read_arrays
from aamc_sdk.types import Floats

GREEDY, REFERENCE = "greedy-truth", "reference"
COLUMNS = (
    Column("mean reward", key="reward", write=fixed(4)),
    Column("gap closed, %", key="closed", write=fixed(1, factor=100)),
    Column("bound", key="bound", write=fixed(4)),
    Column("warm-up", key="warm_up", write=whole),
    Column("steps", key="steps", write=whole),
)
NOTE = (
    "mean reward: true expected reward at the scenario's preference. gap closed: share of the way from greedy-truth (0) to reference (100). "
    "bound: no policy earns more on average; the fluid bound in daily-budget, else the best candidate of each query in an idle pool. "
    "All policies but greedy see true expectations; greedy's quality has an error of .1, or of environment.noise. The same streams for all, after a "
    "warm-up in which greedy's rewards settle (4,000 steps at most, or four recoveries of a resource; they may change after it). "
    "Warm-up and steps are per stream. 95% intervals over seeds (Student), or over streams if there is one seed. No gap is closed where the interval "
    "of the gap includes 0 or less, or the gap is below .0001, or that share of a mean reward below -1. "
    "At trust factor 0 ppo learned nothing beyond greedy-truth and decides by it."
)
REFUSED = {
    "scenario": "is chosen by --scenario here; leave it out of --set",
    "events": "change the pool, and reference and bound are those of an unchanged pool; leave them out of --set",
    "horizon": "restarts the streams, which are measured after a warm-up; leave it out",
}
"""Options of the environment that cannot be set, and why."""
MIN_GAP = 1e-4
"""The last digit of the rewards in the table, in units of the reward or of its size if that is above 1: shares of a smaller gap would say nothing."""


class ControlBenchmark(Benchmark):
    """``aamc bench control``."""

    command = "bench control"
    _streams: dict[str, Mapping[str, float]]

    def options(
        self,
        scenarios: str | None = None,
        pool: str | None = None,
        assignments: Sequence[str] = (),
        preference: str | None = None,
        seeds: Sequence[int] | None = None,
        steps: int | None = None,
        preset: str | None = None,
        sb3: bool | None = None,
        **given: Any,
    ) -> dict[str, Any]:
        """Return the pool, the environment and the preference of each scenario, the seeds, and the router's and the reward's options.

        Raises:
            ConfigError: There is no such scenario, or an option is wrong.
        """
        chosen = _options_by_section(assignments)
        router = {**chosen.get("router", {}), **({} if steps is None else {"total_timesteps": steps})}
        names = chosen_names("scenario", scenarios, "--scenario", SCENARIOS, "scarce-server,forecast")
        if scenarios is None:
            names.remove("default")
        plugins = get_plugin_manager()
        configure(plugins.load("router", "ppo").Config, router, preset=preset or "full", where="router")
        found = None if pool is None else pool_to_dict(find_pool(pool, plugins))
        environment = chosen.get("environment", {})
        if "world" in environment:  # its content, so that a sweep resumes in the same world wherever and whenever
            environment["world"] = unstructure(read_world(environment["world"]))
        return {
            "scenarios": {
                name: {
                    "pool": pool_to_dict(SCENARIOS[name].pool) if found is None else found,
                    "environment": {"world": SCENARIOS[name].world, **environment, "scenario": name},
                    "preference": preference or SCENARIOS[name].preference,
                }
                for name in names
            },
            "seeds": list(seeds or range(5)),
            "router": router,
            "preset": preset or "full",
            "sb3": bool(sb3),
            **({"reward": chosen["reward"]} if "reward" in chosen else {}),
        }

    def checked_options(self, **given: Any) -> dict[str, Any]:
        """Return the options after a check that each scenario can be built and has a reference policy with each seed."""
        options = plain(self.options(**given))
        for name, scenario in options["scenarios"].items():
            weights, pool = Preference.parse(scenario["preference"]).array, find_pool(scenario["pool"], get_plugin_manager())
            if len(pool) < 2:
                raise PoolError(f"policies differ only where there is a choice, and the pool has {len(pool)} candidate; add one to the pool's file")
            for seed in options["seeds"]:
                world = ScenarioWorld.of(pool, scenario["environment"], seed, options.get("reward"))
                for split in QUERIES:
                    world.environment.vector(1, split)  # a limit may be enough for the queries of one split alone
                try:
                    reference_rule(world.streams(1, weights, seed + EVALUATION), weights)
                except NotConvergedError as error:
                    raise NotConvergedError(f"scenario {name}, seed {seed}: {error}") from error
        return dict(options)

    def stages(self, options: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[Stage]:
        """Yield the one stage: a job for each scenario and seed."""
        shared = {key: options[key] for key in ("router", "preset", "sb3", "reward") if key in options}
        yield Stage(
            [
                GridJob(f"{name}-seed{seed}", "aamc_bench.control.jobs:measure", {**scenario, **shared, "seed": seed})
                for name, scenario in options["scenarios"].items()
                for seed in options["seeds"]
            ]
        )

    def content(self, options: Mapping[str, Any], results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Return mean rewards, closed gaps and trust factors, by seed, of the scenarios that have results."""
        found = []
        for name in options["scenarios"]:
            keys = {str(seed): key for seed in options["seeds"] if (key := f"{name}-seed{seed}") in results}
            if keys:
                rewards = [read_arrays(folder / JOBS / key / REWARDS_FILE) for key in keys.values()]
                trust = {seed: results[key].get("trust") for seed, key in keys.items()}
                found.append({"name": name, **summary(rewards), "trust": trust})
        return {"scenarios": found}

    def document(self, options: Mapping[str, Any], results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Return the JSON document, without options, lengths of streams and bounds, which the table has."""
        self._streams = {}
        for name in options["scenarios"]:
            if found := [result for key, result in results.items() if key.rpartition("-seed")[0] == name]:
                longest = max(found, key=lambda result: float(result["warm_up"]))
                self._streams[name] = {**longest, "bound": float(np.mean([result.get("bound", math.nan) for result in found]))}
        return {"schema": 1, **self.content(options, results, folder)}

    def tables(self, document: Mapping[str, Any]) -> dict[str, Table]:
        """Return the table."""
        scenarios = document["scenarios"]
        records = [
            {
                "scenario": scenario["name"],
                "policy": name,
                "reward": {"value": mean["mean_reward"], "ci95": mean["ci95"]},
                "closed": None if closed is None else {"value": closed[name]["mean"], "ci95": closed[name]["ci95"]},
                **{key: {"value": self._streams[scenario["name"]][key]} for key in ("bound", "warm_up", "steps")},
            }
            for scenario in scenarios
            for closed in (scenario["gap_closed"],)
            for name, mean in scenario["policies"].items()
        ]
        factors = {scenario["name"]: ["none" if factor is None else f"{factor:g}" for factor in scenario["trust"].values()] for scenario in scenarios}
        trust = [f"{name} {', '.join(found)}" for name, found in factors.items()]
        note = f"{NOTE} Trust factors by seed: {'; '.join(trust)}."
        return {"control": Table.of_records("Control: planning ahead", ("scenario", "policy"), COLUMNS, records, note)}

    def remarks(self, document: Mapping[str, Any]) -> Sequence[str]:
        """Say where PPO learned nothing."""
        untrusted = {scenario["name"]: [seed for seed, factor in scenario["trust"].items() if factor == 0] for scenario in document["scenarios"]}
        return [
            f"{name}: ppo learned nothing beyond greedy-truth and decides by it (trust factor 0), with seed {', '.join(seeds)}; try more --steps"
            for name, seeds in untrusted.items()
            if seeds
        ]


def _options_by_section(assignments: Sequence[str]) -> dict[str, Any]:
    """Return the options of ``--set`` by section: environment, reward and router.

    Raises:
        ConfigError: An assignment is not of an option that can be set.
    """
    chosen: dict[str, Any] = {}
    for assignment in assignments:
        set_option(chosen, assignment)
    if unknown := sorted(chosen.keys() - {"environment", "reward", "router"}):
        raise ConfigError(f"--set {unknown[0]}...: only options of environment, reward and router can be set, such as environment.load=1.5")
    for section, value in chosen.items():
        if not isinstance(value, dict):
            raise ConfigError(f"--set {section}={value!r} names no option of {section}; write it as in environment.load=1.5")
    for key, why in REFUSED.items():
        if key in chosen.get("environment", {}):
            raise ConfigError(f"environment.{key} {why}")
    return chosen


def summary(rewards: Sequence[Mapping[str, Floats]]) -> dict[str, Any]:
    """Return ``policies`` and ``gap_closed`` from the streams' mean rewards ``[n]`` by policy, for each seed."""
    names = list(rewards[0])
    policies = {}
    for name in names:
        mean, low, high = mean_and_interval([found[name] for found in rewards])
        policies[name] = {"mean_reward": mean, "ci95": [low, high]}
    gap, low, _ = mean_and_interval([found[REFERENCE] - found[GREEDY] for found in rewards])
    scale = max(1.0, *(abs(float(found[GREEDY].mean())) for found in rewards))
    if low <= 0 or gap < MIN_GAP * scale:  # the reference is not better than greedy, or by too little, so there is nothing to close
        return {"policies": policies, "gap_closed": None}
    closed = {}
    for name in names:
        mean, low, high = mean_and_interval([_linearised(found[name] - found[GREEDY], found[REFERENCE] - found[GREEDY]) for found in rewards])
        closed[name] = {"mean": mean, "ci95": [low, high]}
    return {"policies": policies, "gap_closed": closed}


def mean_and_interval(values: Sequence[Floats]) -> tuple[float, float, float]:
    """Return mean and 95% interval: Student's over seeds, or over the streams ``[n]`` of the only one."""
    units = np.array([value.mean() for value in values]) if len(values) > 1 else values[0]
    low, high = student_interval(units) or (math.nan, math.nan)
    return float(units.mean()), low, high


def _linearised(gain: Floats, gap: Floats) -> Floats:
    """Return values ``[n]`` whose mean is mean(gain) / mean(gap), and whose spread gives the ratio's error (delta method)."""
    ratio = gain.mean() / gap.mean()
    return np.asarray(ratio + (gain - ratio * gap) / gap.mean())
