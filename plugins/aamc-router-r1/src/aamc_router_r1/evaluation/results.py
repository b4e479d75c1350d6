"""Results of systems on questions, with 95% intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from aamc_experiments.evaluation import Resampling, known_interval

from aamc_sdk.types import wilson_interval

RESAMPLES = 1000


@attrs.frozen(kw_only=True)
class AnsweredQuestion:
    """One system's answer to one question.

    Attributes:
        answer: The answer; None without.
        exact_match: 1 if it is right, else 0.
        f1: F1 of its words.
        cost_usd: Cost in USD; NaN if unknown.
        seconds: Time in seconds.
        tokens: Tokens of all calls.
        rounds: Routing rounds.
        consulted: The models that were called, in order; without the policy.
        malformed: Whether the episode breaks the protocol.
        outcome: Why it ended.
    """

    answer: str | None
    exact_match: float
    f1: float
    cost_usd: float
    seconds: float
    tokens: int
    rounds: int = 0
    consulted: Sequence[str] = ()
    malformed: bool = False
    outcome: str = "answered"


def summary(answers: Sequence[AnsweredQuestion], strongest: str, seed: int = 0) -> dict[str, Any]:
    """Return the figures of a system: means with 95% intervals, by Wilson for shares and by 1,000 bootstrap samples otherwise.

    Args:
        answers: One answer a question, at least one.
        strongest: The model whose share of the calls is reported.
        seed: Seed of the bootstrap.
    """
    columns = {
        "f1": [each.f1 for each in answers],
        "mean_cost_usd": [each.cost_usd for each in answers],
        "mean_seconds": [each.seconds for each in answers],
        "mean_tokens": [float(each.tokens) for each in answers],
        "mean_rounds": [float(each.rounds) for each in answers],
    }
    calls = [name for each in answers for name in each.consulted]
    counts = Counter(calls)
    shares = {
        "exact_match": (sum(each.exact_match for each in answers), len(answers)),
        "malformed_share": (sum(each.malformed for each in answers), len(answers)),
        "strongest_share": (counts[strongest], len(calls)),
    }
    figures: dict[str, Any] = {name: part / n if n else None for name, (part, n) in shares.items()}
    intervals: dict[str, Any] = {name: list(wilson_interval(part / n, n)) if n else None for name, (part, n) in shares.items()}
    for name, values in columns.items():
        figures[name], intervals[name] = _mean(values, seed)
    return {
        "n": len(answers),
        **figures,
        "calls_per_model": {name: count / len(answers) for name, count in sorted(counts.items())},
        "outcomes": dict(Counter(each.outcome for each in answers)),
        "unknown_costs": sum(math.isnan(each.cost_usd) for each in answers),
        "ci95": intervals,
    }


def _mean(values: Sequence[float], seed: int) -> tuple[float | None, list[float] | None]:
    """Return the mean of the known values and its bootstrap interval; None without any, and no interval of a single one."""
    known = np.array([value for value in values if not math.isnan(value)])
    if not len(known):
        return None, None
    return float(known.mean()), known_interval(Resampling.bootstrap(np.arange(len(known)), RESAMPLES, seed).means(known[:, None])[:, 0])
