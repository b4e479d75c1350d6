"""What an experiment leaves: its document, its tables, its figures, and what the user is shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aamc_bench.tables import Table
from aamc_sdk.cli.output import console, write_json_line
from aamc_sdk.files import write_json, write_text

if TYPE_CHECKING:
    from aamc_bench.figures import Draw

WIDTH = 240
"""Columns of text where standard output is no terminal: enough for every table, none of which fills the line."""


def write_results(
    folder: Path, document: Mapping[str, Any], tables: Mapping[str, Table], figures: Mapping[str, Draw] | None = None, name: str = "results"
) -> None:
    """Write the document as ``NAME.json``, and by their names each table as ``.md``, ``.tex`` and ``.csv``, each figure as ``.png`` and ``.svg``."""
    for title, table in tables.items():
        write_text(folder / f"{title}.md", table.markdown())
        write_text(folder / f"{title}.tex", table.latex())
        write_text(folder / f"{title}.csv", table.csv())
    write_json(folder / f"{name}.json", document)
    if figures:
        from aamc_bench.figures import save_figure

        for title, draw in figures.items():
            save_figure(folder, title, draw)


def show_results(folder: Path, document: Mapping[str, Any], tables: Mapping[str, Table], as_json: bool) -> None:
    """Show the document as one line of JSON, or the tables; say where everything is."""
    if as_json:
        write_json_line(document)
    else:
        shown = console(WIDTH)
        for table in tables.values():
            shown.print(table.rich())
    click.echo(f"Everything is in {folder}", err=True)
