"""The tables of the page: rows of cells, each with the number that it shows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from aamc_report.data import Results
from aamc_report.formats import DASH, Format, aligned, fixed, milliseconds, percent


@attrs.frozen
class Column:
    """A column of the comparison.

    Attributes:
        metric: Its key in ``metrics.json``.
        title: What stands above it.
        unit: What its numbers count, or nothing.
        meaning: What it says, in a sentence.
    """

    metric: str
    title: str
    unit: str
    meaning: str


COLUMNS = (
    Column("success_rate", "Success rate", "", "Share of queries with a quality of at least one half."),
    Column("mean_quality", "Mean quality", "0 to 1", "Mean quality of the answers."),
    Column("mean_cost_usd", "Mean cost", "USD", "Mean cost of a query, with what deciding cost."),
    Column("mean_latency_ms", "Mean latency", "ms", "Mean time from request to answer."),
    Column("p95_latency_ms", "p95 latency", "ms", "Latency that 95% of the queries stay below."),
    Column("efficiency", "Efficiency", "", "Success rate over cost and latency, each in units of llm-only's."),
    Column("expected_utility", "Expected utility", "", "Mean reward over all preferences, each at its own."),
    Column("aiq", "AIQ", "", "Mean quality of the cost-quality hull from the cheapest candidate's cost to the dearest's."),
)
"""What everyone asks first."""
FURTHER_COLUMNS = (
    Column("mean_reward", "Mean reward", "", "Quality, cheapness and quickness, weighed by the preference."),
    Column("worst_regret", "Worst regret", "", "Greatest shortfall of the mean reward to oracle's over all preferences."),
    Column("hypervolume", "Hypervolume", "", "Volume of the objectives that the router's preferences reach together."),
    Column("sparsity", "Sparsity", "", "Mean squared gap between neighbouring trade-offs; the less the denser."),
    Column("arena_score", "Arena score", "", "RouterArena's score of quality and cost."),
    Column("brier", "Brier", "", "Mean squared error of the expected quality."),
    Column("ece", "ECE", "", "Expected calibration error of the expected quality."),
    Column("pgr", "PGR", "", "Share of the gap between the weak and the strong candidate that is recovered."),
    Column("apgr", "APGR", "", "Mean PGR over all shares of strong calls; 0.5 by chance."),
    Column("cpt50", "CPT(50%)", "strong calls", "Least share of strong calls that recovers half of the gap."),
    Column("cpt80", "CPT(80%)", "strong calls", "Least share of strong calls that recovers four fifths of the gap."),
)
"""What a comparison may say beyond that; only those that some router has are shown."""
PAIRED_COLUMNS = (
    Column("difference", "Difference", "", "Mean reward of the first minus that of the second."),
    Column("p", "p", "", "How often chance alone gives a difference this large, either way."),
    Column("p_holm", "p, corrected", "Holm", "The same, corrected for the number of comparisons."),
)
"""What a paired test says."""
PERCENTAGES = ("success_rate", "cpt50", "cpt80")


@attrs.frozen
class Cell:
    """A number, as it is sorted by, and as it reads; with its interval, where it has one."""

    value: float
    text: str
    interval: str = ""

    @property
    def sort_key(self) -> str:
        """The number for scripts, empty where it is unknown."""
        return repr(self.value) if math.isfinite(self.value) else ""


@attrs.frozen
class Row:
    """A row: its name, its cells, and whether it is the headline's."""

    name: str
    cells: Sequence[Cell]
    emphasised: bool = False


def comparison_rows(results: Results, columns: Sequence[Column] = COLUMNS) -> list[Row]:
    """Return a row for each router, with a cell for each column."""
    formats = [_format(results, column.metric) for column in columns]
    return [
        Row(
            router,
            [_cell(results, router, column.metric, write) for column, write in zip(columns, formats, strict=True)],
            router == results.headline,
        )
        for router in results.routers
    ]


def _format(results: Results, metric: str) -> Format:
    if metric in ("mean_cost_usd", "efficiency", "sparsity"):
        return aligned(results.value(router, metric) for router in results.routers)
    if metric in PERCENTAGES:
        return percent
    return milliseconds if metric.endswith("_ms") else fixed(3)


def _cell(results: Results, router: str, metric: str, write: Format) -> Cell:
    return _with_interval(results.value(router, metric), results.interval(router, metric), write)


def _with_interval(value: float, bounds: tuple[float, float], write: Format) -> Cell:
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high)):
        return Cell(value, write(value))
    between = DASH if low >= 0 else " to "  # a dash before a minus sign is hard to read
    return Cell(value, write(value), f"{write(low).rstrip('%')}{between}{write(high)}")


def further_columns(results: Results) -> list[Column]:
    """Return the columns beyond the first table's that some router has a figure for."""
    return [column for column in FURTHER_COLUMNS if results.known(column.metric)]


def paired_rows(results: Results) -> list[Row]:
    """Return a row for each paired test, with a cell for each of ``PAIRED_COLUMNS``."""
    difference, p = fixed(3), fixed(4)
    return [
        Row(
            f"{test.router} minus {test.other}",
            [_with_interval(test.difference, test.interval, difference), Cell(test.p, p(test.p)), Cell(test.p_holm, p(test.p_holm))],
        )
        for test in results.paired
    ]


def category_rows(results: Results) -> list[Row]:
    """Return a row for each category: its number of queries, and each router's success rate."""
    return [
        Row(name, [Cell(count, f"{count:,}"), *(_share(results.category_value(router, name, "success_rate")) for router in results.routers)])
        for name, count in results.categories.items()
    ]


def model_rows(results: Results) -> list[Row]:
    """Return a row for each candidate that the pool has: how often each router chose it."""
    return [Row(name, [_share(results.model_share(router, name)) for router in results.routers]) for name in results.decisions.candidates.tolist()]


def _share(value: float) -> Cell:
    return Cell(value, percent(value))


def summary(results: Results, baseline: str = "llm-only") -> str:
    """Return in a sentence how the headline compares with always asking the strongest model; nothing where it cannot."""
    if baseline not in results.routers or baseline == results.headline or not results.known("success_rate"):
        return ""
    ours, theirs = results.value(results.headline, "success_rate"), results.value(baseline, "success_rate")
    points = 100 * (ours - theirs)
    parts = [f"{abs(points):.1f} points {'more' if points >= 0 else 'fewer'} than {baseline}"]
    for metric, noun in (("mean_cost_usd", "cost"), ("mean_latency_ms", "latency")):
        spent, usual = results.value(results.headline, metric), results.value(baseline, metric)
        if math.isfinite(spent) and usual > 0:
            parts.append(f"{abs(spent / usual - 1):.0%} {'lower' if spent < usual else 'higher'} {noun}")
    return f"{results.headline} succeeds on {percent(ours)} of the queries: {', '.join(parts)}."
