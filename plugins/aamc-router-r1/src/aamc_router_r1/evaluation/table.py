"""The results of an evaluation as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from aamc_sdk.cli import INTERVALS

COLUMNS = {
    "exact_match": "exact match",
    "f1": "F1",
    "mean_cost_usd": "USD",
    "mean_rounds": "rounds",
    "strongest_share": "to strongest",
    "malformed_share": "malformed",
    "mean_seconds": "seconds",
}
"""The columns, each with its heading."""


def table(document: Mapping[str, Any]) -> Table:
    """Return a row for each system, with 95% intervals below the figures."""
    data = document["data"]
    title = f"{data['source']}: {data['queries']} questions, policy {data['policy']}, strongest model {data['strongest']}"
    shown = Table(title=title, caption=f"{INTERVALS} Costs and times are means per question.")
    shown.add_column("system")
    for heading in COLUMNS.values():
        shown.add_column(heading, justify="right", no_wrap=True)
    for name, system in document["systems"].items():
        shown.add_row(name, *(_cell(system, column) for column in COLUMNS))
    return shown


def _cell(system: Mapping[str, Any], column: str) -> str:
    value, interval = system[column], system["ci95"][column]
    if value is None:
        return "-"
    return f"{value:.3g}" if interval is None else f"{value:.3g}\n{interval[0]:.3g}..{interval[1]:.3g}"
