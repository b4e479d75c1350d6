"""A pool's figures as arrays: taken from the candidates once, since every request needs them."""

from __future__ import annotations

import attrs
import numpy as np

from aamc_sdk.batch import Floats
from aamc_sdk.types import Candidate, ModelSpec, Pool


@attrs.frozen(eq=False)
class PoolArrays:
    """What M candidates charge, take and hold; NaN where a candidate does not say.

    Attributes:
        usd_per_token: Of the prompt, the answer, and a prompt read from a cache, ``[M, 3]``.
        latency_ms: Unloaded, ``[M]``.
        window: Most tokens of prompt and answer together, infinite without a limit, ``[M]``.
        complete: Whether no price and no latency is missing.
        limited: Whether any candidate has a window.
    """

    usd_per_token: Floats
    latency_ms: Floats
    window: Floats
    complete: bool
    limited: bool

    @classmethod
    def of(cls, pool: Pool) -> PoolArrays:
        """Read a pool's candidates."""
        usd_per_token = np.array([_prices(candidate) for candidate in pool]) / 1e6
        latency_ms = np.array([c.latency.total_ms if isinstance(c, ModelSpec) and c.latency is not None else np.nan for c in pool])
        window = np.array([c.context_window if isinstance(c, ModelSpec) and c.context_window is not None else np.inf for c in pool])
        complete = bool(np.isfinite(usd_per_token).all() and np.isfinite(latency_ms).all())
        return cls(usd_per_token, latency_ms, window, complete, bool(np.isfinite(window).any()))


def _prices(candidate: Candidate) -> tuple[float, float, float]:
    if not isinstance(candidate, ModelSpec) or candidate.prices is None:
        return (np.nan, np.nan, np.nan)
    prices = candidate.prices
    return (prices.input, prices.output, prices.input if prices.cached_input is None else prices.cached_input)
