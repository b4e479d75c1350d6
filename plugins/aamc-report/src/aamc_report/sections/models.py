"""The distribution of each router's queries over the models."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from aamc_report.formats import percent
from aamc_report.page import Drawing
from aamc_report.render import tip
from aamc_report.results import Results
from aamc_report.style import MUTED, PAPER, name_rows, new_figure, on_colour, short_names, without_scale
from aamc_report.tables import Cell, Column, Table, TableRow
from aamc_sdk.types import Floats

CAPTION = "Share of queries that each model answered at the preference above; models from the cheapest (dark) to the most expensive (light)."
REST = "all others"
MAXIMUM_MODELS = 12
"""Of more models, those that are chosen most are shown, and the others as one."""


def model_table(results: Results) -> Table:
    """Return a row for each candidate of the pool, with its share of each router's queries."""
    rows = []
    for model in results.decisions.candidates.tolist():
        shares = (results.model_share(router, model) for router in results.routers)
        rows.append(TableRow([model], [Cell(share, percent, interval) for share, interval in shares]))
    return Table("Share of queries that each router gave to each model, at the preference.", ["Model"], list(map(Column, results.routers)), rows)


def most_chosen(results: Results, counts: Floats) -> list[int]:
    """Return the positions of the models with the largest counts ``[M]``, from the cheapest model to the most expensive."""
    kept = set(np.argsort(-counts, kind="stable")[:MAXIMUM_MODELS].tolist())
    by_cost = np.argsort(np.nan_to_num(results.decisions.candidate_means[:, 1], nan=np.inf), kind="stable")
    return [int(m) for m in by_cost if m in kept]


def draw(results: Results) -> Figure:
    """Draw each router's shares as stacked bars."""
    models = _shares(results)
    figure = new_figure(0.9 + 0.26 * len(results.routers) + 0.18 * (len(models) // 4))
    axes = figure.subplots()
    left = np.zeros(len(results.routers))
    for (model, (shares, colour)), name in zip(models.items(), short_names(list(models)), strict=True):
        bars = axes.barh(np.arange(len(left)), shares, left=left, height=0.7, color=colour, edgecolor=PAPER, linewidth=0.6, label=name)
        letters = on_colour(np.array(to_rgb(colour)))
        for row, (bar, router, share) in enumerate(zip(bars, results.routers, shares, strict=True)):
            tip(bar, f"{router}: {percent(share)} {model}")
            if share >= 0.06:
                axes.text(left[row] + share / 2, row, f"{share:.0%}", ha="center", va="center", fontsize=7, color=letters)
        left += shares
    without_scale(axes, 1)
    name_rows(axes, list(results.routers), results.headline)
    figure.legend(loc="outside upper left", ncols=4, fontsize=7.5, handlelength=1, handleheight=1)
    return figure


def _shares(results: Results) -> Mapping[str, tuple[Floats, str]]:
    """Return the shares ``[R]`` and the colour of each model, from the cheapest to the most expensive, rarely chosen ones as one."""
    models = results.decisions.candidates.tolist()
    table = np.array([[results.model_share(router, model)[0] for model in models] for router in results.routers])
    shown = most_chosen(results, table.sum(axis=0))
    colours = mpl.colormaps["viridis"](np.linspace(0.08, 0.95, len(shown)))
    found = {models[m]: (table[:, m], to_hex(colour)) for m, colour in zip(shown, colours, strict=True)}
    if len(shown) < len(models):
        found[REST] = 1 - table[:, shown].sum(axis=1), MUTED
    return found


DRAWING = Drawing("models", "Distribution over models", CAPTION, draw)
