"""Routers beside each other: what everyone asks first, what papers compare by, and paired tests."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import attrs

from aamc_report.cells import Cell, Column, Row, Table, with_interval
from aamc_report.data import Results, number
from aamc_report.formats import Format, aligned, fixed, milliseconds, percent

COLUMNS = (
    Column("Success rate", "", "Share of queries whose quality reaches the threshold, 0.5 by default.", "success_rate"),
    Column("Mean quality", "0 to 1", "Mean quality of the answers.", "mean_quality"),
    Column("Mean cost", "USD", "Mean cost of a query, with what deciding cost.", "mean_cost_usd"),
    Column("Mean latency", "ms", "Mean time from request to answer.", "mean_latency_ms"),
    Column("p95 latency", "ms", "Latency that 95% of the queries stay below.", "p95_latency_ms"),
    Column("Efficiency", "", "Success rate over cost and latency, each in units of llm-only's.", "efficiency"),
    Column("Expected utility", "", "Mean reward over all preferences, each at its own.", "expected_utility"),
    Column("AIQ", "", "Mean quality of the cost-quality hull from the cheapest candidate's cost to the dearest's.", "aiq"),
)
"""What everyone asks first."""
FURTHER_COLUMNS = (
    Column("Mean reward", "", "Quality, cheapness and quickness, weighed by the preference.", "mean_reward"),
    Column("Worst regret", "", "Greatest shortfall of the mean reward to oracle's over all preferences.", "worst_regret"),
    Column("Hypervolume", "", "Volume of the objectives that the router's preferences reach together.", "hypervolume"),
    Column("Sparsity", "", "Mean squared gap between neighbouring trade-offs; the less the denser.", "sparsity"),
    Column("Arena score", "", "RouterArena's score of quality and cost.", "arena_score"),
    Column("Brier", "", "Mean squared error of the expected quality.", "brier"),
    Column("ECE", "", "Expected calibration error of the expected quality.", "ece"),
    Column("PGR", "", "Share of the gap between the weak and the strong candidate that is recovered.", "pgr"),
    Column("APGR", "", "Mean PGR over all shares of strong calls; 0.5 by chance.", "apgr"),
    Column("CPT(50%)", "strong calls", "Least share of strong calls that recovers half of the gap.", "cpt50"),
    Column("CPT(80%)", "strong calls", "Least share of strong calls that recovers four fifths of the gap.", "cpt80"),
)
"""What a comparison may say beyond that; only those that some router has are shown."""
PAIRED_COLUMNS = (
    Column("Difference", "", "Mean reward of the first minus that of the second.", "difference"),
    Column("p", "", "How often chance alone gives a difference this large, either way.", "p"),
    Column("p, corrected", "Holm", "The same, corrected for the number of comparisons.", "p_holm"),
)
"""What a paired test says."""
PERCENTAGES = ("success_rate", "cpt50", "cpt80")


@attrs.frozen
class Entry:
    """A router of a run, and what its row is called."""

    name: str
    results: Results
    router: str
    emphasised: bool

    def value(self, column: Column) -> float:
        """Return the router's figure, NaN where it is null."""
        return self.results.value(self.router, column.metric)

    def cell(self, column: Column, write: Format) -> Cell:
        """Return the router's figure with its interval."""
        return with_interval(self.value(column), self.results.interval(self.router, column.metric), write)


def entries(results: Results) -> list[Entry]:
    """Return a run's routers, in the order of the comparison."""
    return [Entry(router, results, router, router == results.headline) for router in results.routers]


def comparison_table(routers: Sequence[Entry], caption: str, columns: Sequence[Column] = COLUMNS, first: str = "Router") -> Table:
    """Return a row for each router, with a figure and its interval for each column."""
    formats = [_format(column.metric, (router.value(column) for router in routers)) for column in columns]
    rows = [Row(router.name, [router.cell(*written) for written in zip(columns, formats, strict=True)], router.emphasised) for router in routers]
    return Table(caption, first, columns, rows)


def _format(metric: str, values: Iterable[float]) -> Format:
    if metric in ("mean_cost_usd", "efficiency", "sparsity"):
        return aligned(values)
    if metric in PERCENTAGES:
        return percent
    return milliseconds if metric.endswith("_ms") else fixed(3)


def further_tables(results: Results) -> list[Table]:
    """Return the columns beyond the first table's that some router has a figure for; nothing where no router has any."""
    columns = [column for column in FURTHER_COLUMNS if results.known(column.metric)]
    caption = "What papers compare routers by. In small type: 95% intervals. A heading says what it means."
    return [comparison_table(entries(results), caption, columns)] if columns else []


def paired_tables(results: Results) -> list[Table]:
    """Return a row for each paired test, with a cell for each of ``PAIRED_COLUMNS``; nothing without tests."""
    difference, p = fixed(3), fixed(4)
    rows = []
    for test in results.paired:
        cells = [with_interval(test.difference, test.interval, difference), Cell(test.p, p(test.p)), Cell(test.p_holm, p(test.p_holm))]
        rows.append(Row(f"{test.router} minus {test.other}", cells))
    caption = "Difference of the mean rewards on the same queries, at the preference. In small type: 95% intervals."
    return [Table(caption, "Routers", PAIRED_COLUMNS, rows)] if rows else []


def cost_of_quality_tables(results: Results) -> list[Table]:
    """Return what each router pays for shares of the best single candidate's quality; nothing where no router reaches any."""
    known = {router: results.cost_at_quality(router) for router in results.routers}
    targets = list(dict.fromkeys(target for costs in known.values() for target in costs))
    if not any(math.isfinite(cost) for costs in known.values() for cost, _ in costs.values()):
        return []
    nothing = (math.nan, (math.nan, math.nan))
    rows = [
        Row(router, [with_interval(*costs.get(target, nothing), percent) for target in targets], router == results.headline)
        for router, costs in known.items()
    ]
    caption = "Least cost on a router's hull that reaches a share of the best single candidate's quality, as a share of that candidate's cost."
    return [Table(caption, "Router", [Column(f"{float(target):.0%}", "of its quality") for target in targets], rows)]


def facts(results: Results) -> dict[str, object]:
    """Return what a page says of a run's data, None where it is not known."""
    data = results.data
    return {
        "Data": data.get("source"),
        "Split": data.get("split") if data.get("split") != "test" else None,
        "Queries": f"{data['queries']:,}" if isinstance(data.get("queries"), int) else None,
        "Models": len(results.decisions.candidates),
        "Preference": ", ".join(f"{number(weight):.3g}" for weight in data.get("preference") or []),
        "Seed": results.run.settings.seed,
    }
