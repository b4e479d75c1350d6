"""Regret to the oracle: its mean, its distribution over the queries, and its mean by category."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from aamc_experiments.evaluation import HEADLINE, Comparison, known_interval, two_way
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aamc_report.formats import fixed, percent
from aamc_report.page import Drawing
from aamc_report.render import tip
from aamc_report.results import ORACLE, Results, bounds
from aamc_report.sections.groups import group_rows, groups, omission_note
from aamc_report.style import Look, looks, name_rows, new_figure
from aamc_report.tables import Cell, Column, Table, TableRow
from aamc_sdk.routing import LinearReward, Scale
from aamc_sdk.types import Floats

NEGLIGIBLE = 0.01
"""A regret up to this counts as none: a hundredth of the way from the worst answer to the best."""
COLUMNS = (
    Column("Mean", "", "Mean shortfall to the oracle's reward."),
    Column("Median", "", "Half of the queries have less regret."),
    Column("95th percentile", "", "95% of the queries have less regret."),
    Column("None", "at most 0.01", "Share of queries with negligible regret."),
)
CAPTION = (
    "Regret of a query: the oracle's reward minus the router's, at the preference above; less is better. "
    "Left: means with 95% intervals. Right: the share of queries with more regret than that; a step shows queries with equal regret."
)
STEPS = 200
"""Points along a curve of shares."""


def regrets(comparison: Comparison) -> Mapping[str, Floats]:
    """Return each router's shortfall to the oracle's reward at the headline's preference, ``[Q]`` each.

    Returns:
        Nothing if the oracle was not compared, or if the reward is not the default one, the only one that ``decisions.npz`` can
        restore. A regret is below 0 where a router does better than the oracle, which is myopic under load.
    """
    names = comparison.routers.tolist()
    if ORACLE not in names or not np.isfinite(comparison.scales[0]).all():
        return {}
    reward = LinearReward()
    reward.cost, reward.latency = (Scale(*scale) for scale in comparison.scales.tolist())
    here = [HEADLINE]
    rewards = {name: reward.scalar(comparison.realised(position).take(here), comparison.preferences[here])[0] for position, name in enumerate(names)}
    return {name: rewards[ORACLE] - achieved for name, achieved in rewards.items() if name != ORACLE}


def regret_tables(results: Results) -> list[Table]:
    """Return regret by router and by category; nothing if it is unknown."""
    found = regrets(results.decisions)
    if not found:
        return []
    by_router = [TableRow([router], _cells(regret, results), router == results.headline) for router, regret in found.items()]
    caption = "Regret of a query: the oracle's reward minus the router's, at the preference. In small type: 95% intervals."
    values = np.column_stack(list(found.values()))
    by_category = group_rows(groups(results), lambda group: group.means(values, results.resamplings), fixed(3))
    means = f"Mean regret by the category of the query.{omission_note(results)}"
    return [
        Table(caption, ["Router"], COLUMNS, by_router),
        Table(means, ["Category"], [Column("Queries"), *map(Column, found)], by_category),
    ]


def _cells(regret: Floats, results: Results) -> list[Cell]:
    """Return a cell for each of ``COLUMNS``."""
    resamplings, (everything, *_) = results.resamplings, groups(results)
    ((mean, mean_interval),) = everything.means(regret[:, None], resamplings)
    ((none, none_interval),) = everything.shares(regret[:, None] <= NEGLIGIBLE, resamplings)
    intervals = [two_way([known_interval(each.percentile(regret, q)) for each in resamplings]) for q in (0.5, 0.95)]
    quantiles = [Cell(float(np.quantile(regret, q)), fixed(3), bounds(ends)) for q, ends in zip((0.5, 0.95), intervals, strict=True)]
    return [Cell(mean, fixed(3), mean_interval), *quantiles, Cell(none, percent, none_interval)]


def draw(results: Results) -> Figure | None:
    """Draw means and distributions; None if the oracle was not compared."""
    found = regrets(results.decisions)
    if not found:
        return None
    figure = new_figure(max(3.0, 1.0 + 0.24 * len(found)))
    means, distributions = figure.subplots(1, 2)
    shown = {router: look for router, look in looks(results).items() if router in found}
    _draw_means(means, results, found, shown)
    _draw_distributions(distributions, found, shown)
    return figure


def _draw_means(axes: Axes, results: Results, found: Mapping[str, Floats], shown: Mapping[str, Look]) -> None:
    everything, *_ = groups(results)
    means = everything.means(np.column_stack([found[router] for router in shown]), results.resamplings)
    axes.set_title("Mean regret")
    for row, ((router, look), (mean, ends)) in enumerate(zip(shown.items(), means, strict=True)):
        axes.plot(ends, (row, row), color=look.colour, linewidth=1.4, solid_capstyle="butt")
        (point,) = axes.plot(mean, row, look.marker, color=look.colour, markersize=8 if look.emphasised else 6)
        tip(point, f"{router}: mean regret {fixed(3)(mean)}")
    name_rows(axes, list(shown), results.headline)
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))


def _draw_distributions(axes: Axes, found: Mapping[str, Floats], shown: Mapping[str, Look]) -> None:
    axes.set_title("Share of queries with more regret")
    shares = np.linspace(0, 1, STEPS + 1)
    for router, look in shown.items():
        width, front = (2.4, 4) if look.emphasised else (1.1, 3)
        values = np.quantile(found[router], shares, method="inverted_cdf")
        (line,) = axes.step(values, 1 - shares, where="post", color=look.colour, linewidth=width, zorder=front)
        tip(line, router)
    axes.set_xlabel("regret")
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


DRAWING = Drawing("regret", "Regret to the oracle", CAPTION, draw)
