"""What routers lose to the oracle, in numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aamc_report.analysis.destinations import groups
from aamc_report.analysis.regret import regrets
from aamc_report.cells import Cell, Column, Row, Table, count, with_interval
from aamc_report.data import Results, bounds
from aamc_report.formats import fixed, percent
from aamc_report.tables.breakdown import cut_note
from aamc_sdk.batch import Floats
from aamc_sdk.evaluation.bootstrap import known_interval

NOTHING = 0.01
"""A regret up to this is next to none: a hundredth of the way from the worst answer to the best."""
COLUMNS = (
    Column("Mean", "", "Mean shortfall to the oracle's reward."),
    Column("Median", "", "Half of the queries have less regret."),
    Column("95%", "", "95% of the queries have less regret."),
    Column("None", "at most 0.01", "Share of queries with next to no regret."),
)


def regret_tables(results: Results) -> list[Table]:
    """Return regret by router and by category; nothing where it is not known."""
    found = regrets(results.decisions)
    if not found:
        return []
    return [_by_router(results, found), _by_category(results, found)]


def _by_router(results: Results, found: Mapping[str, Floats]) -> Table:
    rows = [Row(router, _figures(regret, results), router == results.headline) for router, regret in found.items()]
    caption = "Regret of a query: the oracle's reward minus the router's, at the preference. In small type: 95% intervals."
    return Table(caption, "Router", COLUMNS, rows)


def _figures(regret: Floats, results: Results) -> list[Cell]:
    """Return a cell for each of ``COLUMNS``."""
    write, resampling, (everything, *_) = fixed(3), results.resampling, groups(results)
    mean, none = everything.means(np.column_stack((regret, regret <= NOTHING)), resampling)
    quantiles = [(float(np.quantile(regret, q)), bounds(known_interval(resampling.percentile(regret, q)))) for q in (0.5, 0.95)]
    return [*(with_interval(*figure, write) for figure in (mean, *quantiles)), with_interval(*none, percent)]


def _by_category(results: Results, found: Mapping[str, Floats]) -> Table:
    write, values = fixed(3), np.column_stack(list(found.values()))
    rows = []
    for group in groups(results):
        means = group.means(values, results.resampling)
        rows.append(Row(group.name, [count(group.size), *(with_interval(*mean, write) for mean in means)]))
    return Table(f"Mean regret by the category of the query.{cut_note(results)}", "Category", [Column("Queries"), *map(Column, found)], rows)
