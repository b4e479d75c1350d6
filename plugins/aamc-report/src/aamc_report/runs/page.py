"""The page of several runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aamc_experiments.evaluation import few_queries_note

from aamc_report.formats import PER_THOUSAND, aligned, fixed
from aamc_report.page import Drawing, Page, Picture, Section, render_page
from aamc_report.runs.collection import Runs, differences
from aamc_report.runs.pairs import METRICS, Pair
from aamc_report.sections.comparison import ComparedRouter, comparison_table, facts
from aamc_report.sections.cost_quality import Series, draw_plane
from aamc_report.style import HEADLINE, MARKERS, OTHERS, Look
from aamc_report.tables import Cell, Column, TableRow, Table
from aamc_sdk.storage import write_text

PLANE = "Frontiers"
SAME = "Every run answered the same test questions."
OTHER = "Not all runs answered the same test questions; runs on different questions also differ by these."
PAIRED_COLUMNS = (
    Column("Quality", "difference", "Mean quality of the first minus that of the second, on the same questions."),
    Column("p, corrected", "Holm", "Probability that chance alone gives a difference this large, corrected for all that are shown."),
    Column("Cost", f"{PER_THOUSAND}, difference", "Mean cost of the first minus that of the second, on the same questions."),
    Column("p, corrected", "Holm", "Probability that chance alone gives a difference this large, corrected for all that are shown."),
)


def write_comparison(runs: Runs, paired: Sequence[Pair], page: Path) -> Path:
    """Write the page of several runs and return its path.

    Args:
        runs: At least two.
        paired: Their paired differences.
        page: The page's path.

    Raises:
        OutputError: The page cannot be written.
    """
    write_text(page, render_page(comparison_page(runs, paired)))
    return page


def comparison_page(runs: Runs, paired: Sequence[Pair]) -> Page:
    """Return the page of several runs."""
    note = OTHER if any(pair.why_not for pair in paired) else SAME
    few = [f"{name}: {warning}" for name, results in runs.items() if (warning := few_queries_note(results.queries, results.decisions.questions))]
    return Page(
        kind="AAMC runs side by side",
        title=", ".join(runs),
        summary="",
        facts={"Runs": len(runs)},
        sections=[
            Section(name="runs", title="Comparison", tables=[_joined(runs), _about(runs)], notes=[note, *few]),
            Section(name="frontiers", title=PLANE, pictures=[_plane(runs, note)]),
            _paired(paired),
            _settings(runs),
        ],
        configuration={f"{name}: the complete configuration (run.yaml)": results.configuration for name, results in runs.items()},
    )


def _joined(runs: Runs) -> Table:
    """Return a row for each router of each run."""
    rows = [ComparedRouter(f"{name}: {router}", results, router, router == results.headline) for name, results in runs.items() for router in results.routers]
    caption = "Every router of every run; each run's own is marked. In small type: 95% intervals. Click a heading to sort by its column."
    return comparison_table(rows, caption, first="Run and router")


def _about(runs: Runs) -> Table:
    """Return each run's data and preference."""
    known = {name: facts(results) for name, results in runs.items()}
    shown = [fact for fact in next(iter(known.values())) if any(found[fact] not in (None, "") for found in known.values())]
    rows = [TableRow([name], [Cell("" if found[fact] is None else str(found[fact])) for fact in shown]) for name, found in known.items()]
    return Table("Each run's data and preference.", ["Run"], list(map(Column, shown)), rows)


def _settings(runs: Runs) -> Section:
    """Return a row for each setting that differs."""
    rows = [TableRow([key], list(map(Cell, values))) for key, values in differences(runs).items()]
    table = Table("The entries of run.yaml that differ.", ["Setting"], list(map(Column, runs)), rows)
    title = "Settings that differ"
    return Section(name="settings", title=title, tables=[table]) if rows else Section(name="settings", title=title, notes=["None."])


def _plane(runs: Runs, note: str) -> Picture:
    """Draw each run's own router into one plane."""
    colours = (HEADLINE, *OTHERS)
    series = [
        Series(results, results.headline, f"{name}: {results.headline}", Look(colours[n % len(colours)], MARKERS[n % len(MARKERS)], emphasised=True))
        for n, (name, results) in enumerate(runs.items())
    ]
    caption = f"Each run's own router: large markers at its run's preference, and the hull of its frontier, both with 95% intervals. {note}"
    drawing = Drawing[None]("frontiers", PLANE, caption, lambda _: draw_plane(series, {}))
    picture = drawing.picture(None)
    assert picture is not None  # a plane is always drawn
    return picture


def _paired(paired: Sequence[Pair]) -> Section:
    compared = [pair for pair in paired if pair.differences]
    notes = [f"No paired differences between {pair.run} and {pair.other}: {pair.why_not}." for pair in paired if pair.why_not]
    tables = [_differences(compared)] if compared else []
    return Section(name="paired", title="Paired differences", tables=tables, notes=notes)


def _differences(compared: Sequence[Pair]) -> Table:
    quality, cost = fixed(3), aligned((bound for pair in compared for bound in pair.differences["mean_cost_usd"].ci95), factor=1000)
    rows = []
    for pair in compared:
        cells = []
        for metric, write in zip(METRICS, (quality, cost), strict=True):
            found = pair.differences[metric]
            cells += [Cell(found.difference, write, found.ci95), Cell(found.p_holm, fixed(4))]
        rows.append(TableRow([f"{pair.run} minus {pair.other}"], cells))
    caption = "The runs' own routers on the same questions, each at its run's preference. In small type: 95% intervals."
    return Table(caption, ["Runs"], PAIRED_COLUMNS, rows)
