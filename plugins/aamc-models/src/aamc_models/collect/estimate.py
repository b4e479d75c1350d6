"""The expected cost of a collection, before it starts."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from aamc_models.collect.collector import Collector
from aamc_models.collect.judges.model_judge import comparison
from aamc_models.collect.ledger import ANSWER, VERDICT, CallLedger
from aamc_models.collect.prompts import Prompt
from aamc_sdk.types import ModelSpec, Prices, estimated_tokens

TYPICAL_TOKENS = {ANSWER: 256, VERDICT: 100}
"""The tokens of an answer, and of a verdict in at most three sentences, as long as none of that model was seen."""


@attrs.frozen(kw_only=True)
class CollectionEstimate:
    """The remaining work of a collection.

    Attributes:
        answers: Answers to ask for.
        known: Answers that the ledger has.
        verdicts: Maximum number of verdicts to ask the judge's model for.
        answers_usd: Expected cost of the answers.
        judge_usd: Expected cost of the verdicts.
        maximum_usd: Maximum cost of both.
        spent_usd: Cost of the ledger's calls.
    """

    answers: int
    known: int
    verdicts: int
    answers_usd: float
    judge_usd: float
    maximum_usd: float
    spent_usd: float


async def estimate(collector: Collector, prompts: Sequence[Prompt]) -> CollectionEstimate:
    """Return the estimate.

    Prompts count a token for 4 bytes of UTF-8; answers and verdicts their model's mean so far, 256 and 100 tokens without one,
    and at most their limit.
    """
    plan, means = collector.plan, _mean_tokens(collector.ledger)

    def tokens(kind: str, candidate: ModelSpec) -> float:
        return min(means.get((kind, candidate.name), TYPICAL_TOKENS[kind]), plan.output_limit(kind, candidate))

    expected = {candidate.name: tokens(ANSWER, candidate) for candidate in plan.candidates}
    compared = int(2 * sum(expected.values()) / len(expected))
    answers = verdicts = 0
    answers_usd = judge_usd = maximum = 0.0
    for prompt in prompts:
        known = collector.known(prompt)
        missing = [candidate for candidate in plan.candidates if candidate.name not in known]
        answers += len(missing)
        for candidate in missing:
            answers_usd += expected_usd(candidate.prices, estimated_tokens(prompt.text), expected[candidate.name])
        if plan.judge_model is not None:
            calls = plan.judge.calls(prompt, plan.pool.names) if missing else len(await collector.missing_verdicts(prompt, known))
            size = estimated_tokens(comparison(prompt, "", "")) + compared
            verdicts += calls
            judge_usd += calls * expected_usd(plan.judge_model.prices, size, tokens(VERDICT, plan.judge_model))
        maximum += await collector.row_maximum_usd(prompt)
    return CollectionEstimate(
        answers=answers,
        known=len(prompts) * len(plan.candidates) - answers,
        verdicts=verdicts,
        answers_usd=answers_usd,
        judge_usd=judge_usd,
        maximum_usd=maximum,
        spent_usd=collector.budget.spent_usd,
    )


def expected_usd(prices: Prices | None, prompt_tokens: int, output_tokens: float) -> float:
    """Return the expected cost of a call; 0 if prices are unknown."""
    return 0.0 if prices is None else prices.cost_usd(prompt_tokens, output_tokens)


def _mean_tokens(ledger: CallLedger) -> dict[tuple[str, str], float]:
    """Return the mean tokens of what each model wrote, by kind and candidate."""
    counts: dict[tuple[str, str], list[int]] = {}
    for entry in ledger.entries:
        if entry.status == "ok" and entry.output_tokens is not None:
            counts.setdefault((entry.kind, entry.candidate), []).append(entry.output_tokens)
    return {key: sum(found) / len(found) for key, found in counts.items()}
