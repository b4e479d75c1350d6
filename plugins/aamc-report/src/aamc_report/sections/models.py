"""Which models each router chose, as stacked bars."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from aamc_report.analysis.destinations import REST, chosen_most
from aamc_report.data import Results
from aamc_report.formats import percent
from aamc_report.render import tip
from aamc_report.style import MUTED, PAPER, name_rows, new_figure, on_colour, short, without_scale
from aamc_sdk.batch import Floats

CAPTION = "Share of queries that each model answered at the preference above; models from the cheapest (dark) to the dearest (light)."


def draw(results: Results) -> Figure | None:
    """Draw each router's shares."""
    shares, colours = _shares(results)
    figure = new_figure(0.9 + 0.26 * len(results.routers) + 0.18 * (len(colours) // 4))
    axes = figure.subplots()
    left = np.zeros(len(results.routers))
    for model, colour in colours.items():
        bars = axes.barh(np.arange(len(left)), shares[model], left=left, height=0.7, color=colour, edgecolor=PAPER, linewidth=0.6, label=short(model))
        for bar, router, share in zip(bars, results.routers, shares[model], strict=True):
            tip(bar, f"{router}: {percent(share)} {model}")
        _write_shares(axes, shares[model], left, colour)
        left += shares[model]
    without_scale(axes, 1)
    name_rows(axes, list(results.routers), results.headline)
    figure.legend(loc="outside upper left", ncols=4, fontsize=7.5, handlelength=1, handleheight=1)
    return figure


def _shares(results: Results) -> tuple[Mapping[str, Floats], Mapping[str, str]]:
    """Return the shares ``[R]`` and the colour of each model, from the cheapest to the dearest, the seldom chosen ones as one."""
    models = results.decisions.candidates.tolist()
    table = np.array([[results.model_share(router, model) for model in models] for router in results.routers])
    shown = chosen_most(results, table.sum(axis=0))
    colours = mpl.colormaps["viridis"](np.linspace(0.08, 0.95, len(shown)))
    shares = {models[m]: table[:, m] for m in shown}
    named = {models[m]: to_hex(colour) for m, colour in zip(shown, colours, strict=True)}
    if len(shown) < len(models):
        shares[REST] = 1 - table[:, shown].sum(axis=1)
        named[REST] = MUTED
    return shares, named


def _write_shares(axes: Axes, shares: Floats, left: Floats, colour: str) -> None:
    for row, (share, start) in enumerate(zip(shares, left, strict=True)):
        if share >= 0.06:
            axes.text(start + share / 2, row, f"{share:.0%}", ha="center", va="center", fontsize=7, color=on_colour(np.array(to_rgb(colour))))
