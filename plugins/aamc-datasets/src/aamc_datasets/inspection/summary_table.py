"""The tables of ``aamc data inspect``, one per dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from aamc_sdk.cli import console, print_table
from aamc_sdk.errors import quantity

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
            print_table(_table(facts))
        for line in _lines(facts):
            output.print(line, highlight=False)
    for shared in document["shared"]:
        first, second = shared["between"]
        of_first, of_second = shared["near_duplicate_rows"]
        near = f"near-duplicates in the other: {quantity(of_first, 'row')} of the first, {quantity(of_second, 'row')} of the second"
        output.print(f"{first} and {second} share {quantity(shared['questions'], 'question')}; {near}", highlight=False)


def _table(facts: Mapping[str, Any]) -> Table:
    table = Table(title=facts["name"], title_justify="left", box=SIMPLE_HEAD)
    table.add_column("candidate")
    for _, heading, _, _ in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    extra = [{"name": "(oracle)", **facts["oracle"]}] if facts.get("oracle") else []
    best = (facts.get("best_single") or {}).get("name")
    for row in (*facts["candidates"], *extra):
        cells = [_cell(row.get(key), factor, form) for key, _, factor, form in COLUMNS]
        table.add_row(row["name"], *cells, style="bold" if row["name"] == best else None)
    return table


def _cell(value: float | None, factor: float, form: str) -> str:
    return "-" if value is None or math.isnan(value) else format(factor * value, form)


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    categories = quantity(len(facts["categories"]), "category", "categories")
    yield f"{facts['name']}: {quantity(facts['rows'], 'row')}, {categories}, {quantity(facts['duplicates'], 'repeated question')}"
    if facts["near_duplicates"] > facts["duplicates"]:
        yield f"{quantity(facts['near_duplicates'], 'near-duplicate')} of earlier rows, the repeated questions included"
    if facts["comparisons"]:
        yield f"{quantity(facts['comparisons'], 'comparison')} of two candidates"
    if "complete_rows" in facts:
        yield f"{facts['missing_share']:.1%} of the cells are missing; rows without any missing: {facts['complete_rows']:,}"
    best = facts.get("best_single")
    if best:
        yield f"best single candidate: {best['name']}, quality {best['mean_quality']:.3f}; the oracle's: {facts['oracle']['mean_quality']:.3f}"
    if facts["cost_note"]:
        yield f"costs: {facts['cost_note']}"
