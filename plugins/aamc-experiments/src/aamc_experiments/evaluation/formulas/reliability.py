"""Calibration of a router: the expected quality compared with the realised one.

In a table every cell with an outcome is a forecast. In streams only the cell of the candidate chosen at (1, 0, 0) is, where expectations are
recorded.

Papers: Brier 1950, "Verification of Forecasts Expressed in Terms of Probability"; Guo et al. 2017, "On Calibration
of Modern Neural Networks" (expected calibration error, equation 3).
"""

from __future__ import annotations

import numpy as np

from aamc_experiments.evaluation.bootstrap import Resampling, ratio
from aamc_experiments.evaluation.comparison import QUALITY_ALONE, Comparison, Integers
from aamc_sdk.types import Floats

BINS = 15
"""The number of bins of equal width, each without its lower edge."""


def forecast_errors(expected: Floats, realised: Floats, resampling: Resampling) -> dict[str, Floats]:
    """Return the Brier score and the expected calibration error (ECE) of forecasts on each of B resamples, ``[B]``.

    The Brier score is the mean squared error of the forecasts. ECE is the mean over forecasts of the absolute difference
    between mean forecast and mean quality in their bin, so a bin contributes the absolute sum of its errors.

    Args:
        expected: The forecasts, ``[Q, K]``; NaN for none.
        realised: The realised qualities, ``[Q, K]``.
        resampling: The resamples of the Q rows.

    Returns:
        ``brier`` and ``ece``; NaN without forecasts.
    """
    means = resampling.means(_sums(expected, realised))
    errors, squares, count = means[:, :BINS], means[:, BINS], means[:, BINS + 1]
    return {"brier": ratio(squares, count), "ece": ratio(np.abs(errors).sum(axis=1), count)}


def forecasts(comparison: Comparison, router: int) -> tuple[Floats, Floats]:
    """Return a router's expected and realised quality, ``[Q, M]`` each for a table, ``[Q, 1]`` each for streams.

    A cell of a table without an outcome, which may be that of a candidate that is not allowed, has neither.
    """
    expected = comparison.expected_quality[router].astype(np.float64)
    if comparison.is_table:
        return np.where(np.isnan(comparison.quality), np.nan, expected), comparison.quality
    chosen = comparison.chosen[router, QUALITY_ALONE][:, None]
    return np.take_along_axis(expected, chosen, axis=1), comparison.quality[router, QUALITY_ALONE][:, None]


def bin_of(expected: Floats) -> Integers:
    """Return the bin of each forecast, from 0; forecasts outside 0 and 1 belong to the outer bins."""
    return np.asarray(np.clip(np.ceil(expected * BINS) - 1, 0, BINS - 1), dtype=np.intp)


def _sums(expected: Floats, realised: Floats) -> Floats:
    """Return each query's sums of errors by bin, its sum of squared errors and its number of forecasts, ``[Q, BINS + 2]``."""
    known = np.isfinite(expected)
    row, queries = np.nonzero(known)[0], len(expected)
    error = realised[known] - expected[known]
    errors = np.bincount(row * BINS + bin_of(expected[known]), error, minlength=queries * BINS).reshape(queries, BINS)
    squares, counts = np.bincount(row, error**2, minlength=queries), np.bincount(row, minlength=queries)
    return np.column_stack((errors, squares, counts))
