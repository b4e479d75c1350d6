"""What tables are made of: rows of cells, each with the number that it shows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from aamc_report.formats import DASH, Format, percent


@attrs.frozen
class Column:
    """A column of numbers.

    Attributes:
        title: What stands above it.
        unit: What its numbers count, or nothing.
        meaning: What it says, in a sentence, or nothing.
        metric: Its key in ``metrics.json``, where it has one.
    """

    title: str
    unit: str = ""
    meaning: str = ""
    metric: str = ""


@attrs.frozen
class Cell:
    """A number, as it is sorted by, and as it reads; with its interval, where it has one."""

    value: float
    text: str
    interval: str = ""

    @property
    def sort_key(self) -> str:
        """The number for scripts, empty where it is unknown."""
        return repr(float(self.value)) if math.isfinite(self.value) else ""


@attrs.frozen
class Row:
    """A row: its name, its cells, and whether it is the headline's."""

    name: str
    cells: Sequence[Cell]
    emphasised: bool = False


@attrs.frozen
class Table:
    """A table: what it shows, what its rows are, and a cell for each of them and each column; words are not sorted."""

    caption: str
    first: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    sortable: bool = True


def with_interval(value: float, bounds: tuple[float, float], write: Format) -> Cell:
    """Return a number with its interval: without one where it is unknown, with its lower bound alone where the upper one is."""
    low, high = bounds
    if not math.isfinite(low):
        return Cell(value, write(value))
    if not math.isfinite(high):
        return Cell(value, write(value), f"from {write(low)}")
    between = DASH if low >= 0 else " to "  # a dash before a minus sign is hard to read
    return Cell(value, write(value), f"{write(low).rstrip('%')}{between}{write(high)}")


def share(value: float) -> Cell:
    """Return a share in per cent."""
    return Cell(value, percent(value))


def count(number: int) -> Cell:
    """Return how many there are."""
    return Cell(number, f"{number:,}")
