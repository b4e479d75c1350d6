"""The regret of routers that learn while they serve, scenario by scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs
from aamc_report.tables import Table, TableRecord

from aamc_bench.bandit.budgets import FILE as BUDGETS_FILE
from aamc_bench.bandit.budgets import OWN_ROUTERS, PARETO, TRAFFIC, UNPACED
from aamc_bench.bandit.jobs import BEST_FIXED, FILE
from aamc_bench.bandit.replay_data import KNOWLEDGE, LABELS
from aamc_bench.bandit.scenarios import SCENARIOS
from aamc_bench.bandit.tables import BUDGETS, PUBLISHED, UNIFORM, StreamResults, budget_records, figures_of, tables_of
from aamc_bench.datasets import SEVERAL_RUNS, DatasetsBenchmark, finished, job_key, labels, settings_on
from aamc_bench.experiment_runs import chosen_routers, settings_of
from aamc_bench.grid import JOBS, GridJob
from aamc_bench.options import chosen_names
from aamc_sdk.errors import ConfigError
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.storage import read_arrays

LEARNERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "linear-thompson": ("linear-thompson", {}),
    "linucb": ("linear-thompson", {"mode": "linucb"}),
    "thompson": ("thompson", {}),
    "epsilon-greedy": ("epsilon-greedy", {}),
    PUBLISHED: ("thompson", {"blend": "published"}),
    UNIFORM: ("random", {}),
}
"""The measured routers by their names here: the component and its options."""
ESTIMATOR = "lexical"
NONE = "none"
SIZES: Mapping[str, Mapping[str, Any]] = {
    "quick": {"seeds": [0, 1, 2], "streams": 2, "steps": 800, "budgets": [0.25], "budget_streams": 1},
    "full": {"seeds": list(range(10)), "streams": 4, "steps": 1_000_000, "budgets": [0.05, 0.25, 0.5], "budget_streams": 4},
}
"""The sizes of the presets; ``full`` has every row once in each stream."""


class BanditBenchmark(DatasetsBenchmark):
    """``aamc bench bandit``."""

    command = "bench bandit"
    function = "aamc_bench.bandit.jobs:measure"
    tables = staticmethod(tables_of)
    figures = staticmethod(figures_of)

    def options(
        self,
        datasets: Sequence[str] = (),
        routers: str | None = None,
        scenarios: str | None = None,
        estimates: str | None = None,
        seeds: Sequence[int] | None = None,
        streams: int | None = None,
        steps: int | None = None,
        traffic: str | None = None,
        budgets: Sequence[float] | None = None,
        assignments: Sequence[str] = (),
        **given: Any,
    ) -> dict[str, Any]:
        """Return the datasets, seeds, streams and scenarios, and the settings of all runs.

        Raises:
            ConfigError: There is no such router, scenario, traffic or kind of estimates.
        """
        names = _installed() if routers is None else chosen_names("router", routers, "--routers", LEARNERS)
        measured = self.measured(datasets)
        size = SIZES["quick" if given.get("preset") in (None, "quick") else "full"]
        components = list(dict.fromkeys(LEARNERS[name][0] for name in names))
        given["estimator"] = given.get("estimator") or ESTIMATOR
        settings = settings_of(components, assignments, SEVERAL_RUNS, dataset=measured[0], **given)
        assert settings.routers is not None
        choices = {}
        for name in names:
            component, options = LEARNERS[name]
            router = settings.routers[component]
            choices[name] = attrs.evolve(router, options={**router.options, **options})
        kinds = chosen_names("kind of estimates", estimates, "--estimates", KNOWLEDGE)
        return {
            "datasets": measured,
            "seeds": list(seeds or size["seeds"]),
            "streams": streams or size["streams"],
            "steps": steps or size["steps"],
            "scenarios": chosen_names("scenario", scenarios, "--scenarios", SCENARIOS),
            "estimates": kinds if settings.estimator is not None else [LABELS],
            **_budget_options(traffic, list(budgets or size["budgets"]), size["budget_streams"] if streams is None else streams),
            "settings": attrs.evolve(settings, router=choices[names[0]], routers=choices).to_dict(),
        }

    def variants(self, options: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        """Return one for each kind of estimates."""
        shared = {key: options[key] for key in ("scenarios", "streams", "steps")}
        return {knowledge: {"knowledge": knowledge, **shared} for knowledge in options["estimates"]}

    def jobs(self, options: Mapping[str, Any]) -> list[GridJob]:
        """Return the jobs of the scenarios, and one of the budgets for each dataset and seed."""
        found = super().jobs(options)
        if not options["traffic"]:
            return found
        shared = {key: options[key] for key in ("traffic", "budgets", "steps")}
        arguments = {**shared, "knowledge": options["estimates"][0], "routers": options["paced"], "streams": options["budget_streams"]}
        for number, dataset in enumerate(options["datasets"], start=1):
            for seed in options["seeds"]:
                key = job_key(number, dataset, seed, BUDGETS)
                found.append(GridJob(key, "aamc_bench.bandit.budgets:measure", {"settings": settings_on(options, dataset, seed), **arguments}))
        return found

    def remarks(self, document: Mapping[str, Any]) -> Sequence[str]:
        """Say whether ParetoBandit is missing."""
        is_missing = document["budgets"] and PARETO not in document["paced"]
        return ["without paretobandit, which is not installed: pip install paretobandit"] if is_missing else []

    def content(self, options: Mapping[str, Any], results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Return ``datasets``, a record for each scenario and router, and the ``curves`` of their regret."""
        names, routers = labels(list(options["datasets"])), [*options["settings"]["routers"], BEST_FIXED]
        about: list[dict[str, Any]] = []
        records: list[TableRecord] = []
        curves: list[dict[str, Any]] = []
        done = {knowledge: finished(options, results, knowledge) for knowledge in options["estimates"]}
        for dataset in options["datasets"]:
            for knowledge in options["estimates"]:
                keys = done[knowledge].get(dataset)
                if keys is None:
                    continue
                found = StreamResults.of([read_arrays(folder / JOBS / key / FILE) for key in keys.values()])
                place = {"dataset": names[dataset], "estimates": knowledge}
                about.append({**place, "source": dataset, "seeds": {str(seed): results[key] for seed, key in keys.items()}})
                for position, scenario in enumerate(options["scenarios"]):
                    records += [{**place, "scenario": scenario, **record} for record in found.records(position, routers)]
                    curves += [{**place, "scenario": scenario, **curve} for curve in found.curves(position, routers)]
        budgets: list[TableRecord] = []
        for dataset, keys in finished(options, results, BUDGETS).items():
            files = [read_arrays(folder / JOBS / key / BUDGETS_FILE) for key in keys.values()]
            budgets += budget_records(options, {"dataset": names[dataset]}, files)
        return {"datasets": about, "records": records, "curves": curves, "budgets": budgets, "paced": options["paced"]}

    def console_tables(self, tables: Mapping[str, Table]) -> Mapping[str, Table]:
        """Return a table for each dataset and kind of estimates."""
        regret = {
            f"{dataset} {estimates}": attrs.evolve(part, caption=f"Cumulative regret while learning: {dataset}, estimator trained on {estimates}")
            for (dataset, estimates), part in tables["regret"].divided(2).items()
        }
        return regret | {name: part for name, part in tables.items() if name == BUDGETS}


def _installed() -> list[str]:
    """Return the default routers.

    Raises:
        ConfigError: None is installed.
    """
    offered = set(chosen_routers(None, [router for router, _ in LEARNERS.values()]))
    names = [name for name, (router, _) in LEARNERS.items() if router in offered]
    if not names:
        raise ConfigError("there is no router to measure; install aamc-bandit")
    return names


def _budget_options(traffic: str | None, budgets: list[float], streams: int) -> dict[str, Any]:
    """Return the options of the budgets' job; no traffic without ``paced``, or if the user asks for none."""
    offered = "paced" in get_plugin_manager().names("router")
    names = [] if traffic == NONE or not offered else chosen_names("traffic", traffic, "--traffic", TRAFFIC)
    rivals = [PARETO] if find_spec("pareto_bandit") is not None else []
    return {"traffic": names, "budgets": budgets, "budget_streams": streams, "paced": [*OWN_ROUTERS, *rivals, UNPACED]}
