"""Prices, latencies and context windows of a pool as arrays, computed once a pool."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types.arithmetic import Floats, read_only
from aamc_sdk.types.candidates import Candidate, ModelSpec, Prices


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
        specs = [candidate if isinstance(candidate, ModelSpec) else ModelSpec(candidate.name) for candidate in pool]
        per_request = np.array([spec.prices.request if spec.prices else 0.0 for spec in specs])
        usd_per_token = np.array([_usd_per_million(spec.prices) for spec in specs]).T.copy() / 1e6
        latency_ms = np.array([spec.latency.total_ms if spec.latency else np.nan for spec in specs])
        service_ms = np.array([spec.latency.service_ms if spec.latency else np.nan for spec in specs])
        window = np.array([spec.context_window or np.inf for spec in specs])
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


def _usd_per_million(prices: Prices | None) -> tuple[float, float, float]:
    if prices is None:
        return (np.nan, np.nan, np.nan)
    return (prices.input, prices.output, prices.input if prices.cached_input is None else prices.cached_input)
