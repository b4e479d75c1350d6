"""Bars of the headline's figures, one panel a figure, one row a router."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aamc_report.data import Results
from aamc_report.formats import Format, dollars, milliseconds, percent, significant
from aamc_report.style import INK, looks, name_rows, new_figure, without_scale

CAPTION = "Means at the preference above; thin lines are 95% intervals. Of success and efficiency more is better, of cost and latency less."
PANELS: tuple[tuple[str, str, Format], ...] = (
    ("success_rate", "Success rate", percent),
    ("mean_cost_usd", "Mean cost, USD", dollars),
    ("mean_latency_ms", "Mean latency, ms", milliseconds),
    ("efficiency", "Efficiency", significant(3)),
)


def draw(results: Results) -> Figure | None:
    """Draw the panels whose figures are known; None without any."""
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
