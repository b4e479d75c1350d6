"""Groups of queries, all or by category, and the means of values in each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import attrs
import numpy as np
from aamc_experiments.evaluation import Resampling, known_interval, share_interval, two_way
from numpy.typing import NDArray

from aamc_report.formats import Format
from aamc_report.results import Estimate, Results, bounds
from aamc_report.tables import Cell, TableRow
from aamc_sdk.types import Floats

ALL_QUERIES = "All queries"


@attrs.frozen(eq=False)
class QueryGroup:
    """The queries of a category, or all: the group's name, and whether each query is in it, ``[Q]``."""

    name: str
    rows: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """The number of queries."""
        return int(self.rows.sum())

    def means(self, values: Floats, resamplings: Sequence[Resampling]) -> list[Estimate]:
        """Return the mean of each of ``[Q, K]`` values over the group's queries, with its 95% interval.

        The mean of an empty group is NaN. The interval is NaN if the group has fewer than three units of resampling, and if all values are
        equal: a bootstrap cannot show unseen values. For shares, see :meth:`shares`.
        """
        columns = self._columns(values, self._own(resamplings))
        return [(mean, bounds(two_way([known_interval(each) for each in over]) if np.ptp(column) > 0 else None)) for column, mean, over in columns]

    def shares(self, flags: NDArray[np.bool_], resamplings: Sequence[Resampling]) -> list[Estimate]:
        """Return the share of the group's queries with each of ``[Q, K]`` flags, with its 95% interval.

        The interval is exact if each unit of resampling is one query. A share of none or all always has an exact one, for as many draws as there are
        units.
        """
        resamplings = self._own(resamplings)
        exact = all(each.independent for each in resamplings)
        return [
            (share, bounds(two_way([share_interval(each, share, own.units, exact) for each, own in zip(over, resamplings, strict=True)], 0.0, 1.0)))
            for _, share, over in self._columns(flags.astype(np.float64), resamplings)
        ]

    def _own(self, resamplings: Sequence[Resampling]) -> Sequence[Resampling]:
        """Return the resamples of the group's own units; for an empty group those that were given."""
        return [resampling.within(self.rows) for resampling in resamplings] if self.rows.any() else resamplings

    def _columns(self, values: Floats, resamplings: Sequence[Resampling]) -> Iterator[tuple[Floats, float, Sequence[Floats]]]:
        """Yield the group's part of each of ``[Q, K]`` values, its mean, and its mean in resamples of its units; NaN for an empty group."""
        own = values[self.rows]
        if not len(own):
            yield from [(np.zeros(1), math.nan, [np.full(len(each.weights), math.nan) for each in resamplings])] * values.shape[1]
            return
        yield from zip(own.T, own.mean(axis=0).tolist(), zip(*(each.means(own).T for each in resamplings), strict=True), strict=True)


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
