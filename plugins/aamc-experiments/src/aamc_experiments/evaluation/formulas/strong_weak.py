"""PGR, APGR and CPT of a strong and a weak candidate: the quality gap that a router recovers, by share of strong calls.

The performance gap recovered of a mean quality r is PGR(r) = (r - weak) / (strong - weak). A router ranks the queries by the
strong candidate's utility minus the weak one's; sending the first k to the strong candidate gives a curve of PGR over the
share of strong calls. APGR is the area below the curve, CPT(x) the minimum share at which PGR reaches x. Queries of equal
rank are sent in random order, so the expected curve is linear there, and a router that ranks all queries alike has the
figures of a random one: APGR 0.5, CPT(x) = x.

Paper: Ong et al. 2024, "RouteLLM: Learning to Route LLMs with Preference Data" (PGR, APGR, CPT). The paper reads the
curve at ten points, this module at every query.
"""

from __future__ import annotations

import numpy as np

from aamc_experiments.evaluation.bootstrap import Resampling, ratio
from aamc_experiments.evaluation.comparison import HEADLINE, Comparison, Integers
from aamc_sdk.types import Floats

THRESHOLDS = {"cpt50": 0.5, "cpt80": 0.8}
"""The share of the gap that each call-performance threshold recovers."""


def strong_weak(comparison: Comparison, router: int, resampling: Resampling) -> dict[str, Floats]:
    """Return PGR at the headline, APGR and CPT of a router on each of B resamples, ``[B]``.

    Returns:
        NaN if the comparison is not a table of two candidates, or if the strong one is not better in the resample. APGR and
        CPT are also NaN if the router's utility is not known.
    """
    figures = dict.fromkeys(("pgr", "apgr", *THRESHOLDS), np.full(len(resampling.weights), np.nan))
    if not comparison.is_table or len(comparison.candidates) != 2 or np.isnan(comparison.candidate_means[:, 0]).any():
        return figures
    weak, strong = np.lexsort((comparison.candidate_means[:, 1], comparison.candidate_means[:, 0]))  # ties go to the more expensive
    quality = comparison.constant_outcomes.known_quality
    gain = quality[:, strong] - quality[:, weak]
    ours = comparison.realised(router).known_quality[HEADLINE] - quality[:, weak]
    recovered, gap = resampling.means(np.column_stack((ours, gain))).T
    figures["pgr"] = ratio(recovered, gap)
    advantage = np.subtract(comparison.utility[router, :, strong], comparison.utility[router, :, weak], dtype=np.float64)
    return figures if np.isnan(advantage).any() else figures | ranked(advantage, gain, resampling)


def ranked(advantage: Floats, gain: Floats, resampling: Resampling) -> dict[str, Floats]:
    """Return APGR and CPT of a ranking on each of B resamples, ``[B]``; NaN if there is no gap to recover.

    Queries are ranked by ``advantage [Q]``, the maximum first; ``gain [Q]`` is the strong candidate's quality minus the weak one's.
    """
    order = np.argsort(-advantage, kind="stable")
    descending = advantage[order]
    last_of_equals = np.flatnonzero(np.append(descending[1:] != descending[:-1], True))
    blocks = []
    for counts in resampling.counts(order):
        share, recovered = (_curve(counts * values, last_of_equals) for values in (1.0, gain[order]))
        area = (np.diff(share) * (recovered[:, 1:] + recovered[:, :-1]) / 2).sum(axis=1)
        blocks.append((area, *(_threshold_share(share, recovered, threshold) for threshold in THRESHOLDS.values())))
    return dict(zip(("apgr", *THRESHOLDS), map(np.concatenate, zip(*blocks, strict=True)), strict=True))


def _curve(values: Floats, places: Integers) -> Floats:
    """Return the cumulative share of ``[B, Q]`` values before the first one and after each place."""
    sums = values.cumsum(axis=1)[:, places]
    return np.pad(ratio(sums, sums[:, -1:]), ((0, 0), (1, 0)))


def _threshold_share(share: Floats, recovered: Floats, threshold: float) -> Floats:
    """Return the minimum share of calls at which ``[B, K]`` curves reach the threshold."""
    after = np.maximum((recovered >= threshold).argmax(axis=1), 1)[:, None]
    (x0, x1), (y0, y1) = ([np.take_along_axis(values, at, axis=1)[:, 0] for at in (after - 1, after)] for values in (share, recovered))
    return np.asarray(x0 + (threshold - y0) / (y1 - y0) * (x1 - x0))
