"""Intervals of a bounded mean by betting against it, for one look at the data and for a look after every value.

Whoever doubts that independent values y_i of at least a have a mean of at most m stakes a share f of what he has on each of
them, at odds that are fair where he is wrong:

    W(f, m) = product over i of (1 + f s_i (y_i - m) / (m - a)),    0 <= f < 1,

where s_i in [0, 1] is the size of the i-th bet (its importance weight over the greatest one; 1 without weights). The lower
bound is the least m against which he has not won enough; the upper bound is minus the lower one of -y.

- **Looking once**: enough is the greatest log W(f, m) + log(1 - f), of the best share in hindsight after losing one bet more, above
  t^2 / 2, where t is Student's 97.5% quantile. Without the bet more that is the empirical likelihood interval with known bounds, which has
  the data's own skew; the bet more stands for the worst outcome that has not been seen yet, and keeps the interval from
  closing where few outcomes differ. It is not exact; benchmarks/off_policy.py counts how often it holds the truth.
- **Looking at any time**: enough is log W(m) above log(2 / 0.05), where W is the mean over fixed shares. By Ville's inequality the
  chance that this ever happens, at whatever moment, to a true m is at most 2.5%: exactly, if each a was known before its value's request came.

Papers: Owen 2001, "Empirical Likelihood"; Karampatziakis, Langford and Mineiro 2020, "Empirical Likelihood for Contextual Bandits"
(known bounds); Chen, Variyath and Abraham 2008, "Adjusted Empirical Likelihood and its Properties" (a value more); Waudby-Smith
and Ramdas 2024, "Estimating Means of Bounded Random Variables by Betting" (bets at any time).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from aamc_sdk.types import Floats

ALPHA = 0.05
"""The chance that an interval may miss the mean, half of it on each side."""
SHARES = 2.0 ** -np.arange(1, 13)
"""The shares that are bet at any time, from a half down to 1/4096: whatever the difference, one of them is near the best."""
ENOUGH = math.log(2 / ALPHA)
"""The log-wealth that refutes a mean at any time, on one side."""
_ALL_BUT_NOTHING = 1 - 1e-9
"""The greatest share: whoever stakes all is ruined by the first loss."""
_STEPS = 60
_HALVINGS = 20
_PRECISION = 1e-7


def interval(values: Floats, low: float, high: float, *, sizes: Floats | None = None, effective: float | None = None) -> list[float]:
    """Return the 95% interval of a mean, for one look at the data.

    Args:
        values: Independent, from ``low`` to ``high``, ``[n]``, n of at least 1.
        low: The least possible value.
        high: The greatest.
        sizes: Each value's weight over the greatest possible one, ``[n]``: the mean is then the weighted one.
        effective: How many values they are worth, for Student's quantile; n when None.
    """
    if high <= low:
        return [float(low), float(high)]
    worth = len(values) if effective is None else effective
    quantile = student_quantile(max(worth - 1, 1.0))
    weights = np.ones(len(values)) if sizes is None else sizes
    scaled = np.clip((values - low) / (high - low), 0.0, 1.0)  # against rounding
    below, above = _least_mean(scaled, weights, quantile), 1 - _least_mean(1 - scaled, weights, quantile)
    return [float(low + share * (high - low)) for share in (below, above)]


def _least_mean(values: Floats, sizes: Floats, quantile: float) -> float:
    """Return the mean m in [0, 1] at which sqrt(2 log W) is the quantile, by Newton's method held in a bracket.

    That root is nearly linear in m, as it is for normal values; its slope follows from the share that is best at m alone.
    """
    least, greatest = 0.0, float(sizes @ values / sizes.sum())
    if greatest <= 0:
        return 0.0
    mean = greatest / 2
    for _ in range(_STEPS):
        odds = sizes * (values / mean - 1)
        share = _best_share(odds)
        root = math.sqrt(max(2 * (np.log1p(share * odds).sum() + math.log1p(-share)), 0.0))
        least, greatest = (mean, greatest) if root >= quantile else (least, mean)
        slope = -share * float((sizes * values / (1 + share * odds)).sum()) / mean**2 / root if root > 0 else -math.inf
        newton = mean - (root - quantile) / slope
        following = newton if least < newton < greatest else (least + greatest) / 2
        if abs(following - mean) <= _PRECISION * mean:
            break
        mean = following
    return mean


def student_quantile(degrees: float) -> float:
    """Return the 97.5% quantile of Student's distribution, by its expansion in 1 / degrees (Abramowitz and Stegun, 26.7.5)."""
    z = NormalDist().inv_cdf(1 - ALPHA / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / degrees**power for power, term in enumerate(terms, start=1))


def _best_share(odds: Floats) -> float:
    """Return the share f in [0, 1) that wins most, after losing one bet more, by Newton's method held in a bracket."""
    if odds.sum() <= 1:
        return 0.0
    least, greatest, share = 0.0, _ALL_BUT_NOTHING, 0.5
    for _ in range(_STEPS):
        gains = odds / (1 + share * odds)
        slope = gains.sum() - 1 / (1 - share)
        least, greatest = (share, greatest) if slope > 0 else (least, share)
        newton = share + slope / (np.square(gains).sum() + 1 / (1 - share) ** 2)
        following = newton if least < newton < greatest else (least + greatest) / 2
        if abs(following - share) <= _PRECISION * share:
            break
        share = following
    return share


def log_wealth(values: Floats, low: Floats | float, mean: float) -> Floats:
    """Return the log-wealth after each value of betting that the mean is greater, ``[n]``.

    Args:
        values: In the order in which they came, ``[n]``; each has mean ``mean`` given those before it, if that is true.
        low: What each value cannot be below, known before its request came, ``[n]`` or one number.
        mean: What is doubted, above ``low``.
    """
    odds = (values - mean) / (mean - low)
    wealth = np.log1p(SHARES[:, None] * odds).cumsum(axis=1)
    return np.asarray(np.logaddexp.reduce(wealth, axis=0) - math.log(len(SHARES)))


def lower_bound_at_any_time(values: Floats, low: Floats | float, least: float, greatest: float) -> float:
    """Return a 97.5% lower bound of a mean that holds at all times together, from the values so far.

    Args:
        values: As for :func:`log_wealth`.
        low: Likewise, at most ``least``.
        least: What the mean cannot be below.
        greatest: Nor above.
    """
    for _ in range(_HALVINGS):
        middle = (least + greatest) / 2
        refuted = log_wealth(values, low, middle).max(initial=-math.inf) >= ENOUGH  # once refuted, for ever
        least, greatest = (middle, greatest) if refuted else (least, middle)
    return least
