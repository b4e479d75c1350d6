"""The tables of ``aamc data inspect``, one per dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from aamc_sdk.cli import console

COLUMNS = (
    ("mean_quality", "quality", 1, ".3f"),
    ("mean_cost_usd", "USD / 1k", 1000, ".3g"),
    ("mean_latency_ms", "latency, ms", 1, ",.0f"),
    ("missing_share", "missing", 1, ".1%"),
)
"""Each column's figure, heading, factor and format."""


def print_summary(document: Mapping[str, Any]) -> None:
    """Print a result of :func:`aamc_datasets.inspection.summary.summarize` to standard output."""
    output = console()
    for facts in document["datasets"]:
        if facts["candidates"]:
            output.print(_table(facts))
        for line in _lines(facts):
            output.print(line, highlight=False)
    for shared in document["shared"]:
        first, second = shared["between"]
        of_first, of_second = shared["near_duplicate_rows"]
        near = f"{of_first:,} rows of the first and {of_second:,} of the second have a near-duplicate in the other"
        output.print(f"{first} and {second} share {shared['questions']:,} questions; {near}", highlight=False)


def _table(facts: Mapping[str, Any]) -> Table:
    table = Table(title=facts["name"], title_justify="left", box=SIMPLE_HEAD)
    table.add_column("candidate", no_wrap=True)
    for _, heading, _, _ in COLUMNS:
        table.add_column(heading, justify="right")
    extra = [{"name": "(oracle)", **facts["oracle"]}] if facts.get("oracle") else []
    best = (facts.get("best_single") or {}).get("name")
    for row in (*facts["candidates"], *extra):
        cells = [_cell(row.get(key), factor, form) for key, _, factor, form in COLUMNS]
        table.add_row(row["name"], *cells, style="bold" if row["name"] == best else None)
    return table


def _cell(value: float | None, factor: float, form: str) -> str:
    return "-" if value is None or math.isnan(value) else format(factor * value, form)


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"{facts['name']}: {facts['rows']:,} rows, {len(facts['categories'])} categories, {facts['duplicates']:,} repeated questions"
    if facts["near_duplicates"] > facts["duplicates"]:
        yield f"{facts['near_duplicates']:,} rows are near-duplicates of earlier ones, the repeated questions included"
    if facts["comparisons"]:
        yield f"{facts['comparisons']:,} comparisons of two candidates"
    if "complete_rows" in facts:
        yield f"{facts['missing_share']:.1%} of the cells are missing; {facts['complete_rows']:,} rows have none missing"
    best = facts.get("best_single")
    if best:
        yield f"best single candidate: {best['name']}, quality {best['mean_quality']:.3f}; the oracle's: {facts['oracle']['mean_quality']:.3f}"
    if facts["cost_note"]:
        yield f"costs: {facts['cost_note']}"
