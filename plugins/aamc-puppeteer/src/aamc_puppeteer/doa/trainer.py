"""REINFORCE (Williams 1992), with a running mean of the returns as baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from aamc_puppeteer.doa.policy import PolicyNetwork
from aamc_puppeteer.doa.structs import EpisodeTrajectory, RewardConfig
from aamc_puppeteer.episodes.rewards import discounted_returns
from aamc_sdk.errors import DataError

MAX_GRADIENT_NORM = 1.0
MEMORY = 0.8
"""What of the running mean and deviation stays after each batch."""
LEAST_DEVIATION = 1e-3
"""Returns that differ by less are as good as equal."""


class REINFORCETrainer:
    r"""Makes choices that were followed by more than the usual return more likely.

    .. math:: L = -\frac{1}{N} \sum_{n,t} \log\pi(a_t|s_t) \frac{G_t - b}{\sigma}, \qquad G_t = \sum_{k \ge t} \gamma^{k-t} R_k

    b is a running mean of the returns up to the batch before. It does not depend on the batch's own choices, so the direction
    of the gradient stays right, even with one episode a batch; without it, returns that are all positive would make every
    choice more likely, the good and the bad. sigma is the batch's deviation from b or its running mean, whichever is greater.

    Args:
        policy_network: What is trained; its gradients are clipped to length 1.
        optimizer: Steps over its parameters.
        reward_config: Its discount is what counts here.
    """

    def __init__(self, policy_network: PolicyNetwork, optimizer: Optimizer, reward_config: RewardConfig) -> None:
        self.policy_network = policy_network
        self.optimizer = optimizer
        self.reward_config = reward_config
        self._baseline: float | None = None
        self._deviation = 0.0

    def train_batch(self, trajectories: Sequence[EpisodeTrajectory]) -> float:
        """Take one step of the optimizer; return the loss, 0 where there is nothing to learn from.

        Raises:
            DataError: A reward is not finite; nothing was learned then.
        """
        log_probs = [step.log_prob for trajectory in trajectories for step in trajectory.steps]
        if not log_probs:
            return 0.0
        gamma = self.reward_config.gamma_discount_factor
        returns = [value for trajectory in trajectories for value in discounted_returns([step.reward for step in trajectory.steps], gamma)]
        advantages = torch.tensor(self._advantages(returns))
        loss = -(torch.stack(log_probs) * advantages).sum() / len(trajectories)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
        clip_grad_norm_(self.policy_network.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        return float(loss.detach())

    def _advantages(self, returns: Sequence[float]) -> list[float]:
        """Return how much better than usual each return is, and remember what is usual."""
        mean = sum(returns) / len(returns)
        if not math.isfinite(mean):
            raise DataError(f"a trajectory's rewards must be finite numbers, and these returns are not: {returns!r:.200}")
        baseline = mean if self._baseline is None else self._baseline
        deviation = math.sqrt(sum((value - baseline) ** 2 for value in returns) / len(returns))
        scale = max(deviation, self._deviation) + LEAST_DEVIATION
        usual = deviation if self._baseline is None else self._deviation
        self._baseline = MEMORY * baseline + (1 - MEMORY) * mean
        self._deviation = MEMORY * usual + (1 - MEMORY) * deviation
        return [(value - baseline) / scale for value in returns]
