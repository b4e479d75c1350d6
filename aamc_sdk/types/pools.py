"""Model pools: the candidates, their figures as arrays, and their present state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import DataError, PoolError
from aamc_sdk.messages import check_type, one_of, unknown_name
from aamc_sdk.types.arithmetic import Floats, read_only
from aamc_sdk.types.candidates import Candidate, Prices
from aamc_sdk.types.checks import MAX_FIGURE, is_figure, names_field
from aamc_sdk.types.lazy_property import lazy_property


@attrs.frozen(eq=False)
class PoolArrays:
    """Prices, latencies and context windows of M candidates; NaN if unknown. Read-only, since requests share the memory.

    Attributes:
        usd_per_token: Prices of prompt, answer and cached prompt in USD a token, ``[3, M]``.
        cache_read_usd: Prices of cached prompt in USD a token, ``[M]``; the pool's maximum if unknown.
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
    cache_read_usd: Floats = attrs.field(converter=read_only)
    usd_per_request: Floats | None = attrs.field(converter=attrs.converters.optional(read_only))
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
        usd_per_token = np.array([_usd_per_million(each.prices) for each in pool]).T.copy() / 1e6
        cached = usd_per_token[2]
        per_request = np.array([each.prices.request if each.prices else 0.0 for each in pool])
        latency_ms = np.array([each.latency.total_ms if each.latency else np.nan for each in pool])
        window = np.array([each.context_window or np.inf for each in pool])
        return cls(
            usd_per_token=usd_per_token,
            cache_read_usd=np.where(np.isnan(cached), np.fmax.reduce(cached, initial=0.0), cached),
            usd_per_request=per_request if per_request.any() else None,
            latency_ms=latency_ms,
            service_ms=np.array([each.latency.service_ms if each.latency else np.nan for each in pool]),
            window=window,
            has_latency=bool(np.isfinite(latency_ms).any()),
            has_windows=bool(np.isfinite(window).any()),
            complete=bool(np.isfinite(usd_per_token).all() and np.isfinite(latency_ms).all()),
            no_wait_ms=np.zeros(len(pool)),
            all_allowed=np.ones(len(pool), bool),
        )


def _usd_per_million(prices: Prices | None) -> tuple[float, float, float]:
    if prices is None:
        return (np.nan, np.nan, np.nan)
    return (prices.input, prices.output, prices.input if prices.cached_input is None else prices.cached_input)


def _as_tuple(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    return tuple(candidates)


@attrs.frozen(slots=False)
class Pool:
    """The candidates of a request, in a fixed order. ``len(pool)`` is their number, and iteration yields them.

    Attributes:
        candidates: The candidates: ``pool.candidates[pool.index(name)]`` is the one of a name.

    Raises:
        PoolError: The pool is empty, two candidates have the same name, or an entry is not a candidate.
    """

    candidates: tuple[Candidate, ...] = attrs.field(converter=_as_tuple)

    def __attrs_post_init__(self) -> None:
        if not self.candidates:
            raise PoolError("a pool must have at least one candidate; this one is empty")
        for candidate in self.candidates:
            check_type(candidate, Candidate, "a pool's entries must be candidates such as ModelSpec('name')", PoolError)
        if len(set(self.names)) < len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise PoolError(f"names of candidates must be unique; used twice in the pool: {one_of(twice)}")

    def __len__(self) -> int:
        return len(self.candidates)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)

    def __getstate__(self) -> dict[str, Any]:
        """Return the candidates only: a copy computes its own arrays, since copied arrays would be writable."""
        return {"candidates": self.candidates}

    @lazy_property
    def names(self) -> tuple[str, ...]:
        """The candidates' names, in order."""
        return tuple(candidate.name for candidate in self.candidates)

    @lazy_property
    def arrays(self) -> PoolArrays:
        """The candidates' prices, latencies and context windows as arrays."""
        return PoolArrays.of(self.candidates)

    def index(self, name: str) -> int:
        """Return a candidate's position.

        Raises:
            PoolError: No candidate has that name.
        """
        try:
            return self.names.index(name)
        except ValueError:
            raise PoolError(unknown_name("the pool has no candidate", name, self.names)) from None

    def subset(self, names: Sequence[str]) -> Pool:
        """Return a pool of the named candidates, in the order given."""
        return Pool(self.candidates[self.index(name)] for name in names)


def _unavailable_names(values: Iterable[str]) -> frozenset[str]:
    return names_field(values, "unavailable must be a list of candidates' names")


def _amounts(values: Mapping[str, float]) -> dict[str, float]:
    return dict(check_type(values, Mapping, "values of a pool's state must be given by candidate's name, such as {'small': 20.0}", DataError))


def _check_amounts(state: PoolState, attribute: attrs.Attribute[Any], values: Mapping[str, float]) -> None:
    for name, value in values.items():
        if not is_figure(value):
            raise DataError(f"{attribute.name} of {name!r} must be a number from 0 to {MAX_FIGURE:g}, not {value!r:.80}")


@attrs.frozen(kw_only=True)
class PoolState:
    """The present state of the candidates. A candidate without an entry has 0 there, and no rate limit.

    Attributes:
        unavailable: Names of candidates that are down.
        wait_ms: Time until a candidate could start, in milliseconds, by name.
        in_flight: Requests in progress at a candidate, by name.
        pressure: How scarce a candidate is beyond its wait, by name: the used share of its rate limit or budget, its outstanding work relative to
            its capacity, or 1 for an announced burst of traffic. Routers that plan ahead read it, on the scale of the environment that they were
            trained in; the others ignore it.
        remaining: Requests that a candidate's rate limit still allows, by name; a candidate with none left is masked.

    Raises:
        DataError: A value cannot be used.
    """

    unavailable: frozenset[str] = attrs.field(default=frozenset(), converter=_unavailable_names)
    wait_ms: Mapping[str, float] = attrs.field(factory=dict, hash=False, converter=_amounts, validator=_check_amounts)
    in_flight: Mapping[str, float] = attrs.field(factory=dict, hash=False, converter=_amounts, validator=_check_amounts)
    pressure: Mapping[str, float] = attrs.field(factory=dict, hash=False, converter=_amounts, validator=_check_amounts)
    remaining: Mapping[str, float] = attrs.field(factory=dict, hash=False, converter=_amounts, validator=_check_amounts)
