"""Streams of queries, natively vectorised: thousands are stepped in numpy arrays at once.

A stream never terminates. At the horizon all streams are truncated and restart in the same step
(``AutoresetMode.SAME_STEP``); ``info["final_obs"]`` holds their final observations.
"""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import attrs
import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from aamc_environments.common_random_numbers import QUERIES, CommonRandomNumbers, Steps
from aamc_environments.observation_encoder import ObservationEncoder
from aamc_environments.preferences import PreferenceSource
from aamc_environments.resources import NO_CHANGE, StepView
from aamc_sdk import Outcomes, Reward, RoutingRequest
from aamc_sdk.errors import DataError
from aamc_sdk.routing import Array32
from aamc_sdk.types import Floats

OBSERVATION_BOUND = 1e6
"""Bound of observations: a stable queue stays far below."""
RESET_FIRST = "call reset() before the first step()"


@attrs.frozen(eq=False, kw_only=True)
class StreamSetup:
    """The arguments of streams of any kind.

    Attributes:
        request: All Q rows of a split as routers see them, with empty queues.
        rows: The rows that queries are drawn from.
        reward: The reward of outcomes.
        streams: Each stream's number, ``[n]``.
        seed: The seed of all random numbers.
        preferences: The source of preferences.
        horizon: Steps after which a stream is truncated, or None.
    """

    request: RoutingRequest
    rows: NDArray[np.intp]
    reward: Reward
    streams: NDArray[np.intp]
    seed: int
    preferences: PreferenceSource
    horizon: int | None


class StepDraws(NamedTuple):
    """A step's random numbers, ``[n]`` each: standard exponentials of the gap before the query and of its service, then uniforms.

    Those of a single stream may be Python numbers.
    """

    gap: Any
    service: Any
    success: Any
    length: Any
    burst: Any


class Streams(VectorEnv[Array32, NDArray[Any], NDArray[Any]], abc.ABC):
    """n streams of a split's queries; see :class:`aamc_sdk.interfaces.RoutingStreams`.

    Raises:
        DataError: The setup has no row to draw queries from.
    """

    view: StepView = NO_CHANGE
    """The state of the pool at the present step, waits of queues apart."""
    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012  # as Gymnasium declares it

    def __init__(self, setup: StreamSetup) -> None:
        if not len(setup.rows):
            raise DataError("the split has no complete row, so streams have no query to draw; give rows with every candidate's quality and cost")
        self.num_envs = len(setup.streams)
        self.setup = setup
        self._seed: int | None = setup.seed
        self._show(setup.request)
        bound = np.full(self.observer.width, OBSERVATION_BOUND, dtype=np.float32)
        self.single_observation_space = gymnasium.spaces.Box(-bound, bound)
        self.single_action_space = gymnasium.spaces.Discrete(len(setup.request.pool))
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, self.num_envs)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, self.num_envs)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array32, dict[str, Any]]:
        """Restart all streams; without a seed the random numbers continue."""
        super().reset(seed=seed)
        seed = self._seed if seed is None else seed
        if seed is not None:
            self._random_numbers = CommonRandomNumbers(seed, QUERIES, self.setup.streams, exponentials=2, uniforms=4, shape=self._shape)
            self.setup.preferences.seed(seed)
            self._seed = None
        self._start()
        return self.observation(), {}

    def step(self, actions: NDArray[Any]) -> tuple[Array32, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Serve the present query of each stream by the chosen candidates ``[n]``.

        The reward is the preference-weighted one. An action that is not allowed serves no query and
        counts as the worst allowed outcome: a failure at the maximum expected cost and latency.

        Raises:
            InvalidAction: The actions are not one candidate's number per stream.
            ResetNeeded: The streams were not reset before their first step.
        """
        if self._seed is not None:  # reset() takes it
            raise gymnasium.error.ResetNeeded(RESET_FIRST)
        rewards, info = self._advance(self._checked(actions))
        observation = self.observation()
        truncations = np.zeros(self.num_envs, dtype=bool)
        if self.clock == self.setup.horizon:
            truncations[:] = True
            info |= {"final_obs": np.fromiter(observation, dtype=object), "_final_obs": np.ones(self.num_envs, dtype=bool)}
            self._start()
            observation = self.observation()
        return observation, rewards, np.zeros(self.num_envs, dtype=bool), truncations, info

    def _advance(self, actions: NDArray[np.intp]) -> tuple[Floats, dict[str, Any]]:
        """Serve the present queries, and let the next ones arrive; return the rewards ``[n]`` and the info."""
        outcomes, masked = self._answer(actions)
        vector = self.setup.reward.vector(outcomes)
        info = {
            "vector_reward": vector,
            "quality": outcomes.quality,
            "cost_usd": outcomes.cost_usd,
            "latency_ms": outcomes.latency_ms,
            "row": self.row,
            "masked": masked,
        }
        rewards = weighted_sum(vector, self.setup.reward.weights(self.setup.preferences.present))
        self._advance_clock()
        return rewards, info

    def _advance_clock(self) -> None:
        self.clock += 1
        self.setup.preferences.advance()
        self._arrive()

    @property
    @abc.abstractmethod
    def state(self) -> Floats:
        """What decisions have changed, ``[n, D]``, see :class:`aamc_sdk.interfaces.StatefulStreams`."""

    def request(self) -> RoutingRequest:
        """Return the present query of each stream, with its preference, waits and hindsight."""
        request = self.visible.take(self.row).with_preference(self.setup.preferences.present)
        wait = self._wait()
        waits = np.zeros(request.mask.shape) if wait is None else wait.astype(np.float64)
        expected = attrs.evolve(request.expected, latency_ms=request.expected.latency_ms + waits)
        request = attrs.evolve(request, expected=expected, wait_ms=waits, hindsight=self._hindsight())
        return request if self.view is NO_CHANGE else _changed(request, self.view)

    def _show(self, request: RoutingRequest) -> None:
        """Set all rows as routers see them until the next event."""
        self.visible = request
        self.observer = ObservationEncoder(request, self.setup.reward)
        self._allowed = request.mask.ravel()

    @property
    def _mask(self) -> NDArray[np.bool_]:
        """Whether candidates are allowed for the present queries, ``[n, M]``."""
        mask = self.visible.mask[self.row]
        return np.asarray(mask if self.view.allowed is None else mask & self.view.allowed)

    def _start(self) -> None:
        self.clock = 0
        self.setup.preferences.begin()
        self._begin()
        self._arrive()

    def _arrive(self) -> None:
        self.row, chances = self._random_numbers.next()
        self._prepare(chances)

    def _shape(self, exponentials: Floats, uniforms: Floats) -> Steps:
        rows = self.setup.rows[(uniforms[:, 0] * len(self.setup.rows)).astype(np.intp)]
        return rows, self._draws_of(exponentials, uniforms[:, 1:])

    def _draws_of(self, exponentials: Floats, uniforms: Floats) -> list[StepDraws]:
        """Return a block's chances, step by step."""
        return list(map(StepDraws, *exponentials.swapaxes(0, 1), *uniforms.swapaxes(0, 1)))

    def observation(self) -> Array32:
        """Return the observations of the present queries, ``[n, width]``."""
        return self.observer.observe(self.row, self.setup.preferences.present, self._wait(), self.view)

    def _checked(self, actions: NDArray[Any]) -> NDArray[np.intp]:
        given, candidates = np.asarray(actions), len(self.visible.pool)
        whole = given.shape == (self.num_envs,) and given.dtype.kind in "iu"
        if not whole or given.astype(np.uintp).max() >= candidates:  # a negative number is a huge unsigned one
            raise gymnasium.error.InvalidAction(f"{self.num_envs} streams need a whole number from 0 to {candidates - 1} each, not {given!r:.80}")
        return given.astype(np.intp, copy=False)

    def _answer(self, actions: NDArray[np.intp]) -> tuple[Outcomes, NDArray[np.bool_]]:
        cells = self.row * len(self.visible.pool) + actions
        allowed = self._allowed.take(cells)
        if self.view.allowed is not None:
            allowed &= self.view.allowed[np.arange(self.num_envs), actions]
        outcomes = self._serve(actions, cells, allowed)
        masked = ~allowed
        if masked.any():
            _penalise(outcomes, masked, self._hindsight(), self._mask)
        return outcomes, masked

    @abc.abstractmethod
    def _begin(self) -> None:
        """Restart all streams."""

    @abc.abstractmethod
    def _prepare(self, chances: StepDraws) -> None:
        """Let the next queries arrive."""

    @abc.abstractmethod
    def _wait(self) -> Floats | None:
        """Return the wait of the present query for each candidate in milliseconds, ``[n, M]``; None if there are no queues."""

    @abc.abstractmethod
    def _hindsight(self) -> Outcomes:
        """Return the true expectations of the present queries, ``[n, M]``, waits included."""

    @abc.abstractmethod
    def _serve(self, actions: NDArray[np.intp], cells: NDArray[np.intp], allowed: NDArray[np.bool_]) -> Outcomes:
        """Serve the queries by candidates where that is allowed; return new arrays of outcomes, ``[n]`` each.

        Args:
            actions: The chosen candidates, ``[n]``.
            cells: Their places in a flattened ``[Q, M]`` table, ``[n]``.
            allowed: Whether they are allowed, ``[n]``.
        """


def _changed(request: RoutingRequest, view: StepView) -> RoutingRequest:
    """Return a request under a view; waits are in it already."""
    expected, mask, why, queries = request.expected, request.mask, dict(request.masked_why), request.queries
    if view.added_usd is not None:
        expected = attrs.evolve(expected, cost_usd=expected.cost_usd + view.added_usd)
    if view.allowed is not None:
        reason = "over budget" if view.context_tokens is None else "context window"
        mask, why[reason] = mask & view.allowed, ~view.allowed
    if view.context_tokens is not None:
        tokens = view.context_tokens.astype(int).tolist()
        queries = [attrs.evolve(query, prompt_tokens=query.expected_prompt_tokens + more) for query, more in zip(queries, tokens, strict=True)]
    return attrs.evolve(request, queries=queries, expected=expected, mask=mask, masked_why=why, pressure=view.pressure)


def _penalise(outcomes: Outcomes, masked: NDArray[np.bool_], hindsight: Outcomes, mask: NDArray[np.bool_]) -> None:
    """Make masked actions failures at the maximum cost and latency of allowed candidates, or of all if none is allowed."""
    allowed = mask | ~mask.any(axis=1, keepdims=True)
    outcomes.known_quality[masked] = 0.0
    for realised, expected in ((outcomes.cost_usd, hindsight.cost_usd), (outcomes.latency_ms, hindsight.latency_ms)):
        realised[masked] = np.where(allowed, expected, -np.inf).max(axis=1)[masked]


def weighted_sum(vector: Floats, weights: Floats) -> Floats:
    """Return the weighted sum ``[n]`` of objectives ``[n, 3]``; those of weight 0 may be NaN."""
    parts = weights * vector
    total = parts[:, 0] + parts[:, 1] + parts[:, 2]  # several times as fast as a sum along so short an axis
    return total if not np.isnan(total).any() else np.where(weights > 0, parts, 0.0).sum(axis=1)
