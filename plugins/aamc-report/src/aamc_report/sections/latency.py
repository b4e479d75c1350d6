"""The distribution of latency over the queries, a row for each router."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aamc_report.formats import milliseconds
from aamc_report.page import Drawing
from aamc_report.render import tip
from aamc_report.results import Results
from aamc_report.style import PAPER, Look, looks, name_rows, new_figure, spans_magnitudes, use_log_axis
from aamc_sdk.types import Floats

CAPTION = "Each query's latency at the preference above: the thin line spans 5% to 95% of them, the box the middle half; the bar in it is the median."
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def draw(results: Results) -> Figure | None:
    """Draw each router's quantiles, none if some latency is unknown, which quantiles of the others would hide; None without any."""
    latencies = {router: results.latencies(router) for router in results.routers}
    known = {router: np.quantile(values, QUANTILES) for router, values in latencies.items() if np.isfinite(values).all()}
    if not known:
        return None
    figure = new_figure(0.8 + 0.26 * len(results.routers))
    axes = figure.subplots()
    for row, (router, look) in enumerate(looks(results).items()):
        if router in known:
            _draw_box(axes, row, known[router], look, router)
    axes.set_xlabel("latency, ms")
    if spans_magnitudes(list(known.values())):
        use_log_axis(axes)
    axes.xaxis.set_major_formatter(lambda value, _: milliseconds(value))
    name_rows(axes, list(results.routers), results.headline)
    return figure


def _draw_box(axes: Axes, row: int, quantiles: Floats, look: Look, router: str) -> None:
    low, lower, median, upper, high = quantiles
    axes.plot((low, high), (row, row), color=look.colour, linewidth=1.2, solid_capstyle="butt")
    (box,) = axes.plot((lower, upper), (row, row), color=look.colour, linewidth=9 if look.emphasised else 7, solid_capstyle="butt")
    axes.plot(median, row, "|", color=PAPER, markersize=7, markeredgewidth=1.6)
    tip(box, f"{router}: median {milliseconds(median)} ms, middle half {milliseconds(lower)} to {milliseconds(upper)} ms")


DRAWING = Drawing("latency", "Latency", CAPTION, draw)
