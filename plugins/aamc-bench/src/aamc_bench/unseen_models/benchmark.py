"""Routing with candidates for which training had few or no outcomes.

Some candidates are removed before training and added again: with their description alone, with a few outcomes each, or with all.
The choice of candidates follows from the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from aamc_experiments.setup import ExperimentSetup
from aamc_report.formats import fixed, percent
from aamc_report.style import looks_of
from aamc_report.tables import Column, Table, TableRecord
from matplotlib.figure import Figure

from aamc_bench.benchmark import distinct
from aamc_bench.datasets import SEVERAL_RUNS, DatasetsBenchmark, finished, labels
from aamc_bench.experiment_runs import chosen_routers, settings_of
from aamc_bench.figures import draw_lines, panels
from aamc_bench.grid import JOBS
from aamc_bench.samples import SHARES, Sample, figure, independent, of_shared_routers, over_seeds, questions
from aamc_bench.unseen_models.jobs import DESCRIBED, FULL, WITHOUT, choose_newcomers
from aamc_sdk.plugins import get_plugin_manager

ROUTERS = ("greedy", "ppo", "knn", "ridge", "best-single", "random", "oracle")
"""The default routers, as far as they are installed."""
NEWCOMERS = 1
OUTCOMES = (10, 50, 200)
SEEDS = (0, 1, 2)
ROUTING, EXPECTED = ("aiq", "mean_reward", "new_share"), ("new_brier", "new_mae")
"""Metrics of the routing, and of the expected quality of newcomers, which does not exist without them."""
COLUMNS = (
    Column("AIQ", key="aiq", write=fixed(3)),
    Column("utility", key="mean_reward", write=fixed(4)),
    Column("gain", key="gain", write=fixed(4)),
    Column("calls to new", key="new_share", write=percent),
    Column("Brier of new", key="new_brier", write=fixed(3)),
    Column("MAE of new", key="new_mae", write=fixed(3)),
)
PANELS = (("aiq", "AIQ"), ("gain", "Gain in utility"), ("new_brier", "Brier score of new ones"))
NOTE = (
    "known: the training's knowledge of the newcomers; without: they could not be chosen. AIQ is over the costs of the available candidates. "
    "utility: mean reward at the preference; gain: utility minus that without newcomers, on the same rows. Brier score and MAE are of the "
    "newcomers' quality on test rows that the router, or else the estimator, expects. Means over seeds, each with its own choice of newcomers; "
    "95% intervals of the hierarchical bootstrap (seeds, then test rows)."
)


class UnseenModelsBenchmark(DatasetsBenchmark):
    """``aamc bench unseen-models``."""

    command = "bench unseen-models"
    function = "aamc_bench.unseen_models.jobs:measure"

    def options(
        self,
        datasets: Sequence[str] = (),
        routers: str | None = None,
        seeds: Sequence[int] | None = None,
        newcomers: int | None = None,
        outcomes: Sequence[int] | None = None,
        assignments: Sequence[str] = (),
        **given: Any,
    ) -> dict[str, Any]:
        """Return the datasets, the seeds, the numbers of newcomers and of their outcomes, and the settings of all runs."""
        names = chosen_routers(routers, ROUTERS)
        measured = self.measured(datasets)
        return {
            "datasets": measured,
            "seeds": list(seeds or SEEDS),
            "newcomers": newcomers or NEWCOMERS,
            "outcomes": sorted(outcomes or OUTCOMES),
            "settings": settings_of(names, assignments, SEVERAL_RUNS, dataset=measured[0], **given).to_dict(),
        }

    def check_setup(self, setup: ExperimentSetup, options: Mapping[str, Any]) -> None:
        """Raise if a dataset has too few candidates.

        Raises:
            DataError: The message gives their number.
        """
        choose_newcomers(setup.services.pool, options["newcomers"], options["seeds"][0])

    def variants(self, options: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        """Return one for each level of training's knowledge of the newcomers, from the lowest to the highest."""
        levels = [DESCRIBED, *map(str, options["outcomes"]), FULL]
        return {level: {"newcomers": options["newcomers"], "level": level} for level in levels}

    def content(self, options: Mapping[str, Any], results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Return ``datasets`` and a record for each level and router, as far as levels can be compared on the same seeds.

        A level that no seed has is left out, for example if there are fewer outcomes than it needs; then a seed that lacks another level.
        """
        about, records = [], []
        names, keys = labels(list(options["datasets"])), {level: finished(options, results, level) for level in self.variants(options)}
        for dataset in options["datasets"]:
            own = {level: found[dataset] for level, found in keys.items() if dataset in found}
            done = [seed for seed in options["seeds"] if all(seed in found for found in own.values())]
            if done and DESCRIBED in own:  # its job also measures the routing without newcomers
                found = {seed: results[own[DESCRIBED][seed]][0] for seed in done}
                choices = [{"seed": seed, "newcomers": first["newcomers"], "queries": first["queries"]} for seed, first in found.items()]
                about.append({"dataset": names[dataset], "source": dataset, "seeds": choices})
                records += _records(names[dataset], {level: [folder / JOBS / found[seed] for seed in done] for level, found in own.items()})
        return {"datasets": about, "records": records}

    def tables(self, document: Mapping[str, Any]) -> dict[str, Table]:
        """Return the benchmark's table."""
        names = ", ".join(about["dataset"] for about in document["datasets"])
        title = f"Routing with unseen candidates ({document['options']['newcomers']} a seed): {names}"
        return {"unseen-models": Table.of_records(title, ("dataset", "known", "router"), COLUMNS, document["records"], NOTE)}

    def console_tables(self, tables: Mapping[str, Table]) -> Mapping[str, Table]:
        """Return a table for each dataset."""
        parts = tables["unseen-models"].divided(1)
        return {dataset: attrs.evolve(part, caption=f"Routing with unseen candidates: {dataset}") for (dataset,), part in parts.items()}

    def figures(self, document: Mapping[str, Any]) -> Mapping[str, Callable[[], Figure]]:
        """Return the figure of quality, gain and errors."""
        return {"unseen-models": lambda: draw(document)} if document["records"] else {}


def _records(dataset: str, folders: Mapping[str, Sequence[Path]]) -> list[TableRecord]:
    """Return a record for each level and router of a dataset, from the folders of each level's jobs, one for each seed."""
    samples = {WITHOUT: of_shared_routers([Sample.load(folder / f"{WITHOUT}.npz") for folder in folders[DESCRIBED]])}
    base = dict(zip(samples[WITHOUT][0].routers.tolist(), over_seeds(samples[WITHOUT], "mean_reward"), strict=True))
    samples |= {level: of_shared_routers([Sample.load(folder / f"{level}.npz") for folder in own]) for level, own in folders.items()}
    plugins = get_plugin_manager()
    records: list[TableRecord] = []
    for level, these in samples.items():
        figures = {metric: over_seeds(these, metric) for metric in ROUTING + EXPECTED}
        units = {metric: questions(these) for metric in SHARES if level != WITHOUT}  # without newcomers none is ever chosen
        for position, router in enumerate(these[0].routers.tolist()):
            certain = level == WITHOUT or plugins.load("router", router).privileged  # a router with hindsight has no expectation
            known = {metric: values[position] for metric, values in figures.items() if not (certain and metric in EXPECTED)}
            own = {metric: figure(values, units.get(metric), independent(these)) for metric, values in known.items()}
            if level != WITHOUT and router in base:
                own["gain"] = figure(figures["mean_reward"][position] - base[router])
            records.append({"dataset": dataset, "known": level, "router": router, **own})
    return records


def draw(document: Mapping[str, Any]) -> Figure:
    """Draw quality, gain and errors against the knowledge of the newcomers: a row of panels for each dataset, a line for each router."""
    records = document["records"]
    datasets, routers, levels = (distinct(records, key) for key in ("dataset", "router", "known"))
    page, axes = panels(len(datasets), len(PANELS), height=3.0)
    places = [(dataset, *panel) for dataset in datasets for panel in PANELS]
    for panel, (dataset, key, title) in zip(axes, places, strict=True):
        panel.set_title(title if len(datasets) == 1 else f"{dataset}: {title}")
        own = [record for record in records if record["dataset"] == dataset]
        lines = {name: {float(levels.index(record["known"])): record.get(key) for record in own if record["router"] == name} for name in routers}
        draw_lines(panel, range(len(levels)), lines, looks_of(routers))
        panel.set_xticks(range(len(levels)), levels, rotation=30, ha="right")
        panel.set_xlabel("known of the new candidates")
    page.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(routers), 8))
    return page
