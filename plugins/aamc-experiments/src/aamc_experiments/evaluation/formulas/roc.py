"""Areas under the ROC curve: of probabilities, and of scores that predict the answer of two that a user prefers.

Each pair of answers counts in both orders, so the curve does not depend on which comes first. Intervals are those of the jackknife over users, in
at most :data:`BLOCKS` blocks, since the pairs of one user are not independent.

Paper: Obuchowski 1997, "Nonparametric Analysis of Clustered ROC Curve Data".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aamc_experiments.evaluation.bootstrap import Resampling, ratio, share_interval
from aamc_experiments.off_policy import student_quantile
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
        won = (above * (below.cumsum(axis=1) - below / 2)).sum(axis=1)
        blocks.append(ratio(won, above.sum(axis=1) * below.sum(axis=1)))
    return np.concatenate(blocks)


BLOCKS = 100
"""Maximum number of blocks of users in the jackknife."""


def choice_figures(margin: Floats, user: NDArray[np.intp]) -> dict[str, Any]:
    """Return AUC and accuracy with 95% intervals, and the numbers of pairs and users; None where there is no pair.

    A margin is the score of the preferred answer minus that of the other one, ``[N]``; each pair has the number of its user, ``[N]``.
    """
    users = np.unique(user)
    measures: dict[str, Callable[[Floats], float]] = {"preference_auc": choice_auc, "preference_accuracy": choice_accuracy}
    if not len(margin):
        return {**dict.fromkeys(measures), "ci95": dict.fromkeys(measures), "pairs": 0, "users": 0}
    blocks = np.array_split(users, min(BLOCKS, len(users)))
    found: dict[str, Any] = {name: measure(margin) for name, measure in measures.items()}
    ci95 = {name: _interval(found[name], [measure(margin[~np.isin(user, block)]) for block in blocks]) for name, measure in measures.items()}
    return {**found, "ci95": ci95, "pairs": len(margin), "users": len(users)}


def choice_auc(margin: Floats) -> float:
    """Return the area under the ROC curve of margins, each once as a preferred pair and once, negated, as the opposite; NaN without any."""
    if not len(margin):
        return float("nan")
    ordered = np.sort(-margin)
    below, at_most = np.searchsorted(ordered, margin, side="left"), np.searchsorted(ordered, margin, side="right")
    return float((below + at_most).sum() / (2 * len(margin) ** 2))  # ties count half


def choice_accuracy(margin: Floats) -> float:
    """Return the share of positive margins; a margin of 0 counts half. NaN without any."""
    return float(np.mean((margin > 0) + 0.5 * (margin == 0))) if len(margin) else float("nan")


def _interval(estimate: float, without: list[float]) -> list[float] | None:
    """Return the interval of a figure, given the figure without each block; None with fewer than two blocks.

    A figure of 0 or 1 has the exact interval of a share of blocks, since all blocks are alike.
    """
    blocks = len(without)
    if blocks < 2 or not np.isfinite(without).all():
        return None
    if estimate in (0.0, 1.0):
        return share_interval(np.array(without), estimate, blocks)
    pseudo = blocks * estimate - (blocks - 1) * np.array(without)
    half = student_quantile(blocks - 1) * float(np.std(pseudo, ddof=1) / np.sqrt(blocks))
    return [max(0.0, estimate - half), min(1.0, estimate + half)]
