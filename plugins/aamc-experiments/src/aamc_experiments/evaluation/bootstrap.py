"""95% intervals by the bootstrap, many resamples at a time.

A resample is a row of weights, the number of draws of each unit, so means over resamples are a matrix product. The figure of
the data itself is that of the resample in which every unit counts once (the clustered bootstrap). A unit is a question with all
its rows, as questions are a sample, or a stream of a simulation, as the queries of one stream share queues. In a simulation both are
drawn at random, see :func:`two_way`.

Papers: Efron and Tibshirani 1993, "An Introduction to the Bootstrap" (percentile intervals, chapter 13); Bickel, Goetze and van Zwet 1997,
"Resampling Fewer Than n Observations" (the m out of n bootstrap, see :func:`draws_of`); Clopper and Pearson 1934, "The Use of Confidence or
Fiducial Limits Illustrated in the Case of the Binomial" (intervals of independent values of 0 and 1, see :func:`share_interval`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.off_policy import student_quantile
from aamc_sdk.types import NORMAL_QUANTILE, Floats

BLOCK = 50
"""The number of resamples that are expanded to one float a value at a time, which bounds the memory."""
MIN_UNITS = 3
"""The minimum number of units of a part of the data that has an interval by resamples of its own units."""
APPLICABLE = 0.95
"""The minimum share of resamples to which a figure must apply for it to have an interval."""
Figures = Mapping[str, Floats]
"""Figures by name, each on the data itself, then on B resamples, ``[1 + B]``; NaN where a figure does not apply."""


@attrs.frozen(eq=False)
class Resampling:
    """Resamples of Q values in U units.

    Attributes:
        weights: The number of draws of each unit, ``[B, U]``; NaN if there is only one unit.
        unit: The unit of each value, ``[Q]``.
        data_first: Whether the first resample is the data itself.
        seed: The seed of the draws.
    """

    weights: Floats | NDArray[np.uint8]
    unit: NDArray[np.integer[Any]]
    data_first: bool = False
    seed: int = 0

    @classmethod
    def once(cls, unit: NDArray[np.integer[Any]]) -> Resampling:
        """Return the data itself: one resample in which every unit counts once."""
        return cls(np.ones((1, int(unit.max()) + 1), dtype=np.uint8), unit)

    @classmethod
    def bootstrap(cls, unit: NDArray[np.integer[Any]], resamples: int, seed: int) -> Resampling:
        """Return resamples that draw :func:`draws_of` U units with replacement.

        With a single unit the weights are NaN, so that no figure has an interval: one unit does not show how much units
        differ, and resamples of it would give intervals of width 0.
        """
        units = int(unit.max()) + 1
        if units < 2:
            return cls(np.full((resamples, units), np.nan), unit, seed=seed)
        rng, draws = np.random.default_rng(seed), draws_of(units)
        weights = np.empty((resamples, units), dtype=np.uint8)  # a unit is drawn once on average, so never 256 times
        for row in weights:
            row[:] = np.bincount(rng.integers(units, size=units)[:draws], minlength=units)
        return cls(weights, unit, seed=seed)

    @property
    def units(self) -> int:
        """The number of units."""
        return int(self.weights.shape[1])

    @property
    def independent(self) -> bool:
        """Whether each unit has a single value."""
        return len(self.unit) == self.units

    def within(self, rows: NDArray[np.bool_]) -> Resampling:
        """Return as many resamples of the values of some rows ``[Q]``, at least one, that draw the units of these alone.

        The number of draws is that of their units, so that an interval of few is as wide as it should be. With fewer than ``MIN_UNITS`` no figure
        has an interval.
        """
        if rows.all():
            return self
        unit = np.unique(self.unit[rows], return_inverse=True)[1]
        found = Resampling.bootstrap(unit, len(self.weights) - self.data_first, self.seed)
        if found.units < MIN_UNITS:
            found = attrs.evolve(found, weights=np.full(found.weights.shape, np.nan))
        return found.with_data() if self.data_first else found

    def with_data(self) -> Resampling:
        """Return the data itself, in which every unit counts once, then these B resamples."""
        weights: Any = np.concatenate((np.ones_like(self.weights[:1]), self.weights))
        return attrs.evolve(self, weights=weights, data_first=True)

    def means(self, values: Floats) -> Floats:
        """Return the mean of ``[Q, K]`` values in each resample, ``[B, K]``."""
        sums = self._by_unit(np.column_stack((values, np.ones(len(values)))))
        totals = np.concatenate([weights @ sums for weights in self._blocks()])
        return np.asarray(totals[:, :-1] / totals[:, -1:])

    def means_of(self, rows: NDArray[np.bool_], values: Floats) -> Floats:
        """Return the mean of ``[Q, K]`` values over some rows ``[Q]`` in each resample, ``[B, K]``; NaN in a resample without any of them."""
        columns = np.where(rows[:, None], np.column_stack((np.ones(len(values)), values)), 0.0)
        share, sums = np.split(self.means(columns), [1], axis=1)
        return ratio(sums, share)

    def percentile(self, values: Floats, share: float) -> Floats:
        """Return a quantile of ``[Q]`` values in each resample, ``[B]``, interpolated between ranks as numpy does."""
        order = values.argsort()
        return np.concatenate([_interpolated(values[order], counts.cumsum(axis=1), share) for counts in self.counts(order)])

    def exact_percentile(self, values: Floats, share: float) -> Floats:
        """Return a quantile of ``[Q]`` values, ``[B]``, with the exact distribution of its order statistics if the values are independent.

        The number of n independent values below the true quantile is binomial. So draws of values of these ranks take the place of the quantiles of
        resamples (:meth:`percentile`), which never exceed the maximum; draws beyond the last value are infinite.
        """
        if not self.independent or self.units < 2:
            return self.percentile(values, share)
        below = np.random.default_rng(self.seed).binomial(self.units, share, size=len(self.weights) - self.data_first)
        rank = below + (below >= share * self.units)  # the quantile lies between two values: the outer one, so that no interval is too narrow
        own = Resampling.once(self.unit).percentile(values, share)[: int(self.data_first)]
        return np.concatenate((own, np.concatenate(([-np.inf], np.sort(values), [np.inf]))[rank]))

    def counts(self, order: NDArray[np.integer[Any]]) -> Iterator[Floats]:
        """Yield the number of draws of each value, in an order ``[Q]``, for up to ``BLOCK`` resamples at a time."""
        unit = self.unit[order]
        for weights in self._blocks():
            yield weights[:, unit]

    def _by_unit(self, values: Floats) -> Floats:
        """Return the sums of ``[Q, K]`` values of each unit, ``[U, K]``."""
        units = self.weights.shape[1]
        if np.array_equal(self.unit, np.arange(units)):  # rows of a table need no sums, which would be slow
            return values
        sums = np.zeros((units, values.shape[1]))
        np.add.at(sums, self.unit, values)
        return sums

    def _blocks(self) -> Iterator[Floats]:
        borders = [0, *range(1 if self.data_first else BLOCK, len(self.weights), BLOCK), len(self.weights)]
        for start, end in pairwise(borders):
            yield self.weights[start:end].astype(np.float64)


def draws_of(units: int) -> int:
    """Return the number of draws of a resample: fewer than the n units, so that the interval of a mean has the width of Student's.

    The mean of m draws has the standard error s sqrt((n - 1) / (n m)). For m = (n - 1) (z / t)^2 that is t / z times s / sqrt(n), where t and z are
    the 97.5% quantiles of Student's distribution with n - 1 degrees of freedom and of the normal one.
    """
    return max(round((units - 1) * (NORMAL_QUANTILE / student_quantile(units - 1)) ** 2), 1)


def _interpolated(ordered: Floats, counts: Floats, share: float) -> Floats:
    """Return the quantile of resamples, ``[B]``, from the cumulative numbers of draws of ordered values, ``[B, Q]``."""
    rank = share * (counts[:, -1:] - 1)
    below = ordered[(counts <= np.floor(rank)).sum(axis=1)]
    above = ordered[(counts <= np.ceil(rank)).sum(axis=1)]
    return np.asarray(below + (above - below) * (rank[:, 0] % 1))


def ratio(part: Floats, whole: Floats) -> Floats:
    """Return part / whole; NaN where the whole is not positive."""
    shape = np.broadcast_shapes(np.shape(part), np.shape(whole))
    return np.asarray(np.divide(part, whole, out=np.full(shape, np.nan), where=np.greater(whole, 0)))


def interval(figures: Floats) -> list[float]:
    """Return the bounds of the central 95% of resampled figures ``[B]``; NaN if a figure is NaN."""
    method: Any = "inverted_cdf" if np.isinf(figures).any() else "linear"  # interpolation fails at infinity
    return [float(bound) for bound in np.quantile(figures, (0.025, 0.975), method=method)]


def known_interval(figures: Floats) -> list[float] | None:
    """Return the interval over the resamples to which a figure applies; None if they are too few."""
    known = figures[~np.isnan(figures)]
    return interval(known) if len(known) >= APPLICABLE * len(figures) else None


def share_interval(figures: Floats, mean: float, units: int, exact: bool = False) -> list[float] | None:
    """Return the interval of a mean of values from 0 to 1, such as a share; None if the figure applies to too few resamples.

    Independent values of 0 and 1 have the exact interval of Clopper and Pearson, because that of resamples is too narrow near 0 and 1. So has a
    mean of 0 or 1, whatever the values: resamples of equal values all have one mean.

    Args:
        figures: The mean in each resample, ``[B]``.
        mean: The mean of the data.
        units: The number of units that have a value.
        exact: Whether each unit is a single value of 0 or 1.
    """
    found = known_interval(figures)
    return clopper_pearson(round(mean * units), units) if found is not None and (exact or mean in (0.0, 1.0)) else found


def clopper_pearson(ones: int, n: int) -> list[float]:
    """Return the exact 95% interval of a probability, given the number of ones among n independent values of 0 and 1."""
    from scipy.special import betaincinv  # type: ignore[import-untyped]  # scipy ships no types, and is slow to import

    low = float(betaincinv(ones, n - ones + 1, 0.025)) if ones else 0.0
    return [low, float(betaincinv(ones + 1, n - ones, 0.975)) if ones < n else 1.0]


def open_interval(figures: Floats) -> list[float] | None:
    """Return the interval of figures that may be infinite; None if the lower bound is."""
    low, high = np.quantile(figures, (0.025, 0.975), method="inverted_cdf")  # no interpolation, which fails at infinity
    return [float(low), float(high)] if np.isfinite(low) else None


def point_estimates(figures: Figures) -> dict[str, Any]:
    """Return the figures on the data itself."""
    return {name: figure[0] for name, figure in figures.items()}


def intervals(figures: Figures) -> dict[str, list[float] | None]:
    """Return the interval of each figure."""
    return {name: known_interval(figure[1:]) for name, figure in figures.items()}


def two_way(bounds: Sequence[list[float] | None], low: float = -np.inf, high: float = np.inf) -> list[float] | None:
    """Return one interval from those over streams, over questions and over single queries; a single one stays as it is.

    The variance is that over streams plus that over questions, less that over queries, which both contain, and no less than the larger one
    (Cameron, Gelbach and Miller 2011, "Robust Inference with Multiway Clustering"). The wider of the first two is widened about its middle.

    Args:
        bounds: The intervals; None or NaN where one is unknown.
        low: The minimum of the figure.
        high: Its maximum.
    """
    known = [each for each in bounds if each is not None and not np.isnan(each).any()]
    if len(known) < len(bounds) or len(known) == 1:
        return bounds[0] if len(bounds) == 1 else None
    streams, questions, queries = ((upper - lower) ** 2 for lower, upper in known)
    lower, upper = known[0] if streams >= questions else known[1]
    if not 0 < streams + questions < np.inf:
        return [lower, upper]
    more = np.sqrt(max((streams + questions - queries) / max(streams, questions), 1.0)) - 1
    return [max(lower - more * (upper - lower) / 2, low), min(upper + more * (upper - lower) / 2, high)]


def combined_intervals(
    resamplings: Sequence[Resampling], over: Sequence[Figures], binary: Collection[str], shares: Collection[str]
) -> dict[str, list[float] | None]:
    """Return the interval of each figure from its resamples of each of the units.

    Args:
        resamplings: The resamples of each of the units.
        over: The figures on each of them.
        binary: The names of means of values of 0 and 1.
        shares: The names of means of values from 0 to 1.
    """
    independent = all(each.independent for each in resamplings)

    def bounds(name: str) -> list[float] | None:
        if name not in shares:
            return two_way([known_interval(each[name][1:]) for each in over])
        exact, pairs = independent and name in binary, zip(over, resamplings, strict=True)
        return two_way([share_interval(each[name][1:], each[name][0], own.units, exact) for each, own in pairs], 0.0, 1.0)

    return {name: bounds(name) for name in over[0]}
