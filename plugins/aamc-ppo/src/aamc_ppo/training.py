"""A training of router ``ppo`` as the SDK asks for it: device, threads, the loop of :mod:`aamc_ppo.ppo`, and the choice of the trust factor.

A trained policy is the plug-in rule plus a learned correction. Where the plug-in rule is nearly right, the noise of training can outweigh
the little that there was to learn. So the correction is multiplied by the trust factor that earns most on validation rows, of a few from 0
(the plug-in rule) to 1 (the policy as trained). All factors meet the same random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from aamc_ppo.ppo import Parameters, PPOConfig, TrainingLoop, embed_candidates, plug_in_bias, utility
from aamc_ppo.rollout import PolicyInputs, known_rewards
from aamc_sdk.errors import AamcError, ConfigError
from aamc_sdk.interfaces import Reward, RoutingStreams, Services, Training
from aamc_sdk.routing import Array32

TRUST_FACTORS = (0.0, 0.25, 0.5, 0.75, 1.0)


def train(config: PPOConfig, services: Services, training: Training) -> tuple[dict[str, Array32], tuple[str, ...], dict[str, Any]]:
    """Return a trained policy, the query categories that it knows, and metrics.

    Raises:
        AamcError: The training has no environment.
        CheckpointError: The training is to be resumed, and its checkpoint is damaged or of other options.
        DataError: The environment's rewards cannot be learned from.
    """
    if training.env is None:
        raise AamcError("ppo learns by practising and needs an environment; name one with --environment")
    with one_thread():
        loop = TrainingLoop(config, services, training, training.env, choose_device(services.device))
        policy = loop.run()
        earned: dict[str, float] = {}
        steps = config.validation_steps // config.n_streams
        if training.validation is not None and steps:
            policy, earned = choose_trust(policy, lambda: loop.streams("validation", loop.rollouts), loop.candidates, services.reward, steps)
    return policy, loop.categories, {"steps": loop.steps, "curve": loop.curve, "reward_by_trust": earned}


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread, the fastest for networks this small, and restore its number of threads at the end."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def choose_device(name: str) -> torch.device:
    """Return the device of updates: ``auto`` is a GPU if there is one.

    Raises:
        ConfigError: A GPU is asked for, and torch finds none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device 'cuda' cannot be used: torch finds no GPU; use --device auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def choose_trust(
    policy: Mapping[str, Array32], streams: Callable[[], tuple[RoutingStreams, Array32]], candidates: Array32, reward: Reward, steps: int
) -> tuple[dict[str, Array32], dict[str, float]]:
    """Return the policy at the best trust factor, and the mean reward of each factor by its text.

    Args:
        policy: The trained policy.
        streams: Makes the same streams each time, with their first observations.
        candidates: The candidates' features, ``[M, 39]``.
        reward: Turns preferences into weights.
        steps: Steps to play in each stream.
    """
    earned = {trust: greedy_reward(scale_correction(policy, trust), *streams(), candidates, reward, steps) for trust in TRUST_FACTORS}
    best = max(earned, key=earned.__getitem__)
    return scale_correction(policy, best), {f"{trust:g}": mean for trust, mean in earned.items()}


def scale_correction(policy: Mapping[str, Array32], trust: float) -> dict[str, Array32]:
    """Return the policy with its learned correction multiplied by ``trust``."""
    start = plug_in_bias(policy["candidate_w2"].shape[1])
    w2, b2 = np.float32(trust) * policy["query_w2"], start + np.float32(trust) * (policy["query_b2"] - start)
    return {**policy, "query_w2": w2, "query_b2": b2}


def greedy_reward(policy: Parameters, streams: RoutingStreams, observations: Array32, candidates: Array32, reward: Reward, steps: int) -> float:
    """Return the mean scalar reward of the candidates of maximum utility."""
    embedded = embed_candidates(policy, candidates)
    total = 0.0
    for _ in range(steps):
        inputs = PolicyInputs.of(observations, len(candidates), reward)
        utilities = utility(policy, inputs.query, inputs.weights, inputs.pair, embedded)
        action = np.where(inputs.mask, utilities, -np.inf).argmax(axis=1)
        observations, _, _, _, info = streams.step(action)
        total += float((inputs.weights * known_rewards(info["vector_reward"], inputs.weights)).sum(axis=1).mean())
    return total / steps
