"""Building the request: expected outcomes and masks, filled by the core for every router alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types import Candidate, Estimates, Floats, Outcomes, Pool, Query, Record, RoutingRequest

T = TypeVar("T", bound=np.generic)
_BOTH = np.ones(2)
"""Sums prompt and output tokens."""


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
    preference_given: bool = True,
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
        preference_given: Whether somebody asked for the preferences.
    """
    rows, arrays = len(queries), pool.arrays
    tokens = token_counts(queries)
    cost_usd, latency_ms = _cost(queries, tokens, pool), _repeated(arrays.latency_ms, rows)
    if typical is not None and not arrays.complete:
        cost_usd, latency_ms = _filled(cost_usd, typical[:, 1]), _filled(latency_ms, typical[:, 2])
    expected = Outcomes(quality, cost_usd, latency_ms if wait_ms is None else latency_ms + wait_ms)
    forbidden = _forbidden(queries, tokens, pool, unavailable, None if budget_usd is None else cost_usd > budget_usd)
    return RoutingRequest(
        queries=queries,
        estimates=Estimates.unknown(rows) if estimates is None else estimates,
        pool=pool,
        preferences=_one_each(preferences, rows),
        expected=expected,
        wait_ms=_repeated(arrays.no_wait_ms, rows) if wait_ms is None else wait_ms,
        mask=~np.any(list(forbidden.values()), axis=0) if forbidden else _repeated(arrays.all_allowed, rows),
        masked_why=forbidden,
        preference_given=preference_given,
    )


def recorded_request(records: Sequence[Record], pool: Pool) -> RoutingRequest:
    """Return recorded requests as the router saw them.

    Args:
        records: B of them, at least one: of the same candidates, and all with a preference of their own or all without.
        pool: Describes the candidates; one that has left it is known by its name alone.
    """
    names, known = records[0].candidates, {candidate.name: candidate for candidate in pool}
    estimates = Estimates.stack([record.estimates for record in records])
    if not estimates.fingerprint:  # routers compare embeddings, and those of several estimators cannot be
        estimates = attrs.evolve(estimates, embedding=None)
    reasons = {why for record in records for why in record.masked_why.values()}
    quality = [record.expected.known_quality for record in records]
    return RoutingRequest(
        queries=[record.query for record in records],
        estimates=estimates,
        pool=Pool(known.get(name, Candidate(name)) for name in names),
        preferences=np.stack([record.decision.preference.array for record in records]),
        expected=Outcomes(
            quality=None if all(record.expected.quality is None for record in records) else np.concatenate(quality),
            cost_usd=np.concatenate([record.expected.cost_usd for record in records]),
            latency_ms=np.concatenate([record.expected.latency_ms for record in records]),
        ),
        wait_ms=np.concatenate([record.wait_ms for record in records]),
        mask=np.array([[name not in record.masked_why for name in names] for record in records]),
        masked_why={why: np.array([[record.masked_why.get(name) == why for name in names] for record in records]) for why in reasons},
        preference_given=records[0].preference_given,
    )


def _one_each(preferences: Floats, rows: int) -> Floats:
    weights = np.array(preferences, dtype=np.float64)  # a copy: the caller may write to its own
    return _repeated(weights, rows) if weights.ndim == 1 else np.broadcast_to(weights, (rows, 3))


def _repeated(array: NDArray[T], rows: int) -> NDArray[T]:
    """Return an array ``[N]`` as ``[rows, N]``, all rows the same memory."""
    return array[None] if rows == 1 else np.broadcast_to(array, (rows, len(array)))


def token_counts(queries: Sequence[Query]) -> Floats:
    """Return expected prompt and output tokens, ``[B, 2]``."""
    counts = [[query.expected_prompt_tokens for query in queries], [query.expected_output_tokens for query in queries]]
    return np.array(counts, dtype=np.float64).T  # two long lists become an array sooner than many short ones


def expected_cost(queries: Sequence[Query], pool: Pool) -> Floats:
    """Return the cost in USD ``[B, M]`` from prices and token counts, NaN without prices.

    The candidate that holds the conversation's prompt cache reads the prompt at its cached price;
    any other pays in full, so what a switch would lose is part of its cost.
    """
    return _cost(queries, token_counts(queries), pool)


def expected_latency(pool: Pool, rows: int) -> Floats:
    """Return the unloaded latency in ms, ``[rows, M]``, NaN where a candidate has no figures; read-only."""
    return _repeated(pool.arrays.latency_ms, rows)


def _cost(queries: Sequence[Query], tokens: Floats, pool: Pool) -> Floats:
    prices = pool.arrays.usd_per_token
    cost: Floats = tokens.dot(prices[:2])  # of arrays this small `dot` takes half as long as `@`
    for row, query in enumerate(queries):
        if query.cached_on is not None and query.cached_on in pool.names:
            m = pool.index(query.cached_on)
            cost[row, m] -= tokens[row, 0] * (prices[0, m] - prices[2, m])
    return cost


def _filled(values: Floats, means: Floats) -> Floats:
    """Replace unknown values ``[B, M]`` by means ``[M]``, else by the row's worst; NaN where a row has none at all."""
    likely = np.where(np.isnan(values), means, values)
    unknown = np.isnan(likely)
    worst = np.where(unknown, -np.inf, likely).max(axis=1, keepdims=True, initial=-np.inf)
    return np.where(unknown, np.where(np.isfinite(worst), worst, np.nan), likely)


def _forbidden(
    queries: Sequence[Query],
    tokens: Floats,
    pool: Pool,
    unavailable: NDArray[np.bool_] | None,
    over_budget: NDArray[np.bool_] | None,
) -> dict[str, NDArray[np.bool_]]:
    """Return by reason where a candidate is forbidden, ``[B, M]``; only reasons that forbid one."""
    shape, longest = (len(queries), len(pool)), max(tokens.dot(_BOTH).tolist(), default=0.0)
    reasons = {
        "context window": tokens.sum(axis=1)[:, None] > pool.arrays.window if longest > pool.arrays.least_window else None,
        "lacks a needed ability": _lacks_ability(queries, pool) if any(query.needs for query in queries) else None,
        "unavailable": None if unavailable is None else np.broadcast_to(unavailable, shape),
        "over budget": over_budget,
    }
    return {why: where for why, where in reasons.items() if where is not None and where.any()}


def _lacks_ability(queries: Sequence[Query], pool: Pool) -> NDArray[np.bool_]:
    lacking = np.zeros((len(queries), len(pool)), dtype=bool)
    for row, query in enumerate(queries):
        if query.needs:
            lacking[row] = [not query.needs <= candidate.abilities for candidate in pool]
    return lacking
