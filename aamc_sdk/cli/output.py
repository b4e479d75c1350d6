"""Output of commands: one JSON document to standard output, or tables for people; progress on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import click

from aamc_sdk.cli.printable_text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID
    from rich.table import Column, Table
    from rich.text import Text

    from aamc_sdk.explain import Explanation

PIPE_WIDTH = 120
"""Default width in columns for output that is not a terminal."""
NAME_WIDTH = 14
"""The minimum width of a column whose texts are folded."""
LAID_OUT_ROWS = 1_000
"""The maximum number of rows for which a table is fitted to the terminal, which takes about a millisecond each."""
INTERVALS = "Below a number: its 95% interval."
"""The note below a table with intervals."""
SECONDS_BETWEEN_LINES = 10.0
"""Minimum time between two lines of progress in a log."""
_STDOUT = "aamc.stdout"
"""The key of the standard output in a command's context, where it is kept for its document."""


def keep_stdout(ctx: click.Context, option: click.Parameter, as_json: bool) -> bool:
    """Keep standard output for the command's document: what components print goes to standard error until the command ends."""
    if as_json and not ctx.resilient_parsing:
        ctx.meta.setdefault(_STDOUT, sys.stdout)
        ctx.with_resource(redirect_stdout(sys.stderr))
    return as_json


def write_json_line(document: Any) -> None:
    """Write one JSON document to standard output."""
    from aamc_sdk.storage import to_json

    write_document(to_json(document))


def write_document(text: str) -> None:
    """Write the text of a document to the standard output that :func:`keep_stdout` keeps."""
    ctx = click.get_current_context(silent=True)
    click.echo(text, file=None if ctx is None else ctx.meta.get(_STDOUT))


def console(width: int = PIPE_WIDTH, *, stderr: bool = False) -> Console:
    """Return a console for tables, of ``width`` columns if it is not a terminal.

    Names are shown as they are, but cannot steer the terminal: brackets and ``:x:`` are neither markup nor emoji, control characters are replaced.
    """
    from aamc_sdk.cli.printable_console import PrintableConsole

    found = PrintableConsole(markup=False, emoji=False, stderr=stderr)
    return found if found.is_terminal else PrintableConsole(markup=False, emoji=False, stderr=stderr, width=width)


def new_table(names: Iterable[str], numbers: Iterable[str] = (), texts: Iterable[str] = (), *, title: str = "", notes: Iterable[str] = ()) -> Table:
    """Return a table without rows, for :func:`print_table`.

    Args:
        names: The headings of the first columns.
        numbers: The headings of the next ones, which are justified on the right and keep their width.
        texts: The headings of the last ones.
        title: A line above the table.
        notes: Lines below it.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title or None, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption="\n".join(notes) or None)
    for heading in names:
        table.add_column(heading)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in texts:
        table.add_column(heading)
    return table


def figure_cell(value: float | None, interval: Sequence[float | None] | None, write: Callable[[float], str], *, bold: bool = False) -> Text:
    """Return the cell of a table for a number, with its 95% interval below it; the note of the table is ``INTERVALS``.

    Args:
        value: The number; None if it is unknown, which is shown as a dash.
        interval: Its bounds; None, or None as a bound, to show none.
        write: Writes the number and its bounds.
        bold: Whether the number is bold.
    """
    from rich.text import Text

    text = Text("-" if value is None else write(value), style="bold" if bold else "")
    bounds = [write(bound) for bound in interval or () if bound is not None]
    return text if value is None or len(bounds) < 2 else text.append(f"\n{'..'.join(bounds)}", style="dim not bold")


def print_table(table: Table, width: int = PIPE_WIDTH, *, stderr: bool = False) -> None:
    """Print a table without cutting its content.

    Columns with ``no_wrap``, those of numbers, keep their width; the texts of the others are folded. Where that is not enough, the last
    columns are left out, and a note names them. Output that is not a terminal has ``width`` columns. A table of more than ``LAID_OUT_ROWS`` rows is
    printed as plain lines.
    """
    if len(table.rows) > LAID_OUT_ROWS:
        _print_lines(table, stderr)
        return
    shown = console(width, stderr=stderr)
    table.pad_edge = False
    for column in table.columns:
        column.overflow = "fold"
    left_out: list[str] = []
    while len(table.columns) > 2 and _minimum_width(table, shown) > shown.width:
        left_out.insert(0, str(table.columns.pop().header))
    lacking = f"Not shown in {shown.width} columns: {', '.join(left_out)}." if left_out else None
    title, caption, table.title, table.caption = table.title, table.caption, None, None  # rich would wrap these at the table's width
    for text, style in ((title, "italic"), (table, None), (caption, "dim"), (lacking, "dim")):
        if text:
            shown.print(text, style=style, highlight=False)


def _print_lines(table: Table, stderr: bool) -> None:
    """Print a table as lines of cells, with its title and notes."""
    columns = [[printable(str(cell)) for cell in (column.header, *column.cells)] for column in table.columns]
    for place, cells in enumerate(columns):
        width = max(map(len, cells))
        columns[place] = [cell.rjust(width) if table.columns[place].justify == "right" else cell.ljust(width) for cell in cells]
    lines = ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]
    click.echo("\n".join(str(text) for text in (table.title, *lines, table.caption) if text), err=stderr)


def _minimum_width(table: Table, shown: Console) -> int:
    """Return the width of a table whose texts are folded to ``NAME_WIDTH``."""
    natural = shown.measure(table, options=shown.options.update_width(10_000)).maximum
    return natural - sum(max(0, _width(column, shown) - NAME_WIDTH) for column in table.columns if not column.no_wrap)


def _width(column: Column, shown: Console) -> int:
    """Return the width of a column's longest line."""
    return max(shown.measure(cell, options=shown.options.update_width(10_000)).maximum for cell in (column.header, *column.cells))


def show_explanation(explanation: Explanation, as_json: bool) -> None:
    """Show an explanation: as JSON, or as a table of candidates and a paragraph."""
    document = explanation.to_dict()
    if as_json:
        write_json_line(document)
        return
    rows = document["candidates"]
    forms = {"quality": "{:.1%}", "cost_usd": "{:.6f}", "latency_ms": "{:,.0f}", "utility": "{:.4f}"}
    headings = ("quality", "cost (USD)", "latency (ms)", "utility")
    texts = ["not allowed"] if any(row["masked_why"] for row in rows) else []
    table = new_table(["candidate"], headings, texts, title=f"{document['candidate']} is chosen")
    for row in rows:
        cells = ["-" if row[key] is None else form.format(row[key]) for key, form in forms.items()]
        masked = [row["masked_why"] or ""] if texts else []
        table.add_row(row["name"], *cells, *masked, style="bold" if row["name"] == document["candidate"] else None)
    print_table(table)
    shown = console()
    shown.print(document["why"], highlight=False)
    shown.print(f"decision {document['id']}", style="dim", highlight=False)


class TerminalProgress:
    """One bar a stage, with its reported metrics next to it; a context manager."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        stage, figures = (TextColumn(field, markup=False) for field in ("{task.description}", "{task.fields[figures]}"))
        self._bars = Progress(stage, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), figures, console=console(stderr=True))
        self._task: TaskID | None = None

    def __enter__(self) -> TerminalProgress:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def start(self, what: str, total: int) -> None:
        """Begin a stage of ``total`` steps."""
        self._task = self._bars.add_task(what, total=total, figures="")

    def advance(self, steps: int = 1, **figures: float) -> None:
        """Advance the bar and show the newest metrics."""
        if self._task is not None:
            self._bars.advance(self._task, steps)
            if figures:
                self._bars.update(self._task, figures=_figures(figures))

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(line, highlight=False)


class LineProgress:
    """Plain lines for logs: the start of each stage, and its progress every ten seconds; a context manager."""

    def __init__(self) -> None:
        self._what, self._total, self._done, self._last, self._printed = "", 0, 0, 0.0, False

    def __enter__(self) -> LineProgress:
        return self

    def __exit__(self, *error: object) -> None:
        sys.stderr.flush()

    def start(self, what: str, total: int) -> None:
        """Begin a stage of ``total`` steps."""
        self._what, self._total, self._done, self._last, self._printed = what, total, 0, time.monotonic(), False
        self.say(f"{what} ...")

    def advance(self, steps: int = 1, **figures: float) -> None:
        """Count steps, and print a line at most every ten seconds, and at the end of a stage that has printed one."""
        self._done += steps
        now, ends = time.monotonic(), self._printed and steps > 0 and self._done == self._total
        if ends or now - self._last >= SECONDS_BETWEEN_LINES:
            self._last, self._printed = now, True
            self.say(f"{self._what}: {self._done}/{self._total} {_figures(figures)}".rstrip())

    def say(self, line: str) -> None:
        """Print a line."""
        print(printable(line), file=sys.stderr)  # noqa: T201  # progress goes to standard error


def progress() -> TerminalProgress | LineProgress:
    """Return the progress for standard error: bars for a terminal, otherwise lines."""
    return TerminalProgress() if sys.stderr.isatty() else LineProgress()


def _figures(figures: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:,.4g}" for name, value in figures.items())
