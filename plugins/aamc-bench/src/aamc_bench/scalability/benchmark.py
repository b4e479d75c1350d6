"""Decision time and quality against the number of candidates.

Routers are trained in pools of several sizes, several at a time; then what was trained is timed, one size after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aamc_report.formats import fixed, shortest, significant
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from aamc_bench.figures import draw_lines, looks_of, panels
from aamc_bench.grid import Job
from aamc_bench.scalability.scaling import CEILING, FLOOR
from aamc_bench.scalability.timing import BATCH
from aamc_bench.tables import Column, Table
from aamc_bench.training import installed, settings_of, try_to_begin
from aamc_sdk.cli.options import split_names
from aamc_sdk.plugins import get_plugin_manager

ROUTERS = ("ppo", "greedy", "supervised", "knn", "ridge", "best-single")
"""What is measured by default, as far as it is installed; the yardsticks are always there."""
MODEL_COUNTS = (3, 5, 10, 20)
N_QUERIES = 1000
QUALITY = (
    Column("utility", "utility", fixed(3)),
    Column("share", "share, %", fixed(1, factor=100)),
)
TIME = (
    Column("single_ms", "one at a time, ms", significant(3)),
    Column("single_p95_ms", "p95, ms", significant(3)),
    Column("single_ratio", "ratio", fixed(2)),
    Column("batch_ms", "in batches, ms", significant(3)),
    Column("batch_ratio", "ratio", fixed(2)),
)
QUALITY_NOTE = (
    "utility: mean reward at the preference. share: where it lies between random's (0%) and oracle's (100%) in the same pool; under load the "
    "oracle looks no further than the present query, and can be passed. Intervals: 95%, bootstrap over streams."
)
TIME_NOTE = (
    f"Wall-clock medians of a decision on this machine, from a query's estimates to the candidate drawn; batches of {BATCH}. "
    "Intervals: 95%, between order statistics. ratio: to the smallest pool's."
)
PANELS = (
    ("single_ms", "Decision time, one at a time, ms", True),
    ("batch_ms", "Decision time in batches, ms a decision", True),
    ("utility", "Mean utility at the preference", False),
    ("share", "Share of utility, from random's to oracle's", False),
)
"""Each panel's figure, its title, and whether it counts logarithmically upwards."""


def options_of(
    model_counts: Sequence[int] | None = None,
    n_queries: int | None = None,
    routers: str | None = None,
    assignments: Sequence[str] = (),
    **given: Any,
) -> dict[str, Any]:
    """Return all that the result follows from, by the command line's options; what is not given has its default."""
    named = installed(ROUTERS, get_plugin_manager()) if routers is None else split_names(routers)
    measured = [*(name for name in named if name not in (FLOOR, CEILING)), FLOOR, CEILING]
    settings = settings_of(measured, assignments, **given)
    return {"model_counts": sorted(model_counts or MODEL_COUNTS), "n_queries": n_queries or N_QUERIES, "settings": settings.plain()}


def checked_options(**given: Any) -> dict[str, Any]:
    """Return :func:`options_of`, of which a run can begin in the pool that is to grow."""
    options = options_of(**given)
    try_to_begin(options["settings"])
    return options


def training_jobs(options: Mapping[str, Any]) -> list[Job]:
    """Return a job for each size, the largest first: it takes longest."""
    sizes = sorted(options["model_counts"], reverse=True)
    return [Job(_trained(size), "aamc_bench.scalability.scaling:train", {"settings": options["settings"], "size": size}) for size in sizes]


def timing_jobs(options: Mapping[str, Any], trained: Mapping[str, Any]) -> list[Job]:
    """Return a job for each size whose training is done."""
    sizes = [size for size in options["model_counts"] if _trained(size) in trained]
    return [
        Job(f"time-{size}", "aamc_bench.scalability.timing:clock", {"trained": _trained(size), "n_queries": options["n_queries"]}) for size in sizes
    ]


def _trained(size: int) -> str:
    return f"train-{size}"


def document_of(options: Mapping[str, Any], trained: Mapping[str, Any], timed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the experiment's JSON document from the jobs that are done: a record for each size and router."""
    times = {(row["router"], row["candidates"]): row for rows in timed.values() for row in rows}
    smallest = min((candidates for _, candidates in times), default=0)
    records = []
    for row in sorted((row for rows in trained.values() for row in rows), key=lambda row: row["candidates"]):  # stable: routers keep their order
        own, base = (times.get((row["router"], candidates), {}) for candidates in (row["candidates"], smallest))
        records.append({**row, **own, **_ratios(own, base)})
    return {"schema": 1, "command": "bench scalability", "options": options, "batch": BATCH, "records": records}


def _ratios(own: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many times as long as in the smallest pool a decision takes; nothing where either was not timed."""
    if not own or not base:
        return {}
    return {f"{kind}_ratio": {"value": own[f"{kind}_ms"]["value"] / base[f"{kind}_ms"]["value"]} for kind in ("single", "batch")}


def tables_of(document: Mapping[str, Any]) -> dict[str, Table]:
    """Return the table of utilities and that of times."""
    records = document["records"]
    timed = [record for record in records if "single_ms" in record]
    names = ("candidates", "router")
    return {
        "quality": Table(title="Utility by the number of candidates", names=names, columns=QUALITY, records=records, note=QUALITY_NOTE),
        "time": Table(title="Decision time by the number of candidates", names=names, columns=TIME, records=timed, note=TIME_NOTE),
    }


def draw(document: Mapping[str, Any]) -> Figure:
    """Draw times and utilities against the number of candidates, a line a router."""
    records = document["records"]
    names = list(dict.fromkeys(record["router"] for record in records))
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
    """Count candidates logarithmically, with a tick at each size that was measured."""
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("candidates")
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: shortest(value))
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))  # times may lie within one power of ten
        axes.yaxis.set_minor_locator(NullLocator())
