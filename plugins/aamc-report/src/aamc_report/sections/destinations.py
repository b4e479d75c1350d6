"""The models that the headline's router chose for each category, and the causes of its failures, by category and by chosen model.

A failure has a cause where the quality of every candidate is known: on a table, and in a simulator that tells it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np
from aamc_experiments.evaluation import HEADLINE, Comparison, Resampling, ratio
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aamc_report.formats import percent
from aamc_report.page import Drawing
from aamc_report.render import tip
from aamc_report.results import Results
from aamc_report.sections.groups import QueryGroup, group_rows, groups, omission_note
from aamc_report.sections.models import REST, most_chosen
from aamc_report.style import MUTED, PAPER, as_table, new_figure, on_colour, short_names, without_ticks
from aamc_report.tables import Cell, Column, Table, TableRow
from aamc_sdk.types import Floats

Rows = NDArray[np.bool_]


@attrs.frozen
class Cause:
    """A cause of failures: its name, and its definition in a sentence."""

    title: str
    meaning: str


IMPOSSIBLE = Cause("None could", "No candidate answers the query well.")
OVERRATED = Cause("Overrated", "Another candidate would have succeeded, and the router expected no more quality of it than of its own choice.")
TRADED = Cause("Traded", "The router expected more quality of one that would have succeeded; cost, latency, chance or a rule spoke for its choice.")
AVOIDABLE = Cause(
    "Avoidable", "Another candidate would have succeeded; the quality that the router expected of it, or of its own choice, is unknown."
)
UNKNOWN = Cause("Failed", "The outcomes of other candidates are unknown: only the chosen one answered.")


def failure_causes(comparison: Comparison, router: int, threshold: float) -> Mapping[Cause, Rows]:
    """Return the queries that a router failed by each cause, ``[Q]``; each failure has one cause.

    Returns:
        Only causes that the data can tell apart: ``UNKNOWN`` where the other candidates' quality is not known. ``AVOIDABLE`` stands
        for ``OVERRATED`` and ``TRADED`` where a router does not state the expected quality of its choice and of a candidate that
        would have succeeded.
    """
    failed = ~(comparison.realised(router).known_quality[HEADLINE] >= threshold)
    if comparison.candidate_quality is None:
        return {UNKNOWN: failed}
    succeeds = comparison.candidate_quality >= threshold
    possible = succeeds.any(axis=1)
    causes = {IMPOSSIBLE: failed & ~possible}
    avoidable, expected = failed & possible, comparison.expected_quality[router]
    if np.isnan(expected).all():
        return causes | {AVOIDABLE: avoidable}
    chosen = np.take_along_axis(expected, comparison.chosen[router, HEADLINE][:, None], axis=1)[:, 0]
    rival = np.where(succeeds & np.isfinite(expected), expected, -np.inf).max(axis=1)
    stated = avoidable & np.isfinite(chosen) & np.isfinite(rival)
    causes |= {OVERRATED: stated & (chosen >= rival), TRADED: stated & (chosen < rival)}
    unstated = avoidable & ~stated
    return causes | {AVOIDABLE: unstated} if unstated.any() else causes


def headline_causes(results: Results) -> Mapping[Cause, Rows]:
    """Return :func:`failure_causes` of the headline's router at the run's threshold."""
    return failure_causes(results.decisions, results.position, results.run.settings.evaluation.success_threshold)


def failure_tables(results: Results) -> list[Table]:
    """Return the headline's failures and their causes, by category and by model."""
    causes = headline_causes(results)
    chosen = results.decisions.chosen[results.position, HEADLINE]
    models = [QueryGroup(name, chosen == m) for m, name in enumerate(results.decisions.candidates.tolist()) if (chosen == m).any()]
    subject = f"queries that {results.headline} failed at the preference, with 95% intervals, and the causes."
    return [
        _table(f"Share of each category's {subject}{omission_note(results)}", "Category", groups(results), causes, results.resamplings),
        _table(f"Share of each model's {subject} Models that it never chose are left out.", "Model", models, causes, results.resamplings),
    ]


def _table(caption: str, first: str, found: Sequence[QueryGroup], causes: Mapping[Cause, Rows], resamplings: Sequence[Resampling]) -> Table:
    by_cause = list(causes.values())
    columns, values = [Column("Queries"), Column("Failed", "", "Queries whose quality is below the threshold.")], [np.any(by_cause, axis=0)]
    if len(causes) > 1:
        columns += [Column(cause.title, "", cause.meaning) for cause in causes]
        values += by_cause
    flags = np.column_stack(values)
    return Table(caption, [first], columns, group_rows(found, lambda group: group.shares(flags, resamplings), percent))


CAPTION = (
    "The run's router, at the preference above. Left: the share of each category's queries that each model got, in per cent. "
    "Right: the share that failed. None could: no model answers well. Overrated: another model would have succeeded, and the router "
    "did not expect more from it. Traded: it expected more from one that would have succeeded, but chose another for its cost or latency. Avoidable: "
    "another would have succeeded, and the expected quality is unknown."
)
SHADES = ("#f2f5f9", "#7fb0d6", "#0a5c9e")
"""From no queries to all of them."""
COLOURS = {IMPOSSIBLE: MUTED, OVERRATED: "#cc79a7", TRADED: "#e69f00", AVOIDABLE: "#56b4e9", UNKNOWN: "#0072b2"}
MINIMUM_SHARE = 0.005
"""A smaller share, which rounds to 0%, is left blank."""


@attrs.frozen(eq=False)
class Destinations:
    """Shares of queries by group and model.

    Attributes:
        groups: G of them.
        models: N names from the cheapest to the most expensive; rarely chosen ones come last, as one.
        shares: ``[G, N]``; NaN for a group without queries.
    """

    groups: Sequence[QueryGroup]
    models: Sequence[str]
    shares: Floats

    @classmethod
    def of(cls, results: Results) -> Destinations:
        """Return the headline's choices at the preference."""
        chosen, found = results.decisions.chosen[results.position, HEADLINE], groups(results)
        names = results.decisions.candidates.tolist()
        counts = np.array([np.bincount(chosen[group.rows], minlength=len(names)) for group in found], dtype=np.float64)
        shown = most_chosen(results, counts[0])
        columns, models = counts[:, shown], [names[m] for m in shown]
        if len(shown) < len(names):
            columns = np.column_stack((columns, counts.sum(axis=1) - columns.sum(axis=1)))
            models.append(REST)
        sizes = np.array([group.size for group in found], dtype=np.float64)[:, None]
        return cls(found, models, ratio(columns, sizes))


def destination_table(results: Results) -> Table:
    """Return a row for each category, with the share of its queries that the headline's router gave to each model."""
    found = Destinations.of(results)
    groups_and_shares = zip(found.groups, found.shares.tolist(), strict=True)
    rows = [TableRow([group.name], [Cell(group.size), *(Cell(share, percent) for share in shares)]) for group, shares in groups_and_shares]
    caption = f"Share of each category's queries that {results.headline} gave to each model, at the preference.{omission_note(results)}"
    return Table(caption, ["Category"], [Column("Queries"), *map(Column, found.models)], rows)


def draw(results: Results) -> Figure:
    """Draw the map of shares and the bars of failures, a row for each category."""
    found = Destinations.of(results)
    figure = new_figure(1.9 + 0.25 * len(found.groups))
    shares, failures = figure.subplots(1, 2, sharey=True, width_ratios=(len(found.models) + 2, 6))
    _draw_shares(shares, found)
    sizes, left = np.array([max(group.size, 1) for group in found.groups]), np.zeros(len(found.groups))
    for cause, rows in headline_causes(results).items():
        widths = np.array([(rows & group.rows).sum() for group in found.groups]) / sizes
        bars = failures.barh(np.arange(len(widths)) + 0.5, widths, left=left, height=0.66, color=COLOURS[cause], label=cause.title)
        for bar, group, width in zip(bars, found.groups, widths, strict=True):
            tip(bar, f"{group.name}: {percent(width)} {cause.title.lower()}")
        left += widths
    _finish(failures)
    return figure


def _draw_shares(axes: Axes, found: Destinations) -> None:
    shades = LinearSegmentedColormap.from_list("shares", SHADES)
    shares = np.nan_to_num(found.shares)
    axes.pcolormesh(np.ma.masked_less(shares, MINIMUM_SHARE), cmap=shades, vmin=0, vmax=1, edgecolors=PAPER, linewidth=0.8)
    for (row, column), share in np.ndenumerate(shares):
        if share >= MINIMUM_SHARE:
            colour = on_colour(np.asarray(shades(share)))
            axes.text(column + 0.5, row + 0.5, f"{100 * share:.0f}", ha="center", va="center", fontsize=7.5, color=colour)
    as_table(axes, short_names(found.models, 18), [(group.name, group.size) for group in found.groups], slant=38)


def _finish(axes: Axes) -> None:
    axes.set_xlabel("share that failed")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    without_ticks(axes)
    axes.set_xlim(0, max(axes.get_xlim()[1], 0.1))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=7.5, handlelength=1, handleheight=1)


DRAWING = Drawing("destinations", "Where each category goes, and why it fails", CAPTION, draw)
