"""The cost-quality plane: every router's frontier, the candidates, and what mixing them at random gives."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aamc_report.data import Results
from aamc_report.formats import dollars, shortest
from aamc_report.labels import Label, place_labels
from aamc_report.render import tip
from aamc_report.style import INK, MUTED, PAPER, Look, looks, new_figure, short, use_log_axis, wide
from aamc_sdk.batch import Floats
from aamc_sdk.evaluation.frontier import hull

CAPTION = (
    "Up and to the left is better. Large markers: the preference above, with 95% intervals. "
    "Small dots: the same router as cost counts for more or less; solid lines: their concave hull. "
    "Diamonds: single models; the dashed line: the best that sending random shares of the queries to them gives."
)


def draw(results: Results) -> Figure:
    """Draw the plane; its cost axis is logarithmic where costs differ much."""
    figure = new_figure(4.9)
    axes = figure.subplots()
    axes.set_xlabel("mean cost of a query, USD")
    axes.set_ylabel("mean quality")
    headline = [_point(results, router) for router in results.routers]
    every = np.concatenate((results.candidate_points, headline, *(results.frontier(router) for router in results.routers)))
    if wide(every[:, 0]):
        use_log_axis(axes)
    axes.xaxis.set_major_formatter(lambda value, _: shortest(value, "$"))
    axes.margins(0.08)
    lines = [_draw_candidates(axes, results.candidate_points)]
    lines += [_draw_router(axes, results, router, look) for router, look in looks(results).items()]
    shown = np.concatenate((every, *lines))
    place_labels(axes, _labels(results), shown[np.isfinite(shown).all(axis=1)])
    return figure


def _point(results: Results, router: str) -> tuple[float, float]:
    return results.value(router, "mean_cost_usd"), results.value(router, "mean_quality")


def _mixtures(points: Floats) -> Floats:
    """Return points along the hull of ``[K, 2]`` points: straight in cost, hence curved on a logarithmic axis; ``[N, 2]``."""
    corners = np.stack(hull(*points.T), axis=1)
    steps = np.linspace(0, 1, 60)[1:, None] ** 4  # close together at the start, where a logarithmic axis spreads them
    return np.concatenate([corners[:1], *(start + (end - start) * steps for start, end in pairwise(np.unique(corners, axis=0)))])


def _draw_candidates(axes: Axes, points: Floats) -> Floats:
    """Draw the candidates and the hull of their mixtures; return points on it, ``[N, 2]``."""
    known = points[np.isfinite(points).all(axis=1)]
    if not len(known):
        return known
    line = _mixtures(known)
    axes.plot(*line.T, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.plot(*known.T, "D", color=MUTED, markersize=4, markerfacecolor=PAPER, markeredgewidth=1)
    return line


def _draw_router(axes: Axes, results: Results, router: str, look: Look) -> Floats:
    """Draw a router's point, intervals and frontier; return points on its lines, ``[N, 2]``."""
    cost, quality = _point(results, router)
    frontier, front = results.frontier(router), 4 if look.emphasised else 3
    lines = [_interval_points(results, router)]
    if len(np.unique(frontier, axis=0)) > 1:
        lines.append(_mixtures(frontier))
        axes.plot(*lines[-1].T, color=look.colour, linewidth=2.4 if look.emphasised else 1.1, zorder=front)
        axes.plot(*frontier.T, "o", color=look.colour, markersize=3 if look.emphasised else 2, alpha=0.7, zorder=front)
    axes.plot(results.interval(router, "mean_cost_usd"), (quality, quality), color=look.colour, linewidth=1, zorder=front)
    axes.plot((cost, cost), results.interval(router, "mean_quality"), color=look.colour, linewidth=1, zorder=front)
    size = 9 if look.emphasised else 6.5
    (marker,) = axes.plot(cost, quality, look.marker, color=look.colour, markersize=size, markeredgecolor=PAPER, zorder=front + 2)
    tip(marker, f"{router}: quality {quality:.3f} at {dollars(cost)}")
    return np.concatenate(lines)


def _interval_points(results: Results, router: str) -> Floats:
    """Return points along a router's interval of quality, ``[N, 2]``."""
    cost, _ = _point(results, router)
    return np.array([(cost, quality) for quality in np.linspace(*results.interval(router, "mean_quality"), 12)])


def _labels(results: Results) -> list[Label]:
    """Return the labels, the headline's first: the first ones get the best places."""
    labels: list[Label] = []
    for router, look in looks(results).items():
        x, y = _point(results, router)
        if look.emphasised:
            labels.insert(0, Label(x=x, y=y, text=short(router), colour=look.colour, weight="bold"))
        else:
            labels.append(Label(x=x, y=y, text=short(router), colour=INK))
    for name, (x, y) in zip(results.decisions.candidates.tolist(), results.candidate_points.tolist(), strict=True):
        labels.append(Label(x=x, y=y, text=short(name), colour=MUTED, size=7))
    return [label for label in labels if np.isfinite((label.x, label.y)).all()]
