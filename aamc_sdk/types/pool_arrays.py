"""Prices, latencies and context windows of a pool as arrays, computed once a pool."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types.arithmetic import Floats, read_only
from aamc_sdk.types.candidates import Candidate, ModelSpec


@attrs.frozen(eq=False)
class PoolArrays:
    """Prices, latencies and context windows of M candidates; NaN if unknown. Read-only, since requests share the memory.

    Attributes:
        usd_per_token: Prices of prompt, answer and cached prompt in USD a token, ``[3, M]``.
        usd_per_request: Price a request in USD, ``[M]``; None if all are 0.
        latency_ms: Unloaded latency in milliseconds, ``[M]``.
        service_ms: The part of it that grows with the answer's length, ``[M]``.
        window: Maximum tokens of prompt and answer together, infinity without a limit, ``[M]``.
        has_latency: Whether any latency is known.
        has_windows: Whether any window is limited.
        complete: Whether every price and latency is known.
        no_wait_ms: Zeros, the waits of an idle pool, ``[M]``.
        all_allowed: True, the mask without a forbidden candidate, ``[M]``.
    """

    usd_per_token: Floats = attrs.field(converter=read_only)
    usd_per_request: Floats | None
    latency_ms: Floats = attrs.field(converter=read_only)
    service_ms: Floats = attrs.field(converter=read_only)
    window: Floats = attrs.field(converter=read_only)
    has_latency: bool
    has_windows: bool
    complete: bool
    no_wait_ms: Floats = attrs.field(converter=read_only)
    all_allowed: NDArray[np.bool_] = attrs.field(converter=read_only)

    @classmethod
    def of(cls, pool: Sequence[Candidate]) -> PoolArrays:
        """Return the arrays of a pool's candidates."""
        per_request = np.array([c.prices.request if isinstance(c, ModelSpec) and c.prices is not None else 0.0 for c in pool])
        usd_per_token = np.array([_prices(candidate) for candidate in pool]).T.copy() / 1e6
        latency_ms = np.array([c.latency.total_ms if isinstance(c, ModelSpec) and c.latency is not None else np.nan for c in pool])
        service_ms = np.array([c.latency.service_ms if isinstance(c, ModelSpec) and c.latency is not None else np.nan for c in pool])
        window = np.array([c.context_window if isinstance(c, ModelSpec) and c.context_window is not None else np.inf for c in pool])
        complete = bool(np.isfinite(usd_per_token).all() and np.isfinite(latency_ms).all())
        size = len(pool)
        usd_per_request = read_only(per_request) if per_request.any() else None
        return cls(
            usd_per_token,
            usd_per_request,
            latency_ms,
            service_ms,
            window,
            bool(np.isfinite(latency_ms).any()),
            bool(np.isfinite(window).any()),
            complete,
            no_wait_ms=np.zeros(size),
            all_allowed=np.ones(size, bool),
        )


def _prices(candidate: Candidate) -> tuple[float, float, float]:
    if not isinstance(candidate, ModelSpec) or candidate.prices is None:
        return (np.nan, np.nan, np.nan)
    prices = candidate.prices
    return (prices.input, prices.output, prices.input if prices.cached_input is None else prices.cached_input)
