r"""REINFORCE with a learned baseline (Williams 1992; Sutton et al. 1999), as the paper uses it (arXiv:2505.19591).

N episodes. Action t of episode n was drawn from the policy; its return is G by equation (4) of
:mod:`aamc_puppeteer.episodes.rewards`. Returns are divided by sigma, their running root mean square, so that options do not
depend on the unit of the rewards.

.. math::
    A_{nt} &= G_{nt} / \sigma - V(s_{nt})                                                               & (9) \\
    L^\pi &= -\tfrac1N \textstyle\sum_n \sum_t \gamma^{t - 1} A_{nt} \log \pi(a_{nt} \mid s_{nt})       & (10) \\
    L^V &= \text{mean of } (V(s_{nt}) - G_{nt} / \sigma)^2                                              & (11) \\
    L &= L^\pi - \tfrac{\beta}{N} \textstyle\sum_n \sum_t H(\pi(\cdot \mid s_{nt})) + \tfrac12 L^V       & (12)

The gradient of (10) is an unbiased estimate of the gradient of the expected discounted reward, divided by sigma: the baseline
V depends on the state alone, and the factor gamma^(t-1), which is often left out, is part of the gradient.

**Truncation.** If the steps run out, no decision to stop was drawn: the sum over t ends with the last action. The current
answer is judged like any other. The number of steps left is part of the state, so the limit belongs to the task and nothing
is bootstrapped (Pardo et al. 2018, arXiv:1712.00378).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aamc_puppeteer.config import PuppeteerConfig
from aamc_puppeteer.episodes.player import ActionBatch
from aamc_puppeteer.policy.encoder import StateFeatures
from aamc_puppeteer.policy.network import Policy, entropy
from aamc_puppeteer.policy.visibility import Visibility
from aamc_sdk.errors import CheckpointError, ConfigError
from aamc_sdk.routing import Array32
from aamc_sdk.types import Floats

_DECAY = 0.95
"""Decay of the running mean square of returns."""
_MIN_DEVIATION = 1e-3


def policy_loss(log_probability: Tensor, advantage: Tensor, weight: Tensor, episodes: int) -> Tensor:
    """Return equation (10) for K actions, with the power of gamma as their weight; N ``episodes`` include those without an action."""
    return -(weight * advantage * log_probability).sum() / episodes


class ReinforceLearner:
    """Trains a policy in place, for agents with these features of descriptions and names, ``[M, *]`` each."""

    def __init__(self, config: PuppeteerConfig, policy: Policy, description: Array32, name: Array32) -> None:
        self._config = config
        self.policy = policy
        self._description = torch.as_tensor(description)
        self._name = torch.as_tensor(name)
        self._deviation = 0.0
        self._optimiser = torch.optim.Adam(policy.parameters(), lr=config.learning_rate)

    def log_probabilities(self, features: StateFeatures, visibility: Visibility) -> Tensor:
        """Return the policy's log probabilities, ``[B, M + 1]``."""
        state, pair = torch.as_tensor(features.state), torch.as_tensor(features.pair)
        described, present = torch.as_tensor(visibility.described), torch.as_tensor(visibility.present)
        log_p: Tensor = self.policy(state, pair, self._description, self._name, described, present)
        return log_p

    def probabilities(self, features: StateFeatures, visibility: Visibility) -> Array32:
        """Return the policy's probabilities, ``[B, M + 1]``, without gradients."""
        with torch.no_grad():
            return np.asarray(self.log_probabilities(features, visibility).exp().numpy())

    def update(self, batch: ActionBatch, remaining: float) -> dict[str, float]:
        """Take one gradient step by (12).

        Args:
            batch: Actions of the present policy.
            remaining: Falls from 1 to 0 over the training. The entropy's weight is its cube, so that the policy explores
                long and is nearly deterministic at the end; the step size falls to a tenth in the last third. It is 0 for logged
                episodes, in which the policy cannot explore.

        Raises:
            ConfigError: The gradient is not finite; the policy is unchanged then.
        """
        if not len(batch.action):
            return {}
        config = self._config
        for group in self._optimiser.param_groups:
            group["lr"] = config.learning_rate * min(1.0, 0.1 + 2.5 * remaining)
        deviation = running_deviation(self._deviation, batch.returns)
        loss, figures = self.loss(batch, deviation, config.entropy_bonus * remaining**3)
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        for parameters in (self.policy.actor(), list(self.policy.baseline.parameters())):
            norm = torch.nn.utils.clip_grad_norm_(parameters, config.gradient_clip)
            if not norm.isfinite():
                raise ConfigError("the policy's gradient is not finite; lower cost_weight, success_reward or learning_rate")
        self._optimiser.step()
        self._deviation = deviation
        return figures

    def loss(self, batch: ActionBatch, deviation: float, entropy_weight: float) -> tuple[Tensor, dict[str, float]]:
        """Return equation (12), and its parts."""
        target = torch.as_tensor(batch.returns / deviation, dtype=torch.float32)
        state, pair, present = (torch.as_tensor(part) for part in (batch.features.state, batch.features.pair, batch.visibility.present))
        value = self.policy.value(state, pair, present)
        log_p = self.log_probabilities(batch.features, batch.visibility)
        chosen = log_p.gather(1, torch.as_tensor(batch.action)[:, None])[:, 0]
        weight = torch.as_tensor(self._config.discount**batch.step, dtype=torch.float32)
        if batch.propensity is not None:
            weight = weight * (chosen.detach().exp() / torch.as_tensor(batch.propensity, dtype=torch.float32)).clamp(max=1.0)
        actor = policy_loss(chosen, (target - value).detach(), weight, batch.episodes)
        mean_entropy = entropy(log_p).sum() / batch.episodes
        critic = ((value - target) ** 2).mean()
        figures = {"policy_loss": float(actor.detach()), "value_loss": float(critic.detach()), "entropy": float(mean_entropy.detach())}
        return actor - entropy_weight * mean_entropy + 0.5 * critic, figures

    def state(self) -> dict[str, Any]:
        """Return the complete training state as arrays by name."""
        state: dict[str, Any] = {"deviation": np.array(self._deviation)}
        for name, parameter in self.policy.named_parameters():
            state[f"parameter/{name}"] = parameter.detach().numpy()
            state |= {f"adam/{name}/{moment}": kept.numpy() for moment, kept in self._optimiser.state[parameter].items()}
        return state

    def restore(self, state: Mapping[str, Any], where: object) -> None:
        """Restore a training state, the arrays from :meth:`state`; ``where`` is their file, for the error message."""
        try:
            self._deviation = float(state["deviation"])
            with torch.no_grad():
                for name, parameter in self.policy.named_parameters():
                    parameter.copy_(torch.as_tensor(state[f"parameter/{name}"]))
                    moments = {moment: f"adam/{name}/{moment}" for moment in ("step", "exp_avg", "exp_avg_sq")}
                    self._optimiser.state[parameter] = {
                        moment: torch.as_tensor(state[key]).clone() for moment, key in moments.items() if key in state
                    }
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(f"{where} does not fit these options ({error}); train again") from error


def running_deviation(before: float, returns: Sequence[float] | Floats) -> float:
    """Return sigma of (9) after another batch: the root of the running mean of squared returns."""
    now = float(np.sqrt(np.mean(np.square(returns))))
    kept = now if before == 0 else float(np.sqrt(_DECAY * before**2 + (1 - _DECAY) * now**2))
    return max(kept, _MIN_DEVIATION)
