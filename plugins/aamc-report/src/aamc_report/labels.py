"""Places labels next to points of a figure without overlaps."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from aamc_report.style import MUTED
from aamc_sdk.types import Floats

DISTANCES = (7.0, 14.0, 24.0, 38.0, 54.0)
"""Distances of a label from its point, in typographic points, the best first."""
DIRECTIONS = (0, 180, 45, -45, 135, -135, 90, -90, 22, -22, 158, -158)
"""Directions of a label from its point, in degrees, the best first."""
LEADER = 10
"""The minimum distance at which a thin line joins a label with its point."""
LEADER_POINTS = 12
"""Points along such a line; their distance is less than a label's height."""
CLEARANCE = 4
"""Free pixels on each side of a point."""
GAP = 6
"""Free pixels between labels side by side."""


@attrs.frozen(kw_only=True)
class Label:
    """A text to write next to a point, in the coordinates of the axes."""

    x: float
    y: float
    text: str
    colour: str
    weight: str = "normal"
    size: float = 8.0


@attrs.frozen
class _Place:
    """A place for a label: its offset in typographic points, and the edge that lies there (0 low, 1 high, 0.5 for the middle)."""

    distance: float
    offset: tuple[float, float]
    edge: tuple[float, float]


def _places() -> list[_Place]:
    angles = [np.deg2rad(degrees) for degrees in DIRECTIONS]
    directions = [(float(np.cos(angle)), float(np.sin(angle))) for angle in angles]
    return [_Place(d, (d * x, d * y), (_edge(x), _edge(y))) for d in DISTANCES for x, y in directions]


def _edge(along: float) -> float:
    return 0.0 if along > 0.3 else 1.0 if along < -0.3 else 0.5


def place_labels(axes: Axes, labels: Sequence[Label], avoid: Floats) -> None:
    """Write each label, in their order, where it covers no label, line or point ``[N, 2]`` to avoid; a label without such a place is left out.

    The axes must be complete except for the labels.
    """
    axes.figure.canvas.draw()  # fixes the layout and with it the positions of points
    centres, frame = axes.transData.transform(avoid), axes.bbox.extents
    taken = np.concatenate((centres - CLEARANCE, centres + CLEARANCE), axis=1)
    places, written = _places(), np.empty((0, 4))
    for label in labels:
        boxes, leaders = _boxes(axes, label, places), _leaders(axes, label, places)
        crossed = np.array([len(leader) > 0 and bool(_overlaps(leader, written).any()) for leader in leaders])
        inside = ((boxes[:, :2] >= frame[:2]) & (boxes[:, 2:] <= frame[2:])).all(axis=1)
        free = np.flatnonzero(inside & ~_overlaps(boxes, taken).any(axis=1) & ~crossed)
        if len(free):
            written = np.concatenate((written, boxes[free[:1]]))
            taken = np.concatenate((taken, boxes[free[:1]] + (-GAP, 0, GAP, 0), leaders[free[0]]))
            _write(axes, label, places[free[0]])


def _boxes(axes: Axes, label: Label, places: Sequence[_Place]) -> Floats:
    """Return the box that a label would fill at each place: left, bottom, right, top in pixels, ``[places, 4]``."""
    text = axes.text(label.x, label.y, label.text, weight=label.weight, fontsize=label.size)
    size = np.asarray(text.get_window_extent().size, dtype=np.float64)
    text.remove()
    offsets = axes.figure.dpi_scale_trans.transform([place.offset for place in places]) / 72
    low = axes.transData.transform((label.x, label.y)) + offsets - np.array([place.edge for place in places]) * size
    return np.concatenate((low, low + size), axis=1)


def _leaders(axes: Axes, label: Label, places: Sequence[_Place]) -> list[Floats]:
    """Return boxes of a pixel along the line between a label's point and each place, ``[LEADER_POINTS, 4]``; empty if there is no line."""
    offsets = axes.figure.dpi_scale_trans.transform([place.offset for place in places]) / 72
    along = axes.transData.transform((label.x, label.y)) + np.linspace(0, 1, LEADER_POINTS)[:, None, None] * offsets  # [points, places, 2]
    boxes = np.concatenate((along, along + 1), axis=2)
    return [boxes[:, n] if place.distance >= LEADER else np.empty((0, 4)) for n, place in enumerate(places)]


def _overlaps(boxes: Floats, others: Floats) -> NDArray[np.bool_]:
    """Return whether each box touches each of the others, ``[boxes, others]``."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.asarray((low < high).all(axis=2))


def _write(axes: Axes, label: Label, place: _Place) -> None:
    line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 3} if place.distance >= LEADER else None
    axes.annotate(
        label.text,
        (label.x, label.y),
        place.offset,
        textcoords="offset points",
        color=label.colour,
        weight=label.weight,
        fontsize=label.size,
        horizontalalignment=("left", "center", "right")[int(2 * place.edge[0])],
        verticalalignment=("bottom", "center", "top")[int(2 * place.edge[1])],
        arrowprops=line,
        in_layout=False,
    )
