"""Routers x datasets x seeds in one table.

Each dataset and seed is one run, in which all routers share estimator, splits and test rows, so that every
difference between routers is paired. The runs go side by side; the table is made of what they kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_report.formats import fixed, milliseconds, percent
from matplotlib.figure import Figure

from aamc_bench.duels import LEVEL, duels, standings
from aamc_bench.figures import draw_intervals, looks_of, panels
from aamc_bench.grid import JOBS, Job, slug
from aamc_bench.metrics import Metric, per_thousand
from aamc_bench.samples import Sample, clear_best, figure, over_seeds
from aamc_bench.tables import Column, Record, Table
from aamc_bench.training import complete_run, installed, settings_of
from aamc_sdk.batch import Floats
from aamc_sdk.cli.options import split_names
from aamc_sdk.evaluation.comparison import Comparison
from aamc_sdk.interfaces import Progress
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.runs import Run
from aamc_sdk.settings import COMPARED, Source

ROUTERS = ("ppo", "knn", "ridge", "logistic", "svm", "mlp", "gbdt", "mf", "irt", "ensemble", *COMPARED)
"""What is compared by default, as far as it is installed: the learned routers, then the baselines."""
SEEDS = (0, 1, 2)
SAMPLE = "sample.npz"
"""The file that a job leaves beside its run, for the table."""
EVERYWHERE = "all datasets"


METRICS = (
    Metric("aiq", "AIQ", fixed(3)),
    Metric("relative_quality", "rel. quality", fixed(3)),
    Metric("cost_at_0.97", "cost at 97%", percent, "least"),
    Metric("apgr", "APGR", fixed(3)),
    Metric("expected_utility", "utility", fixed(3)),
    Metric("mean_reward", "reward", fixed(3)),
    Metric("success_rate", "success", percent, ""),
    Metric("mean_cost_usd", "USD / 1k", per_thousand, ""),
    Metric("mean_latency_ms", "latency, ms", milliseconds, ""),
)
"""The table's figures; one that applies nowhere is left out."""
DRAWN = ("aiq", "expected_utility")
"""The figures that are drawn: over all costs, and over all preferences."""
LEFT_TO_FILES = ("success_rate", "mean_cost_usd", "mean_latency_ms")
"""The figures that only files show."""
COUNTS = (Column("wins", "wins", fixed(0)), Column("ties", "ties", fixed(0)), Column("losses", "losses", fixed(0)))
TEST_COLUMNS = (Column("difference", "reward, a minus b", fixed(4)), Column("p", "p", fixed(4)), Column("p_holm", "p, Holm", fixed(4)))
NOTE = (
    "Means over seeds, with 95% intervals of the hierarchical bootstrap (seeds, then the test rows or streams of each). "
    "rel. quality: the router's best mean quality, as a share of the best single candidate's. "
    "cost at 97%: least cost for 97% of that candidate's quality, as a share of its cost. "
    "Bold: better than every other router but yardsticks, each paired interval clear of zero. "
    "wins, ties, losses: against each other router by mean reward on the same rows, randomisation test, Holm's correction, 5%."
)


def options_of(
    datasets: Sequence[str] = (), routers: str | None = None, seeds: Sequence[int] | None = None, assignments: Sequence[str] = (), **given: Any
) -> dict[str, Any]:
    """Return all that the table follows from, by the command line's options; what is not given has its default."""
    names = split_names(routers) if routers else installed(ROUTERS, get_plugin_manager())
    settings = settings_of(names, assignments, **given)
    return {"datasets": list(datasets) or ["synthetic"], "seeds": list(seeds or SEEDS), "settings": settings.plain()}


def jobs_of(options: Mapping[str, Any]) -> list[Job]:
    """Return a job for each dataset and seed, the seeds of a dataset beside each other."""
    settings, jobs = options["settings"], []
    for n, dataset in enumerate(options["datasets"], start=1):
        source = Source.of(dataset, "--dataset").like(Source.of(settings["dataset"], "dataset"))
        for seed in options["seeds"]:
            run = {**settings, "dataset": source.plain(), "seed": seed}
            jobs.append(Job(f"{n}-{slug(dataset)}-seed{seed}", "aamc_bench.compare:run_and_sample", {"settings": run}))
    return jobs


def run_and_sample(folder: Path, progress: Progress, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Do one run and keep its sample beside it; return how many queries it measured."""
    complete_run(folder, progress, settings)
    run, comparison = Run.open(folder), Comparison.load(folder / "decisions.npz")
    reward = run.services(get_plugin_manager()).reward
    Sample.of(comparison, reward, run.settings.evaluation, run.settings.seed).save(folder / SAMPLE)
    return {"queries": len(comparison.queries)}


def document_of(options: Mapping[str, Any], results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the experiment's JSON document from the jobs that are done.

    Args:
        options: What it was begun with.
        results: What the jobs returned, by key.
        folder: Where their files are.
    """
    done: dict[str, list[str]] = {}
    for job in jobs_of(options):
        if job.key in results:
            done.setdefault(str(Source.of(job.arguments["settings"]["dataset"], "dataset")), []).append(job.key)
    names = labels(list(done))
    blocks = [_block(names[dataset], [Sample.load(folder / JOBS / key / SAMPLE) for key in keys], options) for dataset, keys in done.items()]
    about = [
        {"dataset": names[dataset], "source": dataset, "seeds": len(keys), "queries": sum(results[key]["queries"] for key in keys)}
        for dataset, keys in done.items()
    ]
    records = [record for block in blocks + ([_overall(blocks)] if len(blocks) > 1 else []) for record in block.records()]
    tests = [{"dataset": block.name, **test} for block in blocks for test in block.tests]
    return {"schema": 1, "command": "bench compare", "options": options, "datasets": about, "records": records, "tests": tests}


@attrs.frozen(eq=False)
class Block:
    """The rows of one dataset.

    Attributes:
        name: What the table calls it.
        routers: R of them.
        figures: By metric, ``[R, 1 + B]``; see :func:`aamc_bench.samples.over_seeds`.
        tests: Each pair of routers on the same rows.
        counts: Wins, ties and losses by router.
    """

    name: str
    routers: Sequence[str]
    figures: Mapping[str, Floats]
    tests: Sequence[Mapping[str, Any]]
    counts: Mapping[str, Mapping[str, int]]

    def records(self) -> Sequence[Record]:
        """Return a record for each router."""
        rows: list[dict[str, Any]] = [{"dataset": self.name, "router": router} for router in self.routers]
        plugins = get_plugin_manager()
        rivals = np.array([not plugins.load("router", router).privileged for router in self.routers])
        for metric in METRICS:
            values = self.figures[metric.key]
            competing = np.where(rivals[:, None], values, np.nan)
            best = clear_best(competing, metric.best == "least") if metric.best else None
            for position, row in enumerate(rows):
                row[metric.key] = figure(values[position]) | {"best": position == best}
        for router, row in zip(self.routers, rows, strict=True):
            row |= {name: {"value": count} for name, count in self.counts[router].items()}
        return rows


def _block(name: str, samples: Sequence[Sample], options: Mapping[str, Any]) -> Block:
    routers = samples[0].routers.tolist()
    tests = duels(samples, options["settings"]["evaluation"]["resamples"])
    return Block(name, routers, {metric.key: over_seeds(samples, metric.key) for metric in METRICS}, tests, standings(tests, routers))


def _overall(blocks: Sequence[Block]) -> Block:
    """Return the means over datasets, each counting the same, and the sums of wins, ties and losses."""
    first = blocks[0]
    figures = {metric.key: np.mean([block.figures[metric.key] for block in blocks], axis=0) for metric in METRICS}
    counts = {router: {name: sum(block.counts[router][name] for block in blocks) for name in first.counts[router]} for router in first.routers}
    return Block(EVERYWHERE, first.routers, figures, (), counts)


def labels(sources: Sequence[str]) -> dict[str, str]:
    """Return a short name for each dataset: its format and the last part of its path, or the whole where two would be alike."""
    short = {source: ":".join(filter(None, (source.partition(":")[0], Path(source.partition(":")[2]).name))) for source in sources}
    return {source: name if list(short.values()).count(name) == 1 else source for source, name in short.items()}


def tables_of(document: Mapping[str, Any]) -> dict[str, Table]:
    """Return the comparison's table and that of its paired tests."""
    records = document["records"]
    known = [metric for metric in METRICS if any(record[metric.key]["value"] is not None for record in records)]
    seeds = ", ".join(map(str, document["options"]["seeds"]))
    return {
        "comparison": Table(
            title=f"Routers on {', '.join(about['dataset'] for about in document['datasets'])}; seeds {seeds}",
            names=("dataset", "router"),
            columns=[*(Column(metric.key, metric.heading, metric.format) for metric in known), *COUNTS],
            records=records,
            note=NOTE,
        ),
        "tests": Table(
            title="Each pair of routers on the same rows",
            names=("dataset", "a", "b"),
            columns=[
                Column("difference", "reward of a minus that of b", fixed(4)),
                Column("p", "p", fixed(4)),
                Column("p_holm", "p, Holm", fixed(4)),
            ],
            records=[{**test, **_test_figures(test)} for test in document["tests"]],
        ),
    }


def for_the_console(table: Table) -> Table:
    """Return a table without the columns that would not fit; the files have all."""
    return attrs.evolve(table, columns=[column for column in table.columns if column.key not in LEFT_TO_FILES])


def _test_figures(test: Mapping[str, Any]) -> dict[str, Any]:
    difference = {"value": test["difference"], "ci95": test["ci95"], "best": test["p_holm"] < LEVEL}
    return {"difference": difference, "p": {"value": test["p"]}, "p_holm": {"value": test["p_holm"]}}


def draw(document: Mapping[str, Any]) -> Figure:
    """Draw quality over all costs, and utility over all preferences, of every router: a row of panels a dataset."""
    names = list(dict.fromkeys(record["dataset"] for record in document["records"]))
    routers = list(dict.fromkeys(record["router"] for record in document["records"]))
    drawn = [metric for metric in METRICS if metric.key in DRAWN]
    page, axes = panels(len(names), len(drawn), height=0.6 + 0.19 * len(routers))
    for position, (name, metric) in enumerate(product(names, drawn)):
        rows = {record["router"]: record[metric.key] for record in document["records"] if record["dataset"] == name}
        draw_intervals(axes[position], {router: rows[router] for router in routers if router in rows}, looks_of(routers))
        axes[position].set_title(f"{name}: {metric.heading}")
    return page
