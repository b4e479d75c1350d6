"""The typical outcomes of candidates in training rows: measured, or estimated from comparisons and list prices.

In the model of comparisons each candidate has a score s, and i is preferred to j with probability sigmoid(s_i - s_j).

Paper: Bradley and Terry 1952, "Rank Analysis of Incomplete Block Designs: I. The Method of Paired Comparisons", Biometrika 39.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import attrs
import numpy as np

from aamc_sdk.errors import DataError
from aamc_sdk.messages import one_of
from aamc_sdk.routing import expected_cost
from aamc_sdk.types import Dataset, Experience, Outcomes, Pool, Query, sigmoid

NEWTON_STEPS, TOLERANCE = 100, 1e-9
"""The limits of the fit: its steps, and the step size below which it ends."""
SHOWN = 5
"""The maximum number of candidates that a message names."""


class Vote(NamedTuple):
    """One comparison of two candidates on a query; ``won`` is 1 for the winner, 0.5 for a tie."""

    query: Query
    winner: str
    loser: str
    won: float
    weight: float


def votes(experience: Experience) -> list[Vote]:
    """Return the comparisons in an experience; feedback on decisions that it does not hold is left out."""
    made = {decision.id: (query, decision) for query, decision in zip(experience.queries, experience.decisions, strict=True)}
    found = []
    for feedback in experience.feedback:
        if feedback.over is not None and feedback.decision_id in made:
            query, decision = made[feedback.decision_id]
            winner = decision.candidate if feedback.candidate is None else feedback.candidate
            found.append(Vote(query, winner, feedback.over, 0.5 if feedback.tie else 1.0, feedback.average_weight))
    return found


def bradley_terry(found: Sequence[Vote]) -> dict[str, float]:
    """Return each compared candidate's probability of being preferred to an average one, sigmoid(s).

    Newton's method finds the scores with the maximum posterior under a standard normal prior. The prior keeps their sum
    at zero, and the scores of candidates that never lost finite.
    """
    names = sorted({name for vote in found for name in (vote.winner, vote.loser)})
    index = {name: number for number, name in enumerate(names)}
    wins = np.zeros((len(names), len(names)))
    for vote in found:
        wins[index[vote.winner], index[vote.loser]] += vote.weight * vote.won
        wins[index[vote.loser], index[vote.winner]] += vote.weight * (1 - vote.won)
    games, score = wins + wins.T, np.zeros(len(names))
    for _ in range(NEWTON_STEPS):
        chance = sigmoid(score[:, None] - score)
        gradient = (wins - games * chance).sum(axis=1) - score
        curvature = games * chance * (1 - chance)
        step = np.linalg.solve(np.diag(curvature.sum(axis=1) + 1) - curvature, gradient)
        score = score + step
        if np.abs(step).max(initial=0) < TOLERANCE:
            break
    return {name: float(sigmoid(score[number])) for name, number in index.items()}


def typical_outcomes(dataset: Dataset, pool: Pool) -> Outcomes:
    """Return the outcomes of N training rows among M candidates, measured or estimated from comparisons and list prices.

    An estimated quality is the candidate's probability of being preferred to an average one: the same in every row, NaN
    for a candidate without comparisons. Estimated costs and latencies are the pool's. Such outcomes have meaningful means,
    but do not distinguish queries. The cost of a candidate without measured ones is the pool's too.

    Returns:
        Outcomes ``[N, M]``; costs of unpriced candidates are unknown for rows with groups, such as those of users.

    Raises:
        DataError: The rows have neither outcomes nor comparisons, or a candidate without outcomes has no prices.
    """
    measured = dataset.outcomes
    if measured is not None:
        known = np.isfinite(measured.cost_usd).any(axis=0)
        if known.all():
            return measured
        return attrs.evolve(measured, cost_usd=np.where(known, measured.cost_usd, expected_cost(dataset.queries, pool)))
    if dataset.experience is None:
        raise DataError("the training rows have neither outcomes nor comparisons; use an environment or a dataset that provides them")
    strength = bradley_terry(votes(dataset.experience))
    cost_usd = expected_cost(dataset.queries, pool)
    if dataset.groups is None and not np.isfinite(cost_usd).all():
        unpriced = [name for name, cost in zip(pool.names, cost_usd.T, strict=True) if np.isnan(cost).any()]
        shown = one_of(unpriced[:SHOWN]) + (f" and {len(unpriced) - SHOWN} more" if len(unpriced) > SHOWN else "")
        raise DataError(f"comparisons hold no costs, and there is no price for {shown}; give candidates and their prices with --pool FILE")
    quality = np.array([strength.get(name, np.nan) for name in pool.names])
    quality, latency_ms = (np.tile(row, (len(dataset), 1)) for row in (quality, pool.arrays.latency_ms))
    return Outcomes(quality, cost_usd, latency_ms)
