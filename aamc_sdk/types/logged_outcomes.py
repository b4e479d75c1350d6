"""Logged outcomes: the results of each decision's chosen candidate, as arrays for off-policy use."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types.arithmetic import Floats


@attrs.frozen(eq=False)
class LoggedOutcomes:
    """The outcomes of N decisions, in log order; NaN where a number is unknown.

    All figures are those of the chosen candidate. After a fallback it has no cost or latency of a successful attempt.

    Attributes:
        decision_ids: The decisions' ids, N of them.
        candidates: The chosen candidates' names, N of them.
        propensity: Probability of each draw, ``[N]``; never use a decision where it is NaN off-policy.
        quality: Quality, from 0 to 1, ``[N]``: the mean of explicit feedback, or of implicit feedback if there is no other, by
            :attr:`Feedback.average_weight`. Without feedback, a failed attempt has the quality 0.
        cost_usd: Cost of the last successful attempt in USD, ``[N]``.
        latency_ms: Latency of the last successful attempt in milliseconds, ``[N]``.
        output_tokens: Output tokens of the last successful attempt, ``[N]``.
        judged: Whether feedback gives the quality, ``[N]``.
        failed: Whether attempts of the chosen candidate failed and none was successful, ``[N]``.
        fell_back: Whether another candidate than the chosen one served, ``[N]``.
        compared: Whether feedback compares candidates, ``[N]``.
    """

    decision_ids: Sequence[str]
    candidates: Sequence[str]
    propensity: Floats
    quality: Floats
    cost_usd: Floats
    latency_ms: Floats
    output_tokens: Floats
    judged: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    fell_back: NDArray[np.bool_]
    compared: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.decision_ids)
