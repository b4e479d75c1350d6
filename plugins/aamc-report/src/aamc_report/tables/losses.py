"""What routers lose to the oracle, in numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aamc_report.analysis.destinations import groups
from aamc_report.analysis.regret import regrets
from aamc_report.cells import Cell, Column, Row, Table, count, share, with_interval
from aamc_report.data import Results
from aamc_report.formats import fixed
from aamc_report.tables.breakdown import cut_note
from aamc_sdk.batch import Floats
from aamc_sdk.evaluation.bootstrap import interval

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
    write = fixed(3)
    spread = results.resampling.means(np.column_stack(list(found.values()))).T
    rows = []
    for (router, regret), resampled in zip(found.items(), spread, strict=True):
        low, high = interval(resampled)
        quantiles = [Cell(value, write(value)) for value in np.quantile(regret, (0.5, 0.95)).tolist()]
        cells = [with_interval(float(regret.mean()), (low, high), write), *quantiles, share(float((regret <= NOTHING).mean()))]
        rows.append(Row(router, cells, router == results.headline))
    caption = "Regret of a query: the oracle's reward minus the router's, at the preference. In small type: 95% intervals."
    return Table(caption, "Router", COLUMNS, rows)


def _by_category(results: Results, found: Mapping[str, Floats]) -> Table:
    write = fixed(3)
    rows = []
    for group in groups(results):
        means = [float(regret[group.rows].mean()) if group.size else np.nan for regret in found.values()]
        rows.append(Row(group.name, [count(group.size), *(Cell(mean, write(mean)) for mean in means)]))
    return Table(f"Mean regret by the category of the query.{cut_note(results)}", "Category", [Column("Queries"), *map(Column, found)], rows)
