"""Groups of queries, all or by category, and the means of values in each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import attrs
import numpy as np
from aamc_experiments.evaluation import Resampling, known_interval, share_interval
from numpy.typing import NDArray

from aamc_report.formats import Format
from aamc_report.results import Estimate, Results, bounds
from aamc_report.tables import Cell, TableRow
from aamc_sdk.types import Floats

ALL_QUERIES = "All queries"


@attrs.frozen(eq=False)
class QueryGroup:
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

    def means(self, values: Floats, resampling: Resampling) -> list[Estimate]:
        """Return the mean of each of ``[Q, K]`` values over the group's queries, with its 95% interval.

        The mean of an empty group is NaN. The interval is NaN if too few resamples have a query of the group, and if all values are
        equal: a bootstrap cannot show unseen values. For shares, see :meth:`shares`.
        """
        return [
            (mean, bounds(known_interval(resampled) if np.ptp(column) > 0 else None)) for column, mean, resampled in self._columns(values, resampling)
        ]

    def shares(self, flags: NDArray[np.bool_], resampling: Resampling) -> list[Estimate]:
        """Return the share of the group's queries with each of ``[Q, K]`` flags, with its 95% interval.

        A share of none or all has the exact interval, for as many draws as there are units of resampling.
        """
        units = len(np.unique(resampling.unit[self.rows]))
        columns = self._columns(flags.astype(np.float64), resampling)
        return [(share, bounds(share_interval(resampled, share, units))) for _, share, resampled in columns]

    def _columns(self, values: Floats, resampling: Resampling) -> Iterator[tuple[Floats, float, Floats]]:
        """Yield the group's part of each of ``[Q, K]`` values, its mean, and its mean in each resample; NaN for an empty group."""
        own = values[self.rows]
        if not len(own):
            yield from [(np.zeros(1), math.nan, np.full(len(resampling.weights), math.nan))] * values.shape[1]
            return
        units, unit = np.unique(resampling.unit[self.rows], return_inverse=True)
        with np.errstate(invalid="ignore"):  # a resample without a query of the group has no mean
            resampled = Resampling(resampling.weights[:, units], unit).means(own)
        yield from zip(own.T, own.mean(axis=0).tolist(), resampled.T, strict=True)


def group_rows(found: Sequence[QueryGroup], measure: Callable[[QueryGroup], Sequence[Estimate]], write: Format) -> list[TableRow]:
    """Return a row for each group: its number of queries, and its figures with their intervals, such as its means."""
    return [TableRow([group.name], [Cell(group.size), *(Cell(figure, write, ends) for figure, ends in measure(group))]) for group in found]


def groups(results: Results) -> list[QueryGroup]:
    """Return all queries, then those of each category that is shown."""
    category = results.decisions.category
    everything = QueryGroup(ALL_QUERIES, np.ones(len(category), dtype=bool))
    return [everything, *(QueryGroup(name, category == name) for name in results.shown_categories)]


def omission_note(results: Results) -> str:
    """Return a sentence on the categories that a table leaves out; empty if it shows all."""
    shown, every = len(results.shown_categories), len(results.categories)
    return "" if shown == every else f" The {shown} most frequent of {every:,} categories."
