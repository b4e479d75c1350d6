"""How far to trust what was learned, chosen by practice on validation rows.

A policy is the plug-in rule plus a learned correction (equation (3) of :mod:`aamc_ppo.policy`). Where the plug-in is nearly right,
the noise of training can outweigh the little there was to learn; so the correction is scaled by the trust, of a
few between 0 (the plug-in rule) and 1 (the policy as it was trained), that earns most. All face the same luck.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from aamc_ppo.policy import Parameters, embed_candidates, plug_in, utility
from aamc_ppo.rollout import View, known_rewards
from aamc_sdk.interfaces import Reward, RoutingStreams
from aamc_sdk.routing import Array32

TRUSTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def scaled(policy: Mapping[str, Array32], trust: float) -> dict[str, Array32]:
    """Return the policy with its correction multiplied by ``trust``."""
    start = plug_in(policy["candidate_w2"].shape[1])
    w2, b2 = np.float32(trust) * policy["query_w2"], start + np.float32(trust) * (policy["query_b2"] - start)
    return {**policy, "query_w2": w2, "query_b2": b2}


def choose_trust(
    policy: Mapping[str, Array32], streams: Callable[[], tuple[RoutingStreams, Array32]], candidate: Array32, reward: Reward, steps: int
) -> tuple[dict[str, Array32], dict[str, float]]:
    """Return the policy at the best trust, and the mean reward of each trust by its text.

    Args:
        policy: What was trained.
        streams: Makes the same streams each time, with their first observations.
        candidate: The candidates' features, ``[M, 39]``.
        reward: Turns preferences into weights.
        steps: Steps to play in each stream.
    """
    earned = {trust: greedy_reward(scaled(policy, trust), *streams(), candidate, reward, steps) for trust in TRUSTS}
    best = max(earned, key=earned.__getitem__)
    return scaled(policy, best), {f"{trust:g}": mean for trust, mean in earned.items()}


def greedy_reward(policy: Parameters, streams: RoutingStreams, observations: Array32, candidate: Array32, reward: Reward, steps: int) -> float:
    """Return the mean scalar reward of always taking the policy's best candidate."""
    embedded = embed_candidates(policy, candidate)
    total = 0.0
    for _ in range(steps):
        view = View.of(observations, len(candidate), reward)
        utilities = utility(policy, view.query, view.weights, view.pair, embedded)
        action = np.where(view.mask, utilities, -np.inf).argmax(axis=1)
        observations, _, _, _, info = streams.step(action)
        total += float((view.weights * known_rewards(info["vector_reward"], view.weights)).sum(axis=1).mean())
    return total / steps
