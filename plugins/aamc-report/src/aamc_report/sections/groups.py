"""Where a router sends the queries of each category."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_report.data import Results, bounds
from aamc_sdk.batch import Floats
from aamc_sdk.evaluation.bootstrap import Resampling, known_interval
from aamc_sdk.evaluation.preferences import HEADLINE

EVERYTHING = "All queries"
REST = "all others"
MOST_MODELS = 12
"""More models than this are told apart only as far as they are chosen most."""


@attrs.frozen(eq=False)
class Group:
    """Queries that belong together: a category's, or all.

    Attributes:
        name: What they are called.
        rows: Which queries, ``[Q]``.
    """

    name: str
    rows: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """How many queries there are."""
        return int(self.rows.sum())

    def means(self, values: Floats, resampling: Resampling) -> list[tuple[float, tuple[float, float]]]:
        """Return the mean of each of ``[Q, K]`` values over the group's queries, with its 95% interval.

        The mean is NaN in an empty group. The interval is NaN too where too few resamples have a query of the group, and where all its
        values are equal: what never happened, no resample shows.
        """
        own = values[self.rows]
        if not len(own):
            return [(math.nan, (math.nan, math.nan))] * values.shape[1]
        units, unit = np.unique(resampling.unit[self.rows], return_inverse=True)
        with np.errstate(invalid="ignore"):  # a resample without a query of the group has no mean
            spread = Resampling(resampling.weights[:, units], unit).means(own)
        found = [bounds(known_interval(resampled)) if np.ptp(these) > 0 else bounds(None) for these, resampled in zip(own.T, spread.T, strict=True)]
        return list(zip(own.mean(axis=0).tolist(), found, strict=True))


def groups(results: Results) -> list[Group]:
    """Return all queries, then those of each category that is shown."""
    category = results.decisions.category
    everything = Group(EVERYTHING, np.ones(len(category), dtype=bool))
    return [everything, *(Group(name, category == name) for name in results.shown_categories)]


@attrs.frozen(eq=False)
class Destinations:
    """Shares of queries by group and model.

    Attributes:
        groups: G of them.
        models: N names from the cheapest to the dearest; the seldom chosen ones come last, as one.
        shares: ``[G, N]``; NaN for a group without queries.
    """

    groups: Sequence[Group]
    models: Sequence[str]
    shares: Floats

    @classmethod
    def of(cls, results: Results) -> Destinations:
        """Return where the headline's router sent each category at the preference."""
        chosen, found = results.decisions.chosen[results.position, HEADLINE], groups(results)
        names = results.decisions.candidates.tolist()
        counts = np.array([np.bincount(chosen[group.rows], minlength=len(names)) for group in found], dtype=np.float64)
        shown = chosen_most(results, counts[0])
        columns, models = counts[:, shown], [names[m] for m in shown]
        if len(shown) < len(names):
            columns = np.column_stack((columns, counts.sum(axis=1) - columns.sum(axis=1)))
            models.append(REST)
        sizes = np.array([group.size for group in found], dtype=np.float64)[:, None]
        return cls(found, models, np.divide(columns, sizes, out=np.full(columns.shape, np.nan), where=sizes > 0))


def chosen_most(results: Results, counts: Floats) -> list[int]:
    """Return the positions of the models with the greatest counts ``[M]``, from the cheapest model to the dearest."""
    kept = set(np.argsort(-counts, kind="stable")[:MOST_MODELS].tolist())
    by_cost = np.argsort(np.nan_to_num(results.decisions.candidate_means[:, 1], nan=np.inf), kind="stable")
    return [int(m) for m in by_cost if m in kept]
