"""Success by category and router, as a map of numbers."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from aamc_sdk.batch import Floats
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from aamc_report.data import Results
from aamc_report.style import INK, PAPER, new_figure, on_colour, short

CAPTION = "Success rate in per cent at the preference above, by the category of the query; n is the number of queries."
MOST_NUMBERS = 16
"""With more routers than this, colours alone tell the figures."""


def draw(results: Results) -> Figure | None:
    """Draw the map; None without categories."""
    if not results.categories:
        return None
    rates = np.array([[results.category_value(router, name, "success_rate") for router in results.routers] for name in results.categories])
    figure = new_figure(1.3 + 0.24 * len(results.categories))
    axes = figure.subplots()
    low = float(np.nanmin(rates, initial=1.0))
    image = axes.pcolormesh(rates, cmap="cividis", vmin=low, vmax=1.0, edgecolors=PAPER, linewidth=0.8)
    if len(results.routers) > MOST_NUMBERS:
        figure.colorbar(image, ax=axes, format=lambda value, _: f"{value:.0%}")
    else:
        _write_rates(axes, rates, low)
    _name_axes(axes, results)
    return figure


def _write_rates(axes: Axes, rates: Floats, low: float) -> None:
    colours = mpl.colormaps["cividis"]
    for (row, column), rate in np.ndenumerate(rates):
        colour = to_hex(colours((rate - low) / (1 - low or 1.0)))
        text = f"{100 * rate:.0f}" if np.isfinite(rate) else "–"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7.5, color=on_colour(colour) if np.isfinite(rate) else None)


def _name_axes(axes: Axes, results: Results) -> None:
    crowded = len(results.routers) > 6
    routers = [short(router, 16) for router in results.routers]
    axes.set_xticks(np.arange(len(routers)) + 0.5, routers, rotation=38 if crowded else 0, ha="left" if crowded else "center", rotation_mode="anchor")
    axes.set_yticks(np.arange(len(results.categories)) + 0.5, [f"{short(name)}  (n = {n:,})" for name, n in results.categories.items()])
    axes.xaxis.tick_top()
    axes.invert_yaxis()
    axes.tick_params(length=0, labelcolor=INK)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    for label, router in zip(axes.get_xticklabels(), results.routers, strict=True):
        label.set_fontweight("bold" if router == results.headline else "normal")
