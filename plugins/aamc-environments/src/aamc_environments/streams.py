"""Streams of queries, natively vectorised: thousands are stepped in numpy arrays at once.

A stream never terminates; it is truncated at its horizon, all streams at once, and begins anew in
the same step (``AutoresetMode.SAME_STEP``): ``info["final_obs"]`` holds what would have been seen.
"""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import attrs
import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from aamc_environments.common_random_numbers import QUERIES, Luck, Steps
from aamc_environments.observer import Observer
from aamc_environments.preferences import Preferences
from aamc_sdk import Outcomes, Reward, RoutingRequest
from aamc_sdk.batch import Floats
from aamc_sdk.errors import DataError
from aamc_sdk.features import Array32

GREATEST = 1e6
"""Bound of observations: a stable queue stays far below."""


@attrs.frozen(eq=False, kw_only=True)
class Script:
    """What any streams are made from.

    Attributes:
        request: All Q rows of a split, as a router sees them without waiting.
        rows: Those that queries are drawn from.
        reward: What makes rewards of outcomes.
        streams: Each stream's number, ``[n]``.
        seed: All randomness follows from it.
        preferences: Where preferences come from.
        horizon: Steps after which a stream is truncated, or None.
    """

    request: RoutingRequest
    rows: NDArray[np.intp]
    reward: Reward
    streams: NDArray[np.intp]
    seed: int
    preferences: Preferences
    horizon: int | None


class Chances(NamedTuple):
    """A step's random numbers, ``[n]`` each: standard exponentials of the gap before the query and of its service, then uniforms.

    Those of a single stream may be plain numbers.
    """

    gap: Any
    service: Any
    success: Any
    length: Any
    burst: Any


class Streams(VectorEnv[Array32, NDArray[Any], NDArray[Any]], abc.ABC):
    """n streams of a split's queries; see :class:`aamc_sdk.interfaces.RoutingStreams`.

    Raises:
        DataError: There is no row to draw queries from.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012  # as Gymnasium declares it

    def __init__(self, script: Script) -> None:
        if not len(script.rows):
            raise DataError("the split has no complete row, so streams have no query to draw; give rows with every candidate's quality and cost")
        self.num_envs = len(script.streams)
        self.script = script
        self._seed: int | None = script.seed
        self._stage(script.request)
        bound = np.full(self.observer.width, GREATEST, dtype=np.float32)
        self.single_observation_space = gymnasium.spaces.Box(-bound, bound)
        self.single_action_space = gymnasium.spaces.Discrete(len(script.request.pool))
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, self.num_envs)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, self.num_envs)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array32, dict[str, Any]]:
        """Start all streams anew; without a seed the luck goes on where it was."""
        super().reset(seed=seed)
        seed = self._seed if seed is None else seed
        if seed is not None:
            self._luck = Luck(seed, QUERIES, self.script.streams, exponentials=2, uniforms=4, shape=self._shape)
            self.script.preferences.seed(seed)
            self._seed = None
        self._start()
        return self._observe(), {}

    def step(self, actions: NDArray[Any]) -> tuple[Array32, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Answer the present query of each stream by the candidate chosen for it, ``[n]``.

        The reward is the preference-weighted one. An action that is not allowed serves nobody and
        counts as the worst allowed outcome: a failure at the greatest expected cost and latency.

        Raises:
            InvalidAction: There is not one candidate's number for each stream.
        """
        rewards, info = self._advance(self._checked(actions))
        observation = self._observe()
        truncations = np.zeros(self.num_envs, dtype=bool)
        if self.clock == self.script.horizon:
            truncations[:] = True
            info |= {"final_obs": _objects(observation), "_final_obs": np.ones(self.num_envs, dtype=bool)}
            self._start()
            observation = self._observe()
        return observation, rewards, np.zeros(self.num_envs, dtype=bool), truncations, info

    def _advance(self, actions: NDArray[np.intp]) -> tuple[Floats, dict[str, Any]]:
        """Answer the present queries and let the next arrive; return the rewards ``[n]`` and what happened."""
        outcomes, masked = self._answer(actions)
        vector = self.script.reward.vector(outcomes)
        info = {
            "vector_reward": vector,
            "quality": outcomes.quality,
            "cost_usd": outcomes.cost_usd,
            "latency_ms": outcomes.latency_ms,
            "row": self.row,
            "masked": masked,
        }
        rewards = weighed(vector, self.script.reward.weights(self.script.preferences.present))
        self._go_on()
        return rewards, info

    def _go_on(self) -> None:
        self.clock += 1
        self.script.preferences.advance()
        self._arrive()

    def request(self) -> RoutingRequest:
        """Return the present query of each stream, with its preference, waits and hindsight."""
        request = self.staged.take(self.row).with_preference(self.script.preferences.present)
        wait = self._wait()
        waits = np.zeros(request.mask.shape) if wait is None else wait.astype(np.float64)
        expected = attrs.evolve(request.expected, latency_ms=request.expected.latency_ms + waits)
        return attrs.evolve(request, expected=expected, wait_ms=waits, hindsight=self._hindsight())

    def _stage(self, request: RoutingRequest) -> None:
        """Take what routers see of all rows, until an event changes it."""
        self.staged = request
        self.observer = Observer(request, self.script.reward)
        self._allowed = request.mask.ravel()

    def _start(self) -> None:
        self.clock = 0
        self.script.preferences.begin()
        self._begin()
        self._arrive()

    def _arrive(self) -> None:
        self.row, chances = self._luck.next()
        self._prepare(chances)

    def _shape(self, exponentials: Floats, uniforms: Floats) -> Steps:
        rows = self.script.rows[(uniforms[:, 0] * len(self.script.rows)).astype(np.intp)]
        return rows, self._chances_of(exponentials, uniforms[:, 1:])

    def _chances_of(self, exponentials: Floats, uniforms: Floats) -> list[Chances]:
        """Return a block's chances, step by step."""
        return list(map(Chances, *exponentials.swapaxes(0, 1), *uniforms.swapaxes(0, 1)))

    def _observe(self) -> Array32:
        return self.observer.observe(self.row, self.script.preferences.present, self._wait())

    def _checked(self, actions: NDArray[Any]) -> NDArray[np.intp]:
        actions = np.asarray(actions, dtype=np.intp)
        candidates = len(self.staged.pool)
        if actions.shape != (self.num_envs,) or actions.view(np.uintp).max() >= candidates:  # a negative number is a huge unsigned one
            raise gymnasium.error.InvalidAction(f"{self.num_envs} streams need a number from 0 to {candidates - 1} each, not {actions!r:.80}")
        return actions

    def _answer(self, actions: NDArray[np.intp]) -> tuple[Outcomes, NDArray[np.bool_]]:
        cells = self.row * len(self.staged.pool) + actions
        allowed = self._allowed.take(cells)
        outcomes = self._serve(actions, cells, allowed)
        masked = ~allowed
        if masked.any():
            _spoil(outcomes, masked, self._hindsight(), self.staged.mask[self.row])
        return outcomes, masked

    @abc.abstractmethod
    def _begin(self) -> None:
        """Start all streams anew."""

    @abc.abstractmethod
    def _prepare(self, chances: Chances) -> None:
        """Let the next queries arrive."""

    @abc.abstractmethod
    def _wait(self) -> Floats | None:
        """Return how long the present query would wait for each candidate, ``[n, M]``, or None where nobody waits."""

    @abc.abstractmethod
    def _hindsight(self) -> Outcomes:
        """Return the true expectations of the present queries, ``[n, M]``, waiting included."""

    @abc.abstractmethod
    def _serve(self, actions: NDArray[np.intp], cells: NDArray[np.intp], allowed: NDArray[np.bool_]) -> Outcomes:
        """Let candidates answer, where that is allowed; return new arrays of what happens, ``[n]`` each.

        Args:
            actions: The chosen candidates, ``[n]``.
            cells: Where they stand in a flattened ``[Q, M]`` table, ``[n]``.
            allowed: Whether they may be chosen, ``[n]``.
        """


def _spoil(outcomes: Outcomes, masked: NDArray[np.bool_], hindsight: Outcomes, mask: NDArray[np.bool_]) -> None:
    """Make masked actions failures at the greatest cost and latency among allowed candidates, or among all where none is."""
    allowed = mask | ~mask.any(axis=1, keepdims=True)
    outcomes.known_quality[masked] = 0.0
    for realised, expected in ((outcomes.cost_usd, hindsight.cost_usd), (outcomes.latency_ms, hindsight.latency_ms)):
        realised[masked] = np.where(allowed, expected, -np.inf).max(axis=1)[masked]


def weighed(vector: Floats, weights: Floats) -> Floats:
    """Return the weighted sum ``[n]`` of objectives ``[n, 3]``; what has no weight may be unknown."""
    parts = weights * vector
    total = parts[:, 0] + parts[:, 1] + parts[:, 2]  # several times quicker than a sum along so short an axis
    return total if not np.isnan(total).any() else np.where(weights > 0, parts, 0.0).sum(axis=1)


def _objects(observations: Array32) -> NDArray[np.object_]:
    """Return an object array with one observation each, as Gymnasium's wrappers expect ``final_obs``."""
    objects = np.empty(len(observations), dtype=object)
    objects[:] = list(observations)
    return objects
