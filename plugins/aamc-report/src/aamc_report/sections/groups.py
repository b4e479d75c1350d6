"""Groups of queries, all or by category, and the means of values in each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np
from aamc_experiments.evaluation import Resampling, known_interval
from numpy.typing import NDArray

from aamc_report.formats import Format
from aamc_report.results import Results, bounds
from aamc_report.tables import Cell, TableRow
from aamc_sdk.types import Floats

ALL_QUERIES = "All queries"


@attrs.frozen(eq=False)
class Group:
    """The queries of a category, or all.

    Attributes:
        name: The group's name.
        rows: The queries in the group, ``[Q]``.
    """

    name: str
    rows: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """The number of queries."""
        return int(self.rows.sum())

    def means(self, values: Floats, resampling: Resampling) -> list[tuple[float, tuple[float, float]]]:
        """Return the mean of each of ``[Q, K]`` values over the group's queries, with its 95% interval.

        The mean of an empty group is NaN. The interval is NaN if too few resamples have a query of the group, and if all values are
        equal: a bootstrap cannot show what never happened.
        """
        own = values[self.rows]
        if not len(own):
            return [(math.nan, (math.nan, math.nan))] * values.shape[1]
        units, unit = np.unique(resampling.unit[self.rows], return_inverse=True)
        with np.errstate(invalid="ignore"):  # a resample without a query of the group has no mean
            resampled = Resampling(resampling.weights[:, units], unit).means(own)
        columns = zip(own.T, resampled.T, strict=True)
        intervals = [bounds(known_interval(means)) if np.ptp(column) > 0 else bounds(None) for column, means in columns]
        return list(zip(own.mean(axis=0).tolist(), intervals, strict=True))


def mean_rows(found: Sequence[Group], values: Floats, write: Format, resampling: Resampling) -> list[TableRow]:
    """Return a row for each group: its number of queries, and the means of ``[Q, K]`` values with their intervals."""
    return [
        TableRow([group.name], [Cell(group.size), *(Cell(mean, write, ends) for mean, ends in group.means(values, resampling))]) for group in found
    ]


def groups(results: Results) -> list[Group]:
    """Return all queries, then those of each category that is shown."""
    category = results.decisions.category
    everything = Group(ALL_QUERIES, np.ones(len(category), dtype=bool))
    return [everything, *(Group(name, category == name) for name in results.shown_categories)]


def omission_note(results: Results) -> str:
    """Return a sentence on the categories that a table leaves out; empty if it shows all."""
    shown, every = len(results.shown_categories), len(results.categories)
    return "" if shown == every else f" The {shown} most frequent of {every:,} categories."
