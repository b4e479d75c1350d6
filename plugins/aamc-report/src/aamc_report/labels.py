"""Labels beside points of a figure, none on top of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox, BboxBase

from aamc_report.style import MUTED

DISTANCES = (7, 14, 24, 38, 54)
"""How far a label may be from its point, in typographic points, the nearest first."""
DIRECTIONS = np.deg2rad((0, 180, 45, -45, 135, -135, 90, -90, 22, -22, 158, -158))
"""Where a label may be from its point, the best first; beside it reads best."""
LEADER = 10
"""From this distance on, a thin line joins a label with its point."""


@attrs.frozen(kw_only=True)
class Label:
    """What to write beside a point, which is given as the axes count."""

    x: float
    y: float
    text: str
    colour: str
    weight: str = "normal"
    size: float = 8.0


def place_labels(axes: Axes, labels: Sequence[Label], avoid: Sequence[tuple[float, float]]) -> None:
    """Write each label, the first ones first, where it covers neither a label nor a point; one without such a place is left out.

    Args:
        axes: Finished but for the labels.
        labels: What to write.
        avoid: Points that must stay visible.
    """
    canvas = axes.figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()  # fixes the layout, and with it where points are
    taken = [_around(axes, x, y) for x, y in avoid]
    for label in labels:
        box = _place(axes, label, taken, canvas.get_renderer())
        if box is not None:
            taken.append(box)


def _around(axes: Axes, x: float, y: float, radius: float = 4.0) -> Bbox:
    centre = axes.transData.transform((x, y))
    return Bbox([centre - radius, centre + radius])


def _place(axes: Axes, label: Label, taken: Sequence[Bbox], renderer: RendererAgg) -> Bbox | None:
    """Write one label and return the box that it fills, or None where there is no room."""
    line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 3}
    look: dict[str, Any] = {"color": label.colour, "weight": label.weight, "fontsize": label.size}
    text = axes.annotate(label.text, (label.x, label.y), (0, 0), textcoords="offset points", arrowprops=line, **look)
    text.set_in_layout(False)
    for distance in DISTANCES:
        for direction in DIRECTIONS:
            _move(text, distance, direction)
            box = Text.get_window_extent(text, renderer)  # the text alone, without its line
            if _inside(box, axes.bbox) and not any(box.overlaps(other) for other in taken):
                return box
    text.remove()
    return None


def _move(text: Annotation, distance: float, direction: float) -> None:
    x, y = np.cos(direction), np.sin(direction)
    text.xyann = (distance * x, distance * y)
    text.set_horizontalalignment("left" if x > 0.3 else "right" if x < -0.3 else "center")
    text.set_verticalalignment("bottom" if y > 0.3 else "top" if y < -0.3 else "center")
    assert text.arrow_patch is not None
    text.arrow_patch.set_visible(distance >= LEADER)


def _inside(box: Bbox, frame: BboxBase) -> bool:
    return bool(box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1)
