"""Logged outcomes: the results of each decision's chosen candidate, as arrays for off-policy use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import DataError
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
        names: Candidate names of the ``[N, K]`` columns.
        category_names: The categories of all estimates, C of them.
        pools: The different lists of candidates that the decisions had.
        pool: For each decision, the place of its list in ``pools``, ``[N]``.
        columns: The columns that were asked for, by name, see :data:`aamc_sdk.log.OUTCOME_COLUMNS`.
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
    names: tuple[str, ...] = ()
    category_names: tuple[str, ...] = ()
    pools: Sequence[tuple[str, ...]] = ()
    pool: NDArray[np.intp] = attrs.field(factory=lambda: np.zeros(0, np.intp))
    columns: Mapping[str, Any] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self.decision_ids)

    def __getitem__(self, name: str) -> Any:
        """Return a column that was asked for.

        Raises:
            DataError: It was not asked for.
        """
        if name not in self.columns:
            raise DataError(f"the column {name!r} was not asked for: outcomes(columns=({name!r}, ...))")
        return self.columns[name]
