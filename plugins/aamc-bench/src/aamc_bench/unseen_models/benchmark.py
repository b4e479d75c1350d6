"""Routing with candidates that training knew little or nothing of.

Some candidates are taken away before training and added again: by their description alone, with a few outcomes each, or with
all. Which ones are new follows from the seed, so every seed is another choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from aamc_report.formats import fixed, percent
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aamc_bench.datasets import SEVERAL_RUNS, checked, key_of, labels, settings_on
from aamc_bench.figures import draw_lines, looks_of, panels
from aamc_bench.grid import JOBS, Job
from aamc_bench.samples import Sample, alike, figure, over_seeds
from aamc_bench.tables import Column, Record, Table
from aamc_bench.training import installed, settings_of
from aamc_bench.unseen_models.hiding import choose_newcomers
from aamc_bench.unseen_models.newcomers import DESCRIBED, FULL, WITHOUT
from aamc_sdk.cli.options import split_names
from aamc_sdk.plugins import get_plugin_manager

ROUTERS = ("greedy", "ppo", "knn", "ridge", "best-single", "random", "oracle")
"""What is measured by default, as far as it is installed."""
NEWCOMERS = 1
OUTCOMES = (10, 50, 200)
SEEDS = (0, 1, 2)
ROUTING, EXPECTED = ("aiq", "mean_reward", "new_share"), ("new_brier", "new_mae")
"""Figures of the routing, and of the quality that is expected of newcomers: without them there is none to expect."""
COLUMNS = (
    Column("aiq", "AIQ", fixed(3)),
    Column("mean_reward", "utility", fixed(4)),
    Column("gain", "gain", fixed(4)),
    Column("new_share", "calls to new", percent),
    Column("new_brier", "Brier of new", fixed(3)),
    Column("new_mae", "MAE of new", fixed(3)),
)
PANELS = (("aiq", "AIQ"), ("gain", "Gain in utility"), ("new_brier", "Brier score of new ones"))
NOTE = (
    "known: what training knew of the newcomers; without: they could not be chosen. AIQ is over the costs of the candidates that can be chosen. "
    "utility: mean reward at the preference; gain: the same less that without them, on the same rows. Brier score and MAE are of the quality "
    "that the router expects of newcomers on test rows, or else was given by the estimator. Means over seeds, each another choice of newcomers; "
    "95% intervals of the hierarchical bootstrap (seeds, then test rows)."
)


def options_of(
    datasets: Sequence[str] = (),
    routers: str | None = None,
    seeds: Sequence[int] | None = None,
    newcomers: int | None = None,
    outcomes: Sequence[int] | None = None,
    assignments: Sequence[str] = (),
    **given: Any,
) -> dict[str, Any]:
    """Return all that the result follows from, by the command line's options; what is not given has its default."""
    names = installed(ROUTERS, get_plugin_manager()) if routers is None else split_names(routers)
    measured = list(datasets) or ["synthetic"]
    return {
        "datasets": measured,
        "seeds": list(seeds or SEEDS),
        "newcomers": newcomers or NEWCOMERS,
        "outcomes": sorted(outcomes or OUTCOMES),
        "settings": settings_of(names, assignments, SEVERAL_RUNS, dataset=measured[0], **given).plain(),
    }


def checked_options(**given: Any) -> dict[str, Any]:
    """Return :func:`options_of`, of which a run on each dataset can begin, and has enough candidates.

    Raises:
        DataError: It has too few.
    """
    options = options_of(**given)
    return checked(options, lambda world: choose_newcomers(world.services.pool, options["newcomers"], options["seeds"][0]))


def levels_of(options: Mapping[str, Any]) -> list[str]:
    """Return what training may know of the newcomers, the least first."""
    return [DESCRIBED, *map(str, options["outcomes"]), FULL]


def jobs_of(options: Mapping[str, Any]) -> list[Job]:
    """Return a job for each dataset, seed and level."""
    return [
        Job(
            key_of(number, dataset, seed, level),
            "aamc_bench.unseen_models.newcomers:measure",
            {"settings": settings_on(options, dataset, seed), "newcomers": options["newcomers"], "level": level},
        )
        for number, dataset in enumerate(options["datasets"], start=1)
        for seed in options["seeds"]
        for level in levels_of(options)
    ]


def document_of(options: Mapping[str, Any], results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the experiment's JSON document from the jobs that are done, as far as levels can be compared on the same seeds.

    A level that no seed has is left out, as where there are fewer outcomes than it asks for; then a seed that lacks another.

    Args:
        options: What it was begun with.
        results: What the jobs returned, by key.
        folder: Where their files are.
    """
    about, records = [], []
    names = labels(list(options["datasets"]))
    for number, dataset in enumerate(options["datasets"], start=1):
        keys = {(seed, level): key_of(number, dataset, seed, level) for seed in options["seeds"] for level in levels_of(options)}
        levels = [level for level in levels_of(options) if any(keys[seed, level] in results for seed in options["seeds"])]
        done = [seed for seed in options["seeds"] if all(keys[seed, level] in results for level in levels)]
        if done and DESCRIBED in levels:  # which also measures the routing without newcomers
            found = {seed: results[keys[seed, DESCRIBED]][0] for seed in done}
            choices = [{"seed": seed, "newcomers": first["newcomers"], "queries": first["queries"]} for seed, first in found.items()]
            about.append({"dataset": names[dataset], "source": dataset, "seeds": choices})
            records += _records(names[dataset], {level: [folder / JOBS / keys[seed, level] for seed in done] for level in levels})
    return {"schema": 1, "command": "bench unseen-models", "options": options, "datasets": about, "records": records}


def _records(dataset: str, folders: Mapping[str, Sequence[Path]]) -> list[Record]:
    """Return a record for each level and router of a dataset, from the folders of each level's jobs, a job a seed."""
    samples = {WITHOUT: alike([Sample.load(folder / f"{WITHOUT}.npz") for folder in folders[DESCRIBED]])}
    base = dict(zip(samples[WITHOUT][0].routers.tolist(), over_seeds(samples[WITHOUT], "mean_reward"), strict=True))
    samples |= {level: alike([Sample.load(folder / f"{level}.npz") for folder in own]) for level, own in folders.items()}
    plugins = get_plugin_manager()
    records: list[Record] = []
    for level, these in samples.items():
        figures = {metric: over_seeds(these, metric) for metric in ROUTING + EXPECTED}
        for position, router in enumerate(these[0].routers.tolist()):
            certain = level == WITHOUT or plugins.load("router", router).privileged  # hindsight expects nothing, it knows
            own = {metric: figure(values[position]) for metric, values in figures.items() if not (certain and metric in EXPECTED)}
            if level != WITHOUT and router in base:
                own["gain"] = figure(figures["mean_reward"][position] - base[router])
            records.append({"dataset": dataset, "known": level, "router": router, **own})
    return records


def tables_of(document: Mapping[str, Any]) -> dict[str, Table]:
    """Return the experiment's table."""
    names = ", ".join(about["dataset"] for about in document["datasets"])
    title = f"Routing with unseen candidates ({document['options']['newcomers']} a seed): {names}"
    return {"unseen-models": Table(title=title, names=("dataset", "known", "router"), columns=COLUMNS, records=document["records"], note=NOTE)}


def for_the_console(table: Table) -> dict[str, Table]:
    """Return a table for each dataset, which leaves room for the figures."""
    found = {}
    for dataset in dict.fromkeys(record["dataset"] for record in table.records):
        records = [record for record in table.records if record["dataset"] == dataset]
        found[dataset] = attrs.evolve(table, title=f"Routing with unseen candidates: {dataset}", names=table.names[1:], records=records)
    return found


def draw(document: Mapping[str, Any]) -> Figure:
    """Draw quality, gain and errors against what is known of the newcomers: a row of panels a dataset, a line a router."""
    records = document["records"]
    datasets = list(dict.fromkeys(record["dataset"] for record in records))
    routers = list(dict.fromkeys(record["router"] for record in records))
    levels = list(dict.fromkeys(record["known"] for record in records))
    page, axes = panels(len(datasets), len(PANELS), height=3.0)
    places = [(dataset, *panel) for dataset in datasets for panel in PANELS]
    for panel, (dataset, key, title) in zip(axes, places, strict=True):
        panel.set_title(title if len(datasets) == 1 else f"{dataset}: {title}")
        own = [record for record in records if record["dataset"] == dataset]
        lines = {name: {float(levels.index(record["known"])): record.get(key) for record in own if record["router"] == name} for name in routers}
        draw_lines(panel, range(len(levels)), lines, looks_of(routers))
        _name_levels(panel, levels)
    page.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(routers), 8))
    return page


def _name_levels(axes: Axes, levels: Sequence[str]) -> None:
    axes.set_xticks(range(len(levels)), levels, rotation=30, ha="right")
    axes.set_xlabel("known of the new candidates")
