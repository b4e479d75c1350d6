"""Success rates by category and router, as a table and as a map of numbers."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from aamc_report.formats import DASH, percent
from aamc_report.page import Drawing
from aamc_report.results import Results
from aamc_report.sections.groups import omission_note
from aamc_report.style import MUTED, PAPER, as_table, new_figure, on_colour, short_names
from aamc_report.tables import Cell, Column, Table, TableRow
from aamc_sdk.types import Floats

CAPTION = "Success rate in per cent at the preference above, by the category of the query; n is the number of queries."
SHADES = ("#e8eef5", "#7fb0d6", "#0a5c9e")
"""From the lowest rate to 100%."""
MAXIMUM_NUMBERS = 16
"""With more routers, a colour bar replaces the numbers."""


def success_tables(results: Results) -> list[Table]:
    """Return a row for each category, with its number of queries and each router's success rate; nothing without categories."""
    rows = []
    for name, n in results.shown_categories.items():
        rates = (results.success_in(router, name) for router in results.routers)
        rows.append(TableRow([name], [Cell(n), *(Cell(rate, percent, interval) for rate, interval in rates)]))
    caption = f"Success rate at the preference, by the category of the query.{omission_note(results)}"
    return [Table(caption, ["Category"], [Column("Queries"), *map(Column, results.routers)], rows)] if rows else []


def draw(results: Results) -> Figure | None:
    """Draw the map; None without categories."""
    if not results.shown_categories:
        return None
    rates = np.array([[results.success_in(router, name)[0] for router in results.routers] for name in results.shown_categories])
    figure = new_figure(1.3 + 0.24 * len(results.shown_categories))
    axes = figure.subplots()
    scale, shades = Normalize(float(np.nanmin(rates, initial=0.9)), 1.0), LinearSegmentedColormap.from_list("rates", SHADES)
    mesh = axes.pcolormesh(rates, cmap=shades, norm=scale, edgecolors=PAPER, linewidth=0.8)
    if len(results.routers) > MAXIMUM_NUMBERS:
        figure.colorbar(mesh, ax=axes, format=lambda value, _: f"{value:.0%}")
    else:
        _write_rates(axes, rates, shades(scale(rates)))
    slant = 0 if len(results.routers) <= 6 else 38 if len(results.routers) <= MAXIMUM_NUMBERS else 90
    as_table(axes, short_names(list(results.routers), 16), results.shown_categories.items(), slant)
    for label, router in zip(axes.get_xticklabels(), results.routers, strict=True):
        label.set_fontweight("bold" if router == results.headline else "normal")
    return figure


def _write_rates(axes: Axes, rates: Floats, colours: Floats) -> None:
    """Write each rate on its cell, whose colour is in ``[rows, columns, 4]``."""
    for (row, column), rate in np.ndenumerate(rates):
        text, colour = (f"{100 * rate:.0f}", on_colour(colours[row, column])) if np.isfinite(rate) else (DASH, MUTED)
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7.5, color=colour)


DRAWING = Drawing("categories", "Success by category", CAPTION, draw)
