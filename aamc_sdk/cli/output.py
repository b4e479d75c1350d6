"""Output of commands: one JSON document to standard output, or tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 120
"""Default width in columns for output that is not a terminal."""


def write_json_line(document: Any) -> None:
    """Write one JSON document to standard output."""
    from aamc_sdk.storage import to_json

    click.echo(to_json(document))


def console(width: int = PIPE_WIDTH, *, stderr: bool = False) -> Console:
    """Return a console for tables; brackets in names and paths are not markup.

    Args:
        width: Columns, if the output is not a terminal.
        stderr: Whether to write to standard error instead of standard output.
    """
    from rich.console import Console

    found = Console(markup=False, stderr=stderr)
    return found if found.is_terminal else Console(markup=False, stderr=stderr, width=width)


def show_explanation(explanation: Any, as_json: bool) -> None:
    """Show an explanation: as JSON, or as a table of candidates and a paragraph."""
    document = explanation.to_dict()
    if as_json:
        write_json_line(document)
        return
    from rich.table import Table

    table = Table(title=f"{document['candidate']} is chosen", title_justify="left")
    for heading in ("candidate", "quality", "cost (USD)", "latency (ms)", "utility", "not allowed"):
        table.add_column(heading, justify="left" if heading in ("candidate", "not allowed") else "right")
    forms = (("quality", "{:.1%}"), ("cost_usd", "{:.6f}"), ("latency_ms", "{:,.0f}"), ("utility", "{:.4f}"))
    for row in document["candidates"]:
        cells = ["-" if row[key] is None else form.format(row[key]) for key, form in forms]
        table.add_row(row["name"], *cells, row["masked_why"] or "", style="bold" if row["name"] == document["candidate"] else None)
    shown = console()
    shown.print(table)
    shown.print(document["why"], highlight=False)
    shown.print(f"decision {document['id']}", style="dim", highlight=False)
