"""Why a router failed a query: a table says what each other candidate would have done."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.evaluation.comparison import Comparison
from aamc_sdk.evaluation.preferences import HEADLINE

Rows = NDArray[np.bool_]


@attrs.frozen
class Cause:
    """A reason for failures, in two words and in a sentence."""

    title: str
    meaning: str


IMPOSSIBLE = Cause("None could", "No candidate answers the query well.")
OVERRATED = Cause("Overrated", "Another candidate would have succeeded, and the router expected no more quality of it than of its own choice.")
TRADED = Cause("Traded", "The router expected more quality of one that would have succeeded; cost, latency, chance or a rule spoke for its choice.")
AVOIDABLE = Cause("Avoidable", "Another candidate would have succeeded; what the router expected of it, or of its own choice, is not known.")
UNKNOWN = Cause("Failed", "What another candidate would have done is not known: only the chosen one answered.")


def failure_causes(comparison: Comparison, router: int, threshold: float) -> Mapping[Cause, Rows]:
    """Return for each cause which queries a router failed by it, ``[Q]``; each failure has one cause.

    Args:
        comparison: What the routers did.
        router: Which one, by position.
        threshold: The least quality that counts as success.

    Returns:
        Only causes that the data can tell apart: streams know but ``UNKNOWN``. ``AVOIDABLE`` stands for ``OVERRATED`` and
        ``TRADED`` where a router does not state both expectations, its choice's and that of one that would have succeeded.
    """
    failed = ~(comparison.realised(router).known_quality[HEADLINE] >= threshold)
    if not comparison.is_table:
        return {UNKNOWN: failed}
    succeeds = comparison.quality >= threshold
    possible = succeeds.any(axis=1)
    causes = {IMPOSSIBLE: failed & ~possible}
    avoidable, expected = failed & possible, comparison.expected_quality[router]
    if np.isnan(expected).all():
        return causes | {AVOIDABLE: avoidable}
    chosen = np.take_along_axis(expected, comparison.chosen[router, HEADLINE][:, None], axis=1)[:, 0]
    rival = np.where(succeeds & np.isfinite(expected), expected, -np.inf).max(axis=1)
    told = avoidable & np.isfinite(chosen) & np.isfinite(rival)
    causes |= {OVERRATED: told & (chosen >= rival), TRADED: told & (chosen < rival)}
    untold = avoidable & ~told
    return causes | {AVOIDABLE: untold} if untold.any() else causes
