"""Reliability diagrams: the quality that came against the quality that was expected."""

from __future__ import annotations

import numpy as np
from aamc_experiments.evaluation import BINS
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aamc_report.analysis.reliability import Reliability, reliabilities
from aamc_report.data import Results
from aamc_report.formats import fixed
from aamc_report.render import tip
from aamc_report.style import MUTED, Look, looks, new_figure, short

CAPTION = (
    "Left: mean quality that came against mean quality that was expected, with 95% intervals, in bins of equal width; the larger a point, the more "
    "forecasts. On the dashed line the router expects what comes, below it too much. Right: how many forecasts lie in each bin. "
    "Routers that expect the same share a row."
)
MOST_ROWS = 3
LEAST_SIZE, GREATEST_SIZE = 1.5, 7.0
"""Diameters in typographic points of a bin with hardly any forecasts, and of the one with most; areas count forecasts in between."""


def draw(results: Results) -> Figure | None:
    """Draw a row for each estimate that differs, the headline's first; None where no router expects anything."""
    found = sorted(reliabilities(results).items(), key=lambda item: results.headline not in item[0])[:MOST_ROWS]
    if not found:
        return None
    figure = new_figure(0.4 + 2.9 * len(found))
    panels = figure.subplots(len(found), 2, squeeze=False)
    for (routers, bins), (diagram, counts) in zip(found, panels, strict=True):
        router = results.headline if results.headline in routers else routers[0]
        _draw_diagram(diagram, bins, looks(results)[router])
        diagram.set_title(f"Forecasts of {short(router, 16)}{f' and {len(routers) - 1} more' if len(routers) > 1 else ''}")
        _draw_counts(counts, bins)
        brier, ece = (fixed(3)(results.value(router, metric)) for metric in ("brier", "ece"))
        counts.set_title(f"Number of forecasts; Brier {brier}, ECE {ece}")
    return figure


def _draw_diagram(axes: Axes, bins: Reliability, look: Look) -> None:
    axes.plot((0, 1), (0, 1), color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.vlines(bins.expected, *bins.interval, color=look.colour, linewidth=1.2)
    sizes = LEAST_SIZE + (GREATEST_SIZE - LEAST_SIZE) * np.sqrt(bins.counts / bins.counts.max())
    for expected, realised, count, size in zip(bins.expected, bins.realised, bins.counts, sizes, strict=True):
        if count:
            (point,) = axes.plot(expected, realised, look.marker, color=look.colour, markersize=size, markeredgewidth=0)
            tip(point, f"expected {expected:.3f}, came {realised:.3f}, {count:,.0f} forecasts")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("expected quality")
    axes.set_ylabel("realised quality")
    axes.tick_params(labelsize=7.5)


def _draw_counts(axes: Axes, bins: Reliability) -> None:
    axes.bar((np.arange(BINS) + 0.5) / BINS, bins.counts, width=0.9 / BINS, color=MUTED)
    axes.set_xlabel("expected quality")
    axes.set_xlim(-0.02, 1.02)
    axes.grid(axis="x", visible=False)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.tick_params(labelsize=7.5)
