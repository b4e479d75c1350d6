"""The page of several runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from aamc_report.cells import Cell, Column, Row, Table, with_interval
from aamc_report.figures.cost_quality import Series, draw_plane
from aamc_report.formats import aligned, fixed
from aamc_report.pages import Page, Picture, Section, draw_picture, render_page
from aamc_report.several.pairs import METRICS, Pair
from aamc_report.several.runs import Runs, differences
from aamc_report.style import HEADLINE, MARKERS, OTHERS, Look
from aamc_report.tables.comparison import Entry, comparison_table, facts
from aamc_sdk.files import write_text

PLANE = "Frontiers"
SAME = "Every run answered the same test questions."
OTHER = "Not all runs answered the same test questions, so between those, differences are also those of the questions."
PAIRED_COLUMNS = (
    Column("Quality", "difference", "Mean quality of the one minus that of the other, on the same questions."),
    Column("p, corrected", "Holm", "How often chance alone gives a difference this large, corrected for all that are shown."),
    Column("Cost", "USD, difference", "Mean cost of the one minus that of the other, on the same questions."),
    Column("p, corrected", "Holm", "How often chance alone gives a difference this large, corrected for all that are shown."),
)


def write_comparison(runs: Runs, paired: Sequence[Pair], page: Path) -> Path:
    """Write the page that puts several runs side by side, and return where it is.

    Args:
        runs: At least two.
        paired: Their paired differences.
        page: Where the page goes.

    Raises:
        OutputError: The page cannot be written.
    """
    write_text(page, render_page(comparison_page(runs, paired)))
    return page


def comparison_page(runs: Runs, paired: Sequence[Pair]) -> Page:
    """Return the page of several runs."""
    note = OTHER if any(pair.why_not for pair in paired) else SAME
    return Page(
        kind="AAMC runs side by side",
        title=", ".join(runs),
        summary="",
        facts={"Runs": len(runs)},
        sections=[
            Section(name="runs", title="Comparison", tables=[_joined(runs), _about(runs)], notes=[note]),
            Section(name="frontiers", title=PLANE, pictures=[_plane(runs, note)]),
            _paired(paired),
            _settings(runs),
        ],
        configuration={f"{name}: everything that the run followed from (run.yaml)": results.configuration for name, results in runs.items()},
    )


def _joined(runs: Runs) -> Table:
    """Return a row for each router of each run."""
    rows = [Entry(f"{name}: {router}", results, router, router == results.headline) for name, results in runs.items() for router in results.routers]
    caption = "Every router of every run; each run's own is marked. In small type: 95% intervals. A heading sorts by its column."
    return comparison_table(rows, caption, first="Run and router")


def _about(runs: Runs) -> Table:
    """Return what each run measured on."""
    known = {name: facts(results) for name, results in runs.items()}
    told = [fact for fact in next(iter(known.values())) if any(found[fact] not in (None, "") for found in known.values())]
    rows = [_words(name, ["" if found[fact] is None else str(found[fact]) for fact in told]) for name, found in known.items()]
    return Table("What each run was measured on.", "Run", list(map(Column, told)), rows, sortable=False)


def _settings(runs: Runs) -> Section:
    """Show a row for each setting that differs."""
    rows = [_words(key, values) for key, values in differences(runs).items()]
    table = Table("What the runs' run.yaml do not agree in.", "Setting", list(map(Column, runs)), rows, sortable=False)
    title = "Settings that differ"
    return Section(name="settings", title=title, tables=[table]) if rows else Section(name="settings", title=title, notes=["None."])


def _words(name: str, values: Sequence[str]) -> Row:
    return Row(name, [Cell(math.nan, value) for value in values])


def _plane(runs: Runs, note: str) -> Picture:
    """Draw each run's own router into one plane."""
    colours = (HEADLINE, *OTHERS)
    series = [
        Series(results, results.headline, f"{name}: {results.headline}", Look(colours[n % len(colours)], MARKERS[n % len(MARKERS)], emphasised=True))
        for n, (name, results) in enumerate(runs.items())
    ]
    caption = f"Each run's own router: large markers at its run's preference, and the hull of its frontier, both with 95% intervals. {note}"
    picture = draw_picture("frontiers", PLANE, caption, lambda: draw_plane(series, {}))
    assert picture is not None  # a plane is always drawn
    return picture


def _paired(paired: Sequence[Pair]) -> Section:
    compared = [pair for pair in paired if pair.differences]
    notes = [f"No paired differences between {pair.run} and {pair.other}: {pair.why_not}." for pair in paired if pair.why_not]
    tables = [_differences(compared)] if compared else []
    return Section(name="paired", title="Paired differences", tables=tables, notes=notes)


def _differences(compared: Sequence[Pair]) -> Table:
    quality, p = fixed(3), fixed(4)
    cost = aligned(bound for pair in compared for bound in pair.differences["mean_cost_usd"].ci95)
    rows = []
    for pair in compared:
        cells = []
        for metric, write in zip(METRICS, (quality, cost), strict=True):
            found = pair.differences[metric]
            cells += [with_interval(found.difference, found.ci95, write), Cell(found.p_holm, p(found.p_holm))]
        rows.append(Row(f"{pair.run} minus {pair.other}", cells))
    caption = "The runs' own routers on the same questions, each at its run's preference. In small type: 95% intervals."
    return Table(caption, "Runs", PAIRED_COLUMNS, rows)
