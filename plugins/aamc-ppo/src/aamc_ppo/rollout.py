"""Rollouts: a policy plays n streams for T steps. Numpy only, like decisions in service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import Reward, RoutingStreams, StatefulStreams
from aamc_sdk.routing import PAIR_FEATURES, QUERY_NUMBERS, Array32
from aamc_sdk.types import Floats

OBJECTIVES = 3
"""K: quality, cheapness, quickness."""
PAIR_WIDTH = len(PAIR_FEATURES)
"""F."""
CACHE_READ = PAIR_FEATURES.index("cache_read")
"""The pair feature that only the utility of cheapness reads, as an expected objective."""
STATE = slice(PAIR_FEATURES.index("log_wait"), PAIR_FEATURES.index("pressure") + 1)
"""The pair features that tell the pool's state; all are 0 in an idle pool."""
CONTEXT = STATE.stop - STATE.start
"""Features of the pool's state among those of a query."""
LONG_PROMPT = 16_384
"""Tokens of a prompt whose feature is one half; far shorter ones are in proportion."""
LOG_PROMPT = QUERY_NUMBERS.index("log_prompt_tokens")
R2 = (0.7548776662466927, 0.5698402909980532)
"""Step of the sequence of points that covers a square evenly (Roberts 2018): 1 / g and 1 / g^2 with g^3 = g + 1."""
LEAST = 0.01
"""Smallest weight of cost and latency together among preferences for quality."""
PREFERENCE_SAMPLING = ("mixed", "dirichlet", "uniform", "fixed", "corners")


class PolicyInputs(NamedTuple):
    """Observations in parts: query with length and the pool's state ``[B, Q]``, weights ``[B, K]``, pair ``[B, F, M]``, mask ``[B, M]``."""

    query: Array32
    weights: Array32
    pair: Array32
    mask: NDArray[np.bool_]

    @classmethod
    def of(cls, observations: Array32, candidates: int, reward: Reward) -> PolicyInputs:
        """Split flat observations ``[B, Q + 3 + 7 M]`` (see :meth:`aamc_sdk.routing.features.Features.flat`)."""
        query, preference, pair = np.split(observations, (-OBJECTIVES - PAIR_WIDTH * candidates, -PAIR_WIDTH * candidates), axis=1)
        pair = pair.reshape(len(pair), candidates, PAIR_WIDTH).swapaxes(1, 2)
        return cls(policy_query(query, pair), reward.weights(preference.astype(np.float64)).astype(np.float32), pair, pair[:, -1] > 0)


def policy_query(query: Array32, pair: Array32) -> Array32:
    """Return features of queries with the prompt's length and the mean state of the candidates, ``[B, Q]``, from pair features ``[B, F, M]``."""
    return np.concatenate((with_length(query), pair[:, STATE].mean(axis=2)), axis=1, dtype=np.float32)


def with_length(query: Array32) -> Array32:
    """Return features of queries with the prompt's length: costs to come grow with the tokens of a conversation, not with their logarithm."""
    return np.column_stack((query, prompt_length(query[:, LOG_PROMPT])))


def prompt_length(log_prompt_tokens: Any) -> Any:
    """Return the feature n / (n + LONG_PROMPT) of a prompt's length, where the query's own feature is log(n) / 10, with n = 1 + tokens."""
    return 1 / (1 + LONG_PROMPT * np.exp(-10 * log_prompt_tokens))


PolicyFunction = Callable[[Array32], tuple[PolicyInputs, Array32]]
"""From flat observations to the policy's inputs and the candidates' log probabilities ``[B, M]``."""


@attrs.frozen(eq=False)
class Rollout:
    """T steps of n streams, in arrays that every rollout fills again: fresh memory costs more time than filling it.

    Attributes:
        inputs: The policy's inputs before each step and after the last, each part ``[T + 1, n, ...]``.
        pooled: The means of pair features over candidates there, see :func:`pool_pairs`, ``[T + 1, n, 2 F]``.
        probabilities: The policy's probabilities of the candidates, ``[T, n, M]``.
        action: ``[T, n]``.
        log_probability: Log probability of the action, ``[T, n]``.
        reward: ``[T, n, K]``.
        truncated: Whether a stream was truncated after the step, ``[T, n]``.
        same_state: Whether a stream's state after the step equals that of the stream before it, ``[T, n]``.
        final: For each step with a truncation, inputs and pooled pair features at the final observations, ``[n, ...]``.
    """

    inputs: PolicyInputs
    pooled: Array32
    probabilities: Array32
    action: NDArray[np.int64]
    log_probability: Array32
    reward: Array32
    truncated: NDArray[np.bool_]
    same_state: NDArray[np.bool_]
    final: dict[int, tuple[PolicyInputs, Array32]]

    @classmethod
    def empty(cls, steps: int, first: PolicyInputs) -> Rollout:
        """Allocate a rollout for streams with these first inputs."""
        n = len(first.query)
        return cls(
            inputs=PolicyInputs(*(np.empty((steps + 1, *part.shape), part.dtype) for part in first)),
            pooled=np.empty((steps + 1, n, 2 * PAIR_WIDTH), np.float32),
            probabilities=np.empty((steps, *first.mask.shape), np.float32),
            action=np.empty((steps, n), np.int64),
            log_probability=np.empty((steps, n), np.float32),
            reward=np.empty((steps, n, OBJECTIVES), np.float32),
            truncated=np.empty((steps, n), bool),
            same_state=np.zeros((steps, n), bool),
            final={},
        )


def play(policy: PolicyFunction, streams: RoutingStreams, observations: Array32, rollout: Rollout, rng: np.random.Generator) -> Array32:
    """Fill a rollout with actions drawn from a policy, starting at the present observations; return the observations after it.

    Raises:
        DataError: The environment gave NaN for a reward of positive weight.
    """
    steps, n = rollout.action.shape
    rollout.final.clear()
    stateful = streams if isinstance(streams, StatefulStreams) else None
    for t in range(steps + 1):
        inputs, log_p = policy(observations)
        probabilities = np.exp(log_p)
        for buffer, part in zip(rollout.inputs, inputs, strict=True):
            buffer[t] = part
        rollout.pooled[t] = pool_pairs(probabilities, inputs.pair)
        if t == steps:
            break
        action = draw_actions(probabilities, rng)
        observations, _, _, truncated, info = streams.step(action)
        rollout.probabilities[t] = probabilities
        rollout.action[t] = action
        rollout.log_probability[t] = log_p[np.arange(n), action]
        rollout.reward[t] = known_rewards(info["vector_reward"], inputs.weights)
        rollout.truncated[t] = truncated
        if stateful is not None:
            state = stateful.state
            rollout.same_state[t, 1:] = (state[1:] == state[:-1]).all(axis=1)
        if truncated.any():
            final, log_p = policy(final_observations(observations, info))
            rollout.final[t] = final, pool_pairs(np.exp(log_p), final.pair)
    return observations


def final_observations(observations: Array32, info: Mapping[str, Any]) -> Array32:
    """Return the observations with the final ones of the streams that were just truncated."""
    final, truncated = observations.copy(), info["_final_obs"]
    final[truncated] = np.stack(list(info["final_obs"][truncated]))
    return final


def groups_meet(same_state: NDArray[np.bool_], group_size: int) -> NDArray[np.bool_]:
    """Return whether all streams of a group are in one state again after a step, ``[T, n]``, see :attr:`Rollout.same_state`.

    They have the same value and the same rewards to come, but for chance: earlier decisions have no effect any more, so their advantages end here.
    """
    together = same_state.reshape(len(same_state), -1, group_size)[:, :, 1:].all(axis=2) & (group_size > 1)
    return together.repeat(group_size, axis=1)


def pool_pairs(probabilities: Floats, pair: Array32) -> Array32:
    """Return the means ``[B, 2 F]`` of pair features ``[B, F, M]`` under probabilities ``[B, M]``, then over all candidates alike."""
    with np.errstate(invalid="ignore"):  # OpenBLAS may raise it of finite numbers, for lanes that a narrow matrix leaves unused
        weighted = (pair @ probabilities[:, :, None])[:, :, 0]
    return np.concatenate((weighted, pair.mean(axis=2)), axis=1, dtype=np.float32)


def draw_actions(probabilities: Floats, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return one candidate per row ``[B]``, drawn by inversion from probabilities ``[B, M]``; never one of probability 0."""
    cumulative = probabilities.cumsum(axis=1)
    reached = rng.random((len(cumulative), 1), dtype=np.float32) * cumulative[:, -1:]  # always below the last
    return np.asarray((cumulative > reached).argmax(axis=1))


def draw_preferences(strategy: str, fixed: Floats, n: int, rng: np.random.Generator) -> Floats:
    """Return a preference for each of n streams, ``[n, 3]``.

    Args:
        strategy: ``mixed``: every other preference as under ``dirichlet``, the others for quality, with 1 minus its weight log-uniform from
            ``LEAST`` to 1: qualities differ by much less than prices and waits, so most random preferences never choose an expensive candidate.
            ``dirichlet``: every preference equally likely, and the drawn ones evenly spread. ``uniform``: three uniform weights, rescaled, so
            balanced ones are likelier. ``corners``: one objective alone. ``fixed``: always ``fixed``.
        fixed: The preference of strategy ``fixed``, ``[3]``.
        n: The number of streams.
        rng: The random generator.
    """
    if strategy in ("dirichlet", "mixed"):
        first, second = (rng.random((2, 1)) + np.outer(R2, np.arange(n))) % 1
        even = 1 - np.sqrt(first)  # the distribution of one weight of three
        first = np.where(np.arange(n) % 2, 1 - LEAST**first, even) if strategy == "mixed" else even
        return np.stack((first, (1 - first) * second, (1 - first) * (1 - second)), axis=1)
    if strategy == "uniform":
        drawn = 1 - rng.random((n, OBJECTIVES))  # in (0, 1], so never all zero
        return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))
    if strategy == "corners":
        return np.eye(OBJECTIVES)[rng.integers(OBJECTIVES, size=n)]
    return np.tile(fixed, (n, 1))


def known_rewards(vector: Floats, weights: Array32) -> Array32:
    """Return vector rewards ``[n, K]`` with 0 for NaN of weight 0, such as an unknown latency.

    Raises:
        DataError: A NaN has a positive weight.
    """
    unknown = np.isnan(vector)
    if (unknown & (weights > 0)).any():
        row, objective = np.argwhere(unknown & (weights > 0))[0]
        name = ("quality", "cost", "latency")[objective]
        raise DataError(f"stream {row} was rewarded with NaN {name}, so ppo cannot learn from it; leave out rows with unknown outcomes")
    return np.where(unknown, 0.0, vector).astype(np.float32)
