"""Figures in the style of the report, and their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from aamc_report.render import to_png
from aamc_report.style import HEADLINE, MARKERS, OTHERS, Look, name_rows, new_figure, short, styled
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aamc_sdk.files import replacing, write_bytes

Draw = Callable[[], Figure]
Figures = Mapping[str, Any]
"""``{"value", "ci95"}``, either of which may be null or missing."""
Sharing = Literal["none", "all", "row", "col"]
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


def draw_line(axes: Axes, name: str, look: Look, x: Sequence[float], figures: Sequence[Figures]) -> None:
    """Draw figures over x as a line with its 95% band; unknown ones leave a gap."""
    values = [_number(figure.get("value")) for figure in figures]
    bounds = [_bounds(figure) for figure in figures]
    width = 2.0 if look.emphasised else 1.2
    axes.plot(x, values, color=look.colour, marker=look.marker, markersize=4, linewidth=width, label=short(name), zorder=3 if look.emphasised else 2)
    axes.fill_between(x, [low for low, _ in bounds], [high for _, high in bounds], color=look.colour, alpha=0.15, linewidth=0)


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
