"""The request: expected outcomes and masks, the same for every router."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from aamc_sdk.interfaces import Estimator
from aamc_sdk.messages import check_type, component_errors, quantity, value_text
from aamc_sdk.types import (
    DEFAULT_OUTPUT_TOKENS,
    AnswerLengths,
    Estimates,
    Floats,
    Outcomes,
    Pool,
    PoolState,
    Preference,
    Query,
    RoutingRequest,
    read_only,
)

T = TypeVar("T", bound=np.generic)
_IDLE = PoolState()


def build_request(
    queries: Sequence[Query],
    pool: Pool,
    preferences: Floats,
    *,
    estimates: Estimates | None = None,
    quality: Floats | None = None,
    candidate_means: Floats | None = None,
    state: PoolState | None = None,
    budget_usd: float | None = None,
    preference_given: bool = True,
    lengths: AnswerLengths | None = None,
    estimator: Estimator | None = None,
) -> RoutingRequest:
    """Return the request of B queries among M candidates. Its arrays are read-only: a router that wrote to them would change the log.

    Args:
        queries: The queries.
        pool: The candidates.
        preferences: One preference ``[3]``, or one for each query ``[B, 3]``.
        estimates: The estimator's description of the queries; unknown when None.
        quality: Expected quality ``[B, M]``; unknown when None.
        candidate_means: Each candidate's mean quality, cost and latency ``[M, 3]``, in place of missing prices and latencies. A candidate
            without a mean is expected to be the worst of its row, but fits no budget.
        state: The present state of the candidates; all idle and available when None.
        budget_usd: Maximum expected cost of an answer. A candidate of unknown cost fits no budget.
        preference_given: Whether the caller chose the preferences.
        lengths: Expected lengths of the answers; 256 tokens each when None. A query's own ``output_tokens`` have priority.
        estimator: Provides estimates, quality and lengths where these are None; None for no estimator.

    Raises:
        PoolError: The state names a candidate that is not in the pool.
        PluginError: The estimator raised an error that is not an AamcError, or its estimates are not those of the queries.
    """
    queries = tuple(queries)  # which neither an estimator nor a router can reorder
    if estimator is not None:
        estimates, quality, lengths = _with_estimator(estimator, queries, pool, estimates, quality, lengths)
    rows = len(queries)
    arrays = pool.arrays
    present = state or _IDLE
    tokens = token_counts(queries)
    cost_usd, latency_ms, output = _expected_figures(queries, tokens, pool, lengths, candidate_means)
    needed = _window_tokens(queries, tokens, output) if arrays.has_windows else None
    forbidden = _forbidden_cells(queries, needed, pool, present, cost_usd, budget_usd)
    if candidate_means is not None and not arrays.complete:
        cost_usd, latency_ms = _or_worst(cost_usd), _or_worst(latency_ms)
    wait_ms = _state_rows(present.wait_ms, pool, rows)
    request = RoutingRequest(
        queries=queries,
        estimates=Estimates.unknown(rows) if estimates is None else estimates,
        pool=pool,
        preferences=_preference_rows(preferences, rows),
        expected=Outcomes(quality, cost_usd, latency_ms if wait_ms is None else latency_ms + wait_ms, output_tokens=output),
        wait_ms=_repeated(arrays.no_wait_ms, rows) if wait_ms is None else wait_ms,
        mask=~np.any(list(forbidden.values()), axis=0) if forbidden else _repeated(arrays.all_allowed, rows),
        masked_why=forbidden,
        preference_given=preference_given,
        in_flight=_state_rows(present.in_flight, pool, rows),
        budget_usd=budget_usd,
        pressure=_state_rows(present.pressure, pool, rows),
        embed=None if estimator is None else estimator.embed,
    )
    _protect(request, with_estimates=estimates is not None)
    return request


def _with_estimator(
    estimator: Estimator,
    queries: Sequence[Query],
    pool: Pool,
    estimates: Estimates | None,
    quality: Floats | None,
    lengths: AnswerLengths | None,
) -> tuple[Estimates, Floats | None, AnswerLengths | None]:
    """Return estimates, expected quality and lengths of answers: those given, else an estimator's."""
    shape = len(queries), len(pool)
    with component_errors(f"{estimator.message_name} failed"):
        if estimates is None:
            estimates = _checked_estimates(estimator.estimate(queries), len(queries))
        if quality is None:
            quality = _checked_quality(estimator.quality(estimates, pool), shape, "quality")
        if lengths is None:
            lengths = _checked_lengths(estimator.answer_lengths(estimates, pool), shape, "answer_lengths")
    return estimates, quality, lengths


def _checked_estimates(estimates: Estimates, rows: int) -> Estimates:
    contract = f"estimate must return the aamc_sdk.Estimates of {quantity(rows, 'query', 'queries')}"
    if len(check_type(estimates, Estimates, contract)) != rows:
        raise ValueError(f"{contract}, not those of {len(estimates)}")
    for name, shape in (("complexity", (rows,)), ("tool_use", (rows,)), ("categories", (rows, len(estimates.category_names)))):
        array = getattr(estimates, name)
        if getattr(array, "shape", None) != shape:
            raise ValueError(f"estimate must return {name} of shape {shape}, not {value_text(array)}")
    embedding = estimates.embedding
    if embedding is not None and (not isinstance(embedding, np.ndarray) or embedding.ndim != 2 or len(embedding) != rows):
        raise ValueError(f"estimate must return an embedding of shape ({rows}, D), not {value_text(embedding)}")
    _check_unit(estimates.complexity, "complexity of estimate must be")
    return estimates


def out_of_fold(estimator: Estimator, rows: int, pool: Pool) -> tuple[Floats | None, AnswerLengths | None]:
    """Return the quality ``[rows, M]`` and the lengths of answers that a trained estimator expects of its training rows; None for unknown.

    Raises:
        PluginError: The estimator raised an error that is not an AamcError, or its arrays are not those of the rows.
    """
    with component_errors(f"{estimator.message_name} failed"):
        quality = _checked_quality(estimator.out_of_fold(), (rows, len(pool)), "out_of_fold")
        return quality, _checked_lengths(estimator.out_of_fold_lengths(pool), (rows, len(pool)), "out_of_fold_lengths")


def _checked_quality(quality: Floats | None, shape: tuple[int, int], method: str) -> Floats | None:
    if quality is None:
        return None
    if not isinstance(quality, np.ndarray) or quality.shape != shape or quality.dtype.kind != "f":
        raise ValueError(f"{method} must return floats of shape {shape} (queries, candidates), not {value_text(quality)}")
    _check_unit(quality, f"{method} must return")
    return quality


def _check_unit(values: Floats, contract: str) -> None:
    wrong = abs(values - 0.5) > 0.500001  # room for rounding; one comparison, as each decision pays for it; False for NaN
    if np.count_nonzero(wrong):
        raise ValueError(f"{contract} values from 0 to 1, or NaN if unknown, not {values[wrong][0]}")


def _checked_lengths(lengths: AnswerLengths | None, shape: tuple[int, int], method: str) -> AnswerLengths | None:
    if lengths is None:
        return None
    check_type(lengths, AnswerLengths, f"{method} must return aamc_sdk.types.AnswerLengths")
    found = np.shape(lengths.tokens), np.shape(lengths.mean_tokens)
    if found != (shape, shape[1:]) or np.shape(lengths.fixed_latency) not in ((), shape[1:]):
        expected = f"tokens of shape {shape} (queries, candidates), mean_tokens of shape {shape[1:]}, and fixed_latency of that shape or one number"
        raise ValueError(f"{method} must return {expected}, not shapes {found[0]}, {found[1]} and {np.shape(lengths.fixed_latency)}")
    return lengths


def _protect(request: RoutingRequest, *, with_estimates: bool) -> None:
    """Make the arrays of a request read-only, except those that are so already."""
    expected, estimates = request.expected, request.estimates
    arrays: list[NDArray[Any] | None] = [request.preferences, expected.cost_usd, expected.latency_ms, expected.output_tokens, expected.quality]
    if with_estimates:
        arrays += [estimates.complexity, estimates.categories, estimates.tool_use, estimates.embedding]
    if request.masked_why:
        arrays += [request.mask, *request.masked_why.values()]
    for array in arrays:
        if array is not None:
            array.setflags(write=False)


def _state_rows(figures: Mapping[str, float], pool: Pool, rows: int) -> Floats | None:
    """Return values by name as a read-only array ``[rows, M]`` in the pool's order, 0 for a candidate without one; None without any."""
    if not figures:
        return None
    array = np.zeros(len(pool))
    for name, figure in figures.items():
        array[pool.index(name)] = figure
    return _repeated(read_only(array), rows)


def typical_request(pool: Pool) -> RoutingRequest:
    """Return one request of a typical size at the default preference: 256 tokens of prompt and of answer, without estimates."""
    return build_request([Query("", prompt_tokens=DEFAULT_OUTPUT_TOKENS, output_tokens=DEFAULT_OUTPUT_TOKENS)], pool, Preference().array)


def _preference_rows(preferences: Floats, rows: int) -> Floats:
    weights = np.array(preferences, dtype=np.float64)  # a copy, which the caller cannot change
    return _repeated(weights, rows) if weights.ndim == 1 else np.broadcast_to(weights, (rows, 3))


def _repeated(array: NDArray[T], rows: int) -> NDArray[T]:
    """Return an array ``[N]`` as ``[rows, N]``; all rows share the memory."""
    return array[None] if rows == 1 else np.broadcast_to(array, (rows, len(array)))


def token_counts(queries: Sequence[Query]) -> Floats:
    """Return expected prompt and output tokens, ``[B, 2]``."""
    counts = [[query.expected_prompt_tokens for query in queries], [query.expected_output_tokens for query in queries]]
    return np.array(counts, dtype=np.float64).T  # two long lists convert faster than many short ones


def _expected_figures(
    queries: Sequence[Query], tokens: Floats, pool: Pool, lengths: AnswerLengths | None, candidate_means: Floats | None
) -> tuple[Floats, Floats, Floats | None]:
    """Return cost, unloaded latency and output tokens, ``[B, M]`` each; cost and latency are NaN, and output tokens None, where unknown."""
    arrays = pool.arrays
    output = _output_tokens(queries, tokens, lengths)
    cost_usd = _cost(queries, tokens, pool, None if lengths is None else output)
    latency_ms = _repeated(arrays.latency_ms, len(queries))
    relative: Floats | float = 1.0
    if output is not None:
        usual: Floats | int = DEFAULT_OUTPUT_TOKENS
        if lengths is not None:
            learned = ~np.isnan(lengths.mean_tokens)
            usual = np.where(learned, np.maximum(lengths.mean_tokens, 1.0), DEFAULT_OUTPUT_TOKENS)
            relative = np.where(learned, output / usual, 1.0)
        if arrays.has_latency:
            latency_ms = (output / usual - 1) * arrays.service_ms + latency_ms
    if candidate_means is not None and not arrays.complete:
        cost_usd = np.where(np.isnan(cost_usd), candidate_means[:, 1] * relative, cost_usd)
        fixed = 0.0 if lengths is None else lengths.fixed_latency
        latency_ms = np.where(np.isnan(latency_ms), candidate_means[:, 2] * (fixed + (1 - fixed) * relative), latency_ms)
    return cost_usd, latency_ms, None if output is None else output.repeat(len(pool) // output.shape[1], axis=1)


def _output_tokens(queries: Sequence[Query], tokens: Floats, lengths: AnswerLengths | None) -> Floats | None:
    """Return the expected output tokens, ``[B, M]``, or ``[B, 1]`` where no candidate differs; None if they are neither stated nor learned."""
    given = [query.output_tokens is not None for query in queries]
    if lengths is None:
        return tokens[:, 1:] if True in given else None
    return np.where(np.array(given, dtype=bool)[:, None] | np.isnan(lengths.tokens), tokens[:, 1:], lengths.tokens)


def expected_cost(queries: Sequence[Query], pool: Pool, output_tokens: Floats | None = None) -> Floats:
    """Return the cost in USD ``[B, M]`` from prices and token counts, NaN without prices.

    The candidate that holds the conversation's prompt cache reads what is in it at its cached price; any other one reads all of the
    prompt at the full price. So the cost of a switch includes the lost cache. Where the lengths of the answers ``output_tokens``
    ``[B, M]`` are NaN or not given, those of the queries count.
    """
    tokens = token_counts(queries)
    known = None if output_tokens is None else np.where(np.isnan(output_tokens), tokens[:, 1:], output_tokens)
    return _cost(queries, tokens, pool, known)


def cache_savings(queries: Sequence[Query], pool: Pool) -> Floats | None:
    """Return each candidate's savings in USD from a conversation's prompt cache, ``[B, M]``; None without a cache, NaN without prices.

    A switch to another candidate loses them. :func:`expected_cost` subtracts them.
    """
    prices = pool.arrays.usd_per_token
    savings = None
    for row, query in enumerate(queries):
        if query.cached_on is not None and query.cached_on in pool.names:
            savings = np.zeros((len(queries), len(pool))) if savings is None else savings
            m = pool.index(query.cached_on)
            savings[row, m] = query.expected_cached_tokens * (prices[0, m] - prices[2, m])
    return savings


def cache_read_cost(queries: Sequence[Query], pool: Pool) -> Floats:
    """Return the cost in USD of reading queries and answers again from each candidate's prompt cache, ``[B, M]``.

    Each later turn of a conversation costs that much more if it stays with the candidate. A candidate without a price of cached input reads at its
    full price, one without prices at the maximum of the pool's; 0 if no candidate has any.
    """
    return np.asarray(token_counts(queries).sum(axis=1)[:, None] * pool.arrays.cache_read_usd)


def _cost(queries: Sequence[Query], tokens: Floats, pool: Pool, output_tokens: Floats | None) -> Floats:
    """Return the cost in USD, ``[B, M]``, with the queries' own numbers of output tokens where None."""
    cost: Floats = tokens.dot(pool.arrays.usd_per_token[:2])  # `dot` is twice as fast as `@` for small arrays
    savings = cache_savings(queries, pool)
    if savings is not None:
        cost -= savings
    if pool.arrays.usd_per_request is not None:
        cost = cost + pool.arrays.usd_per_request
    return cost if output_tokens is None else np.asarray(cost + (output_tokens - tokens[:, 1:]) * pool.arrays.usd_per_token[1])


def _or_worst(values: Floats) -> Floats:
    """Replace unknown values ``[B, M]`` by their row's maximum; NaN if the row has no value."""
    unknown = np.isnan(values)
    worst = np.where(unknown, -np.inf, values).max(axis=1, keepdims=True, initial=-np.inf)
    return np.where(unknown, np.where(np.isfinite(worst), worst, np.nan), values)


def _window_tokens(queries: Sequence[Query], tokens: Floats, output: Floats | None) -> Floats:
    """Return the tokens that a context window must hold, ``[B, M]`` or ``[B, 1]``."""
    needed: Floats = tokens[:, :1] + (tokens[:, 1:] if output is None else output)
    for row, query in enumerate(queries):
        if query.window_tokens is not None:
            needed[row] = query.window_tokens
    return needed


def _forbidden_cells(
    queries: Sequence[Query], tokens: Floats | None, pool: Pool, state: PoolState, cost_usd: Floats, budget_usd: float | None
) -> dict[str, NDArray[np.bool_]]:
    """Return the forbidden cells ``[B, M]`` by reason; only reasons that forbid one. Tokens are ``[B, M]``, ``[B, 1]``, or None without limits."""
    shape = len(queries), len(pool)
    reasons: dict[str, NDArray[np.bool_]] = {} if tokens is None else {"context window": tokens > pool.arrays.window}
    for need in sorted({need for query in queries for need in query.needs}):
        unable = [need not in candidate.abilities for candidate in pool]
        reasons[f"lacks {need}"] = np.logical_and.outer([need in query.needs for query in queries], unable)
    if state.unavailable:
        reasons["unavailable"] = _columns_of(state.unavailable, pool, shape)
    if state.remaining:
        reasons["rate limit"] = _columns_of([name for name, remaining in state.remaining.items() if remaining < 1], pool, shape)
    if budget_usd is not None:
        reasons["over budget"], reasons["unknown cost, which fits no budget"] = cost_usd > budget_usd, np.isnan(cost_usd)
    return {why: where for why, where in reasons.items() if np.count_nonzero(where)}


def _columns_of(names: Collection[str], pool: Pool, shape: tuple[int, int]) -> NDArray[np.bool_]:
    columns = np.zeros(shape, dtype=bool)
    columns[:, [pool.index(name) for name in names]] = True
    return columns
