"""What an arena's match is: the answers to one query, and how they compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import attrs

from aamc_sdk.interfaces import AgentOutput
from aamc_sdk.routing import uniform
from aamc_sdk.types import Decision, Query, Record


@attrs.frozen(kw_only=True)
class Answer:
    """What a candidate answered, or why it did not.

    Attributes:
        candidate: Its name.
        content: The answer; ``""`` where there is none.
        cost_usd: What the call cost; NaN where that is not known.
        latency_ms: How long it took.
        error: What went wrong, or None.
    """

    candidate: str
    content: str = ""
    cost_usd: float = math.nan
    latency_ms: float
    error: str | None = None


@attrs.frozen
class Comparison:
    """One answer against another: who won, who lost; in a tie the order means nothing."""

    winner: str
    loser: str
    tie: bool = False


@attrs.frozen(kw_only=True)
class Match:
    """One query, answered by several candidates.

    Attributes:
        decision: The router's own choice among them; its id is the match's.
        query: What was asked.
        answers: What was answered, in a random order, so that nobody's answer is always shown first.
        failed: The candidates that did not answer, with the reason.
        comparisons: What the judge found; none where a user is to vote.
        judging_usd: What judging cost.
    """

    decision: Decision
    query: Query
    answers: tuple[Answer, ...]
    failed: tuple[Answer, ...]
    comparisons: tuple[Comparison, ...] = ()
    judging_usd: float = 0.0

    @property
    def best(self) -> Answer:
        """The answer that won most; among equals, and before a vote, that of the router's own choice where it answered."""
        points = dict.fromkeys((answer.candidate for answer in self.answers), 0.0)
        for comparison in self.comparisons:
            points[comparison.winner] += 0.5 if comparison.tie else 1.0
            points[comparison.loser] += 0.5 if comparison.tie else 0.0
        return max(self.answers, key=lambda answer: (points[answer.candidate], answer.candidate == self.decision.candidate))

    @property
    def cost_usd(self) -> float:
        """What all answers and the judging cost, as far as it is known."""
        return known_sum((*(answer.cost_usd for answer in (*self.answers, *self.failed)), self.judging_usd))


def checked_output(output: object) -> AgentOutput:
    """Return what a function that calls a model gave back, if that is what it should be.

    Raises:
        TypeError: It is no :class:`aamc_sdk.interfaces.AgentOutput`, or its content is no text.
        ValueError: Its cost is none.
    """
    if not isinstance(output, AgentOutput) or not isinstance(output.content, str):
        raise TypeError(f"a call must return an AgentOutput with a text, not {output!r:.80}")
    check_cost(output.cost)
    return output


def check_cost(cost: object) -> None:
    """Check what a call cost.

    Raises:
        ValueError: It is no number of at least 0; NaN is one that is not known.
    """
    if isinstance(cost, bool) or not isinstance(cost, int | float) or cost < 0 or math.isinf(cost):
        raise ValueError(f"a cost must be USD of at least 0, or NaN where it is not known, not {cost!r}")


def known_sum(costs: Iterable[float]) -> float:
    """Return the sum of those costs that are known."""
    return math.fsum(cost for cost in costs if not math.isnan(cost))


def draw_entrants(record: Record, count: int | None, seed: int) -> list[str]:
    """Return who answers: the router's choice, then others by its probabilities, without replacement.

    Args:
        record: The decision; candidates that were not allowed do not enter.
        count: How many, at most; all when None.
        seed: The draws follow from it and the decision's id.
    """
    decision = record.decision
    left = [name for name in record.candidates if name not in record.masked_why and name != decision.candidate]
    entrants = [decision.candidate]
    while left and (count is None or len(entrants) < count):
        weights = [decision.probabilities.get(name, 0.0) for name in left]
        if not any(weights):  # the router gives them no chance, or does not draw: one is as good as another
            weights = [1.0] * len(left)
        entrants.append(left.pop(_drawn(weights, uniform(seed, f"{decision.id}/arena/{len(entrants)}"))))
    return entrants


def _drawn(weights: Sequence[float], where: float) -> int:
    """Return the position that a number in [0, 1) falls on; never one without weight."""
    total, passed = math.fsum(weights), 0.0
    for position, weight in enumerate(weights):
        passed += weight / total
        if weight and where < passed:
            return position
    return max(position for position, weight in enumerate(weights) if weight)  # the sum fell short of 1 by rounding
