"""REINFORCE (Williams 1992) with a running mean of the returns as baseline, on the puppeteer's loss and returns."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from aamc_puppeteer.doa.policy import PolicyNetwork
from aamc_puppeteer.doa.structs import EpisodeTrajectory, RewardConfig
from aamc_puppeteer.episodes.rewards import discounted_returns
from aamc_puppeteer.training.reinforce import policy_loss
from aamc_sdk.errors import DataError

MAX_GRADIENT_NORM = 1.0
DECAY = 0.8
"""Decay of the running mean and deviation with each batch."""
MIN_DEVIATION = 1e-3
"""Added to the deviation, so that nearly equal returns have small advantages."""


class REINFORCETrainer:
    r"""Increases the probability of choices with a return above the running mean.

    .. math:: L = -\frac{1}{N} \sum_{n,t} \log\pi(a_t|s_t) \frac{G_t - b}{\sigma}, \qquad G_t = \sum_{k \ge t} \gamma^{k-t} R_k

    b is the running mean of the returns before the batch. It does not depend on the batch's own choices; without it, returns that
    are all positive would make every choice more likely. sigma is the maximum of the batch's deviation from b and its running
    mean. Like the clipped gradient, it limits the effect of a return that is far from the others: with one episode a batch, a
    choice that rarely earns much can lose to one that always earns less. Give several episodes a batch.

    Args:
        policy_network: The policy; its gradient is clipped to norm 1.
        optimizer: Optimizer of its parameters.
        reward_config: Only its discount is used.
    """

    def __init__(self, policy_network: PolicyNetwork, optimizer: Optimizer, reward_config: RewardConfig) -> None:
        self.policy_network = policy_network
        self.optimizer = optimizer
        self.reward_config = reward_config
        self._baseline: float | None = None
        self._deviation = 0.0

    def train_batch(self, trajectories: Sequence[EpisodeTrajectory]) -> float:
        """Take one step of the optimizer and return the loss; 0 without a step in the trajectories.

        Raises:
            DataError: A reward is not finite; the policy is unchanged then.
        """
        log_probs = [step.log_prob for trajectory in trajectories for step in trajectory.steps]
        if not log_probs:
            return 0.0
        gamma = self.reward_config.gamma_discount_factor
        returns = [value for trajectory in trajectories for value in discounted_returns([step.reward for step in trajectory.steps], gamma)]
        advantages = torch.tensor(self._advantages(returns))
        loss = policy_loss(torch.stack(log_probs), advantages, torch.ones_like(advantages), len(trajectories))
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
        clip_grad_norm_(self.policy_network.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        return float(loss.detach())

    def _advantages(self, returns: Sequence[float]) -> list[float]:
        """Return the normalised difference of each return to the running mean, and update mean and deviation."""
        mean = sum(returns) / len(returns)
        if not math.isfinite(mean):
            raise DataError(f"a trajectory's rewards must be finite numbers, and these returns are not: {returns!r:.200}")
        baseline = mean if self._baseline is None else self._baseline
        deviation = math.sqrt(sum((value - baseline) ** 2 for value in returns) / len(returns))
        scale = max(deviation, self._deviation) + MIN_DEVIATION
        before = deviation if self._baseline is None else self._deviation
        self._baseline = DECAY * baseline + (1 - DECAY) * mean
        self._deviation = DECAY * before + (1 - DECAY) * deviation
        return [(value - baseline) / scale for value in returns]
