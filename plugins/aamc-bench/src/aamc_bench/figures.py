"""Figures in the style of the report, and their files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from aamc_report.render import to_png
from aamc_report.results import bounds, number
from aamc_report.style import Look, name_rows, new_figure, short, styled, without_font
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import offset_copy

from aamc_sdk.storage import replacing, write_bytes

logger = logging.getLogger(__name__)
Draw = Callable[[], Figure]
Interval = Mapping[str, Any]
"""``{"value", "ci95"}``, either of which may be null or missing."""
Sharing = Literal["none", "all", "row", "col"]
LINE_OFFSET = 2.2
"""The horizontal distance between lines, in typographic points."""
POINT_OFFSET = 0.16
"""The distance of each of two points from the middle of its row."""


def panels(rows: int, columns: int, height: float = 2.6, sharex: Sharing = "none", sharey: Sharing = "none") -> tuple[Figure, list[Axes]]:
    """Return a figure and its panels, row by row; ``height`` is a row's height in inches."""
    figure = new_figure(height * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    return figure, [panel for row in axes for panel in row]


def draw_lines(axes: Axes, x: Sequence[float], lines: Mapping[str, Mapping[float, Interval | None]], looks: Mapping[str, Look]) -> None:
    """Draw a line for each name through its values, by x, with thin 95% intervals; unknown values leave a gap.

    Lines are drawn a little apart, so that intervals of similar values do not hide each other.
    """
    page = axes.get_figure(root=True)
    axes.margins(x=0.1)
    for n, (name, by_x) in enumerate(lines.items()):
        look, figures = looks[name], [by_x.get(at) or {} for at in x]
        width, front = (2.0, 3) if look.emphasised else (1.2, 2)
        style: dict[str, Any] = {"color": look.colour, "zorder": front}
        values = [number(figure.get("value")) for figure in figures]
        (line,) = axes.plot(x, values, marker=look.marker, markersize=3.5, linewidth=width, label=short(name), **style)
        bars = np.array([(at, *bounds(figure.get("ci95"))) for at, figure in zip(x, figures, strict=True)])
        intervals = axes.vlines(*bars[np.isfinite(bars).all(axis=1)].T, linewidth=0.9, **style)
        place = offset_copy(axes.transData, page, x=LINE_OFFSET * (n - (len(lines) - 1) / 2), units="points")
        for drawn in (line, intervals):
            drawn.set_transform(place)  # after plotting, so that the axes' limits are those of the data


def draw_intervals(axes: Axes, values: Mapping[str, Interval], looks: Mapping[str, Look]) -> None:
    """Draw a row for each name, from the top down: a point with its 95% interval."""
    for row, (name, figure) in enumerate(values.items()):
        _draw_point(axes, row, figure, looks[name], filled=True)
    _name_rows(axes, values, looks)


def draw_change(axes: Axes, pairs: Mapping[str, tuple[Interval, Interval]], looks: Mapping[str, Look]) -> None:
    """Draw a row for each name: two points with their 95% intervals, the first filled, the second below it hollow."""
    for row, (name, (before, after)) in enumerate(pairs.items()):
        _draw_point(axes, row - POINT_OFFSET, before, looks[name], filled=True)
        _draw_point(axes, row + POINT_OFFSET, after, looks[name], filled=False)
    _name_rows(axes, pairs, looks)


def save_figure(folder: Path, name: str, draw: Draw) -> None:
    """Draw a figure in the report's style and write it as ``figures/NAME.png`` and ``NAME.svg``, each whole or not at all."""
    with styled():
        figure = draw()
        shown = "".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))
        if letters := without_font(shown):
            logger.warning("figure %s shows boxes for %.40s: no installed font that it uses has these letters", name, letters)
        write_bytes(folder / "figures" / f"{name}.png", to_png(figure))
        with replacing(folder / "figures" / f"{name}.svg") as file:
            figure.savefig(file, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})


def _draw_point(axes: Axes, row: float, figure: Interval, look: Look, filled: bool) -> None:
    axes.plot(bounds(figure.get("ci95")), [row, row], color=look.colour, linewidth=1.6, solid_capstyle="butt")
    inside = look.colour if filled else "white"
    axes.plot([number(figure.get("value"))], [row], color=look.colour, marker=look.marker, markersize=5, markerfacecolor=inside)


def _name_rows(axes: Axes, names: Mapping[str, Any], looks: Mapping[str, Look]) -> None:
    name_rows(axes, list(names), next((name for name in names if looks[name].emphasised), ""))
