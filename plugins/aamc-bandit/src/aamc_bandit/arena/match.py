"""A match of the arena: the calls of candidates, the answers to one query and their comparisons."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import attrs

from aamc_sdk.interfaces import AgentOutput, Message, ModelCaller
from aamc_sdk.routing import uniform
from aamc_sdk.types import Candidate, Decision, Feedback, Query, Record

CallModel = Callable[[Candidate, Sequence[Message]], Awaitable[AgentOutput]]


@attrs.frozen(kw_only=True)
class CandidateAnswer:
    """A candidate's answer, or the error of its call.

    Attributes:
        candidate: The candidate's name.
        content: The answer; ``""`` after an error.
        cost_usd: The cost of the call in USD; NaN if unknown.
        latency_ms: The duration of the call in milliseconds.
        error: The error, or None.
        cancelled: Whether the call was cancelled; ``error`` says so too.
    """

    candidate: str
    content: str = ""
    cost_usd: float = math.nan
    latency_ms: float
    error: str | None = None
    cancelled: bool = False


@attrs.frozen
class AnswerComparison:
    """The winner and the loser of two answers, by candidate; in a tie the order has no meaning."""

    winner: str
    loser: str
    tie: bool = False


@attrs.frozen(kw_only=True)
class Match:
    """One query, answered by several candidates.

    Attributes:
        decision: The router's decision; its id identifies the match.
        query: The query.
        answers: The answers in random order, so that no candidate is always shown first.
        failed: The candidates without an answer, with their errors.
        comparisons: The judge's comparisons; empty where users vote.
        judging_usd: The cost of judging in USD.
    """

    decision: Decision
    query: Query
    answers: tuple[CandidateAnswer, ...]
    failed: tuple[CandidateAnswer, ...]
    comparisons: tuple[AnswerComparison, ...] = ()
    judging_usd: float = 0.0

    @property
    def best(self) -> CandidateAnswer:
        """The answer with the most wins; among ties, and before a vote, that of the router's choice if it answered."""
        points = dict.fromkeys((answer.candidate for answer in self.answers), 0.0)
        for comparison in self.comparisons:
            points[comparison.winner] += 0.5 if comparison.tie else 1.0
            points[comparison.loser] += 0.5 if comparison.tie else 0.0
        return max(self.answers, key=lambda answer: (points[answer.candidate], answer.candidate == self.decision.candidate))

    @property
    def cost_usd(self) -> float:
        """The known cost of all answers and of judging, in USD."""
        return known_sum((*(answer.cost_usd for answer in (*self.answers, *self.failed)), self.judging_usd))


def calls_by_endpoint(models: ModelCaller) -> CallModel:
    """Return a function that calls a candidate with messages; parameters, headers and time limits are the endpoint's."""

    async def call(candidate: Candidate, messages: Sequence[Message]) -> AgentOutput:
        answer = await models.complete(candidate, messages)
        return AgentOutput(answer.text, cost=answer.cost_usd)

    return call


def checked_output(output: object) -> AgentOutput:
    """Return the result of a call to a model, if it is valid; the cost of a model without prices, which a role marks as unknown, is NaN.

    Raises:
        TypeError: It is not an :class:`aamc_sdk.interfaces.AgentOutput`, or its content is not a text.
        ValueError: Its cost is invalid.
    """
    if not isinstance(output, AgentOutput) or not isinstance(output.content, str):
        raise TypeError(f"a call must return an AgentOutput with a text, not {output!r:.80}")
    check_cost(output.cost)
    return attrs.evolve(output, cost=math.nan) if output.metadata.get("cost_known") is False else output


def check_cost(cost: object) -> None:
    """Check the cost of a call; NaN stands for an unknown cost.

    Raises:
        ValueError: The cost is not a number of at least 0.
    """
    if isinstance(cost, bool) or not isinstance(cost, int | float) or cost < 0 or math.isinf(cost):
        raise ValueError(f"a cost must be USD of at least 0, or NaN where it is unknown, not {cost!r}")


def known_sum(costs: Iterable[float]) -> float:
    """Return the sum of the known costs."""
    return math.fsum(cost for cost in costs if not math.isnan(cost))


def draw_entrants(record: Record, count: int | None, seed: int) -> list[str]:
    """Return the candidates of a match: the router's choice, then others drawn by its probabilities, without replacement.

    Args:
        record: The decision; masked candidates are not drawn.
        count: The maximum number of candidates; None takes all.
        seed: The seed of the draws, together with the decision's id.
    """
    decision = record.decision
    left = [name for name in record.candidates if name not in record.masked_why and name != decision.candidate]
    entrants = [decision.candidate]
    while left and (count is None or len(entrants) < count):
        weights = [decision.probabilities.get(name, 0.0) for name in left]
        if not any(weights):  # the router gives them no probability or does not draw
            weights = [1.0] * len(left)
        maximum = max(weights)  # which may be subnormal: the product below would then round up to the sum
        cumulative = list(itertools.accumulate(weight / maximum for weight in weights))
        number = cumulative[-1] * uniform(seed, f"{decision.id}/arena/{len(entrants)}")  # less than the sum, so none without weight is drawn
        entrants.append(left.pop(bisect_right(cumulative, number)))
    return entrants


def shown_position(decision_id: str, candidate: str, seed: int) -> float:
    """Return the position of a candidate's answer among those of a match, in [0, 1): random, but always the same."""
    return uniform(seed, f"{decision_id}/shown/{candidate}")


def vote_feedback(decision_id: str, best: str, others: Sequence[str], *, tie: bool, source: str) -> list[Feedback]:
    """Return a vote as comparisons of the best answer with each other one; in a tie any answer is the best.

    Their ids hold a number and no candidate, so the log refuses the first comparison of any other vote of that source. A vote that is
    repeated must therefore name the candidates in the same order.

    Args:
        decision_id: The decision of the match.
        best: The candidate with the best answer.
        others: The other candidates shown, at least one; their comparisons have a total weight of 1.
        tie: Whether all answers were equally good.
        source: The voter.
    """
    comparisons = {str(n): AnswerComparison(best, other, tie) for n, other in enumerate(others, 1)}
    return comparison_feedback(decision_id, comparisons, weight=1 / len(others), source=source)


def comparison_feedback(decision_id: str, comparisons: Mapping[str, AnswerComparison], *, weight: float, source: str) -> list[Feedback]:
    """Return comparisons of answers as feedback; the ids consist of the decision, the source and the comparisons' keys."""
    return [
        Feedback(
            decision_id=decision_id,
            id=f"{decision_id}/{source}/{key}",
            candidate=comparison.winner,
            over=comparison.loser,
            tie=comparison.tie,
            weight=weight,
            source=source,
        )
        for key, comparison in comparisons.items()
    ]
