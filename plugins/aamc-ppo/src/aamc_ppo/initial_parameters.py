"""The initial parameters of policy and critic: a training starts at the plug-in rule."""

from __future__ import annotations

import numpy as np

from aamc_ppo.rollout import CONTEXT, OBJECTIVES, PAIR_WIDTH
from aamc_sdk.routing import CANDIDATE_NUMBERS, QUERY_NUMBERS, WORD_BUCKETS, Array32

CANDIDATE_WIDTH = len(CANDIDATE_NUMBERS) + WORD_BUCKETS
STATE_GAIN = 4.0
"""Factor on the initial weights of the pool's state: waits and pressure vary little, and utilities and values have to bend where a queue fills."""


def initial_policy(hidden: int, embedding: int, temperature: float, categories: int, rng: np.random.Generator) -> dict[str, Array32]:
    """Return the parameters of a policy that equals the plug-in rule, the maximum expected reward."""
    query_width = len(QUERY_NUMBERS) + categories + CONTEXT
    return {
        "candidate_w1": _uniform(rng, CANDIDATE_WIDTH, hidden),
        "candidate_b1": np.zeros((1, hidden), np.float32),
        "candidate_w2": _uniform(rng, hidden, embedding),
        "candidate_b2": np.zeros((1, embedding), np.float32),
        "query_w1": _query_weights(rng, query_width, query_width, hidden),
        "query_b1": np.zeros((1, hidden), np.float32),
        "query_w2": np.zeros((hidden, OBJECTIVES * (embedding + PAIR_WIDTH)), np.float32),
        "query_b2": plug_in_bias(embedding),
        "log_temperature": np.array(np.log(temperature), np.float32),
    }


def plug_in_bias(embedding: int) -> Array32:
    """Return the query tower's initial output: q_k = 0 and a_k = e_k, the unit vector of objective k, ``[1, K (E + F)]``."""
    return np.eye(OBJECTIVES, embedding + PAIR_WIDTH, embedding, dtype=np.float32).reshape(1, -1)


def trained_outputs(embedding: int) -> Array32:
    """Return 1 for the query tower's outputs that training may change, ``[1, K (E + F)]``: V_k reads no expected objective but its own, see (3)."""
    trained = np.ones((OBJECTIVES, embedding + PAIR_WIDTH), np.float32)
    trained[:, embedding : embedding + OBJECTIVES] = np.eye(OBJECTIVES)
    return trained.reshape(1, -1)


def initial_critic(hidden: int, gamma: float, categories: int, rng: np.random.Generator) -> dict[str, Array32]:
    """Return the parameters of a critic that equals (1 - gamma) times what the policy expects of the present step."""
    query_width = len(QUERY_NUMBERS) + categories + CONTEXT
    return {
        "critic_w1": _query_weights(rng, query_width, query_width + 2 * OBJECTIVES + 2 * PAIR_WIDTH, hidden),
        "critic_b1": np.zeros((1, hidden), np.float32),
        "critic_w2": np.zeros((hidden, OBJECTIVES), np.float32),
        "critic_b2": np.zeros((1, OBJECTIVES), np.float32),
        "critic_skip": np.eye(2 * PAIR_WIDTH, OBJECTIVES, dtype=np.float32) * (1 - gamma),
    }


def _query_weights(rng: np.random.Generator, query_width: int, inputs: int, outputs: int) -> Array32:
    """Return the initial weights of a layer that reads a query with the pool's state, and further inputs after it."""
    weights = _uniform(rng, inputs, outputs)
    weights[query_width - CONTEXT : query_width] *= np.float32(STATE_GAIN)
    return weights


def _uniform(rng: np.random.Generator, inputs: int, outputs: int) -> Array32:
    bound = (3 / inputs) ** 0.5  # variance 1 / inputs (LeCun et al. 1998)
    return rng.uniform(-bound, bound, (inputs, outputs)).astype(np.float32)
