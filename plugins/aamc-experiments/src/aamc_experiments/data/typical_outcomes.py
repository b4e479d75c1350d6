"""Votes: who did better than whom, and what they alone say of the candidates.

Each candidate has a score s, and i is preferred to j with probability sigmoid(s_i - s_j).

Paper: Bradley and Terry 1952, "Rank Analysis of Incomplete Block Designs: I. The Method of Paired Comparisons", Biometrika 39.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aamc_sdk.errors import DataError, one_of
from aamc_sdk.routing import expected_cost, expected_latency
from aamc_sdk.types import Dataset, Outcomes, Pool, Vote, sigmoid, votes

NEWTON_STEPS, TOLERANCE = 100, 1e-9
SHOWN = 5
"""Candidates that a message names."""


def strengths(found: Sequence[Vote]) -> dict[str, float]:
    """Return each compared candidate's probability of being preferred to an average one, sigmoid(s).

    The scores maximise Bradley and Terry's likelihood times a standard normal prior, which keeps their sum at zero and
    those of candidates that never lost finite. Newton's method finds them.
    """
    names = sorted({name for vote in found for name in (vote.winner, vote.loser)})
    place = {name: number for number, name in enumerate(names)}
    wins = np.zeros((len(names), len(names)))
    for vote in found:
        wins[place[vote.winner], place[vote.loser]] += vote.weight * vote.won
        wins[place[vote.loser], place[vote.winner]] += vote.weight * (1 - vote.won)
    games, score = wins + wins.T, np.zeros(len(names))
    for _ in range(NEWTON_STEPS):
        chance = sigmoid(score[:, None] - score)
        gradient = (wins - games * chance).sum(axis=1) - score
        curvature = games * chance * (1 - chance)
        step = np.linalg.solve(np.diag(curvature.sum(axis=1) + 1) - curvature, gradient)
        score = score + step
        if np.abs(step).max(initial=0) < TOLERANCE:
            break
    return {name: float(sigmoid(score[number])) for name, number in place.items()}


def typical_outcomes(dataset: Dataset, pool: Pool) -> Outcomes:
    """Return the outcomes of training rows; where nobody measured any, what comparisons and list prices say of them.

    Quality is then each candidate's probability of being preferred to an average one, the same in every row, NaN where
    nobody compared it; cost and latency are what the pool says. Such outcomes have means, but tell no query from another.

    Args:
        dataset: N training rows.
        pool: The M candidates to choose from.

    Returns:
        Outcomes ``[N, M]``.

    Raises:
        DataError: There are neither outcomes nor comparisons, or a candidate has no prices.
    """
    if dataset.outcomes is not None:
        return dataset.outcomes
    if dataset.experience is None:
        raise DataError("there are neither outcomes nor comparisons to train on; use an environment or dataset that gives them")
    strength = strengths(votes(dataset.experience))
    cost_usd = expected_cost(dataset.queries, pool)
    if not np.isfinite(cost_usd).all():
        unpriced = [name for name, cost in zip(pool.names, cost_usd.T, strict=True) if np.isnan(cost).any()]
        shown = one_of(unpriced[:SHOWN]) + (f" and {len(unpriced) - SHOWN} more" if len(unpriced) > SHOWN else "")
        raise DataError(f"comparisons say nothing of costs, and there is no price for {shown}; give candidates and their prices with --pool FILE")
    quality = np.array([strength.get(name, np.nan) for name in pool.names])
    return Outcomes(np.tile(quality, (len(dataset), 1)), cost_usd, expected_latency(pool, len(dataset)))
