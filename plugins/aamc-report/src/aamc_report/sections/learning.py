"""The learning curves of the estimator and the routers, a panel for each metric that they reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from aamc_report.page import Drawing
from aamc_report.results import Results
from aamc_report.style import MUTED, looks, new_figure, short

CAPTION = "The metrics that each component reported during its training; the first four of each."
PANELS_EACH = 4
COUNTERS = ("step", "epoch")
"""The keys by which the points of a curve are counted."""
Curve = Sequence[Mapping[str, float]]


def draw(results: Results) -> Figure | None:
    """Draw the curves, a row for each part; None if there are none."""
    rows = {part: _metrics(curve)[:PANELS_EACH] for part, curve in results.curves.items()}
    rows = {part: names for part, names in rows.items() if names}
    if not rows:
        return None
    figure = new_figure(1.75 * len(rows))
    grid = figure.subplots(len(rows), max(map(len, rows.values())), squeeze=False)
    colours = {router: look.colour for router, look in looks(results).items()}
    for panels, (part, names) in zip(grid, rows.items(), strict=True):
        for axes, name in zip(panels, names, strict=False):
            _draw_curve(axes, results.curves[part], name, colours.get(part, MUTED))
            axes.set_title(f"{short(part, 14)}: {short(name.replace('_', ' '), 18)}", fontsize=8.5)
        for axes in panels[len(names) :]:
            axes.set_axis_off()
    return figure


def _metrics(curve: Curve) -> list[str]:
    """Return the metrics of a curve, in the order of its points."""
    found = {name: None for point in curve for name, value in point.items() if isinstance(value, int | float)}
    return [name for name in found if name not in COUNTERS]


def _draw_curve(axes: Axes, curve: Curve, name: str, colour: str) -> None:
    counter = next((key for key in COUNTERS if key in curve[0]), "point")
    points = [(point.get(counter, n), point[name]) for n, point in enumerate(curve) if point.get(name) is not None]
    axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.6, marker="o" if len(points) < 16 else "", markersize=3)
    axes.set_xlabel(counter, fontsize=7.5)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=7, labelcolor=MUTED)


DRAWING = Drawing("curves", "Learning", CAPTION, draw)
