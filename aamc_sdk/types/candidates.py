"""What may be chosen. Prices are USD per million tokens, latencies milliseconds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs

from aamc_sdk.errors import DataError, PoolError, nearest, one_of
from aamc_sdk.types.checks import is_amount, names_field
from aamc_sdk.types.texts import check_name

if TYPE_CHECKING:
    from aamc_sdk.types.pool_arrays import PoolArrays


def _check_price(prices: Prices, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not (is_amount(value) and math.isfinite(value)):
        raise PoolError(f"price {attribute.name} must be USD of at least 0, not {value!r}")


@attrs.frozen
class Prices:
    """USD per million tokens: of the prompt, of the answer, and of a prompt read from a cache."""

    input: float = attrs.field(validator=_check_price)
    output: float = attrs.field(validator=_check_price)
    cached_input: float | None = attrs.field(default=None, validator=_check_price)


def _check_latency(latency: Latency, attribute: attrs.Attribute[Any], value: float) -> None:
    if not (is_amount(value) and math.isfinite(value)):
        raise PoolError(f"{attribute.name} must be milliseconds of at least 0, not {value!r}")


@attrs.frozen
class Latency:
    """What an unloaded candidate takes, in milliseconds: the way there and back, and the mean service time."""

    network_ms: float = attrs.field(default=0.0, validator=_check_latency)
    service_ms: float = attrs.field(default=0.0, validator=_check_latency)

    @property
    def total_ms(self) -> float:
        """Mean latency without waiting."""
        return self.network_ms + self.service_ms


def _check_candidate(candidate: Candidate, attribute: attrs.Attribute[Any], value: object) -> None:
    try:
        check_name(value, "a candidate's name")
    except DataError as error:
        raise PoolError(str(error)) from error


@attrs.frozen
class Candidate:
    """What may be chosen: a model or an agent, known by its name and described in words."""

    name: str = attrs.field(validator=_check_candidate)
    description: str = ""
    abilities: frozenset[str] = attrs.field(default=frozenset(), converter=names_field)


def _check_window(spec: ModelSpec, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and value <= 0:
        raise PoolError(f"the context window of {spec.name!r} must be at least 1 token, not {value!r}")


@attrs.frozen
class ModelSpec(Candidate):
    """A model that may be chosen.

    Attributes:
        prices: USD per million tokens, or None where nobody knows (its cost is then NaN).
        latency: Unloaded latency, or None where nobody knows.
        context_window: Most tokens of prompt and answer together, or None for no limit.
        endpoint: Where it is served, for what calls it.
    """

    prices: Prices | None = None
    latency: Latency | None = None
    context_window: int | None = attrs.field(default=None, validator=_check_window)
    endpoint: str | None = None


def _as_tuple(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    return tuple(candidates)


@attrs.frozen(eq=False, slots=False)
class Pool:
    """The candidates of a request, in a fixed order.

    Raises:
        PoolError: There is no candidate, two have one name, or one is something else.
    """

    candidates: tuple[Candidate, ...] = attrs.field(converter=_as_tuple)

    def __attrs_post_init__(self) -> None:
        if not self.candidates:
            raise PoolError("a pool needs at least one candidate, and this one has none")
        for candidate in self.candidates:
            if not isinstance(candidate, Candidate):
                raise PoolError(f"a pool is made of candidates, such as ModelSpec('name'), not {candidate!r:.80}")
        if len(set(self.names)) < len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise PoolError(f"each candidate needs a name of its own; twice in the pool: {one_of(twice)}")

    def __len__(self) -> int:
        return len(self.candidates)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pool) and self.candidates == other.candidates

    def __hash__(self) -> int:
        return hash(self.candidates)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made from; it computes its arrays itself, since copies of arrays are not read-only."""
        return {"candidates": self.candidates}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The candidates' names, in order."""
        return tuple(candidate.name for candidate in self.candidates)

    @cached_property
    def arrays(self) -> PoolArrays:
        """The candidates' prices, latencies and windows."""
        from aamc_sdk.types.pool_arrays import PoolArrays

        return PoolArrays.of(self)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.names)}

    def index(self, name: str) -> int:
        """Return a candidate's position.

        Raises:
            PoolError: No candidate has that name.
        """
        try:
            return self._positions[name]
        except KeyError:
            hint = nearest(name, self.names)
            raise PoolError(f"the pool has no candidate {name!r}{hint} (it has {one_of(self.names)})") from None

    def subset(self, names: Sequence[str]) -> Pool:
        """Return a pool of the named candidates, in the order given."""
        return Pool(self.candidates[self.index(name)] for name in names)
