"""One table in every form: for the console, Markdown, LaTeX and CSV.

A table is made of records, which are also what JSON holds: a name for each of the table's ``names``, and for
each column a figure ``{"value", "ci95", "best"}``, any part of which may be missing; an interval without an upper
bound is open. Nothing is computed here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from aamc_report.formats import DASH

if TYPE_CHECKING:
    from rich.table import Table as RichTable

Record = Mapping[str, Any]
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", DASH: "--"}
)
_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\|*_`<"} | {"\n": " "})


@attrs.frozen
class Column:
    """A column of figures.

    Attributes:
        key: The figures' key in the records.
        heading: What stands above them.
        format: How a number is written.
    """

    key: str
    heading: str
    format: Callable[[float], str]


@attrs.frozen(kw_only=True)
class Table:
    """Records with a heading for each column.

    Attributes:
        title: What it shows, in a line.
        names: The keys of the records' names, which stand first.
        columns: The figures.
        records: The rows.
        note: How to read it, in some sentences.
    """

    title: str
    names: Sequence[str]
    columns: Sequence[Column]
    records: Sequence[Record]
    note: str = ""

    @property
    def headings(self) -> list[str]:
        """What stands above the columns."""
        return [*(name.replace("_", " ") for name in self.names), *(column.heading for column in self.columns)]

    def markdown(self) -> str:
        """Return it in Markdown, as GitHub reads it."""
        return self._render("table.md.j2", lambda text: text.translate(_MARKDOWN), "**{}**")

    def latex(self) -> str:
        r"""Return it as a LaTeX ``table``, for the package ``booktabs``."""
        return self._render("table.tex.j2", lambda text: text.translate(_LATEX), r"\textbf{{{}}}")

    def csv(self) -> str:
        """Return it as CSV with bare numbers: of each figure the value, and the bounds of its interval; empty where unknown."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        bounds = [(column.key, f"{column.key}_low", f"{column.key}_high") for column in self.columns]
        writer.writerow([*self.names, *(name for names in bounds for name in names)])
        for record in self.records:
            numbers = [number for column in self.columns for number in _numbers(record, column.key)]
            writer.writerow([*(record[name] for name in self.names), *("" if number is None else repr(number) for number in numbers)])
        return file.getvalue()

    def rich(self) -> RichTable:
        """Return it for the console, the interval of a figure below it."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table as Rich
        from rich.text import Text

        shown = Rich(title=self.title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=self.note, caption_justify="left")
        for heading in self.headings[: len(self.names)]:
            shown.add_column(heading, no_wrap=True)
        for heading in self.headings[len(self.names) :]:
            shown.add_column(heading, justify="right", no_wrap=True)
        for record in self.records:
            cells = [Text(str(record[name])) for name in self.names]
            for column in self.columns:
                value, interval = _words(record, column, "..")
                cell = Text(value, style="bold" if _is_best(record, column) else "")
                cells.append(cell.append(f"\n{interval}", style="dim not bold") if interval else cell)
            shown.add_row(*cells)
        return shown

    def _render(self, template: str, escape: Callable[[str], str], bold: str) -> str:
        from jinja2 import Environment, PackageLoader, StrictUndefined

        templates = Environment(  # no HTML: cells are escaped for their own language
            loader=PackageLoader("aamc_bench"),
            autoescape=False,  # noqa: S701  # likewise
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        rows = [[*(escape(str(record[name])) for name in self.names), *self._cells(record, escape, bold)] for record in self.records]
        return templates.get_template(template).render(
            title=escape(self.title),
            note=escape(self.note),
            headings=[escape(heading) for heading in self.headings],
            names=len(self.names),
            rows=rows,
        )

    def _cells(self, record: Record, escape: Callable[[str], str], bold: str) -> list[str]:
        cells = []
        for column in self.columns:
            value, interval = (escape(word) for word in _words(record, column))
            value = bold.format(value) if _is_best(record, column) else value
            cells.append(f"{value} ({interval})" if interval else value)
        return cells


def _is_best(record: Record, column: Column) -> bool:
    return bool((record.get(column.key) or {}).get("best"))


def _numbers(record: Record, key: str) -> tuple[float | None, float | None, float | None]:
    """Return a figure's value and bounds, None where there is none."""
    figure = record.get(key) or {}
    low, high = figure.get("ci95") or (None, None)
    return figure.get("value"), low, high


def _words(record: Record, column: Column, between: str = " to ") -> tuple[str, str]:
    """Return a figure's value and its interval as words; the interval is empty where there is none."""
    value, low, high = _numbers(record, column.key)
    if value is None:
        return DASH, ""
    if low is None:
        return column.format(value), ""
    return column.format(value), f"{column.format(low)}{between}{DASH if high is None else column.format(high)}"
