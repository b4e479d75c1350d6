"""The initial parameters of policy and critic, and their scales: a training starts at the plug-in rule."""

from __future__ import annotations

import numpy as np

from aamc_ppo.rollout import CACHE_READ, CONTEXT, OBJECTIVES, PAIR_WIDTH
from aamc_sdk.routing import CANDIDATE_NUMBERS, QUERY_NUMBERS, WORD_BUCKETS, Array32

CANDIDATE_WIDTH = len(CANDIDATE_NUMBERS) + WORD_BUCKETS
STATE_GAIN = 2.0
"""Factor on the initial weights of the pool's state: utilities have to bend where a queue fills."""
MIN_DEVIATION = 0.05
"""Minimum standard deviation that the critic's inputs are divided by: those that hardly vary in the first rollout may vary more later."""
MIN_QUERY_DEVIATION = 0.25
"""Minimum standard deviation that the policy's queries are divided by: served prompts may be a hundred times as long as those of the training."""


def initial_policy(hidden: int, embedding: int, temperature: float, categories: int, rng: np.random.Generator) -> dict[str, Array32]:
    """Return the parameters of a policy that equals the plug-in rule, the maximum expected reward."""
    policy = {
        "candidate_w1": _uniform(rng, CANDIDATE_WIDTH, hidden),
        "candidate_b1": np.zeros((1, hidden), np.float32),
        "candidate_w2": _uniform(rng, hidden, embedding),
        "candidate_b2": np.zeros((1, embedding), np.float32),
        "query_w1": _uniform(rng, _query_width(categories), hidden),
        "query_b1": rng.uniform(-1, 1, (1, hidden)).astype(np.float32),  # without a bias, a unit is an odd function of centred inputs
        "query_w2": np.zeros((hidden, OBJECTIVES * (embedding + PAIR_WIDTH)), np.float32),
        "query_b2": plug_in_bias(embedding),
        "log_temperature": np.array(np.log(temperature), np.float32),
    }
    policy["query_w1"][-CONTEXT:] *= np.float32(STATE_GAIN)
    return policy


def plug_in_bias(embedding: int) -> Array32:
    """Return the query tower's initial output: q_k = 0 and a_k = e_k, the unit vector of objective k, ``[1, K (E + F)]``."""
    return np.eye(OBJECTIVES, embedding + PAIR_WIDTH, embedding, dtype=np.float32).reshape(1, -1)


def trained_outputs(embedding: int) -> Array32:
    """Return 1 for the query tower's outputs that training may change, ``[1, K (E + F)]``: V_k reads no expected objective but its own, see (3).

    Only cheapness reads ``cache_read``.
    """
    trained = np.ones((OBJECTIVES, embedding + PAIR_WIDTH), np.float32)
    trained[:, embedding : embedding + OBJECTIVES] = np.eye(OBJECTIVES)
    trained[:, embedding + CACHE_READ] = (0, 1, 0)
    return trained.reshape(1, -1)


def initial_critic(hidden: int, categories: int, rng: np.random.Generator) -> dict[str, Array32]:
    """Return the parameters of a critic whose standardised values are 0."""
    inputs = _query_width(categories) + OBJECTIVES + 2 * PAIR_WIDTH
    return {
        "critic_w1": _uniform(rng, inputs, hidden),
        "critic_b1": np.zeros((1, hidden), np.float32),
        "critic_w2": np.zeros((hidden, 1), np.float32),
        "critic_b2": np.zeros((1, 1), np.float32),
    }


def initial_quality(hidden: int, candidates: int) -> dict[str, Array32]:
    """Return the parameters of a critic that expects quality .5 of each candidate, as features of unknown quality do."""
    return {"quality_w2": np.zeros((hidden, candidates), np.float32), "quality_b2": np.full((1, candidates), 0.5, np.float32)}


def initial_scales(read: Array32, query_width: int, value_mean: float) -> dict[str, Array32]:
    """Return the scales of inputs, as measured in the first rollout ``[T, n, ...]``, and of the critic's values, which start at their mean.

    The first inputs are the query, which the policy reads too. Differences in groups have mean 0. Streams alone start at the value of the first
    rollout's mean reward, or the critic would have to climb there.
    """
    found = deviation(read, axis=(0, 1))
    return {
        "input_mean": read.mean(axis=(0, 1), dtype=np.float64).astype(np.float32),
        "input_deviation": np.maximum(found, np.float32(MIN_DEVIATION)),
        "query_deviation": np.maximum(found[:query_width], np.float32(MIN_QUERY_DEVIATION)),
        "value_mean": np.asarray(value_mean, np.float32),
        "value_deviation": np.ones((), np.float32),
    }


def deviation(figures: Array32, axis: tuple[int, ...] | None = None) -> Array32:
    """Return the standard deviation, or 1 where all figures are equal but for rounding."""
    found = figures.std(axis=axis, dtype=np.float64).astype(np.float32)  # 32 bits would give thousands of equal figures a deviation
    return np.where(found > 1e-6, found, np.float32(1.0))


def _query_width(categories: int) -> int:
    """Return the number of a query's features, Q: numbers, categories, the prompt's length, and the pool's state."""
    return len(QUERY_NUMBERS) + categories + 1 + CONTEXT


def _uniform(rng: np.random.Generator, inputs: int, outputs: int) -> Array32:
    bound = (3 / inputs) ** 0.5  # variance 1 / inputs (LeCun et al. 1998)
    return rng.uniform(-bound, bound, (inputs, outputs)).astype(np.float32)
