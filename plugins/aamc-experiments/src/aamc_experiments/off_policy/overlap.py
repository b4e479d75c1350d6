"""The overlap of a policy with the logged one: importance weights, effective sample sizes, and the refusal of logs with too little.

Paper: Kish 1965 (effective sample size).
"""

from __future__ import annotations

from functools import cached_property

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.messages import quantity
from aamc_sdk.types import Floats

MAX_UNSUPPORTED = 0.001
"""The maximum share of a policy's choices that the logged policy never makes; they may bias an estimate by as much."""
MIN_EFFECTIVE = 20.0
"""The minimum expected effective sample size; intervals of smaller ones are too wide to be of use."""


@attrs.frozen(eq=False, slots=False)
class Choices:
    """The choices of the logged policy and of another one, in n decisions among K candidates.

    Attributes:
        chosen: The position of the chosen candidate, ``[n]``.
        logged: The logged policy's probability of each candidate, ``[n, K]``.
        target: The other policy's probability of each candidate, ``[n, K]``.
    """

    chosen: NDArray[np.intp]
    logged: Floats
    target: Floats

    @cached_property
    def ratios(self) -> Floats:
        """The weight of each candidate if it is chosen, ``[n, K]``; NaN where it cannot be."""
        return np.asarray(np.divide(self.target, self.logged, out=np.full(self.logged.shape, np.nan), where=self.logged > 0))

    @cached_property
    def weights(self) -> Floats:
        """Each decision's importance weight, ``[n]``."""
        return np.asarray(self.ratios[np.arange(len(self.chosen)), self.chosen])

    @property
    def max_weight(self) -> float:
        """The maximum weight that any decision could have."""
        return float(np.nanmax(self.ratios))

    @property
    def effective(self) -> float:
        """Kish's effective sample size of the weights; 0 if all are 0."""
        squares = float(np.square(self.weights).sum())
        return float(self.weights.sum()) ** 2 / squares if squares > 0 else 0.0

    @property
    def expected_effective(self) -> float:
        """The effective sample size expected before the draws: n / mean of sum over a of pi^2 / mu.

        If the logged router learned, mu depends on earlier draws, and so does this.
        """
        mean_square = float(np.nansum(self.ratios * self.target, axis=1).mean())
        return len(self.chosen) / mean_square if mean_square > 0 else 0.0

    @property
    def unsupported(self) -> float:
        """The share of the other policy's choices that the logged policy never makes."""
        return float(self.target[self.logged <= 0].sum() / len(self.target))

    def take(self, rows: NDArray[np.bool_]) -> Choices:
        """Return some of the decisions."""
        return Choices(self.chosen[rows], self.logged[rows], self.target[rows])


def refusal(choices: Choices) -> str | None:
    """Return the reason that a log cannot evaluate the policy; None if it can.

    The criterion is the expected effective sample size, not the observed one: refusing logs whose draws happened to disagree
    would bias the estimates that are left.
    """
    if choices.unsupported > MAX_UNSUPPORTED:
        return (
            f"no overlap: {choices.unsupported:.1%} of its choices are candidates that the logged policy never takes there; "
            "log with a router that draws for each request, such as epsilon-greedy or a canary without by_user"
        )
    expected = choices.expected_effective
    if expected < MIN_EFFECTIVE or choices.effective == 0:
        logged = quantity(len(choices.chosen), "logged decision")
        return f"too little overlap: {logged}, but an effective sample size of {expected:.1f} instead of at least {MIN_EFFECTIVE:g}; log more"
    return None
