"""Observations of a split's rows: constant features are computed once, waits and preferences are filled in at each step."""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_environments.resources import NO_CHANGE, StepView
from aamc_sdk import Reward, RoutingRequest
from aamc_sdk.routing import PAIR_FEATURES, QUERY_NUMBERS, Array32, cache_read_cost, encode, encode_pairs
from aamc_sdk.types import Floats

_ONE, _SECOND = np.array(1, dtype=np.float32), np.array(1000, dtype=np.float32)
"""Arrays instead of Python numbers, whose conversion takes as long as a small array's arithmetic."""
_QUICKNESS, _LOG_WAIT, _PRESSURE = (PAIR_FEATURES.index(name) for name in ("quickness", "log_wait", "pressure"))
_PROMPT = QUERY_NUMBERS.index("log_prompt_tokens")


class ObservationEncoder:
    """Encodes rows of a split, which routers see with empty queues, like :meth:`aamc_sdk.routing.features.Features.flat`."""

    def __init__(self, request: RoutingRequest, reward: Reward) -> None:
        features = encode(request, reward)
        self._flat = features.flat()
        first = features.query.shape[1]
        self._preference, self._pairs = slice(first, first + 3), slice(first + 3, None)
        self._quickness, self._log_wait = (slice(first + 3 + number, None, len(PAIR_FEATURES)) for number in (_QUICKNESS, _LOG_WAIT))
        self._pressure = slice(first + 3 + _PRESSURE, None, len(PAIR_FEATURES))
        self._expected = request.expected
        self._cache_read_usd = cache_read_cost(request.queries, request.pool)
        self._cache_read_usd_per_token = request.pool.arrays.cache_read_usd
        self._mask = request.mask
        self._reward = reward
        affine, known = reward.affine, np.isfinite(request.expected.latency_ms).all()
        self._lost_per_ms = np.array(-affine[0][_QUICKNESS], dtype=np.float32) if affine is not None and known else None

    @property
    def width(self) -> int:
        """Length of one observation."""
        return int(self._flat.shape[1])

    def observe(self, rows: NDArray[np.intp], preferences: Floats, wait_ms: Floats | None, view: StepView = NO_CHANGE) -> Array32:
        """Return observations ``[..., width]`` of rows ``[...]`` under preferences ``[..., 3]`` and waits ``[..., M]``, None for empty queues.

        The view is what else the state of the pool changes; its waits are ignored.
        """
        observation: Array32 = self._flat.take(rows, axis=0)
        observation[..., self._preference] = preferences
        if view.pressure is not None:
            observation[..., self._pressure] = view.pressure
        if view.added_usd is not None or view.allowed is not None or view.context_tokens is not None:
            self._change_pairs(observation, rows, wait_ms, view)
        elif wait_ms is not None and self._lost_per_ms is not None:
            quickness = observation[..., self._quickness]
            quickness -= self._lost_per_ms * wait_ms
            observation[..., self._log_wait] = np.log(wait_ms / _SECOND + _ONE)
        elif wait_ms is not None:
            self._change_pairs(observation, rows, wait_ms, view)
        if view.context_tokens is not None:
            earlier = np.expm1(10 * observation[..., _PROMPT])
            observation[..., _PROMPT] = np.log1p(earlier + view.context_tokens) / 10
        return observation

    def _change_pairs(self, observation: Array32, rows: NDArray[np.intp], wait_ms: Floats | None, view: StepView) -> None:
        expected, mask, cache_read_usd = self._expected.take(rows), self._mask[rows], self._cache_read_usd[rows]
        waits = np.zeros(mask.shape) if wait_ms is None else wait_ms
        cost = expected.cost_usd if view.added_usd is None else expected.cost_usd + view.added_usd
        expected = attrs.evolve(expected, cost_usd=cost, latency_ms=expected.latency_ms + waits)
        allowed = mask if view.allowed is None else mask & view.allowed
        if view.context_tokens is not None:
            cache_read_usd = cache_read_usd + view.context_tokens[..., None] * self._cache_read_usd_per_token
        pairs = encode_pairs(expected, waits, allowed, self._reward, view.pressure, cache_read_usd=cache_read_usd)
        observation[..., self._pairs] = pairs.reshape(*rows.shape, -1)
