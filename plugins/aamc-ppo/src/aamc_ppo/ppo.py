"""Router ``ppo`` from top to bottom: options, policy and critic, advantages and losses, update, training loop.

Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347) of the reward that each stream's preference makes of the objectives. The
policy is linear in the preference's weights, and the critic reads them, so one of each serves all preferences. docs/reference/ppo.md numbers the
equations.

Shapes: B decisions, M candidates, Q query features, E embedding width, F = 7 pair features, K = 3 objectives, T steps of n streams in groups of G.
Formulas take numpy arrays (rollouts, decisions) or torch tensors (updates); ``xp`` is the module of their arrays. torch is imported where a
training begins, so options and decisions load without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_ppo.initial_parameters import deviation, initial_critic, initial_policy, initial_quality, initial_scales, trained_outputs
from aamc_ppo.rollout import OBJECTIVES, PAIR_WIDTH, PREFERENCE_SAMPLING, PolicyFunction, PolicyInputs, Rollout, groups_meet, play
from aamc_sdk import Preference, option
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Reward, RoutingStreams
from aamc_sdk.routing import Array32
from aamc_sdk.types import Floats

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# ---------------------------------------------------------------- options

MAX_GAMMA = 0.9999
"""Maximum discount; without groups the critic starts at the mean reward / (1 - gamma), so 1 is impossible."""
HORIZON = 500
"""Minimum number of steps that a training looks ahead by default."""
MAX_TARGET = 4.0
"""Standard deviation of the critic's targets, in its unit of values, above which the unit grows."""


@attrs.frozen(kw_only=True)
class PPOConfig:
    """Options of router ``ppo``; a step is one decision."""

    total_timesteps: int = option(4_000_000, "Training decisions, rounded up to whole rollouts.", at_least=1)
    n_streams: int = option(64, "Environment streams played in parallel.", at_least=1)
    group_size: int = option(
        4, "Streams that share preference and queries, so only their differences count; divides n_streams and minibatch; 1: no groups.", at_least=1
    )
    n_steps: int = option(8192, "Decisions per rollout over all streams; a multiple of n_streams.", at_least=2)
    validation_steps: int = option(131_072, "Decisions per trust factor, half warm-up; more if resources recover slowly; 0: full trust.", at_least=0)
    epochs: int = option(3, "Passes over each rollout.", at_least=1)
    minibatch: int = option(2048, "Decisions per gradient step.", at_least=1)
    learning_rate: float = option(2e-3, "Initial step size of Adam.", above=0)
    learning_rate_schedule: str = option("linear", "linear: the step size falls to 0; constant.", choices=("linear", "constant"))
    gamma: float | None = option(
        None,
        "Discount per step; 0: only a decision's own reward counts; none: 0.998, or more if a shared resource recovers slowly or resets.",
        at_least=0,
        at_most=MAX_GAMMA,
    )
    gae_lambda: float = option(1.0, "Advantage estimation; 0: by the critic, 1: by the rewards.", at_least=0, at_most=1)
    clip_epsilon: float = option(0.2, "Clip range of the probability ratio around 1.", above=0)
    value_clip: float = option(0.0, "Clip range of a value's change per update, in standard deviations of its first targets; 0: none.", at_least=0)
    value_weight: float = option(0.5, "Weight of the critic's loss.", at_least=0)
    entropy_bonus: float = option(0.025, "Initial entropy weight, in reward per nat; 1 / temperature preserves a correct plug-in rule.", at_least=0)
    kl_limit: float = option(0.05, "KL divergence above which the policy's step is undone, in nats; falls with the step size; 0: none.", at_least=0)
    normalise_advantages: bool = option(True, "Scale each rollout's advantages to mean 0 and standard deviation 1.")
    gradient_clip: float = option(0.5, "Maximum norm of the policy's and of the critic's gradient.", above=0)
    preference_sampling: str = option("mixed", "Distribution of the streams' preferences.", choices=PREFERENCE_SAMPLING)
    preference: str = option("0.9,0.08,0.02", "Weights (quality, cost, latency) under preference_sampling fixed.")
    hidden: int = option(64, "Width of the hidden layers.", at_least=1)
    embedding: int = option(16, "Width of a candidate's embedding.", at_least=1)
    temperature: float = option(40.0, "Initial factor from utility to log probability, in nats per unit of reward.", above=0)
    checkpoint_every: int = option(100_000, "Decisions between checkpoints; each draws new streams and preferences.", at_least=1)
    sample: bool = option(False, "Draw decisions from the policy instead of taking the candidate with maximum utility.")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"total_timesteps": 1_200_000},
        "full": {},
        "paper": {
            "total_timesteps": 1_000_000,
            "n_streams": 32,
            "n_steps": 2048,
            "minibatch": 512,
            "epochs": 4,
            "learning_rate": 5e-4,
            "gamma": 0.99,
            "gae_lambda": 0.95,
            "entropy_bonus": 0.05,
            "temperature": 20.0,
            "checkpoint_every": 20_480,
        },
    }

    def __attrs_post_init__(self) -> None:
        for name, of in (("n_steps", "n_streams"), ("n_streams", "group_size"), ("minibatch", "group_size")):
            multiple, base = getattr(self, name), getattr(self, of)
            if multiple % base:
                raise ConfigError(f"{name} must be a multiple of {of} ({base}), not {multiple}; change one of them")
        if self.kl_limit and self.epochs * -(-self.n_steps // self.minibatch) < 2:
            steps = f"and epochs {self.epochs} with minibatch {self.minibatch} of n_steps {self.n_steps} make one"
            raise ConfigError(f"kl_limit {self.kl_limit:g} needs two gradient steps per rollout, {steps}; change one of them, or set it to 0")
        Preference.parse(self.preference)

    @property
    def rollouts(self) -> int:
        """Rollouts of the whole training."""
        return -(-self.total_timesteps // self.n_steps)

    @property
    def rollouts_per_segment(self) -> int:
        """Rollouts between two checkpoints, at least 1."""
        return max(1, self.checkpoint_every // self.n_steps)

    def discount(self, recovery: float = 0.0, *, resets: bool = False) -> float:
        """Return gamma; by default the one that looks ``HORIZON`` steps ahead, or ``recovery`` if that is more; the maximum where a resource resets.

        Effects of decisions end at a reset, so they need no discount, which would make early decisions spend too much.
        """
        if self.gamma is not None:
            return self.gamma
        return MAX_GAMMA if resets else min(1 - 1 / max(HORIZON, recovery), MAX_GAMMA)


# ---------------------------------------------------------------- policy and critic

Parameters = Mapping[str, Any]


def embed_candidates(p: Parameters, candidates: Any, xp: Any = np) -> Any:
    """Return the embeddings c_m = tower_c(candidate_m) (1), ``[M, E]``, of candidate features ``[M, 39]``."""
    return _product(xp.tanh(_product(candidates, p["candidate_w1"]) + p["candidate_b1"]), p["candidate_w2"]) + p["candidate_b2"]


def utility(p: Parameters, query: Any, weights: Any, pair: Any, embedded: Any, xp: Any = np, tau: Any = None) -> Any:
    """Return the utilities ``[B, M]``, in the unit of the reward; times ``tau`` = exp(log_temperature) they are the policy's logits.

        V_k(b, m) = <q_bk, c_m> + <a_bk, pair_bm>       (3)
        U(b, m)   = sum_k w_bk V_k(b, m)                (4)

    The sum over objectives is taken before that over features, so a candidate costs E + F multiplications whatever K is.

    ``query`` is ``[B, Q]``, ``weights`` of the objectives ``[B, K]``, ``embedded`` (1) ``[M, E]``, and ``pair`` ``[B, F, M]``: with features before
    candidates, sums over features run along rows of memory.
    """
    factors = combined_factors(p, query, weights, xp)
    if tau is not None:
        factors = tau * factors
    width = embedded.shape[1]
    return _product(factors[:, :width], embedded.T) + _row_products(factors[:, width:], pair)


def combined_factors(p: Parameters, query: Any, weights: Any, xp: Any = np) -> Any:
    """Return the query's factors, combined by the preference: sum_k w_k (q_k, a_k), ``[B, E + F]``.

    (q_bk, a_bk) = tower_q(query_b)_k       (2)
    """
    hidden = xp.tanh(_product(query, p["query_w1"]) + p["query_b1"])
    heads = _product(hidden, p["query_w2"]) + p["query_b2"]
    return _row_products(weights, heads.reshape(len(query), OBJECTIVES, heads.shape[1] // OBJECTIVES))


def _product(left: Any, right: Any) -> Any:
    """Return the product with a matrix; numpy's ``dot`` takes half as long as ``@`` on small arrays."""
    return left.dot(right) if isinstance(left, np.ndarray) else left @ right


def _row_products(vectors: Any, matrices: Any) -> Any:
    """Return the product of each row's vector ``[B, K]`` and its matrix ``[B, K, N]``, ``[B, N]``."""
    if len(vectors) == 1:  # a request that is served alone
        return _product(vectors, matrices[0])
    with np.errstate(invalid="ignore"):  # OpenBLAS may raise it of finite numbers, for lanes that a narrow matrix leaves unused
        return (vectors[:, None, :] @ matrices)[:, 0, :]


def for_raw_queries(p: Parameters, scales: Mapping[str, Array32]) -> dict[str, Array32]:
    """Return the parameters of a policy for queries that are not standardised, from those of the training, for standardised ones."""
    query_w1 = p["query_w1"] / scales["query_deviation"][:, None]
    return {**p, "query_w1": query_w1, "query_b1": p["query_b1"] - scales["input_mean"][: len(query_w1)] @ query_w1}


def log_softmax(logits: Any, mask: Any | None, xp: Any = np) -> Any:
    """Return log pi(m | b), pi proportional to exp(tau U) over the allowed candidates (4), ``[B, M]``; at most -1e9 where masked."""
    if mask is not None and not mask.all():  # else two passes over all pairs, forward and back, would change nothing
        logits = xp.where(mask, logits, -1e9)
    if xp is not np:
        return xp.log_softmax(logits, 1)
    shifted = logits - xp.amax(logits, 1)[:, None]
    return shifted - xp.log(xp.exp(shifted).sum(1))[:, None]


def policy_function(p: Parameters, candidates: Array32, reward: Reward) -> PolicyFunction:
    """Return a policy as a function from observations to its inputs and log probabilities, for candidates ``[M, 39]``."""
    embedded, tau = embed_candidates(p, candidates), np.exp(p["log_temperature"])

    def policy(observations: Array32) -> tuple[PolicyInputs, Array32]:
        inputs = PolicyInputs.of(observations, len(candidates), reward)
        logits = utility(p, inputs.query, inputs.weights, inputs.pair, embedded, tau=tau)
        return inputs, log_softmax(logits, inputs.mask)

    return policy


def critic_inputs(query: Array32, weights: Array32, pooled: Array32) -> Array32:
    """Return what the critic reads, ``[B, Q + K + 2 F]``: the query, the weights, and ``pooled``.

    ``pooled`` ``[B, 2 F]`` holds the means of the pair features over candidates, weighted by the policy and unweighted: the former alone hide a
    backlog that the policy avoids. Their objectives are multiplied by the weights, so a stream that ignores long waits has inputs of the same size
    as any other.
    """
    means = pooled.reshape(*pooled.shape[:-1], 2, PAIR_WIDTH)
    weighted = np.concatenate((means[..., :OBJECTIVES] * weights[..., None, :], means[..., OBJECTIVES:]), axis=-1)
    return np.concatenate((query, weights, weighted.reshape(pooled.shape)), axis=-1)


def critic_values(p: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """Return the critic's standardised values network(inputs) (5), ``[B]``, of standardised inputs ``[B, Q + K + 2 F]``."""
    return (_critic_hidden(p, inputs) @ p["critic_w2"] + p["critic_b2"])[:, 0]


def learned_quality(p: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """Return the quality ``[B, M]`` that the critic expects of each candidate, from the same hidden layer."""
    return _critic_hidden(p, inputs) @ p["quality_w2"] + p["quality_b2"]


def _critic_hidden(p: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    return (inputs @ p["critic_w1"] + p["critic_b1"]).tanh()


# ---------------------------------------------------------------- advantages and losses


def gae(rewards: Floats, values: Floats, next_values: Floats, ended: NDArray[np.bool_], gamma: float, gae_lambda: float) -> Array32:
    """Return generalised advantages ``[T, n]`` (Schulman et al. 2016, arXiv:1506.02438).

        delta_t = r_t + gamma V(s_{t+1}) - V(s_t)                                   (6)
        A_t     = delta_t + gamma lambda (1 - ended_t) A_{t+1}                      (7)

    All figures are ``[T, n]``. Advantages end at a truncation, with the value of the final observation as V(s_{t+1}), and where :func:`groups_meet`.
    A ``gae_lambda`` of 0 trusts the critic, 1 the rewards.
    """
    delta = rewards + gamma * next_values - values
    decay = gamma * gae_lambda * ~ended
    advantages = np.empty_like(delta)
    advantage = np.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        advantage = delta[t] + decay[t] * advantage
        advantages[t] = advantage
    return advantages


def differences_in_groups(figures: Any, group_size: int) -> Any:
    """Return each stream's figure less the mean of the others of its group, ``[T, n]``: x_i - mean_{j != i} x_j (8). Streams alone keep theirs.

    The G streams of a group are adjacent and share preference, queries and random numbers, and differ in the draws of their policy. The advantages
    of the others do not depend on a stream's own action, so the gradient keeps its expectation (Kool et al. 2019, "Buy 4 REINFORCE Samples, Get a
    Baseline for Free!"; on equal inputs Mao et al. 2019, arXiv:1807.02264).
    """
    if group_size == 1:
        return figures
    own = figures.reshape(len(figures), -1, group_size)
    return ((own - own.mean(2, keepdims=True)) * (group_size / (group_size - 1))).reshape(figures.shape)


def clipped_surrogate(log_ratio: Tensor, advantage: Tensor, clip_epsilon: float) -> Tensor:
    """Return the policy's loss -mean(min(rho A, clip(rho, 1 - epsilon, 1 + epsilon) A)) with rho = pi / pi_old (9)."""
    ratio = log_ratio.exp()
    return -(ratio * advantage).minimum(ratio.clip(1 - clip_epsilon, 1 + clip_epsilon) * advantage).mean()


def value_loss(value: Tensor, old_value: Tensor, target: Tensor, value_clip: float) -> Tensor:
    """Return the critic's loss; a ``value_clip`` of 0 does not clip.

    1/2 mean(max((V - R)^2, (V_old + clip(V - V_old, -epsilon_V, epsilon_V) - R)^2))      (10)
    """
    squared = (value - target) ** 2
    if value_clip:
        clipped = old_value + (value - old_value).clip(-value_clip, value_clip)
        squared = squared.maximum((clipped - target) ** 2)
    return 0.5 * squared.mean()


def entropy(log_probabilities: Tensor) -> Tensor:
    """Return the mean entropy H = -mean(sum_m pi_m log pi_m) (11) of log probabilities ``[B, M]``, in nats."""
    return -(log_probabilities.exp() * log_probabilities).sum(1).mean()


def kl_from_old(log_ratio: Tensor) -> Tensor:
    """Return mean(rho - 1 - log rho) (12), an unbiased estimate of KL(old, new) that is never negative (Schulman 2020)."""
    return (log_ratio.exp() - 1 - log_ratio).mean()


def explained_variance(value: Tensor, target: Tensor) -> float:
    """Return the share of the targets' variance that the critic explains, at most 1; 0 for constant targets."""
    variance = float(target.var())
    return 1 - float((target - value).var()) / variance if variance > 0 else 0.0


# ---------------------------------------------------------------- update


class PPO:
    """Policy and critic under training, and the update on a rollout.

    Args:
        config: The options.
        categories: The number of query categories.
        candidates: The candidates' features, ``[M, 39]``.
        device: The device of updates.
        seed: The seed of the initial parameters.
        unknown_quality: The candidates whose expected quality is unknown, ``[M]``; none by default. The critic then
            learns it from rewards; streams alone keep .5, where the noise of other queries may outweigh the gain.
    """

    def __init__(
        self,
        config: PPOConfig,
        categories: int,
        candidates: Array32,
        device: torch.device,
        seed: int,
        unknown_quality: NDArray[np.bool_] | None = None,
    ) -> None:
        import torch

        self.config = config
        self.candidates = candidates
        self._tensor = partial(torch.as_tensor, device=device)
        rng = np.random.default_rng(seed)
        policy = initial_policy(config.hidden, config.embedding, config.temperature, categories, rng)
        critic = initial_critic(config.hidden, categories, rng)
        is_learned = unknown_quality is not None and unknown_quality.any() and config.group_size > 1
        self._unknown_quality = unknown_quality if is_learned else None
        if self._unknown_quality is not None:
            critic |= initial_quality(config.hidden, len(candidates))
        self.parameters = {name: self._tensor(array).requires_grad_() for name, array in {**policy, **critic}.items()}
        trained = self._tensor(trained_outputs(config.embedding))
        for name in ("query_w2", "query_b2"):
            self.parameters[name].register_hook(lambda gradient: gradient * trained)  # type: ignore[no-untyped-call]  # torch does not type it
        self._policy = {name: self.parameters[name] for name in policy}
        self._critic = {name: self.parameters[name] for name in critic}
        self.adam = torch.optim.Adam([{"params": [*self._policy.values()]}, {"params": [*self._critic.values()]}], lr=config.learning_rate, eps=1e-5)
        self.rate = 1.0
        self.scales: dict[str, Array32] = {}  # of inputs and values, from the first rollout; the unit of values may grow
        self._candidate_features = self._tensor(candidates)

    def policy(self) -> dict[str, Array32]:
        """Return the policy's present parameters as numpy arrays, for queries that are not standardised; updates may change them."""
        policy = {name: tensor.detach().cpu().numpy() for name, tensor in self._policy.items()}
        return for_raw_queries(policy, self.scales) if self.scales else policy

    def update(self, rollout: Rollout, remaining: float, rng: np.random.Generator) -> dict[str, float]:
        """Improve policy and critic on a rollout; return the means of the gradient steps' figures.

        If a step took the policy further than ``kl_limit`` from the policy that played, the next step undoes it. Policy updates then stop
        until the next rollout, at half the step size; after an update without such a step it grows by half, at most to ``learning_rate``.

        Args:
            rollout: What the policy played.
            remaining: Factor of step size and limit, which falls from 1 to 0 as the schedule says. When it is below one half, the entropy bonus
                falls with it: the critic then learns what later decisions cost in service, where the best candidate is taken.
            rng: The random generator of the order of minibatches.
        """
        config = self.config
        limit = config.kl_limit * remaining if config.kl_limit else math.inf
        entropy_bonus = config.entropy_bonus * min(1.0, 2 * remaining)
        for part, rate in zip(self.adam.param_groups, (self.rate, 1.0), strict=True):  # the policy's and the critic's
            part["lr"] = config.learning_rate * remaining * rate
        batch, scale = self._batch(rollout), 1.0
        if config.normalise_advantages:
            batch["advantage"] -= batch["advantage"].mean()
            scale = float(batch["advantage"].std()) + 1e-8
        order = self._tensor(rng.permutation(np.arange(len(batch["action"])).reshape(-1, config.group_size)).ravel())
        parts = [order[start : start + config.minibatch] for start in range(0, len(order), config.minibatch)]
        minibatches = [{name: array[rows] for name, array in batch.items()} for rows in parts]
        figures, learning = list[dict[str, float]](), True
        before: dict[str, Tensor] = {}
        for _ in range(config.epochs):
            for number in rng.permutation(len(minibatches)):
                step = self._gradient_step(minibatches[number], scale, entropy_bonus, limit, before if learning else None)
                learning = learning and step["kl"] <= limit
                figures.append(step)
        self.rate = float(np.float32(min(self.rate * 1.5, 1.0) if learning else self.rate / 2))  # 32 bits, as in checkpoints
        found = {"rate": self.rate, "explained_variance": explained_variance(batch["value"], batch["target"])}
        return {name: float(np.mean([figure[name] for figure in figures])) for name in figures[0]} | found

    def _batch(self, rollout: Rollout) -> dict[str, Tensor]:
        """Return the decisions of a rollout as rows ``[B, ...]``, those of a group's step together, with advantages and the critic's targets.

        Later steps count with their expected rewards, which vary less than the realised ones; the present step with its realised reward. Where
        expected quality is unknown, it is the critic's.
        """
        config, inputs = self.config, rollout.inputs
        weights, pooled = inputs.weights[:-1], rollout.pooled[:-1, :, :OBJECTIVES]
        read = critic_inputs(inputs.query, inputs.weights, rollout.pooled)
        is_first = not self.scales
        if is_first:
            value_mean = 0.0 if config.group_size > 1 else (weights * pooled).sum(axis=2).mean() / (1 - config.discount())
            self.scales = initial_scales(read, inputs.query.shape[-1], value_mean)
        read = self._standardised(read)
        if self._unknown_quality is not None:
            quality = self._mean_quality(rollout, read[:-1], self._unknown_quality)
            pooled = np.concatenate((quality[..., None], pooled[..., 1:]), axis=2)
        expected = (weights * pooled).sum(axis=2)
        values = self._values(read)
        value, next_value = values[:-1], values[1:].copy()
        for t, (final, final_pooled) in rollout.final.items():
            ends = self._values(self._standardised(critic_inputs(final.query, final.weights, final_pooled)[None]))[0]
            next_value[t, rollout.truncated[t]] = ends[rollout.truncated[t]]
        ended = rollout.truncated | groups_meet(rollout.same_state, config.group_size)
        advantage = gae(expected, value, next_value, ended, config.discount(), config.gae_lambda)
        target = differences_in_groups(value + advantage, config.group_size)
        if is_first:
            self.scales["value_deviation"] = deviation(target)
        elif target.std() > MAX_TARGET * self.scales["value_deviation"]:
            self._change_unit(deviation(target))
        advantage = differences_in_groups(advantage + (weights * (rollout.reward - pooled)).sum(axis=2), config.group_size)
        mean, unit = self.scales["value_mean"], self.scales["value_deviation"]
        arrays: dict[str, Any] = {
            "query": (inputs.query[:-1] - self.scales["input_mean"][: inputs.query.shape[-1]]) / self.scales["query_deviation"],
            "weights": weights,
            "pair": inputs.pair[:-1],
            "critic": read[:-1],
            "action": rollout.action,
            "old_log_p": rollout.log_probability,
            "advantage": advantage,
            "value": (differences_in_groups(value, config.group_size) - mean) / unit,
            "target": (target - mean) / unit,
        }
        if self._unknown_quality is not None:
            arrays["quality"] = rollout.reward[..., 0]
        if not inputs.mask[:-1].all():  # checked once, not in every gradient step
            arrays["mask"] = inputs.mask[:-1]
        return {name: self._tensor(array.reshape(-1, *array.shape[2:])) for name, array in arrays.items()}

    def _change_unit(self, unit: Array32) -> None:
        """Measure values in a larger unit, without changing them. Adam begins anew: it would follow the former, larger gradients for long."""
        for name in ("critic_w2", "critic_b2"):
            self._critic[name].detach().mul_(float(self.scales["value_deviation"] / unit))
        self.scales["value_deviation"] = unit
        for tensor in self._critic.values():
            self.adam.state.pop(tensor, None)

    def _values(self, read: Array32) -> Array32:
        """Return the critic's values ``[T, n]``, as returns, of its standardised inputs ``[T, n, ...]``."""
        values: Array32 = critic_values(self._critic, self._tensor(read.reshape(-1, read.shape[-1]))).detach().cpu().numpy()
        return values.reshape(read.shape[:2]) * self.scales["value_deviation"] + self.scales["value_mean"]

    def _mean_quality(self, rollout: Rollout, read: Array32, unknown: NDArray[np.bool_]) -> Array32:
        """Return the mean quality under the policy ``[T, n]``: that of candidates of unknown quality as the critic learned it."""
        learned = learned_quality(self._critic, self._tensor(read.reshape(-1, read.shape[-1]))).detach().cpu().numpy()
        quality = np.where(unknown, learned.reshape(rollout.probabilities.shape), rollout.inputs.pair[:-1, :, 0])
        mean: Array32 = (rollout.probabilities * quality).sum(axis=2)
        return mean

    def _standardised(self, read: Array32) -> Array32:
        return (read - self.scales["input_mean"]) / self.scales["input_deviation"]

    def _gradient_step(
        self, batch: Mapping[str, Tensor], scale: float, entropy_bonus: float, limit: float, before: dict[str, Tensor] | None
    ) -> dict[str, float]:
        """Take one step on a minibatch, and return its figures.

            L = (L_policy - c_e H) / sigma + c_v L_value        (13)

        Normalised advantages are divided by their standard deviation sigma (``scale``), and so is the entropy bonus, which is in the same unit.
        If the policy is already beyond ``limit``, its last step is undone instead: it goes back to ``before``, which is otherwise set to the
        policy before this step. None: the policy is not updated.
        """
        import torch

        config, p = self.config, self.parameters
        embedded = embed_candidates(p, self._candidate_features, torch)
        logits = utility(p, batch["query"], batch["weights"], batch["pair"], embedded, torch, p["log_temperature"].exp())
        log_p = log_softmax(logits, batch.get("mask"), torch)
        log_ratio = log_p.gather(1, batch["action"][:, None])[:, 0] - batch["old_log_p"]
        kl = kl_from_old(log_ratio.detach()).item()
        policy_loss = clipped_surrogate(log_ratio, batch["advantage"], config.clip_epsilon)
        values = critic_values(p, batch["critic"]).reshape(-1, config.group_size)
        value = differences_in_groups(values, config.group_size).reshape(-1)
        critic_loss = value_loss(value, batch["value"], batch["target"], config.value_clip)
        if "quality" in batch:
            expected = learned_quality(p, batch["critic"]).gather(1, batch["action"][:, None])[:, 0]
            counts = batch["weights"][:, 0] > 0  # else the reward may be unknown
            critic_loss = critic_loss + 0.5 * (counts * (expected - batch["quality"])).square().mean()
        mean_entropy = entropy(log_p)
        loss = (policy_loss - entropy_bonus * mean_entropy) / scale + config.value_weight * critic_loss
        self.adam.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if before is None or not kl <= limit:  # NaN too
            for name, tensor in self._policy.items():
                tensor.grad = None
                if before:
                    tensor.detach().copy_(before[name])
        else:
            before |= {name: tensor.detach().clone() for name, tensor in self._policy.items()}
            torch.nn.utils.clip_grad_norm_(self._policy.values(), config.gradient_clip)
        torch.nn.utils.clip_grad_norm_(self._critic.values(), config.gradient_clip)
        self.adam.step()
        return {
            "policy_loss": policy_loss.item(),
            "value_loss": critic_loss.item(),
            "entropy": mean_entropy.item(),
            "kl": kl,
            "clip_fraction": ((log_ratio.exp() - 1).abs() > config.clip_epsilon).float().mean().item(),
        }


# ---------------------------------------------------------------- training loop


def training_loop(
    ppo: PPO,
    start: Callable[[int], tuple[RoutingStreams, Array32]],
    generator: Callable[[int], np.random.Generator],
    reward: Reward,
    rollouts: range,
) -> Iterator[dict[str, float]]:
    """Play a rollout and update policy and critic on it, in turn; yield the figures of each rollout.

    Args:
        ppo: Policy and critic.
        start: Returns new streams and their first observations for a rollout; called once per ``checkpoint_every`` decisions.
        generator: Returns the random generator of a rollout.
        reward: The reward.
        rollouts: The rollouts to play. The first is 0, or the first one after a checkpoint; the last ends the schedule.
    """
    config = ppo.config
    rollout: Rollout | None = None
    for number in rollouts:
        if number % config.rollouts_per_segment == 0:
            streams, observations = start(number)
        rng = generator(number)
        rollout = rollout or Rollout.empty(config.n_steps // config.n_streams, PolicyInputs.of(observations, len(ppo.candidates), reward))
        observations = play(policy_function(ppo.policy(), ppo.candidates, reward), streams, observations, rollout, rng)
        remaining = 1 - number / rollouts.stop if config.learning_rate_schedule == "linear" else 1.0
        figures = ppo.update(rollout, remaining, rng)
        yield {"return": float((rollout.inputs.weights[:-1] * rollout.reward).sum(axis=2).mean()), **figures}
