r"""The rewards of an episode, by name.

An episode's actions are numbered t = 1 ... T; the decision to stop is one of them and costs nothing. c_t is the cost of
action t, lambda the weight of cost, and r the reward of success or failure, by the verifier's verdict on the last answer.
Gamma discounts later rewards: the return of action t is :math:`G_t = R_t + \gamma G_{t+1}` (4).

.. math::
    \text{step:}  \quad & R_T = r - \lambda c_T, && R_t = -\lambda c_t                                        & (1) \\
    \text{total:} \quad & R_T = r - \lambda \textstyle\sum_{t \le T} c_t, && R_t = -\lambda c_t               & (2) \\
    \text{log:}   \quad & R_T = r - \lambda C_T, && R_t = -\lambda C_t, \quad C_t = F \log(1 + t / \varphi)   & (3)

With (1) and gamma 1 an episode earns r - lambda C_total: each cost counts once. (2) charges the total at the end, so
earlier costs count twice. (3) is the paper's reward design (arXiv:2505.19591, section on adaptive evolution),
whose recursive form, R_t = gamma R_{t+1} - lambda C_t, is (3) put into (4): later steps cost more, for every agent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

REWARDS = ("step", "total", "log")


@attrs.frozen(kw_only=True)
class EpisodeReward:
    """The reward of an episode. The defaults suit costs in USD.

    Attributes:
        name: One of ``REWARDS``.
        success: r of a correct answer.
        failure: r of a wrong answer.
        cost_weight: Lambda.
        discount: Gamma.
        step_factor: F of (3).
        step_scale: Phi of (3), in steps.
    """

    name: str = "step"
    success: float = 1.0
    failure: float = 0.0
    cost_weight: float = 5.0
    discount: float = 0.99
    step_factor: float = 0.002
    step_scale: float = 8.0

    def outcome(self, correct: bool) -> float:
        """Return r."""
        return self.success if correct else self.failure

    def graded(self, quality: float) -> float:
        """Return r of an answer with a quality from 0 to 1."""
        return self.failure + quality * (self.success - self.failure)

    def rewards(self, costs: Sequence[float], outcome: float) -> tuple[float, ...]:
        """Return R_1 ... R_T, from c_1 ... c_T and r."""
        if not costs:
            return ()
        charged = [self.charge(step, cost) for step, cost in enumerate(costs, start=1)]
        if self.name == "total":
            charged[-1] = self.cost_weight * sum(costs)
        return (*(-charge for charge in charged[:-1]), outcome - charged[-1])

    def charge(self, step: int, cost: float) -> float:
        """Return the charge of action ``step``, from 1, before the episode's end: lambda c_t or lambda C_t."""
        if self.name == "log":
            cost = self.step_factor * math.log1p(step / self.step_scale)
        return self.cost_weight * cost


def discounted_returns(rewards: Sequence[float], discount: float) -> list[float]:
    """Return G_1 ... G_T by equation (4)."""
    returns: list[float] = []
    next_return = 0.0
    for reward in reversed(rewards):
        next_return = reward + discount * next_return
        returns.append(next_return)
    return returns[::-1]
