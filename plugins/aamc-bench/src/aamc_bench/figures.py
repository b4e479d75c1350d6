"""Figures in the style of the report, and their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from aamc_report.render import to_png
from aamc_report.style import HEADLINE, MARKERS, OTHERS, Look, name_rows, new_figure, short, styled
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aamc_sdk.files import replacing, write_bytes

Draw = Callable[[], Figure]


def looks_of(names: Sequence[str]) -> Mapping[str, Look]:
    """Return how each is drawn everywhere: the first in the report's headline colour, the others after it in theirs."""
    first, *others = names
    found = {name: Look(OTHERS[n % len(OTHERS)], MARKERS[(n + 1) % len(MARKERS)]) for n, name in enumerate(others)}
    return {first: Look(HEADLINE, MARKERS[0], emphasised=True)} | found


def panels(rows: int, columns: int, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """Return a figure of equal panels, row by row; ``height`` is that of a row in inches."""
    figure = new_figure(height * rows)
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [panel for row in axes for panel in row]


def draw_line(axes: Axes, name: str, look: Look, x: Sequence[float], figures: Sequence[Mapping[str, object]]) -> None:
    """Draw figures ``{"value", "ci95"}`` over x as a line with its 95% band; unknown ones leave a gap."""
    values = [_number(figure.get("value")) for figure in figures]
    low, high = zip(*map(_bounds, figures), strict=True)
    width = 2.0 if look.emphasised else 1.2
    axes.plot(x, values, color=look.colour, marker=look.marker, markersize=4, linewidth=width, label=short(name), zorder=3 if look.emphasised else 2)
    axes.fill_between(x, low, high, color=look.colour, alpha=0.15, linewidth=0)


def draw_intervals(axes: Axes, figures: Mapping[str, Mapping[str, object]], looks: Mapping[str, Look]) -> None:
    """Draw figures ``{"value", "ci95"}`` by name, one a row from the top down, each as a point with its 95% interval."""
    for row, (name, figure) in enumerate(figures.items()):
        value, (low, high) = _number(figure.get("value")), _bounds(figure)
        look = looks[name]
        axes.plot([low, high], [row, row], color=look.colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot([value], [row], color=look.colour, marker=look.marker, markersize=5, linestyle="none")
    name_rows(axes, list(figures), next((name for name, look in looks.items() if look.emphasised), ""))


def save_figure(folder: Path, name: str, draw: Draw) -> None:
    """Draw a figure in the report's style and write it as ``figures/NAME.png`` and ``NAME.svg``, each whole or not at all."""
    with styled():
        figure = draw()
        write_bytes(folder / "figures" / f"{name}.png", to_png(figure))
        with replacing(folder / "figures" / f"{name}.svg") as file:
            figure.savefig(file, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})


def _bounds(figure: Mapping[str, object]) -> tuple[float, float]:
    bounds = figure.get("ci95")
    low, high = bounds if isinstance(bounds, list | tuple) else (None, None)
    return _number(low), _number(high)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
