"""The table model of reports and benchmarks: one table as HTML, Markdown, LaTeX, CSV, or for the console.

A table holds numbers and the formats that write them. :meth:`Table.of_records` makes one from the records of a JSON document. The page's
template renders HTML from the same attributes that the methods here use.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from aamc_report.formats import DASH, Format, whole

if TYPE_CHECKING:
    from rich.table import Table as RichTable
    from rich.text import Text

TableRecord = Mapping[str, Any]
"""A row of a JSON document: a text for each name, and ``{"value", "ci95", "best"}`` for each column, any part of which may be missing or null."""
Bounds = tuple[float, float]
UNKNOWN = (math.nan, math.nan)
"""The bounds of a number without an interval."""
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", DASH: "--"}
)
_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\|*_`<"} | {"\n": " "})


@attrs.frozen
class Column:
    """A column of numbers.

    Attributes:
        title: The heading.
        unit: The numbers' unit, or nothing.
        meaning: A sentence on the numbers, or nothing.
        key: The column's key in records, in CSV files and in ``metrics.json``, if it has one.
        write: The format of the numbers of records.
    """

    title: str
    unit: str = ""
    meaning: str = ""
    key: str = ""
    write: Format = whole


@attrs.frozen
class Cell:
    """A number with its 95% interval, or a text.

    Attributes:
        value: The number, NaN if it is unknown; or the text.
        write: Writes the number and its bounds.
        bounds: The interval. NaN as the lower bound: there is no interval. NaN or infinity as the upper bound: the interval is open.
        best: Whether the number is marked as the best of its column.
    """

    value: float | str
    write: Format = whole
    bounds: Bounds = UNKNOWN
    best: bool = False

    @property
    def text(self) -> str:
        """The number as it is written, or the text."""
        return self.value if isinstance(self.value, str) else self.write(self.value)

    @property
    def sort_key(self) -> str:
        """The number for scripts; empty if it is unknown."""
        return repr(float(self.value)) if not isinstance(self.value, str) and math.isfinite(self.value) else ""

    @property
    def interval(self) -> str:
        """The interval as a page shows it, empty without one; an open interval has its lower bound alone."""
        low, high = self.bounds
        if not math.isfinite(low):
            return ""
        if not math.isfinite(high):
            return f"from {self.write(low)}"
        between = DASH if low >= 0 else " to "  # a dash before a minus sign is hard to read
        return f"{self.write(low).rstrip('%')}{between}{self.write(high)}"

    def interval_with(self, between: str) -> str:
        """Return both bounds with a text between them, a dash for an open end; empty without an interval."""
        low, high = self.bounds
        return f"{self.write(low)}{between}{self.write(high)}" if math.isfinite(low) else ""


@attrs.frozen
class TableRow:
    """A row: its names, its cells, and whether it is emphasised."""

    names: Sequence[str]
    cells: Sequence[Cell]
    emphasised: bool = False


@attrs.frozen
class Table:
    """A table.

    Attributes:
        caption: The subject, in a line.
        names: The keys of the rows' names, which are the first columns; their headings have spaces for underscores.
        columns: The columns of cells.
        rows: The rows, with a name for each of ``names`` and a cell for each column.
        note: How to read the table.
    """

    caption: str
    names: Sequence[str]
    columns: Sequence[Column]
    rows: Sequence[TableRow]
    note: str = ""

    @classmethod
    def of_records(cls, caption: str, names: Sequence[str], columns: Sequence[Column], records: Sequence[TableRecord], note: str = "") -> Table:
        """Return the table of a document's records; the columns have keys and formats."""
        rows = [TableRow([str(record[name]) for name in names], [_cell(record.get(column.key), column) for column in columns]) for record in records]
        return cls(caption, names, columns, rows, note)

    @property
    def headings(self) -> list[str]:
        """The headings of all columns."""
        return [*(name.replace("_", " ") for name in self.names), *(column.title for column in self.columns)]

    @property
    def sortable(self) -> bool:
        """Whether every cell is a number."""
        return not any(isinstance(cell.value, str) for row in self.rows for cell in row.cells)

    def with_columns(self, keep: Callable[[Column], bool]) -> Table:
        """Return the table with some of its columns."""
        kept = [position for position, column in enumerate(self.columns) if keep(column)]
        rows = [attrs.evolve(row, cells=[row.cells[position] for position in kept]) for row in self.rows]
        return attrs.evolve(self, columns=[self.columns[position] for position in kept], rows=rows)

    def divided(self, count: int) -> dict[tuple[str, ...], Table]:
        """Return a table for each combination of the rows' first ``count`` names, without the columns of these names."""
        rows: dict[tuple[str, ...], list[TableRow]] = {}
        for row in self.rows:
            rows.setdefault(tuple(row.names[:count]), []).append(attrs.evolve(row, names=row.names[count:]))
        return {first: attrs.evolve(self, names=self.names[count:], rows=own) for first, own in rows.items()}

    def markdown(self) -> str:
        """Return the table in GitHub's Markdown."""
        caption, note = self.caption.translate(_MARKDOWN), self.note.translate(_MARKDOWN)
        lines = [f"**{caption}**", "", _markdown_row(heading.translate(_MARKDOWN) for heading in self.headings)]
        lines.append("|" + "---|" * len(self.names) + "---:|" * len(self.columns))
        lines += [_markdown_row(self._texts(row, _MARKDOWN, "**{}**")) for row in self.rows]
        return "\n".join((*lines, *(("", note) if note else ()), ""))

    def latex(self) -> str:
        r"""Return the table as a LaTeX ``table``, for the package ``booktabs``."""
        caption = ". ".join(filter(None, (self.caption, self.note))).translate(_LATEX)
        rows = [" & ".join(self._texts(row, _LATEX, r"\textbf{{{}}}")) for row in self.rows]
        lines = [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\begin{{tabular}}{{{'l' * len(self.names)}{'r' * len(self.columns)}}}",
            r"\toprule",
            rf"{' & '.join(heading.translate(_LATEX) for heading in self.headings)} \\",
            r"\midrule",
            *(rf"{row} \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        return "\n".join((*lines, ""))

    def csv(self) -> str:
        """Return the table as CSV: each number's value and bounds, as they are; empty if unknown."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*self.names, *(f"{column.key}{end}" for column in self.columns for end in ("", "_low", "_high"))])
        for row in self.rows:
            writer.writerow([*row.names, *(_bare(number) for cell in row.cells for number in (cell.value, *cell.bounds))])
        return file.getvalue()

    def rich(self) -> RichTable:
        """Return the table for the console, with each interval below its number."""
        from aamc_sdk.cli import INTERVALS, figure_cell, new_table

        has_intervals = any(cell.interval_with("") for row in self.rows for cell in row.cells)
        names, numbers = self.headings[: len(self.names)], self.headings[len(self.names) :]
        shown = new_table(names, numbers, title=self.caption, notes=filter(None, (INTERVALS if has_intervals else "", self.note)))
        for row in self.rows:
            cells: list[Text | str] = [*row.names]
            for cell in row.cells:
                if isinstance(cell.value, str):
                    cells.append(cell.value)
                else:
                    cells.append(figure_cell(cell.value, cell.bounds if cell.interval else None, cell.write, bold=cell.best))
            shown.add_row(*cells)
        return shown

    def _texts(self, row: TableRow, escapes: Mapping[int, str], bold: str) -> list[str]:
        """Return a row's names and cells, escaped; the best numbers in bold."""
        texts = [name.translate(escapes) for name in row.names]
        for cell in row.cells:
            text, interval = (part.translate(escapes) for part in (cell.text, cell.interval_with(" to ")))
            text = bold.format(text) if cell.best else text
            texts.append(f"{text} ({interval})" if interval else text)
        return texts


def _cell(found: Mapping[str, Any] | None, column: Column) -> Cell:
    """Return the cell of a record's entry; null and missing entries are unknown."""
    found = found or {}
    value, (low, high) = found.get("value"), found.get("ci95") or (None, None)
    numbers = [math.nan if number is None else number for number in (value, low, high)]
    return Cell(numbers[0], column.write, (numbers[1], numbers[2]), bool(found.get("best")))


def _bare(number: float | str) -> str:
    if isinstance(number, str):
        return number
    return "" if math.isnan(number) else repr(number)


def _markdown_row(texts: Iterable[str]) -> str:
    return f"| {' | '.join(texts)} |"
