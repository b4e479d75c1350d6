"""Whether the quality that a router expects is the quality that comes, bin by bin.

Papers: Guo et al. 2017, "On Calibration of Modern Neural Networks" (reliability diagrams, figure 1).
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np

from aamc_report.data import ORACLE, Results
from aamc_sdk.batch import Floats
from aamc_sdk.evaluation.bootstrap import Resampling
from aamc_sdk.evaluation.calibration import BINS, bin_of, forecasts
from aamc_sdk.evaluation.comparison import Comparison, Integers

REACHED = 0.95
"""The least share of resamples that must have forecasts in a bin for it to have an interval."""


@attrs.frozen(eq=False)
class Reliability:
    """A router's forecasts in bins of equal width; NaN in empty bins.

    Attributes:
        counts: Forecasts in each bin, ``[BINS]``.
        expected: Their mean, ``[BINS]``.
        realised: The mean quality that came, ``[BINS]``.
        interval: Its 95% interval, low and high, ``[2, BINS]``; NaN where too few resamples reach the bin.
    """

    counts: Floats
    expected: Floats
    realised: Floats
    interval: Floats

    @classmethod
    def of(cls, comparison: Comparison, router: int, resampling: Resampling) -> Reliability:
        """Sort a router's forecasts into bins."""
        expected, realised = forecasts(comparison, router)
        known = np.isfinite(expected)
        cell = np.nonzero(known)[0] * BINS + bin_of(expected[known])
        counts, sums, qualities = (_sums(cell, weights, len(expected)) for weights in (None, expected[known], realised[known]))
        total = counts.sum(axis=0)
        resampled = _ratio(resampling.means(qualities), resampling.means(counts))
        return cls(total, _ratio(sums.sum(axis=0), total), _ratio(qualities.sum(axis=0), total), _interval(resampled))


def reliabilities(results: Results) -> Mapping[tuple[str, ...], Reliability]:
    """Return the reliability of all forecasts that differ, by the names of the routers that share them.

    Routers that expect nothing are left out, and so is the oracle, which knows.
    """
    comparison, groups = results.decisions, list[list[str]]()
    for router in results.routers:
        expected = forecasts(comparison, results.position_of(router))
        if router == ORACLE or np.isnan(expected[0]).all():
            continue
        alike = (group for group in groups if _equal(expected, forecasts(comparison, results.position_of(group[0]))))
        found = next(alike, None)
        if found is None:
            groups.append([router])
        else:
            found.append(router)
    return {tuple(group): Reliability.of(comparison, results.position_of(group[0]), results.resampling) for group in groups}


def _equal(a: tuple[Floats, Floats], b: tuple[Floats, Floats]) -> bool:
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


def _sums(cell: Integers, weights: Floats | None, queries: int) -> Floats:
    """Return each query's sum by bin, ``[Q, BINS]``."""
    return np.bincount(cell, weights, minlength=queries * BINS).reshape(queries, BINS).astype(np.float64)


def _ratio(sums: Floats, counts: Floats) -> Floats:
    return np.asarray(np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0))


def _interval(resampled: Floats) -> Floats:
    """Return the bounds of ``[B, BINS]`` means, ``[2, BINS]``."""
    bounds = np.full((2, BINS), np.nan)
    reached = np.isfinite(resampled).mean(axis=0) >= REACHED
    bounds[:, reached] = np.nanquantile(resampled[:, reached], (0.025, 0.975), axis=0)
    return bounds
