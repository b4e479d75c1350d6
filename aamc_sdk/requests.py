"""Building the request: expected outcomes and masks, filled by the core for every router alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aamc_sdk.batch import Estimates, Floats, Outcomes, RoutingRequest
from aamc_sdk.types import Candidate, ModelSpec, Pool, Query


def build_request(
    queries: Sequence[Query],
    pool: Pool,
    preferences: Floats,
    *,
    estimates: Estimates | None = None,
    quality: Floats | None = None,
    typical: Floats | None = None,
    wait_ms: Floats | None = None,
    unavailable: NDArray[np.bool_] | None = None,
    budget_usd: float | None = None,
) -> RoutingRequest:
    """Return what a router may know of B queries and M candidates.

    Args:
        queries: What is asked.
        pool: What may be chosen.
        preferences: One ``[3]``, or one each ``[B, 3]``.
        estimates: What the estimator says; nothing when None.
        quality: Expected quality ``[B, M]``; unknown when None.
        typical: Each candidate's mean quality, cost and latency ``[M, 3]``: what is expected of cost and latency
            where a candidate has no prices or figures. One without a mean is expected to be the worst of its row.
        wait_ms: Present waiting times ``[B, M]``; none when None.
        unavailable: Candidates that are down, ``[M]`` or ``[B, M]``.
        budget_usd: Most that one answer may be expected to cost.
    """
    shape = (len(queries), len(pool))
    waits = np.zeros(shape) if wait_ms is None else wait_ms
    cost_usd, latency_ms = expected_cost(queries, pool), expected_latency(pool, len(queries))
    if typical is not None:
        cost_usd, latency_ms = _filled(cost_usd, typical[:, 1]), _filled(latency_ms, typical[:, 2])
    expected = Outcomes(quality, cost_usd, latency_ms + waits)
    forbidden = {
        "context window": _too_long(queries, pool),
        "lacks a needed ability": _lacks_ability(queries, pool),
        "unavailable": np.broadcast_to(False if unavailable is None else unavailable, shape),
        "over budget": np.zeros(shape, bool) if budget_usd is None else expected.cost_usd > budget_usd,
    }
    return RoutingRequest(
        queries=queries,
        estimates=Estimates.unknown(len(queries)) if estimates is None else estimates,
        pool=pool,
        preferences=np.broadcast_to(np.asarray(preferences, dtype=np.float64), (len(queries), 3)),
        expected=expected,
        wait_ms=waits,
        mask=~np.any(list(forbidden.values()), axis=0),
        masked_why={why: where for why, where in forbidden.items() if where.any()},
    )


def token_counts(queries: Sequence[Query]) -> Floats:
    """Return expected prompt and output tokens, ``[B, 2]``."""
    counts = [(query.expected_prompt_tokens, query.expected_output_tokens) for query in queries]
    return np.array(counts, dtype=np.float64).reshape(-1, 2)


def expected_cost(queries: Sequence[Query], pool: Pool) -> Floats:
    """Return the cost in USD ``[B, M]`` from prices and token counts, NaN without prices.

    The candidate that holds the conversation's prompt cache reads the prompt at its cached price;
    any other pays in full, so what a switch would lose is part of its cost.
    """
    prices = np.array([_prices(candidate) for candidate in pool])
    tokens = token_counts(queries)
    cost = (tokens @ prices[:, :2].T) / 1e6
    for row, query in enumerate(queries):
        if query.cached_on in pool.names:
            m = pool.index(query.cached_on)
            cost[row, m] -= tokens[row, 0] * (prices[m, 0] - prices[m, 2]) / 1e6
    return np.asarray(cost)


def expected_latency(pool: Pool, rows: int) -> Floats:
    """Return the unloaded latency in ms, ``[rows, M]``, NaN where a candidate has no figures."""
    figures = [c.latency.total_ms if isinstance(c, ModelSpec) and c.latency is not None else np.nan for c in pool]
    return np.tile(np.array(figures), (rows, 1))


def _filled(values: Floats, means: Floats) -> Floats:
    """Replace unknown values ``[B, M]`` by means ``[M]``, else by the row's worst; NaN where a row has none at all."""
    likely = np.where(np.isnan(values), means, values)
    unknown = np.isnan(likely)
    worst = np.where(unknown, -np.inf, likely).max(axis=1, keepdims=True, initial=-np.inf)
    return np.where(unknown, np.where(np.isfinite(worst), worst, np.nan), likely)


def _prices(candidate: Candidate) -> tuple[float, float, float]:
    if not isinstance(candidate, ModelSpec) or candidate.prices is None:
        return (np.nan, np.nan, np.nan)
    prices = candidate.prices
    return (prices.input, prices.output, prices.input if prices.cached_input is None else prices.cached_input)


def _too_long(queries: Sequence[Query], pool: Pool) -> NDArray[np.bool_]:
    windows = [c.context_window if isinstance(c, ModelSpec) and c.context_window is not None else np.inf for c in pool]
    return np.asarray(token_counts(queries).sum(axis=1)[:, None] > np.array(windows))


def _lacks_ability(queries: Sequence[Query], pool: Pool) -> NDArray[np.bool_]:
    lacking = np.zeros((len(queries), len(pool)), dtype=bool)
    for row, query in enumerate(queries):
        if query.needs:
            lacking[row] = [not query.needs <= candidate.abilities for candidate in pool]
    return lacking
