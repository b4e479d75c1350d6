"""Observations of a split's rows: constant features are computed once, waits and preferences are filled in at each step."""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk import Reward, RoutingRequest
from aamc_sdk.routing import PAIR_FEATURES, Array32, encode, encode_pairs
from aamc_sdk.types import Floats

_ONE, _SECOND = np.array(1, dtype=np.float32), np.array(1000, dtype=np.float32)
"""Arrays instead of Python numbers, whose conversion takes as long as a small array's arithmetic."""
_QUICKNESS, _LOG_WAIT = PAIR_FEATURES.index("quickness"), PAIR_FEATURES.index("log_wait")


class Observer:
    """Encodes rows of a request like :meth:`aamc_sdk.routing.features.Features.flat`.

    Args:
        request: All Q rows of a split as routers see them, with empty queues.
        reward: Scales cost and latency.
    """

    def __init__(self, request: RoutingRequest, reward: Reward) -> None:
        features = encode(request, reward)
        self._flat = features.flat()
        first = features.query.shape[1]
        self._preference, self._pairs = slice(first, first + 3), slice(first + 3, None)
        self._quickness, self._log_wait = (slice(first + 3 + number, None, len(PAIR_FEATURES)) for number in (_QUICKNESS, _LOG_WAIT))
        self._expected = request.expected
        self._mask = request.mask
        self._reward = reward
        affine, known = reward.affine, np.isfinite(request.expected.latency_ms).all()
        self._lost_per_ms = np.array(-affine[0][_QUICKNESS], dtype=np.float32) if affine is not None and known else None

    @property
    def width(self) -> int:
        """Length of one observation."""
        return int(self._flat.shape[1])

    def observe(self, rows: NDArray[np.intp], preferences: Floats, wait_ms: Floats | None) -> Array32:
        """Return observations ``[..., width]`` of rows ``[...]`` under preferences ``[..., 3]`` and waits ``[..., M]``."""
        observation: Array32 = self._flat.take(rows, axis=0)
        observation[..., self._preference] = preferences
        if wait_ms is not None and self._lost_per_ms is not None:
            quickness = observation[..., self._quickness]
            quickness -= self._lost_per_ms * wait_ms
            observation[..., self._log_wait] = np.log(wait_ms / _SECOND + _ONE)
        elif wait_ms is not None:
            expected = self._expected.take(rows)
            expected = attrs.evolve(expected, latency_ms=expected.latency_ms + wait_ms)
            pairs = encode_pairs(expected, wait_ms, self._mask[rows], self._reward)
            observation[..., self._pairs] = pairs.reshape(*rows.shape, -1)
        return observation
