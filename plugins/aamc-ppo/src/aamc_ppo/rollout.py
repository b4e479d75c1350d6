"""Rollouts: a policy plays n streams for T steps. Numpy only, like decisions in service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_ppo.policy import OBJECTIVES, PAIR, Parameters, draw_actions, embed_candidates, log_softmax, pool_pairs, utility
from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import Reward, RoutingStreams
from aamc_sdk.routing import Array32
from aamc_sdk.types import Floats

PREFERENCE_SAMPLING = ("dirichlet", "uniform", "fixed", "corners")


def draw_preferences(strategy: str, fixed: Floats, n: int, rng: np.random.Generator) -> Floats:
    """Return the preferences that n streams are trained at, ``[n, 3]``.

    Args:
        strategy: ``dirichlet``: every preference equally likely. ``uniform``: three uniform weights, rescaled, so
            balanced ones are likelier. ``corners``: one objective alone. ``fixed``: always ``fixed``.
        fixed: What ``fixed`` takes, ``[3]``.
        n: How many.
        rng: Where chance comes from.
    """
    if strategy == "dirichlet":
        return rng.dirichlet(np.ones(OBJECTIVES), n)
    if strategy == "uniform":
        drawn = 1 - rng.random((n, OBJECTIVES))  # in (0, 1], so never all zero
        return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))
    if strategy == "corners":
        return np.eye(OBJECTIVES)[rng.integers(OBJECTIVES, size=n)]
    return np.tile(fixed, (n, 1))


@attrs.frozen(eq=False)
class View:
    """Observations in parts: query ``[B, Q]``, weights ``[B, 3]``, pair ``[B, 5, M]``, mask ``[B, M]``."""

    query: Array32
    weights: Array32
    pair: Array32
    mask: NDArray[np.bool_]

    @classmethod
    def of(cls, observations: Array32, candidates: int, reward: Reward) -> View:
        """Take flat observations ``[B, Q + 3 + 5 M]`` apart (see :meth:`aamc_sdk.routing.features.Features.flat`)."""
        query, preference, pair = np.split(observations, (-OBJECTIVES - PAIR * candidates, -PAIR * candidates), axis=1)
        pair = pair.reshape(len(pair), candidates, PAIR).swapaxes(1, 2)
        return cls(query, reward.weights(preference.astype(np.float64)).astype(np.float32), pair, pair[:, -1] > 0)

    def room(self, steps: int) -> View:
        """Return room for so many of this size, along a new first axis."""
        return View(*(np.empty((steps, *part.shape), part.dtype) for part in attrs.astuple(self, recurse=False)))

    def put(self, step: int, view: View) -> None:
        """Copy a view to its place."""
        for part, given in zip(attrs.astuple(self, recurse=False), attrs.astuple(view, recurse=False), strict=True):
            part[step] = given


@attrs.frozen(eq=False)
class Rollout:
    """What T steps of n streams gave; T + 1 where the state after the last step counts.

    Attributes:
        view: What the policy saw, each part ``[T + 1, n, ...]``.
        pooled: Pair features averaged by the policy's probabilities, ``[T + 1, n, 5]``.
        ends: Where streams were cut off, by step: what would have been seen next, ``[n, ...]``, and ``pooled`` there.
        action: ``[T, n]``.
        log_probability: Of the action, ``[T, n]``.
        reward: ``[T, n, 3]``.
        cut: Whether a stream was cut off after the step, ``[T, n]``.
    """

    view: View
    pooled: Array32
    ends: Mapping[int, tuple[View, Array32]]
    action: NDArray[np.int64]
    log_probability: Array32
    reward: Array32
    cut: NDArray[np.bool_]


class Player:
    """Plays streams from where they stand.

    Args:
        streams: What to play; already reset.
        observations: Their present observations, ``[n, Q + 3 + 5 M]``.
        candidate: The candidates' features, ``[M, 39]``.
        reward: Turns preferences into weights.
    """

    def __init__(self, streams: RoutingStreams, observations: Array32, candidate: Array32, reward: Reward) -> None:
        self._streams = streams
        self._observations = observations
        self._candidate = candidate
        self._reward = reward
        self._views: View | None = None

    def play(self, policy: Parameters, steps: int, rng: np.random.Generator) -> Rollout:
        """Play some steps with actions drawn from the policy; what was seen is overwritten when it plays again.

        Raises:
            DataError: The environment gave NaN for a reward that the preference weighs.
        """
        embedded = embed_candidates(policy, self._candidate)
        pooled, actions, chosen, rewards, cuts = [], [], [], [], []
        ends = {}
        for step in range(steps + 1):
            view, log_p = self._look(policy, embedded, self._observations)
            probabilities = np.exp(log_p)
            self._room(view, steps + 1).put(step, view)
            pooled.append(pool_pairs(probabilities, view.pair))
            if step == steps:
                break
            action = draw_actions(probabilities, rng)
            self._observations, _, _, truncated, info = self._streams.step(action)
            actions.append(action)
            chosen.append(log_p[np.arange(len(action)), action])
            rewards.append(known_rewards(info["vector_reward"], view.weights))
            cuts.append(truncated)
            if truncated.any():
                ends[step] = self._end(policy, embedded, info)
        return Rollout(
            view=self._room(view, steps + 1),
            pooled=np.stack(pooled),
            ends=ends,
            action=np.stack(actions).astype(np.int64),
            log_probability=np.stack(chosen).astype(np.float32),
            reward=np.stack(rewards),
            cut=np.stack(cuts),
        )

    def _room(self, view: View, steps: int) -> View:
        """Return room for a rollout's views, that of the last one where it fits: fresh memory costs more time than filling it."""
        if self._views is None or len(self._views.query) != steps:
            self._views = view.room(steps)
        return self._views

    def _look(self, policy: Parameters, embedded: Array32, observations: Array32) -> tuple[View, Array32]:
        """Return observations in parts and the policy's log probabilities there, ``[n, M]``."""
        view = View.of(observations, len(self._candidate), self._reward)
        logits = utility(policy, view.query, view.weights, view.pair, embedded, tau=np.exp(policy["log_temperature"]))
        return view, log_softmax(logits, view.mask)

    def _end(self, policy: Parameters, embedded: Array32, info: Mapping[str, Any]) -> tuple[View, Array32]:
        """Return what streams that were just cut off would have shown next; others keep their present observation."""
        last = self._observations.copy()
        cut = info["_final_obs"]
        last[cut] = np.stack(list(info["final_obs"][cut]))
        view, log_p = self._look(policy, embedded, last)
        return view, pool_pairs(np.exp(log_p), view.pair)


def known_rewards(vector: Floats, weights: Array32) -> Array32:
    """Return rewards ``[n, 3]`` with 0 for NaN where it weighs nothing, such as a latency that nobody knows.

    Raises:
        DataError: A NaN weighs something.
    """
    unknown = np.isnan(vector)
    if (unknown & (weights > 0)).any():
        row, objective = np.argwhere(unknown & (weights > 0))[0]
        name = ("quality", "cost", "latency")[objective]
        raise DataError(f"stream {row} was rewarded with NaN {name}, so ppo cannot learn from it; leave out rows with unknown outcomes")
    return np.where(unknown, 0.0, vector).astype(np.float32)
