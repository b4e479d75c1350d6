"""Two candidates, a strong and a weak one: how much of the gap between them a router recovers, and at how many strong calls.

The performance gap recovered is PGR(r) = (r - weak) / (strong - weak), of a mean quality r. A router ranks the
queries by how much better it takes the strong candidate to be; sending the first k of them there gives a curve of
PGR over the share of strong calls. APGR is the area below the curve, CPT(x) the least share at which PGR reaches x.
Queries that are ranked alike are called in any order, so the expected curve is straight between them, and a router
that cannot tell queries apart has the figures of a random one: APGR 0.5, CPT(x) = x.

Paper: Ong et al. 2024, "RouteLLM: Learning to Route LLMs with Preference Data" (PGR, APGR, CPT). It reads the curve
at ten points; here every query is one.
"""

from __future__ import annotations

import numpy as np

from aamc_experiments.evaluation.bootstrap import Resampling
from aamc_experiments.evaluation.decisions.comparison import Comparison, Integers
from aamc_experiments.evaluation.decisions.preferences import HEADLINE
from aamc_sdk.types import Floats

THRESHOLDS = {"cpt50": 0.5, "cpt80": 0.8}
"""How much of the gap each call-performance threshold recovers."""


def strong_weak(comparison: Comparison, router: int, resampling: Resampling) -> dict[str, Floats]:
    """Return PGR at the headline, APGR and CPT of a router on each of B resamples, ``[B]``.

    Returns:
        NaN where the comparison is not a table of two candidates, or the strong one is not better in the
        resample; all but PGR also where the router's utility is not known.
    """
    figures = dict.fromkeys(("pgr", "apgr", *THRESHOLDS), np.full(len(resampling.weights), np.nan))
    if not comparison.is_table or len(comparison.candidates) != 2 or np.isnan(comparison.candidate_means[:, 0]).any():
        return figures
    weak, strong = np.lexsort((comparison.candidate_means[:, 1], comparison.candidate_means[:, 0]))  # of two as good, the dearer is strong
    gain = comparison.quality[:, strong] - comparison.quality[:, weak]
    ours = comparison.realised(router).known_quality[HEADLINE] - comparison.quality[:, weak]
    recovered, gap = resampling.means(np.column_stack((ours, gain))).T
    figures["pgr"] = _share(recovered, gap)
    advantage = np.subtract(comparison.utility[router, :, strong], comparison.utility[router, :, weak], dtype=np.float64)
    return figures if np.isnan(advantage).any() else figures | ranked(advantage, gain, resampling)


def ranked(advantage: Floats, gain: Floats, resampling: Resampling) -> dict[str, Floats]:
    """Return APGR and CPT of a ranking on each of B resamples, ``[B]``; NaN where there is no gap to recover.

    Args:
        advantage: What queries are ranked by, the greatest first, ``[Q]``.
        gain: How much better the strong candidate is, ``[Q]``.
        resampling: The resamples.
    """
    order = np.argsort(-advantage, kind="stable")
    descending = advantage[order]
    last_of_equals = np.flatnonzero(np.append(descending[1:] != descending[:-1], True))
    blocks = []
    for counts in resampling.counts(order):
        share, recovered = (_curve(counts * values, last_of_equals) for values in (1.0, gain[order]))
        area = (np.diff(share) * (recovered[:, 1:] + recovered[:, :-1]) / 2).sum(axis=1)
        blocks.append((area, *(_least_share(share, recovered, threshold) for threshold in THRESHOLDS.values())))
    return dict(zip(("apgr", *THRESHOLDS), map(np.concatenate, zip(*blocks, strict=True)), strict=True))


def _curve(values: Floats, places: Integers) -> Floats:
    """Return the share of the total that is reached before the first of ``[B, Q]`` values, and after each place."""
    sums = values.cumsum(axis=1)[:, places]
    return np.pad(_share(sums, sums[:, -1:]), ((0, 0), (1, 0)))


def _share(part: Floats, whole: Floats) -> Floats:
    """Return part / whole; NaN where the whole is not positive."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.broadcast_to(whole > 0, np.shape(part))))


def _least_share(share: Floats, recovered: Floats, threshold: float) -> Floats:
    """Return the least share of calls at which ``[B, K]`` curves reach the threshold."""
    after = np.maximum((recovered >= threshold).argmax(axis=1), 1)[:, None]
    (x0, x1), (y0, y1) = ([np.take_along_axis(values, at, axis=1)[:, 0] for at in (after - 1, after)] for values in (share, recovered))
    return np.asarray(x0 + (threshold - y0) / (y1 - y0) * (x1 - x0))
