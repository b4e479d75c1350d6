"""Rewards of episodes, in three modes.

With R_format = 0 if the episode is well formed and -1 if not, R_outcome in [0, 1], and R_cost in [0, 1] where cheap is 1:

- ``paper`` (arXiv 2506.09033): R = R_format + (1 - alpha) R_outcome + alpha R_cost.
- ``released`` (https://github.com/ulab-uiuc/Router-R1): as ``paper``, but a wrong answer gets 0, however cheap it was.
- ``vsr`` (vLLM Semantic Router): as ``paper``, with R_cost = max(0, 1 - sum of model size x output tokens / scale).

In each of them a malformed episode gets R_format alone: the other terms count as 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from aamc_router_r1.reward.answers import Verifier, each_gold, exact_match
from aamc_router_r1.reward.normalizer import CostNormalizer
from aamc_sdk.errors import DataError

PAPER, RELEASED, VSR = "paper", "released", "vsr"
MODES = (PAPER, RELEASED, VSR)
FORMAT_PENALTY = -1.0
VSR_SCALE = 10.0
"""The cost that gets R_cost 0 in mode ``vsr``, as in vLLM Semantic Router."""


@attrs.frozen
class RewardParts:
    """The reward of an episode and its terms.

    Attributes:
        format: R_format.
        outcome: R_outcome, as it was judged; it counts only in a well-formed episode.
        cost: R_cost; likewise.
        total: R.
    """

    format: float
    outcome: float
    cost: float
    total: float


def combine(mode: str, malformed: bool, outcome: float, cost: float, alpha: float, format_penalty: float) -> RewardParts:
    """Return the reward with these terms.

    Args:
        mode: One of ``MODES``.
        malformed: Whether the episode is malformed.
        outcome: R_outcome.
        cost: R_cost.
        alpha: Weight of the cost, from 0 to 1.
        format_penalty: R_format of a malformed episode.
    """
    if malformed:
        return RewardParts(format_penalty, outcome, cost, format_penalty)
    if mode == RELEASED and outcome == 0:
        return RewardParts(0.0, outcome, cost, 0.0)
    return RewardParts(0.0, outcome, cost, (1 - alpha) * outcome + alpha * cost)


def size_cost(size_tokens: float, scale: float = VSR_SCALE) -> float:
    """Return R_cost of mode ``vsr``.

    Args:
        size_tokens: The sum over calls of model size times output tokens.
        scale: The sum that gets 0.
    """
    return max(0.0, 1 - size_tokens / scale)


@attrs.define(kw_only=True)
class RewardRule:
    """Rewards episodes.

    Attributes:
        mode: One of ``MODES``.
        alpha: Weight of the cost, from 0 to 1.
        outcome: Judges answers.
        format_penalty: R_format of a malformed episode.
        normalizer: The scale of costs in modes ``paper`` and ``released``.
        vsr_scale: The sum of model size times output tokens that gets R_cost 0 in mode ``vsr``.
    """

    mode: str = attrs.field(default=PAPER, validator=attrs.validators.in_(MODES))
    alpha: float = 0.0
    outcome: Verifier = exact_match
    format_penalty: float = FORMAT_PENALTY
    normalizer: CostNormalizer = attrs.field(factory=CostNormalizer)
    vsr_scale: float = VSR_SCALE

    def score(self, answer: str | None, golds: Sequence[str], cost_usd: float, *, malformed: bool, size_tokens: float = math.nan) -> RewardParts:
        """Return the reward of an episode.

        Args:
            answer: The answer; None without one.
            golds: The gold answers.
            cost_usd: Cost of the episode in USD; NaN if unknown.
            malformed: Whether it is malformed, see :func:`aamc_router_r1.protocol.format_errors`.
            size_tokens: The sum over calls of model size times output tokens, for mode ``vsr``.

        Raises:
            DataError: There is no gold answer, or the verifier's outcome is not in [0, 1].
        """
        golds = each_gold(golds)
        if not golds:
            raise DataError("an episode cannot be rewarded without a gold answer; leave the question out, or add its ground truth")
        outcome = 0.0 if answer is None else float(self.outcome(answer, golds))
        if not 0 <= outcome <= 1:
            raise DataError(f"the verifier must return an outcome in [0, 1], not {outcome!r}")
        cost = size_cost(size_tokens, self.vsr_scale) if self.mode == VSR else self.normalizer(cost_usd)
        return combine(self.mode, malformed, outcome, cost, self.alpha, self.format_penalty)
