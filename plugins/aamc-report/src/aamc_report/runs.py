"""The comparison of several runs: paired differences between their routers, the differences of their settings, the JSON document, and the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_experiments.evaluation import HEADLINE, few_queries_note, paired_comparisons

from aamc_report.formats import PER_THOUSAND, aligned, fixed
from aamc_report.page import Drawing, Page, Picture, Section
from aamc_report.result_files import read_results
from aamc_report.results import Difference, Results
from aamc_report.sections.comparison import ComparedRouter, comparison_table, facts
from aamc_report.sections.cost_quality import Series, draw_plane
from aamc_report.style import HEADLINE as HEADLINE_COLOUR
from aamc_report.style import MARKERS, OTHERS, Look
from aamc_report.tables import Cell, Column, Table, TableRow
from aamc_sdk.errors import ConfigError
from aamc_sdk.types import Floats

METRICS = ("mean_quality", "mean_cost_usd")
"""The compared metrics: both are independent of a run's preference and scales."""


@attrs.frozen
class Pair:
    """The names of a run and of the first run, with their differences by metric, or the reason why they cannot be paired."""

    run: str
    other: str
    differences: dict[str, Difference]
    why_not: str = ""


def pairs(runs: Mapping[str, Results]) -> Sequence[Pair]:
    """Compare each later run's own router with that of the first run; the p values are corrected for all pairs."""
    (name, first), *_ = runs.items()
    others = dict(islice(runs.items(), 1, None))
    reasons = {other: why_not_paired(first, results) for other, results in others.items()}
    compared = [other for other, why in reasons.items() if not why]
    found = dict(zip(compared, _compare(first, [others[other] for other in compared]), strict=True)) if compared else {}
    return [Pair(other, name, found.get(other, {}), why) for other, why in reasons.items()]


def questions_hash(results: Results) -> str | None:
    """Return the hash of a run's test questions, None if it is unknown."""
    split = (results.run.content.get("splits") or {}).get("test") or {}
    return split.get("sha256")


def why_not_paired(first: Results, other: Results) -> str:
    """Return the reason why two runs cannot be paired; empty if they can."""
    if questions_hash(first) is None or questions_hash(first) != questions_hash(other):
        return "their test questions are not the same: their splits have different hashes"
    a, b = first.decisions, other.decisions
    if a.is_table != b.is_table:
        return "one was measured on a table, the other in a simulation"
    if not (np.array_equal(a.queries, b.queries) and np.array_equal(a.stream, b.stream)):
        return "other questions of the same split were compared: rows were left out, or the simulations drew other streams"
    return ""


def _compare(first: Results, others: Sequence[Results]) -> list[dict[str, Difference]]:
    """Return each other run's differences to the first, by metric."""
    columns = {f"{metric} {number}": column for number, run in enumerate((first, *others)) for metric, column in _outcomes(run).items()}
    pairs = [(f"{metric} {number}", f"{metric} 0") for number in range(1, len(others) + 1) for metric in METRICS]
    tests = map(Difference.of, paired_comparisons(columns, first.resamplings, first.run.settings.seed, pairs))
    return [{metric: next(tests) for metric in METRICS} for _ in others]


def _outcomes(results: Results) -> dict[str, Floats]:
    """Return the headline's outcome of each query, ``[Q]``, for each of ``METRICS``."""
    outcomes = results.decisions.realised(results.position)
    return dict(zip(METRICS, (outcomes.known_quality[HEADLINE], outcomes.cost_usd[HEADLINE]), strict=True))


Runs = Mapping[str, Results]
"""Runs by their names on a page, in the order of the command line."""
COMPARED_PARTS = ("settings", "resolved", "splits", "versions")
"""The compared parts of ``run.yaml``; the rest follows from them."""


def read_runs(folders: Sequence[Path]) -> Runs:
    """Read runs; each is named by its folder, or by its path if two folders share a name.

    Raises:
        ConfigError: A run is named twice.
        CheckpointError: A folder is not a run, or is damaged.
    """
    resolved = [folder.resolve() for folder in folders]
    twice = [str(folder) for folder, times in Counter(resolved).items() if times > 1]
    if twice:
        raise ConfigError(f"{twice[0]} is named twice; name each run once")
    names = Counter(folder.name for folder in resolved)
    return {folder.name if names[folder.name] == 1 else str(folder): read_results(folder) for folder in resolved}


def differences(runs: Runs) -> Mapping[str, Sequence[str]]:
    """Return the settings that differ between runs: each run's value as text, by dotted key.

    A key that only some runs have is listed only under ``settings``: a component's options differ with its name, which is listed,
    and an evaluation of a run has no splits. A missing value is empty.
    """
    flat = [{key: text for part in COMPARED_PARTS for key, text in _flatten(part, results.run.content.get(part) or {})} for results in runs.values()]
    keys = dict.fromkeys(key for texts in flat for key in texts)
    found = {}
    for key in keys:
        values = [texts.get(key) for texts in flat]
        known = {value for value in values if value is not None}
        if len(known) > 1 or (None in values and key.startswith("settings.")):
            found[key] = [value or "" for value in values]
    return found


def _flatten(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [pair for key, inner in value.items() for pair in _flatten(f"{prefix}.{key}", inner)]
    return [(prefix, "none" if value is None else str(value))]


def document(runs: Runs, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return the JSON document: each run's metrics, the settings that differ, and the paired differences."""
    return {
        "schema": 1,
        "runs": [
            {
                "name": name,
                "folder": results.run.folder,
                "router": results.headline,
                "test_sha256": questions_hash(results),
                "data": results.data,
                "routers": results.routers,
            }
            for name, results in runs.items()
        ],
        "settings": differences(runs),
        "paired": [attrs.asdict(pair) for pair in pairs],
    }


PLANE = "Frontiers"
SAME = "Every run answered the same test questions."
OTHER = "Not all runs answered the same test questions; runs on different questions also differ by these."
PAIRED_COLUMNS = (
    Column("Quality", "difference", "Mean quality of the first minus that of the second, on the same questions."),
    Column("p, corrected", "Holm", "Probability that chance alone gives a difference this large, corrected for all that are shown."),
    Column("Cost", f"{PER_THOUSAND}, difference", "Mean cost of the first minus that of the second, on the same questions."),
    Column("p, corrected", "Holm", "Probability that chance alone gives a difference this large, corrected for all that are shown."),
)


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
    rows = [
        ComparedRouter(f"{name}: {router}", results, router, router == results.headline)
        for name, results in runs.items()
        for router in results.routers
    ]
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
    colours = (HEADLINE_COLOUR, *OTHERS)
    series = [
        Series(results, results.headline, f"{name}: {results.headline}", Look(colours[n % len(colours)], MARKERS[n % len(MARKERS)], emphasised=True))
        for n, (name, results) in enumerate(runs.items())
    ]
    caption = f"Each run's own router: large markers at its run's preference, and the hull of its frontier, both with 95% intervals. {note}"
    picture = Drawing[Sequence[Series]]("frontiers", PLANE, caption, lambda routers: draw_plane(routers, {})).picture(series)
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
