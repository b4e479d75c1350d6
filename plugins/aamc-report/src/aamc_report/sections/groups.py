"""Groups of queries, all or by category, and the means of values in each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import attrs
import numpy as np
from aamc_experiments.evaluation import Resampling, known_interval
from numpy.typing import NDArray

from aamc_report.formats import Format
from aamc_report.results import Results, bounds
from aamc_report.tables import Cell, TableRow
from aamc_sdk.types import Floats

ALL_QUERIES = "All queries"
MINIMUM_UNITS = 3
"""95% of resamples have one of three units, so that means of three or more have intervals."""


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
        equal: a bootstrap cannot show unseen values. For shares, see :meth:`shares`.
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

    def shares(self, flags: NDArray[np.bool_], resampling: Resampling) -> list[tuple[float, tuple[float, float]]]:
        """Return the share of the group's queries with each of ``[Q, K]`` flags, with its 95% interval.

        A share of none or all has the exact interval of Clopper and Pearson (1934), for as many draws as there are units of resampling;
        with fewer than ``MINIMUM_UNITS`` units it has none, as any other mean.
        """
        units = len(np.unique(resampling.unit[self.rows]))
        unseen = 1 - 0.025 ** (1 / max(units, 1))
        exact = {0.0: (0.0, unseen), 1.0: (1 - unseen, 1.0)} if units >= MINIMUM_UNITS else {}
        return [(share, exact.get(share, ends)) for share, ends in self.means(flags.astype(np.float64), resampling)]


def group_rows(found: Sequence[Group], measure: Callable[[Group], Sequence[tuple[float, tuple[float, float]]]], write: Format) -> list[TableRow]:
    """Return a row for each group: its number of queries, and its figures with their intervals, such as its means."""
    return [TableRow([group.name], [Cell(group.size), *(Cell(figure, write, ends) for figure, ends in measure(group))]) for group in found]


def groups(results: Results) -> list[Group]:
    """Return all queries, then those of each category that is shown."""
    category = results.decisions.category
    everything = Group(ALL_QUERIES, np.ones(len(category), dtype=bool))
    return [everything, *(Group(name, category == name) for name in results.shown_categories)]


def omission_note(results: Results) -> str:
    """Return a sentence on the categories that a table leaves out; empty if it shows all."""
    shown, every = len(results.shown_categories), len(results.categories)
    return "" if shown == every else f" The {shown} most frequent of {every:,} categories."
