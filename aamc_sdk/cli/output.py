"""What commands print: one JSON document to standard output, or tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from aamc_sdk.files import to_json

COLUMNS = (
    ("success_rate", "success", "{:.1%}"),
    ("mean_cost_usd", "cost (USD)", "{:.6f}"),
    ("mean_latency_ms", "latency (ms)", "{:,.0f}"),
    ("efficiency", "efficiency", "{:.2f}"),
    ("mean_reward", "reward", "{:.3f}"),
    ("aiq", "AIQ", "{:.3f}"),
    ("expected_utility", "expected utility", "{:.3f}"),
)


def write_json_line(document: Any) -> None:
    """Write one JSON document to standard output."""
    click.echo(to_json(document))


def show_metrics(metrics: Mapping[str, Any], router: str, as_json: bool) -> None:
    """Show a comparison: the JSON itself, or a table with each figure's 95% interval below it."""
    if as_json:
        write_json_line(metrics)
        return
    from rich.console import Console
    from rich.table import Table

    data = metrics["data"]
    title = f"{data['source']}: {data['queries']} queries, {len(data['models'])} candidates, preference {_weights(data['preference'])}"
    table = Table(title=title, title_justify="left", caption=data.get("cost_note") or None, caption_justify="left")
    table.add_column("router")
    for _, heading, _ in COLUMNS:
        table.add_column(heading, justify="right")
    for name, row in metrics["routers"].items():
        cells = [_cell(row, key, form) for key, _, form in COLUMNS]
        table.add_row(name, *cells, style="bold" if name == router else None)
    Console().print(table)


def _weights(preference: list[float]) -> str:
    return ",".join(f"{weight:g}" for weight in preference)


def _cell(row: Mapping[str, Any], key: str, form: str) -> str:
    value, interval = row.get(key), (row.get("ci95") or {}).get(key)
    if value is None:
        return "-"
    text = form.format(value)
    return text if interval is None or None in interval else f"{text}\n[dim]{form.format(interval[0])} .. {form.format(interval[1])}[/]"


def show_explanation(explanation: Any, as_json: bool) -> None:
    """Show why a decision was made: the JSON itself, or the candidates and a paragraph."""
    document = explanation.to_dict()
    if as_json:
        write_json_line(document)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{document['candidate']} should answer", title_justify="left")
    for heading in ("candidate", "quality", "cost (USD)", "latency (ms)", "utility", "not allowed"):
        table.add_column(heading, justify="left" if heading in ("candidate", "not allowed") else "right")
    forms = (("quality", "{:.1%}"), ("cost_usd", "{:.6f}"), ("latency_ms", "{:,.0f}"), ("utility", "{:.4f}"))
    for row in document["candidates"]:
        cells = ["-" if row[key] is None else form.format(row[key]) for key, form in forms]
        table.add_row(row["name"], *cells, row["masked_why"] or "", style="bold" if row["name"] == document["candidate"] else None)
    console = Console()
    console.print(table)
    console.print(document["why"], markup=False, highlight=False)
    console.print(f"decision {document['id']}", style="dim", highlight=False)
