"""The questions on which routers disagree most, and what each of their choices would have brought."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from aamc_report.data import ORACLE
from aamc_sdk.batch import Floats
from aamc_sdk.evaluation.comparison import Comparison, Integers
from aamc_sdk.evaluation.preferences import HEADLINE

WITHOUT_A_VIEW = ("random", ORACLE)
"""Routers that guess, or know: neither has a view of a question that others could share or not."""


@attrs.frozen
class Answer:
    """A candidate that some router chose for a question.

    Attributes:
        candidate: Its name.
        routers: Who chose it.
        expected: The quality that the router in question expected of it; NaN where it does not say.
        quality: What came; of streams the mean over those who chose it.
        cost_usd: Likewise, without what deciding cost.
    """

    candidate: str
    routers: Sequence[str]
    expected: float
    quality: float
    cost_usd: float


@attrs.frozen
class Dispute:
    """A question, by the SHA-256 of its text, and its answers, the most chosen first."""

    question: str
    category: str
    answers: Sequence[Answer]


def disputes(comparison: Comparison, headline: int, most: int) -> list[Dispute]:
    """Return the questions on which routers disagree most at the headline's preference.

    Disagreement is the chance that two routers, drawn with replacement, choose differently. Of
    equally disputed questions those come first where the choices' qualities lie farthest apart.

    Args:
        comparison: What the routers did.
        headline: The router in question, by position.
        most: How many questions, at most.

    Returns:
        None that all agree on; each text once. Routers without a view of single questions, which choose alike
        for all, guess, or know, are no party to a dispute, though their choice is shown.
    """
    chosen = comparison.chosen[:, HEADLINE]
    parties = [r for r, name in enumerate(comparison.routers.tolist()) if name not in WITHOUT_A_VIEW and len(np.unique(chosen[r])) > 1]
    if len(parties) < 2:
        return []
    views = chosen[parties]
    disagreement = (views[:, None] != views[None]).mean(axis=(0, 1))
    stake = np.ptp(_outcome(comparison, comparison.quality)[parties], axis=0)
    order = np.lexsort((-stake, -disagreement))
    order = order[disagreement[order] > 0]
    _, first = np.unique(comparison.queries[order], return_index=True)
    return [_dispute(comparison, headline, int(row)) for row in order[np.sort(first)[:most]]]


def _outcome(comparison: Comparison, values: Floats) -> Floats:
    """Return what came of each router's choice at the headline's preference, ``[R, Q]``."""
    if not comparison.is_table:
        return values[:, HEADLINE]
    return values[np.arange(len(comparison.queries)), comparison.chosen[:, HEADLINE]]


def _dispute(comparison: Comparison, headline: int, row: int) -> Dispute:
    chosen: Integers = comparison.chosen[:, HEADLINE, row]
    candidates, votes = np.unique(chosen, return_counts=True)
    answers = [_answer(comparison, headline, row, int(candidate)) for candidate in candidates[np.argsort(-votes, kind="stable")]]
    return Dispute(str(comparison.queries[row]), str(comparison.category[row]), answers)


def _answer(comparison: Comparison, headline: int, row: int, candidate: int) -> Answer:
    who = np.flatnonzero(comparison.chosen[:, HEADLINE, row] == candidate)
    quality, cost = (_outcome(comparison, values)[who, row].mean() for values in (comparison.quality, comparison.cost_usd))
    expected = comparison.expected_quality[headline, row, candidate]
    return Answer(str(comparison.candidates[candidate]), comparison.routers[who].tolist(), float(expected), float(quality), float(cost))
