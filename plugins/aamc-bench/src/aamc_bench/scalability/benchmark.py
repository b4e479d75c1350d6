"""Decision time and utility against the number of candidates.

Routers are trained in pools of several sizes, several at a time; then their decisions are timed, one size after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aamc_report.formats import fixed, shortest, significant
from aamc_report.style import looks_of
from aamc_report.tables import Column, Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from aamc_bench.benchmark import Benchmark, Stage, distinct
from aamc_bench.experiment_runs import chosen_routers, settings_of, try_to_begin
from aamc_bench.figures import draw_lines, panels
from aamc_bench.grid import GridJob
from aamc_bench.scalability.jobs import BATCH, CEILING, FLOOR

ROUTERS = ("ppo", "greedy", "supervised", "knn", "ridge", "best-single")
"""The default routers, as far as they are installed; the yardsticks are always measured."""
MODEL_COUNTS = (3, 5, 10, 20)
N_QUERIES = 1000
QUALITY = (
    Column("utility", key="utility", write=fixed(3)),
    Column("share, %", key="share", write=fixed(1, factor=100)),
)
TIME = (
    Column("one at a time, ms", key="single_ms", write=significant(3)),
    Column("p95, ms", key="single_p95_ms", write=significant(3)),
    Column("ratio", key="single_ratio", write=fixed(2)),
    Column("in batches, ms", key="batch_ms", write=significant(3)),
    Column("ratio", key="batch_ratio", write=fixed(2)),
)
QUALITY_NOTE = (
    "utility: mean reward at the preference. share: its position between random's (0%) and oracle's (100%) in the same pool; under load the "
    "oracle considers only the present query, and can be exceeded. Intervals: 95%, bootstrap over streams."
)
TIME_NOTE = (
    f"Wall-clock medians of a decision on this machine, from a query's estimates to the candidate drawn; batches of {BATCH}. "
    "Intervals: 95%, between order statistics. ratio: to the smallest pool's time."
)
PANELS = (
    ("single_ms", "Decision time, one at a time, ms", True),
    ("batch_ms", "Decision time in batches, ms a decision", True),
    ("utility", "Mean utility at the preference", False),
    ("share", "Share of utility, from random's to oracle's", False),
)
"""Each panel's metric, its title, and whether its y axis is logarithmic."""


class ScalabilityBenchmark(Benchmark):
    """``aamc bench scalability``."""

    command = "bench scalability"

    def options(
        self,
        model_counts: Sequence[int] | None = None,
        n_queries: int | None = None,
        routers: str | None = None,
        assignments: Sequence[str] = (),
        **given: Any,
    ) -> dict[str, Any]:
        """Return the pools' sizes, the number of timed decisions, and the settings of all runs."""
        named = chosen_routers(routers, ROUTERS)
        measured = [*(name for name in named if name not in (FLOOR, CEILING)), FLOOR, CEILING]
        settings = settings_of(measured, assignments, **given)
        return {"model_counts": sorted(model_counts or MODEL_COUNTS), "n_queries": n_queries or N_QUERIES, "settings": settings.to_dict()}

    def checked_options(self, **given: Any) -> dict[str, Any]:
        """Return the options after a check that a run can begin in the pool that is to grow."""
        options = self.options(**given)
        try_to_begin(options["settings"])
        return options

    def stages(self, options: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[Stage]:
        """Yield the training in each size, the largest first because it takes longest, then the timing, one size at a time."""
        function, sizes = "aamc_bench.scalability.jobs:train", options["model_counts"]
        yield Stage([GridJob(f"train-{size}", function, {"settings": options["settings"], "size": size}) for size in sorted(sizes, reverse=True)])
        trained = {size: f"train-{size}" for size in sizes if f"train-{size}" in results}
        function, n_queries = "aamc_bench.scalability.jobs:measure", options["n_queries"]
        jobs = [GridJob(f"time-{size}", function, {"trained": key, "n_queries": n_queries}) for size, key in trained.items()]
        yield Stage(jobs, one_at_a_time=True)

    def content(self, options: Mapping[str, Any], results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Return ``batch`` and a record for each size and router."""
        trained, timed = ([row for key, rows in results.items() if key.startswith(kind) for row in rows] for kind in ("train-", "time-"))
        times = {(row["router"], row["candidates"]): row for row in timed}
        smallest = min((candidates for _, candidates in times), default=0)
        records = []
        for row in sorted(trained, key=lambda row: row["candidates"]):  # a stable sort keeps the routers' order
            record, base = {**row, **times.get((row["router"], row["candidates"]), {})}, times.get((row["router"], smallest), {})
            for kind in ("single", "batch"):
                if f"{kind}_ms" in record and base:
                    record[f"{kind}_ratio"] = {"value": record[f"{kind}_ms"]["value"] / base[f"{kind}_ms"]["value"]}
            records.append(record)
        return {"batch": BATCH, "records": records}

    def tables(self, document: Mapping[str, Any]) -> dict[str, Table]:
        """Return the table of utilities and that of times."""
        records = document["records"]
        timed = [record for record in records if "single_ms" in record]
        names = ("candidates", "router")
        return {
            "quality": Table.of_records("Utility by the number of candidates", names, QUALITY, records, QUALITY_NOTE),
            "time": Table.of_records("Decision time by the number of candidates", names, TIME, timed, TIME_NOTE),
        }

    def figures(self, document: Mapping[str, Any]) -> Mapping[str, Callable[[], Figure]]:
        """Return the figure of times and utilities."""
        return {"scalability": lambda: draw(document)}


def draw(document: Mapping[str, Any]) -> Figure:
    """Draw times and utilities against the number of candidates, a line for each router."""
    records = document["records"]
    names = distinct(records, "router")
    counts = sorted({record["candidates"] for record in records})
    looks = looks_of(names)
    page, axes = panels(2, 2, height=2.9)
    for panel, (key, title, logarithmic) in zip(axes, PANELS, strict=True):
        panel.set_title(title)
        lines = {name: {record["candidates"]: record.get(key) for record in records if record["router"] == name} for name in names}
        draw_lines(panel, counts, lines, looks)
        _scale(panel, counts, logarithmic)
    page.legend(*axes[2].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(names), 8))  # every router has a utility
    return page


def _scale(axes: Axes, counts: Sequence[int], logarithmic: bool) -> None:
    """Make the axis of candidates logarithmic, with a tick at each measured size."""
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("candidates")
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: shortest(value))
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))  # times may lie within one power of ten
        axes.yaxis.set_minor_locator(NullLocator())
