"""The area under the ROC curve, which is the probability that a positive is ranked above a negative; ties count half.

Paper: Hanley and McNeil 1982, "The Meaning and Use of the Area under a Receiver Operating Characteristic (ROC) Curve".
"""

from __future__ import annotations

import numpy as np

from aamc_experiments.evaluation.bootstrap import Resampling
from aamc_sdk.types import Floats


def area_under_roc(score: Floats, positive: Floats, resampling: Resampling) -> Floats:
    """Return the area on each of B resamples, ``[B]``; NaN for a resample without a positive or a negative.

    Args:
        score: The score of each row, ``[Q]``.
        positive: 1 for a positive, 0 for a negative, ``[Q]``.
        resampling: The resamples.
    """
    order = np.argsort(score, kind="stable")
    begins = np.flatnonzero(np.append(True, np.diff(score[order]) != 0))  # of groups of equal scores
    blocks = []
    for counts in resampling.counts(order):
        above, below = (np.add.reduceat(counts * values[order], begins, axis=1) for values in (positive, 1 - positive))
        pairs = above.sum(axis=1) * below.sum(axis=1)
        won = (above * (below.cumsum(axis=1) - below / 2)).sum(axis=1)
        blocks.append(np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))
    return np.concatenate(blocks)
