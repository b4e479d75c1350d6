"""Reliability: the realised quality against the expected quality, bin by bin.

Papers: Guo et al. 2017, "On Calibration of Modern Neural Networks" (reliability diagrams, figure 1).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import attrs
import numpy as np
from aamc_experiments.evaluation import BINS, Comparison, Integers, Resampling, bin_of, forecasts, ratio, share_interval, two_way
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aamc_report.formats import fixed, listed
from aamc_report.page import Drawing
from aamc_report.render import tip
from aamc_report.results import ORACLE, Results, bounds
from aamc_report.style import MUTED, Look, looks, new_figure, short_names
from aamc_report.tables import Cell, Column, Table, TableRow
from aamc_sdk.types import Floats

COLUMNS = (
    Column("Forecasts", "", "Number of expected qualities in the bin."),
    Column("Expected", "mean", "Mean expected quality."),
    Column("Realised", "mean", "Mean realised quality."),
    Column("Gap", "", "Realised minus expected: negative if the router expects too much."),
)
CAPTION = (
    "Left: mean realised quality against mean expected quality, with 95% intervals, in bins of equal width; a larger point has more "
    "forecasts. On the dashed line the router's expectation is right, below it too high. Right: the number of forecasts in each bin. "
    "Routers with equal expectations share a row."
)
MAXIMUM_ROWS = 3
TITLE_LETTERS = 46
SMALLEST, LARGEST = 1.5, 7.0
"""Diameters in points of an almost empty bin and of the fullest one; between them the area is proportional to the number of forecasts."""


@attrs.frozen(eq=False)
class Reliability:
    """A router's forecasts in bins of equal width; NaN in empty bins.

    Attributes:
        counts: The number of forecasts in each bin, ``[BINS]``.
        expected: The mean expected quality, ``[BINS]``.
        realised: The mean realised quality, ``[BINS]``.
        interval: The 95% interval of ``realised``, low and high, ``[2, BINS]``; NaN for a bin with forecasts of fewer than three units.
    """

    counts: Floats
    expected: Floats
    realised: Floats
    interval: Floats

    @classmethod
    def of(cls, comparison: Comparison, router: int, resamplings: Sequence[Resampling]) -> Reliability:
        """Sort a router's forecasts into bins."""
        expected, realised = forecasts(comparison, router)
        known = np.isfinite(expected)
        cell = np.nonzero(known)[0] * BINS + bin_of(expected[known])
        counts, sums, qualities = (_sums(cell, weights, len(expected)) for weights in (None, expected[known], realised[known]))
        total = counts.sum(axis=0)
        mean = ratio(qualities.sum(axis=0), total)
        binary = bool(np.isin(realised[known], (0, 1)).all())
        parts = zip(counts.T, qualities.T, mean.tolist(), strict=True)
        intervals = np.array([_interval(*part, binary, resamplings) if part[0].any() else (np.nan, np.nan) for part in parts]).T
        return cls(total, ratio(sums.sum(axis=0), total), mean, intervals)


def _interval(counts: Floats, qualities: Floats, mean: float, binary: bool, resamplings: Sequence[Resampling]) -> tuple[float, float]:
    """Return the interval of a bin's mean quality, given each query's number of forecasts in it and the sum of their qualities, ``[Q]``."""
    rows, over = counts > 0, []
    own = [resampling.within(rows) for resampling in resamplings]
    exact = binary and all(each.independent for each in own) and counts.max() == 1
    for resampling in own:
        number, total = resampling.means(np.column_stack((counts, qualities))[rows]).T
        over.append(share_interval(ratio(total, number), mean, resampling.units, exact))
    return bounds(two_way(over, 0.0, 1.0))


def reliabilities(results: Results) -> Mapping[tuple[str, ...], Reliability]:
    """Return the reliability of each distinct set of forecasts, by the names of the routers that share it.

    Routers without expectations and the oracle are left out.
    """
    comparison, groups = results.decisions, dict[bytes, list[str]]()
    for router in results.routers:
        expected, realised = forecasts(comparison, results.position_of(router))
        if router != ORACLE and not np.isnan(expected).all():
            groups.setdefault(expected.tobytes() + realised.tobytes(), []).append(router)
    return {tuple(group): Reliability.of(comparison, results.position_of(group[0]), results.resamplings) for group in groups.values()}


def _sums(cell: Integers, weights: Floats | None, queries: int) -> Floats:
    """Return each query's sum by bin, ``[Q, BINS]``."""
    return np.bincount(cell, weights, minlength=queries * BINS).reshape(queries, BINS).astype(np.float64)


def reliability_tables(results: Results) -> list[Table]:
    """Return the bins of the headline's forecasts; nothing if it has none."""
    found = next((bins for routers, bins in reliabilities(results).items() if results.headline in routers), None)
    if found is None:
        return []
    rows = [_row(found, place) for place in range(BINS) if found.counts[place]]
    caption = f"Expected and realised quality of {results.headline}'s forecasts, in bins of equal width. In small type: 95% intervals."
    return [Table(caption, ["Expected quality"], COLUMNS, rows)]


def _row(bins: Reliability, place: int) -> TableRow:
    expected, realised = float(bins.expected[place]), float(bins.realised[place])
    low, high = bins.interval[:, place].tolist()
    means = [Cell(expected, fixed(3)), Cell(realised, fixed(3), (low, high)), Cell(realised - expected, fixed(3))]
    return TableRow([f"{place / BINS:.2f} to {(place + 1) / BINS:.2f}"], [Cell(int(bins.counts[place])), *means])


def notes(results: Results) -> list[str]:
    """Return what the figure leaves out, in sentences."""
    found = _ordered(results)
    notes = []
    if found and not results.decisions.is_table:
        notes.append("In a simulation the forecasts are those of the model chosen for quality alone, not at the preference.")
    if others := found[MAXIMUM_ROWS:]:
        names = listed([router for routers, _ in others for router in routers])
        shown = f"The figure shows {MAXIMUM_ROWS} of {len(found)} sets of forecasts, without those of {names}."
        notes.append(f"{shown} The Brier score of every router is under Further measures.")
    return notes


def _ordered(results: Results) -> list[tuple[tuple[str, ...], Reliability]]:
    """Return the distinct sets of forecasts, the headline's first."""
    return sorted(reliabilities(results).items(), key=lambda item: results.headline not in item[0])


def draw(results: Results) -> Figure | None:
    """Draw a row for each of the first sets of forecasts, the headline's on top; None if there are no forecasts."""
    found = _ordered(results)[:MAXIMUM_ROWS]
    if not found:
        return None
    figure = new_figure(0.4 + 2.9 * len(found))
    panels = figure.subplots(len(found), 2, squeeze=False)
    for (routers, bins), (diagram, counts) in zip(found, panels, strict=True):
        router = results.headline if results.headline in routers else routers[0]
        _draw_diagram(diagram, bins, looks(results)[router])
        diagram.set_title(textwrap.fill(f"Forecasts of {listed(short_names(routers))}", TITLE_LETTERS))
        _draw_counts(counts, bins)
        brier, ece = (fixed(3)(results.value(router, metric)) for metric in ("brier", "ece"))
        counts.set_title(f"Number of forecasts; Brier {brier}, ECE {ece}")
    return figure


def _draw_diagram(axes: Axes, bins: Reliability, look: Look) -> None:
    axes.plot((0, 1), (0, 1), color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.vlines(bins.expected, *bins.interval, color=look.colour, linewidth=1.2)
    sizes = SMALLEST + (LARGEST - SMALLEST) * np.sqrt(bins.counts / bins.counts.max())
    for expected, realised, count, size in zip(bins.expected, bins.realised, bins.counts, sizes, strict=True):
        if count:
            (point,) = axes.plot(expected, realised, look.marker, color=look.colour, markersize=size, markeredgewidth=0)
            tip(point, f"expected {expected:.3f}, realised {realised:.3f}, {count:,.0f} forecasts")
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


DRAWING = Drawing("reliability", "Reliability", CAPTION, draw)
