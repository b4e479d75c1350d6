"""Confidence intervals of a bounded mean by betting, for one look at the data and for a look after every value.

The hypothesis that independent values y_i of at least a have a mean of at most m is tested by a bet with share f of the wealth
on each value. The wealth grows only if the hypothesis is false:

    W(f, m) = product over i of (1 + f s_i (y_i - m) / (m - a)),    0 <= f < 1,

where s_i in [0, 1] is the size of the i-th bet: its importance weight divided by the maximum one, 1 without weights. The lower
bound is the minimum m that is not rejected; the upper bound is minus the lower bound of -y.

- **One look** rejects m if the maximum over f of log W(f, m) + log(1 - f) exceeds t^2 / 2, where t is Student's 97.5% quantile.
  Without log(1 - f) that is the empirical likelihood interval with known bounds, which follows the skew of the data. The term is
  one more, lost bet: it stands for the worst outcome not seen yet, and keeps the interval open where few outcomes differ.
  The interval is approximate; benchmarks/off_policy.py measures its coverage.
- **A look at any time** rejects m if log W(m) exceeds log(2 / 0.05), where W is the mean over fixed shares. By Ville's inequality
  a true m is ever rejected with probability at most 2.5%. This is exact if each a was known before its value's request.

Papers: Owen 2001, "Empirical Likelihood"; Karampatziakis, Langford and Mineiro 2020, "Empirical Likelihood for Contextual Bandits"
(known bounds); Chen, Variyath and Abraham 2008, "Adjusted Empirical Likelihood and its Properties" (a value more); Waudby-Smith
and Ramdas 2024, "Estimating Means of Bounded Random Variables by Betting" (bets at any time).
"""

from __future__ import annotations

import math

import numpy as np

from aamc_sdk.types import Floats

ALPHA = 0.05
"""The probability that an interval misses the mean, half of it on each side."""
SHARES = 2.0 ** -np.arange(1, 13)
"""The shares of the bets at any time, from 1/2 down to 1/4096; for any difference one of them is near the best."""
LOG_WEALTH_BOUND = math.log(2 / ALPHA)
"""The log-wealth that rejects a mean at any time, on one side."""
_MAX_SHARE = 1 - 1e-9
"""The maximum share: with a share of 1, one loss would end the bets."""
_NEWTON_STEPS, _BISECTIONS, _PRECISION = 60, 20, 1e-7


def mean_interval(values: Floats, low: float, high: float, *, sizes: Floats | None = None, effective: float | None = None) -> list[float]:
    """Return the 95% interval of a mean, for one look at the data.

    Args:
        values: Independent values from ``low`` to ``high``, ``[n]``, n at least 1.
        low: The minimum possible value.
        high: The maximum possible value.
        sizes: Each value's weight divided by the maximum possible one, ``[n]``, for a weighted mean.
        effective: The effective sample size, for Student's quantile; n when None.
    """
    if high <= low:
        return [float(low), float(high)]
    size = len(values) if effective is None else effective
    quantile = student_quantile(max(size - 1, 1.0))
    weights = np.ones(len(values)) if sizes is None else sizes
    scaled = np.clip((values - low) / (high - low), 0.0, 1.0)  # rounding may exceed the bounds
    below, above = _lower_bound(scaled, weights, quantile), 1 - _lower_bound(1 - scaled, weights, quantile)
    return [float(low + share * (high - low)) for share in (below, above)]


def _lower_bound(values: Floats, sizes: Floats, quantile: float) -> float:
    """Return the mean m in [0, 1] at which sqrt(2 log W) equals the quantile, by Newton's method within a bracket.

    The square root is nearly linear in m, as for normal values; its slope depends only on the best share at m.
    """
    low, high = 0.0, float(sizes @ values / sizes.sum())
    if high <= 0:
        return 0.0
    mean = high / 2
    for _ in range(_NEWTON_STEPS):
        odds = sizes * (values / mean - 1)
        share = _best_share(odds)
        root = math.sqrt(max(2 * (np.log1p(share * odds).sum() + math.log1p(-share)), 0.0))
        low, high = (mean, high) if root >= quantile else (low, mean)
        slope = -share * float((sizes * values / (1 + share * odds)).sum()) / mean**2 / root if root > 0 else -math.inf
        newton = mean - (root - quantile) / slope
        next_mean = newton if low < newton < high else (low + high) / 2
        if abs(next_mean - mean) <= _PRECISION * mean:
            break
        mean = next_mean
    return mean


def student_quantile(degrees: float) -> float:
    """Return the 97.5% quantile of Student's distribution."""
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # scipy ships no types, and is slow to import

    return float(stdtrit(degrees, 1 - ALPHA / 2))


def _best_share(odds: Floats) -> float:
    """Return the share f in [0, 1) with the maximum wealth after one more, lost bet, by Newton's method within a bracket."""
    if odds.sum() <= 1:
        return 0.0
    low, high, share = 0.0, _MAX_SHARE, 0.5
    for _ in range(_NEWTON_STEPS):
        gains = odds / (1 + share * odds)
        slope = gains.sum() - 1 / (1 - share)
        low, high = (share, high) if slope > 0 else (low, share)
        newton = share + slope / (np.square(gains).sum() + 1 / (1 - share) ** 2)
        next_share = newton if low < newton < high else (low + high) / 2
        if abs(next_share - share) <= _PRECISION * share:
            break
        share = next_share
    return share


def log_wealth(values: Floats, low: Floats | float, mean: float) -> Floats:
    """Return the log-wealth after each value of bets that the mean is larger, ``[n]``.

    Args:
        values: The values in order, ``[n]``; under the hypothesis each has mean ``mean`` given those before it.
        low: The minimum possible value, known before the value's request, ``[n]`` or one number.
        mean: The hypothetical mean, above ``low``.
    """
    odds = (values - mean) / (mean - low)
    wealth = np.log1p(SHARES[:, None] * odds).cumsum(axis=1)
    return np.asarray(np.logaddexp.reduce(wealth, axis=0) - math.log(len(SHARES)))


def lower_bound_at_any_time(values: Floats, low: Floats | float, minimum: float, maximum: float) -> float:
    """Return a 97.5% lower bound of a mean that holds at all times simultaneously, from the values so far.

    Args:
        values: As for :func:`log_wealth`.
        low: As for :func:`log_wealth`, at most ``minimum``.
        minimum: The minimum possible mean.
        maximum: The maximum possible mean.
    """
    for _ in range(_BISECTIONS):
        middle = (minimum + maximum) / 2
        rejected = log_wealth(values, low, middle).max(initial=-math.inf) >= LOG_WEALTH_BOUND  # a rejection is final
        minimum, maximum = (middle, maximum) if rejected else (minimum, middle)
    return minimum
