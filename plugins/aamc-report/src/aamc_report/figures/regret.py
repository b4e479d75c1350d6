"""Regret to the oracle: its mean, and how it is spread over the queries."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from aamc_experiments.evaluation import interval
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aamc_report.analysis.regret import regrets
from aamc_report.data import Results
from aamc_report.formats import fixed
from aamc_report.render import tip
from aamc_report.style import Look, looks, name_rows, new_figure
from aamc_sdk.types import Floats

CAPTION = (
    "Regret of a query: the oracle's reward minus the router's, at the preference above; less is better. "
    "Left: means with 95% intervals. Right: the share of queries with more regret than that; a step shows queries that are lost alike."
)

STEPS = 200
"""How finely the shares of queries are drawn."""


def draw(results: Results) -> Figure | None:
    """Draw both panels; None where the oracle was not compared."""
    found = regrets(results.decisions)
    if not found:
        return None
    figure = new_figure(max(3.0, 1.0 + 0.24 * len(found)))
    means, spread = figure.subplots(1, 2)
    shown = {router: look for router, look in looks(results).items() if router in found}
    _draw_means(means, results, found, shown)
    _draw_spread(spread, found, shown)
    return figure


def _draw_means(axes: Axes, results: Results, found: Mapping[str, Floats], shown: Mapping[str, Look]) -> None:
    resampled = results.resampling.means(np.column_stack([found[router] for router in shown])).T
    axes.set_title("Mean regret")
    for row, ((router, look), values) in enumerate(zip(shown.items(), resampled, strict=True)):
        mean, bounds = float(found[router].mean()), interval(values)
        axes.plot(bounds, (row, row), color=look.colour, linewidth=1.4, solid_capstyle="butt")
        (point,) = axes.plot(mean, row, look.marker, color=look.colour, markersize=8 if look.emphasised else 6)
        tip(point, f"{router}: mean regret {fixed(3)(mean)}")
    name_rows(axes, list(shown), results.headline)
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))


def _draw_spread(axes: Axes, found: Mapping[str, Floats], shown: Mapping[str, Look]) -> None:
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
