"""The table and the figure of ``aamc bench compare``, made of what the runs of each dataset kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any

import attrs
import numpy as np
from aamc_report.formats import fixed, milliseconds, percent
from matplotlib.figure import Figure

from aamc_bench.compare.duels import LEVEL, duels, standings
from aamc_bench.figures import draw_intervals, looks_of, panels
from aamc_bench.metrics import Metric, per_thousand
from aamc_bench.samples import Sample, alike, clear_best, figure, over_seeds
from aamc_bench.tables import Column, Record, Table
from aamc_sdk.types import Floats

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

    @classmethod
    def of(cls, name: str, samples: Sequence[Sample], resamples: int, seed: int) -> Block:
        """Put together the samples of a dataset's seeds, of the routers that all have; ``seed`` is that of the resampling."""
        samples = alike(samples)
        routers = samples[0].routers.tolist()
        tests = duels(samples, resamples)
        return cls(name, routers, {metric.key: over_seeds(samples, metric.key, seed) for metric in METRICS}, tests, standings(tests, routers))

    @classmethod
    def mean(cls, blocks: Sequence[Block]) -> Block:
        """Return the means over datasets, each counting the same, and the sums of wins, ties and losses, of the routers that all have."""
        routers = [router for router in blocks[0].routers if all(router in block.routers for block in blocks)]
        rows = [[block.routers.index(router) for router in routers] for block in blocks]
        figures = {
            metric.key: np.mean([block.figures[metric.key][own] for block, own in zip(blocks, rows, strict=True)], axis=0) for metric in METRICS
        }
        counts = {router: {column.key: sum(block.counts[router][column.key] for block in blocks) for column in COUNTS} for router in routers}
        return cls(EVERYWHERE, routers, figures, (), counts)

    def records(self, yardsticks: Collection[str]) -> Sequence[Record]:
        """Return a record for each router; yardsticks do not compete for the best."""
        rows: list[dict[str, Any]] = [{"dataset": self.name, "router": router} for router in self.routers]
        rivals = np.array([router not in yardsticks for router in self.routers])
        for metric in METRICS:
            values = self.figures[metric.key]
            competing = np.where(rivals[:, None], values, np.nan)
            best = clear_best(competing, metric.best == "least") if metric.best else None
            for position, row in enumerate(rows):
                row[metric.key] = figure(values[position]) | {"best": position == best}
        for router, row in zip(self.routers, rows, strict=True):
            row |= {name: {"value": count} for name, count in self.counts[router].items()}
        return rows


def tables_of(document: Mapping[str, Any]) -> dict[str, Table]:
    """Return the comparison's table and that of its paired tests."""
    records = document["records"]
    known = [metric for metric in METRICS if any(record[metric.key]["value"] is not None for record in records)]
    seeds = ", ".join(map(str, document["options"]["seeds"]))
    return {
        "comparison": Table(
            title=f"Routers on {', '.join(about['dataset'] for about in document['datasets'])}; seeds {seeds}",
            names=("dataset", "router"),
            columns=[*known, *COUNTS],
            records=records,
            note=NOTE,
        ),
        "tests": Table(
            title="Each pair of routers on the same rows",
            names=("dataset", "a", "b"),
            columns=TEST_COLUMNS,
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
