"""The comparison of routers: headline metrics, further metrics, paired tests, the promotion gate, and bars of the headline metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import attrs
import numpy as np
from aamc_experiments.evaluation import data_notes, few_queries_note, growing_waits_note, router_notes
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aamc_report.formats import DASH, PER_THOUSAND, Format, aligned, dollars_per_thousand, fixed, listed, milliseconds, percent, significant
from aamc_report.page import Drawing, Section
from aamc_report.results import Results, number
from aamc_report.style import INK, looks, name_rows, new_figure, without_scale
from aamc_report.tables import Cell, Column, Table, TableRow

COLUMNS = (
    Column("Success rate", "", "Share of queries whose quality reaches the threshold, 0.5 by default.", "success_rate", percent),
    Column("Mean quality", "0 to 1", "Mean quality of the answers.", "mean_quality", fixed(3)),
    Column("Mean cost", PER_THOUSAND, "Mean cost of 1,000 queries, including the cost of the decision.", "mean_cost_usd"),
    Column("Mean latency", "ms", "Mean time from request to answer.", "mean_latency_ms", milliseconds),
    Column("p95 latency", "ms", "95% of the queries have less latency.", "p95_latency_ms", milliseconds),
    Column("Efficiency", "", "Success rate over cost and latency, each in units of llm-only's.", "efficiency"),
    Column("Expected utility", "", "Mean reward over all preferences, each at its own.", "expected_utility", fixed(3)),
    Column(
        "AIQ",
        "",
        "Mean quality of the cost-quality hull, from the cost of the cheapest candidate to that of the most expensive one.",
        "aiq",
        fixed(3),
    ),
)
"""The first table's metrics."""
FURTHER_COLUMNS = (
    Column("Mean reward", "", "Quality, cheapness and quickness, weighted by the preference.", "mean_reward", fixed(3)),
    Column("Worst regret", "", "Maximum shortfall of the mean reward to oracle's over all preferences.", "worst_regret", fixed(3)),
    Column("Hypervolume", "", "Volume dominated by the router's preferences together, in the space of objectives.", "hypervolume", fixed(3)),
    Column("Sparsity", "", "Mean squared gap between neighbouring trade-offs; smaller is denser.", "sparsity"),
    Column("Arena score", "", "RouterArena's score of quality and cost.", "arena_score", fixed(3)),
    Column("Brier", "", "Mean squared error of the expected quality.", "brier", fixed(3)),
    Column("ECE", "", "Expected calibration error of the expected quality.", "ece", fixed(3)),
    Column("PGR", "", "Share of the gap between the weak and the strong candidate that is recovered.", "pgr", fixed(3)),
    Column("APGR", "", "Mean PGR over all shares of strong calls; 0.5 by chance.", "apgr", fixed(3)),
    Column("CPT(50%)", "strong calls", "Minimum share of strong calls that recovers half of the gap.", "cpt50", percent),
    Column("CPT(80%)", "strong calls", "Minimum share of strong calls that recovers four fifths of the gap.", "cpt80", percent),
)
"""Further metrics; a metric that no router has is left out."""
ALIGNED = {"mean_cost_usd": 1000.0, "efficiency": 1.0, "sparsity": 1.0}
"""The metrics with as many decimals as the smallest value of their column needs, each with the factor of its unit."""
PAIRED_COLUMNS = (
    Column("Difference", "", "Mean reward of the first minus mean reward of the second.", "difference"),
    Column("p", "", "Probability that chance alone gives a difference this large, in either direction.", "p"),
    Column("p, corrected", "Holm", "The same, corrected for the number of comparisons.", "p_holm"),
)
GATE_COLUMNS = (
    Column("Passes", "", "Whether the whole interval of each tested gap lies above zero."),
    Column("Quality gap", "", "Mean quality minus the quality of the best constant choice at the router's cost.", "quality_gap", fixed(4)),
    Column("Reward gap", "", "Mean reward minus the mean reward of the best single candidate.", "reward_gap", fixed(4)),
    Column("Way to the oracle", "", "Share of the way in reward from the best single candidate to the oracle.", "oracle_share", percent),
)
LIMITS: Mapping[str, tuple[str, str, float]] = {
    "usd_per_1k": (f"cost, {PER_THOUSAND}", "mean_cost_usd", 1000.0),
    "usd_per_day": (f"cost at the expected traffic, {PER_THOUSAND}", "mean_cost_usd", 1000.0),
    "p95_ms": ("p95 latency, ms", "p95_latency_ms", 1.0),
}
"""The limits that a run measures: each one's label in the table, its metric, and the metric's factor."""
LIMIT_COLUMNS = (
    Column("Limit", "", "The router's limit, or its share per request."),
    Column("Measured", "", "The figure on these queries."),
    Column("Kept", "", "Whether the figure is within the limit; in brackets if the interval reaches beyond it."),
    Column("Multiplier", "", "The price in utility of one unit of the limited amount."),
)
PANELS: tuple[tuple[str, str, Format], ...] = (
    ("success_rate", "Success rate", percent),
    ("mean_cost_usd", PER_THOUSAND, dollars_per_thousand),
    ("mean_latency_ms", "Mean latency, ms", milliseconds),
    ("efficiency", "Efficiency", significant(3)),
)
CAPTION = "Means at the preference above; thin lines are 95% intervals. More success and efficiency are better, and less cost and latency."


@attrs.frozen
class ComparedRouter:
    """A row of a comparison: a run's router, and its name there."""

    name: str
    results: Results
    router: str
    emphasised: bool

    def cell(self, column: Column, write: Format) -> Cell:
        """Return the router's metric with its interval."""
        return Cell(self.results.value(self.router, column.key), write, self.results.interval(self.router, column.key))


def compared_routers(results: Results) -> list[ComparedRouter]:
    """Return a run's routers, in the order of the comparison."""
    return [ComparedRouter(router, results, router, router == results.headline) for router in results.routers]


def comparison_table(routers: Sequence[ComparedRouter], caption: str, columns: Sequence[Column] = COLUMNS, first: str = "Router") -> Table:
    """Return a row for each router, with a metric and its interval for each column."""
    formats = [
        aligned((entry.results.value(entry.router, column.key) for entry in routers), factor=ALIGNED[column.key])
        if column.key in ALIGNED
        else column.write
        for column in columns
    ]
    rows = [TableRow([entry.name], [entry.cell(*written) for written in zip(columns, formats, strict=True)], entry.emphasised) for entry in routers]
    return Table(caption, [first], columns, rows)


def further_tables(results: Results) -> list[Table]:
    """Return the metrics beyond the first table's that some router has; nothing if no router has any."""
    columns = [column for column in FURTHER_COLUMNS if results.known(column.key)]
    caption = "Metrics by which papers compare routers. In small type: 95% intervals. A heading's tooltip defines the metric."
    return [comparison_table(compared_routers(results), caption, columns)] if columns else []


def paired_tables(results: Results) -> list[Table]:
    """Return a row for each paired test, with a cell for each of ``PAIRED_COLUMNS``; nothing without tests."""
    rows = []
    for (router, other), test in results.paired.items():
        cells = [Cell(test.difference, fixed(3), test.ci95), Cell(test.p, fixed(4)), Cell(test.p_holm, fixed(4))]
        rows.append(TableRow([f"{router} minus {other}"], cells))
    caption = "Difference of the mean rewards on the same queries, at the preference. In small type: 95% intervals."
    return [Table(caption, ["Routers"], PAIRED_COLUMNS, rows)] if rows else []


def gate_tables(results: Results) -> list[Table]:
    """Return a row for each router that the promotion gate tested; nothing if the run has no gate."""
    if results.gate is None:
        return []
    rows = []
    for router, gaps in results.gate.gaps.items():
        passed = Cell(float(results.gate.passed[router]), lambda value: "yes" if value else "no")
        cells = [Cell(gap, column.write, interval) for column in GATE_COLUMNS[1:] for gap, interval in (gaps[column.key],)]
        rows.append(TableRow([router], [passed, *cells], router == results.headline))
    caption = "The promotion gate: does a router do better than constant choices at the same cost? In small type: 95% intervals."
    return [Table(caption, ["Router"], GATE_COLUMNS, rows)]


def limit_tables(results: Results) -> list[Table]:
    """Return a row for each limit that a router keeps and the run measures; nothing without limits."""
    rows = []
    for router, limits in results.limits.items():
        for name, limit in limits.items():
            if name not in LIMITS or router not in results.routers:
                continue
            title, metric, factor = LIMITS[name]
            allowed = number(limit.get("limit")) if name != "usd_per_day" else 1000 * number(limit.get("target"))
            measured, (low, high) = factor * results.value(router, metric), results.interval(router, metric)
            bounds = factor * low, factor * high
            kept = Cell(float(measured <= allowed), partial(_kept, beyond=bounds[1] > allowed))
            cells = [Cell(allowed, _four), Cell(measured, _four, bounds), kept, Cell(number(limit.get("multiplier")), _four)]
            rows.append(TableRow([f"{router}: {title}"], cells, router == results.headline))
    return [Table("Budgets and service levels. In small type: 95% intervals.", ["Router"], LIMIT_COLUMNS, rows)] if rows else []


def _four(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else DASH


def _kept(value: float, beyond: bool) -> str:
    word = "yes" if value else "no"
    return f"({word})" if value and beyond else word


def section(results: Results) -> Section:
    """Return the first section: the comparison, the gate, and notes on the data."""
    caption = "Every router answered the same queries. In small type: 95% intervals. Click a heading to sort by its column."
    notes = [*data_notes(results.data), *router_notes(results.routers, results.data), *_constant_routers(results)]
    tables = [comparison_table(compared_routers(results), caption), *limit_tables(results), *gate_tables(results)]
    warnings = (few_queries_note(results.queries, results.decisions.questions), growing_waits_note(results.data.get("growing_waits", ())))
    lead = [*warnings, "" if results.gate is None else f"{results.gate.why}."]
    return Section(name="comparison", title="Comparison", lead=" ".join(filter(None, lead)), tables=tables, notes=notes)


def _constant_routers(results: Results) -> list[str]:
    """Return a note on the routers that chose one candidate for every query, and are therefore equal if it is the same candidate."""
    routers = results.decisions.constant_choices()
    if not routers or len(results.decisions.candidates) == 1:
        return []
    parts = [f"{listed(names)} always choose{'s' if len(names) == 1 else ''} {candidate}" for candidate, names in routers.items()]
    equal = "Routers with the same choice have equal figures there; expected utility and AIQ cover other preferences too."
    return [f"At the preference, {'; '.join(parts)}. {equal}"]


def facts(results: Results) -> dict[str, object]:
    """Return the facts on a run's data that its page shows, None if unknown."""
    data = results.data
    return {
        "Date": results.date,
        "Data": data.get("source"),
        "Split": data.get("split") if data.get("split") != "test" else None,
        "Queries": f"{data['queries']:,}" if isinstance(data.get("queries"), int) else None,
        "Models": len(results.decisions.candidates),
        "Preference": ", ".join(f"{number(weight):.3g}" for weight in data.get("preference") or []),
        "Seed": results.run.settings.seed,
    }


def draw(results: Results) -> Figure | None:
    """Draw a panel for each known metric, with a bar for each router; None if no metric is known."""
    panels = [panel for panel in PANELS if results.known(panel[0])]
    if not panels:
        return None
    figure = new_figure(0.9 + 0.24 * len(results.routers))
    for axes, (metric, title, write) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        axes.set_title(title)
        _draw_bars(axes, results, metric, write)
        name_rows(axes, list(results.routers), results.headline)
        axes.tick_params(axis="y", labelleft=axes.get_subplotspec().is_first_col())
    return figure


def _draw_bars(axes: Axes, results: Results, metric: str, write: Format) -> None:
    values = np.array([results.value(router, metric) for router in results.routers])
    bounds = np.array([results.interval(router, metric) for router in results.routers])
    longest = float(np.nanmax(np.column_stack((values, bounds)))) or 1.0
    for row, look in enumerate(looks(results).values()):
        axes.barh(row, np.nan_to_num(values[row]), height=0.66, color=look.colour, alpha=1.0 if look.emphasised else 0.72, linewidth=0)
        axes.plot(bounds[row], (row, row), color=INK, linewidth=0.9, solid_capstyle="butt")
        end = np.nanmax((values[row], bounds[row, 1], 0.0))
        axes.text(end + 0.03 * longest, row, write(values[row]), va="center", fontsize=7.5, weight="bold" if look.emphasised else "normal")
    without_scale(axes, 1.42 * longest)


DRAWING = Drawing("comparison", "Comparison at the preference", CAPTION, draw)
