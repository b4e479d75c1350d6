"""Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347) of a vector reward.

The formulas first, as pure functions, then one update; their numbers go on after (4) in :mod:`aamc_ppo.policy`.
T steps, n streams, K = 3 objectives, B = T n decisions. Returns and values are kept per objective, and the preference
weighs advantages, not rewards: so one critic serves all preferences.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aamc_ppo.policy import embed_candidates, log_softmax, utility, values
from aamc_ppo.rollout import Rollout, View
from aamc_sdk.errors import CheckpointError
from aamc_sdk.routing import Array32
from aamc_sdk.types import Floats

if TYPE_CHECKING:
    from aamc_ppo.router import PPOConfig


def gae(rewards: Floats, values: Floats, following: Floats, cut: NDArray[np.bool_], gamma: float, gae_lambda: float) -> Array32:
    r"""Return generalised advantages of each objective, ``[T, n, K]`` (Schulman et al. 2016, arXiv:1506.02438).

    .. math::
        \delta_t &= r_t + \gamma V(s_{t+1}) - V(s_t)                                    & (5) \\
        A_t &= \delta_t + \gamma \lambda (1 - \text{cut}_t) A_{t+1}                     & (6)

    Streams are truncated, never terminated: what would come after a cut counts through its value alone.

    Args:
        rewards: ``[T, n, K]``.
        values: Of what was seen before each step, ``[T, n, K]``.
        following: Of what was seen, or would have been, after it, ``[T, n, K]``.
        cut: Whether a stream was cut off after the step, ``[T, n]``.
        gamma: Discount.
        gae_lambda: 0 trusts the critic, 1 the rewards.
    """
    delta = rewards + gamma * following - values
    goes_on = gamma * gae_lambda * ~cut[:, :, None]
    advantages = np.empty_like(delta)
    advantage = np.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        advantage = delta[t] + goes_on[t] * advantage
        advantages[t] = advantage
    return advantages


def clipped_surrogate(log_ratio: Tensor, advantage: Tensor, clip_epsilon: float) -> Tensor:
    r"""Return the policy's loss.

    .. math::
        L^\pi = -\tfrac1B \textstyle\sum_b \min(\rho_b A_b, \mathrm{clip}(\rho_b, 1 - \epsilon, 1 + \epsilon) A_b),
        \qquad \rho = \pi / \pi_\text{old} \qquad (8)
    """
    ratio = log_ratio.exp()
    return -torch.min(ratio * advantage, ratio.clip(1 - clip_epsilon, 1 + clip_epsilon) * advantage).mean()


def value_loss(value: Tensor, old_value: Tensor, target: Tensor, value_clip: float) -> Tensor:
    r"""Return the critic's loss, the sum over objectives, averaged over decisions; ``value_clip`` 0 does not clip.

    .. math::
        L^V &= \tfrac1{2B} \textstyle\sum_{b,k} \max\big((V - R)^2, (V_\text{near} - R)^2\big)          & (9) \\
        V_\text{near} &= V_\text{old} + \mathrm{clip}(V - V_\text{old}, -\epsilon_V, \epsilon_V)
    """
    squared = (value - target) ** 2
    if value_clip:
        clipped = old_value + (value - old_value).clip(-value_clip, value_clip)
        squared = torch.max(squared, (clipped - target) ** 2)
    return 0.5 * squared.sum(1).mean()


def entropy(log_probabilities: Tensor) -> Tensor:
    r"""Return the mean entropy of ``[B, M]`` log probabilities, in nats: :math:`H = -\sum_m \pi_m \log \pi_m` (10)."""
    return -(log_probabilities.exp() * log_probabilities).sum(1).mean()


def kl_from_old(log_ratio: Tensor) -> Tensor:
    r"""Return an unbiased estimate of KL(old, new) that is never negative: :math:`\overline{\rho - 1 - \log \rho}` (11).

    Schulman 2020, "Approximating KL divergence".
    """
    return (log_ratio.exp() - 1 - log_ratio).mean()


class Learner:
    """The parameters under training, and one PPO update.

    Args:
        config: The options.
        policy: Initial parameters of the policy.
        critic: Initial parameters of the critic.
        candidate: The candidates' features, ``[M, 39]``.
        device: Where to compute.
    """

    def __init__(
        self, config: PPOConfig, policy: Mapping[str, Array32], critic: Mapping[str, Array32], candidate: Array32, device: torch.device
    ) -> None:
        self._config = config
        self._device = device
        self._candidate = torch.as_tensor(candidate, device=device)
        self.parameters = {name: torch.tensor(array, device=device, requires_grad=True) for name, array in {**policy, **critic}.items()}
        self._policy_names = tuple(policy)
        self._kept: dict[str, Tensor] = {}
        self.optimiser = torch.optim.Adam(self.parameters.values(), lr=config.learning_rate, eps=1e-5)

    def policy(self) -> dict[str, Array32]:
        """Return the policy's present parameters, for numpy."""
        return {name: self.parameters[name].detach().cpu().numpy() for name in self._policy_names}

    def state(self) -> dict[str, Array32]:
        """Return parameters and Adam's moments, all that the next update depends on, as arrays by name."""
        state = {f"parameter/{name}": tensor.detach().cpu().numpy() for name, tensor in self.parameters.items()}
        for name, tensor in self.parameters.items():
            state |= {f"adam/{name}/{moment}": kept.cpu().numpy() for moment, kept in self.optimiser.state[tensor].items()}
        return state

    def restore(self, state: Mapping[str, Array32], path: Path) -> None:
        """Take over what :meth:`state` returned and ``path`` kept.

        Raises:
            CheckpointError: A part is missing or has another shape.
        """
        try:
            with torch.no_grad():
                for name, tensor in self.parameters.items():
                    tensor.copy_(torch.as_tensor(state[f"parameter/{name}"]))
                    moments = {moment: torch.as_tensor(state[f"adam/{name}/{moment}"]) for moment in ("step", "exp_avg", "exp_avg_sq")}
                    self.optimiser.state[tensor] = {key: kept if key == "step" else kept.to(self._device) for key, kept in moments.items()}
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(f"{path} is damaged ({error}); delete it and train again") from error

    def update(self, rollout: Rollout, learning_rate: float, rng: np.random.Generator) -> dict[str, float]:
        """Improve policy and critic on a rollout; return figures of the update."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        batch = self._batch(rollout)
        size = len(batch["action"])
        scale = 1.0
        if self._config.normalise_advantages:
            batch["advantage"] -= batch["advantage"].mean()
            scale = float(batch["advantage"].std()) + 1e-8
        order = torch.as_tensor(rng.permutation(size), device=self._device)
        shuffled = self._shuffled(batch, order)  # once: gathering rows anew each epoch takes as long as a forward pass
        starts = range(0, size, self._config.minibatch)
        minibatches = [{name: part[start : start + self._config.minibatch] for name, part in shuffled.items()} for start in starts]
        figures: list[dict[str, float]] = []
        for _ in range(self._config.epochs):
            figures += [self._step(minibatches[number], scale) for number in rng.permutation(len(minibatches))]
            if self._config.kl_stop and figures[-1]["kl"] > self._config.kl_stop:
                break
        means = {name: float(np.mean([figure[name] for figure in figures])) for name in figures[0]}
        return means | {"explained_variance": explained_variance(batch["value"], batch["target"])}

    def _shuffled(self, batch: Mapping[str, Tensor], order: Tensor) -> dict[str, Tensor]:
        """Return the rows in another order, in the memory of the last update: fresh memory costs more time than filling it."""
        for name in batch.keys() - self._kept.keys():
            self._kept[name] = torch.empty_like(batch[name])
        return {name: torch.index_select(part, 0, order, out=self._kept[name]) for name, part in batch.items()}

    @torch.no_grad()
    def _batch(self, rollout: Rollout) -> dict[str, Tensor]:
        """Return the decisions of a rollout as rows, with advantages and the critic's targets.

        The critic works in reward per step, so that its scale does not change with the discount:
        ``horizon`` = 1 / (1 - gamma) turns that into a return.
        """
        config = self._config
        horizon = 1 / (1 - config.gamma)
        view = rollout.view
        seen = self._values(view, rollout.pooled)
        value, following = seen[:-1], seen[1:].copy()
        for step, (end, pooled) in rollout.ends.items():
            following[step, rollout.cut[step]] = self._values(end, pooled)[rollout.cut[step]]
        advantage = gae(rollout.reward, horizon * value, horizon * following, rollout.cut, config.gamma, config.gae_lambda)
        scalar = (view.weights[:-1] * advantage).sum(axis=2)  # (7): the preference weighs the objectives' advantages
        now = slice(0, -1)
        masked = {} if view.mask[now].all() else {"mask": self._rows(view.mask[now])}  # looked at once, not in every step
        return masked | {
            "query": self._rows(view.query[now]),
            "weights": self._rows(view.weights[now]),
            "pair": self._rows(view.pair[now]),
            "pooled": self._rows(rollout.pooled[now]),
            "action": self._rows(rollout.action),
            "old_log_p": self._rows(rollout.log_probability),
            "advantage": self._rows(scalar),
            "value": self._rows(value),
            "target": self._rows(value + advantage / horizon),
        }

    def _values(self, view: View, pooled: Array32) -> Array32:
        """Return the critic's values ``[..., 3]`` of what was seen, each part ``[..., n, *]``."""
        arrays = (view.query, view.weights, pooled)
        query, weights, averages = (torch.as_tensor(array.reshape(-1, array.shape[-1]), device=self._device) for array in arrays)
        return np.asarray(values(self.parameters, query, weights, averages, torch).cpu().numpy().reshape(view.weights.shape))

    def _rows(self, array: NDArray[Any]) -> Tensor:
        """Return ``[T, n, ...]`` as ``[T n, ...]`` on the device."""
        return torch.as_tensor(array.reshape(-1, *array.shape[2:]), device=self._device)

    def _step(self, batch: Mapping[str, Tensor], scale: float) -> dict[str, float]:
        """Take one gradient step of ``L = (L_policy - c_e H) / scale + c_v L_value`` (12) on a minibatch.

        Normalisation divides by the advantages' ``scale`` what is in the unit of the reward: the entropy's bonus too.
        """
        config = self._config
        p = self.parameters
        embedded = embed_candidates(p, self._candidate, torch)
        logits = utility(p, batch["query"], batch["weights"], batch["pair"], embedded, torch, p["log_temperature"].exp())
        log_p = log_softmax(logits, batch.get("mask"), torch)
        log_ratio = log_p.gather(1, batch["action"][:, None])[:, 0] - batch["old_log_p"]
        policy_loss = clipped_surrogate(log_ratio, batch["advantage"], config.clip_epsilon)
        value = values(p, batch["query"], batch["weights"], batch["pooled"], torch)
        critic_loss = value_loss(value, batch["value"], batch["target"], config.value_clip)
        spread = entropy(log_p)
        loss = (policy_loss - config.entropy_bonus * spread) / scale + config.value_weight * critic_loss
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(p.values(), config.gradient_clip)
        self.optimiser.step()
        with torch.no_grad():
            return {
                "policy_loss": float(policy_loss),
                "value_loss": float(critic_loss),
                "entropy": float(spread),
                "kl": float(kl_from_old(log_ratio)),
                "clip_fraction": float(((log_ratio.exp() - 1).abs() > config.clip_epsilon).float().mean()),
            }


def explained_variance(value: Tensor, target: Tensor) -> float:
    """Return the share of the targets' variance that the critic foresaw, 1 at best; 0 where there is nothing to foresee."""
    variance = float(target.var(0).sum())
    return 1 - float((target - value).var(0).sum()) / variance if variance > 0 else 0.0
