"""Figures in the style of the report, and their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from aamc_report.render import to_png
from aamc_report.style import HEADLINE, MARKERS, OTHERS, Look, name_rows, new_figure, short, styled
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Transform, offset_copy

from aamc_sdk.storage import replacing, write_bytes

Draw = Callable[[], Figure]
Figures = Mapping[str, Any]
"""``{"value", "ci95"}``, either of which may be null or missing."""
Sharing = Literal["none", "all", "row", "col"]
APART = 2.2
"""How far lines stand from each other, in typographic points."""
ABOVE = 0.16
"""How far from its row's middle each of two points stands."""


def looks_of(names: Sequence[str]) -> Mapping[str, Look]:
    """Return how each is drawn everywhere: the first in the report's headline colour, the others after it in theirs."""
    first, *others = names
    found = {name: Look(OTHERS[n % len(OTHERS)], MARKERS[(n + 1) % len(MARKERS)]) for n, name in enumerate(others)}
    return {first: Look(HEADLINE, MARKERS[0], emphasised=True)} | found


def panels(rows: int, columns: int, height: float = 2.6, sharex: Sharing = "none", sharey: Sharing = "none") -> tuple[Figure, list[Axes]]:
    """Return a figure of equal panels, row by row; ``height`` is that of a row in inches."""
    figure = new_figure(height * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    return figure, [panel for row in axes for panel in row]


def draw_lines(axes: Axes, x: Sequence[float], lines: Mapping[str, Mapping[float, Figures | None]], looks: Mapping[str, Look]) -> None:
    """Draw a line for each name through its figures, by x, with thin 95% intervals; unknown ones leave a gap.

    Lines stand a little apart, so that intervals of figures that are nearly the same can be told from each other.
    """
    page = axes.get_figure(root=True)
    axes.margins(x=0.1)
    for n, (name, figures) in enumerate(lines.items()):
        place = offset_copy(axes.transData, page, x=APART * (n - (len(lines) - 1) / 2), units="points")
        _draw_line(axes, name, looks[name], {at: figures.get(at) or {} for at in x}, place)


def _draw_line(axes: Axes, name: str, look: Look, figures: Mapping[float, Figures], place: Transform) -> None:
    width, front = (2.0, 3) if look.emphasised else (1.2, 2)
    style: dict[str, Any] = {"color": look.colour, "zorder": front}
    values = [_number(figure.get("value")) for figure in figures.values()]
    (line,) = axes.plot(list(figures), values, marker=look.marker, markersize=3.5, linewidth=width, label=short(name), **style)
    bars = np.array([(at, *_bounds(figure)) for at, figure in figures.items()])
    intervals = axes.vlines(*bars[np.isfinite(bars).all(axis=1)].T, linewidth=0.9, **style)
    for drawn in (line, intervals):
        drawn.set_transform(place)  # only now: the axes' limits are those of the data


def draw_intervals(axes: Axes, figures: Mapping[str, Figures], looks: Mapping[str, Look]) -> None:
    """Draw figures by name, one a row from the top down, each as a point with its 95% interval."""
    for row, (name, figure) in enumerate(figures.items()):
        _draw_point(axes, row, figure, looks[name], filled=True)
    _name_rows(axes, figures, looks)


def draw_change(axes: Axes, pairs: Mapping[str, tuple[Figures, Figures]], looks: Mapping[str, Look]) -> None:
    """Draw two figures of each name, one a row: the first filled, the second below it hollow."""
    for row, (name, (before, after)) in enumerate(pairs.items()):
        _draw_point(axes, row - ABOVE, before, looks[name], filled=True)
        _draw_point(axes, row + ABOVE, after, looks[name], filled=False)
    _name_rows(axes, pairs, looks)


def save_figure(folder: Path, name: str, draw: Draw) -> None:
    """Draw a figure in the report's style and write it as ``figures/NAME.png`` and ``NAME.svg``, each whole or not at all."""
    with styled():
        figure = draw()
        write_bytes(folder / "figures" / f"{name}.png", to_png(figure))
        with replacing(folder / "figures" / f"{name}.svg") as file:
            figure.savefig(file, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})


def _draw_point(axes: Axes, row: float, figure: Figures, look: Look, filled: bool) -> None:
    axes.plot(_bounds(figure), [row, row], color=look.colour, linewidth=1.6, solid_capstyle="butt")
    inside = look.colour if filled else "white"
    axes.plot([_number(figure.get("value"))], [row], color=look.colour, marker=look.marker, markersize=5, markerfacecolor=inside)


def _name_rows(axes: Axes, names: Mapping[str, Any], looks: Mapping[str, Look]) -> None:
    name_rows(axes, list(names), next((name for name in names if looks[name].emphasised), ""))


def _bounds(figure: Figures) -> tuple[float, float]:
    low, high = figure.get("ci95") or (None, None)
    return _number(low), _number(high)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
