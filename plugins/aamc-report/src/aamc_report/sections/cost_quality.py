"""The cost-quality plane: every router's frontier, the candidates, and random mixtures of them; and the cost of reaching a quality."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import attrs
import numpy as np
from aamc_experiments.evaluation import SWEEP, Comparison, Resampling, hull, two_way
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aamc_report.formats import dollars_per_thousand, percent, shortest
from aamc_report.labels import Label, place_labels
from aamc_report.page import Drawing
from aamc_report.render import tip
from aamc_report.results import Results, bounds
from aamc_report.style import HEADLINE as HEADLINE_COLOUR
from aamc_report.style import INK, MUTED, PAPER, Look, looks, new_figure, short_names, spans_magnitudes, use_log_axis
from aamc_report.tables import UNKNOWN, Cell, Column, Table, TableRow
from aamc_sdk.types import Floats

CAPTION = (
    "Up and to the left is better. Large markers: the preference above, with 95% intervals. "
    "Small dots: the same router with more or less weight on cost; solid lines: their concave hull, with its 95% interval as a band. "
    "Diamonds: single models; the dashed line: the best random mixtures of them."
)
BAR_POINTS = 60
"""Points along an interval that labels avoid: their distance is less than a label's height."""
BAND_STEP = 6
"""A band has one point for this many points of its line."""


@attrs.frozen
class Series:
    """A router in the plane: its run's results, its name in the run and in the figure, and its look."""

    results: Results
    router: str
    name: str
    look: Look

    @property
    def point(self) -> tuple[float, float]:
        """Mean cost in USD and mean quality at the preference."""
        return self.results.value(self.router, "mean_cost_usd"), self.results.value(self.router, "mean_quality")

    @property
    def frontier(self) -> Floats:
        """Mean cost and quality along the sweep, ``[points, 2]``; empty if all points are equal."""
        points = self.results.frontier(self.router)
        return points if len(np.unique(points, axis=0)) > 1 else points[:0]

    def band(self, at_cost_usd: Floats) -> Floats:
        """Return the interval of the hull's quality at costs ``[K]``, ``[2, K]``."""
        results = self.results
        bands = [hull_band(results.decisions, results.position_of(self.router), each, at_cost_usd).T.tolist() for each in results.resamplings]
        return np.array([bounds(two_way(over)) for over in zip(*bands, strict=True)]).T


def draw(results: Results) -> Figure:
    """Draw a run's routers and candidates."""
    models = dict(zip(results.decisions.candidates.tolist(), results.candidate_points, strict=True))
    return draw_plane([Series(results, router, router, look) for router, look in looks(results).items()], models)


def draw_plane(routers: Sequence[Series], models: Mapping[str, Floats]) -> Figure:
    """Draw routers, and single candidates by mean cost in USD and quality, ``[2]`` each; the cost axis is logarithmic where costs differ much."""
    figure = new_figure(4.9)
    axes = figure.subplots()
    axes.set_xlabel("mean cost of 1,000 queries, USD")
    axes.set_ylabel("mean quality")
    points = np.array(list(models.values()), dtype=np.float64).reshape(-1, 2)
    every = np.concatenate((points, [router.point for router in routers], *(router.frontier for router in routers)))
    if spans_magnitudes(every[:, 0]):
        use_log_axis(axes)
    axes.xaxis.set_major_formatter(lambda value, _: shortest(1000 * value, "$") if value >= 0 else "")  # margins may go below 0
    axes.margins(0.08)
    lines = [_draw_candidates(axes, points), *(_draw_router(axes, router) for router in routers)]
    shown = np.concatenate((every, *lines))
    if np.ptp(shown[np.isfinite(shown[:, 1]), 1]) == 0:
        axes.set_ylim(-0.12, 1.12)  # matplotlib's choice would go below a quality of 0
    place_labels(axes, _labels(routers, models), shown[np.isfinite(shown).all(axis=1)])
    return figure


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


def _draw_router(axes: Axes, router: Series) -> Floats:
    """Draw a router's point, intervals and frontier; return points on its lines, ``[N, 2]``."""
    (cost, quality), colour, emphasised = router.point, router.look.colour, router.look.emphasised
    front = 4 if emphasised else 3
    intervals = {metric: router.results.interval(router.router, metric) for metric in ("mean_cost_usd", "mean_quality")}
    (cheap, expensive), (low, high) = intervals["mean_cost_usd"], intervals["mean_quality"]
    lines = [_along((cheap, quality), (expensive, quality)), _along((cost, low), (cost, high))]
    if len(router.frontier):
        lines.append(_mixtures(router.frontier))
        along = lines[-1][[*range(0, len(lines[-1]), BAND_STEP), -1], 0]
        if len(lines[-1]) > 1:  # a hull of one point has no band
            axes.fill_between(along, *router.band(along), color=colour, alpha=0.22 if emphasised else 0.1, linewidth=0)
        axes.plot(*lines[-1].T, color=colour, linewidth=2.4 if emphasised else 1.1, zorder=front)
        axes.plot(*router.frontier.T, "o", color=colour, markersize=3 if emphasised else 2, alpha=0.7, zorder=front)
    axes.plot(intervals["mean_cost_usd"], (quality, quality), color=colour, linewidth=1, zorder=front)
    axes.plot((cost, cost), intervals["mean_quality"], color=colour, linewidth=1, zorder=front)
    size = 9 if emphasised else 6.5
    (marker,) = axes.plot(cost, quality, router.look.marker, color=colour, markersize=size, markeredgecolor=PAPER, zorder=front + 2)
    tip(marker, f"{router.name}: quality {quality:.3f} at {dollars_per_thousand(cost)} per 1,000")
    return np.concatenate(lines)


def _along(start: tuple[float, float], end: tuple[float, float]) -> Floats:
    """Return points on a straight line, ``[BAR_POINTS, 2]``."""
    return np.linspace(np.array(start, dtype=np.float64), np.array(end, dtype=np.float64), BAR_POINTS)


def _labels(routers: Sequence[Series], models: Mapping[str, Floats]) -> list[Label]:
    """Return the labels, those of emphasised routers first: the first labels get the best places."""
    labels = []
    names = zip(routers, short_names([router.name for router in routers]), strict=True)
    for router, name in sorted(names, key=lambda named: not named[0].look.emphasised):
        colour = HEADLINE_COLOUR if router.look.colour == HEADLINE_COLOUR else INK  # others are too pale for small type
        x, y = router.point
        labels.append(Label(x=x, y=y, text=name, colour=colour, weight="bold" if router.look.emphasised else "normal"))
    labels += [
        Label(x=float(x), y=float(y), text=name, colour=MUTED, size=7)
        for name, (x, y) in zip(short_names(list(models)), models.values(), strict=True)
    ]
    return [label for label in labels if np.isfinite((label.x, label.y)).all()]


def hull_band(comparison: Comparison, router: int, resampling: Resampling, at_cost_usd: Floats) -> Floats:
    """Return the 95% interval of the quality of a router's hull at each of K costs, cost by cost, ``[2, K]``.

    Each resample has its own hull, so the band includes the variation of costs. Below a resample's cheapest point its hull is constant.
    """
    outcomes = comparison.realised(router)
    cost, quality = (resampling.means(values[SWEEP].T) for values in (outcomes.cost_usd, outcomes.known_quality))
    resampled = [np.interp(at_cost_usd, x, y) for x, y in zip(*hull(cost, quality), strict=True)]
    return np.asarray(np.quantile(resampled, (0.025, 0.975), axis=0))


def cost_of_quality_tables(results: Results) -> list[Table]:
    """Return the cost at which each router reaches shares of the best single candidate's quality; nothing if no router reaches any."""
    known = {router: results.cost_at_quality(router) for router in results.routers}
    targets = list(dict.fromkeys(target for costs in known.values() for target in costs))
    if not any(math.isfinite(cost) for costs in known.values() for cost, _ in costs.values()):
        return []
    rows = []
    for router, costs in known.items():
        found = [costs.get(target, (math.nan, UNKNOWN)) for target in targets]
        rows.append(TableRow([router], [Cell(cost, percent, interval) for cost, interval in found], router == results.headline))
    caption = "Minimum cost on a router's hull that reaches a share of the best single candidate's quality, as a share of that candidate's cost."
    return [Table(caption, ["Router"], [Column(f"{float(target):.0%}", "of its quality") for target in targets], rows)]


DRAWING = Drawing("cost_quality", "Cost and quality", CAPTION, draw)
