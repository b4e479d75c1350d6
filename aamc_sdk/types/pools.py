"""Model pools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import attrs

from aamc_sdk.errors import PoolError, one_of, unknown_name
from aamc_sdk.types.candidates import Candidate
from aamc_sdk.types.pool_arrays import PoolArrays


def _as_tuple(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    return tuple(candidates)


@attrs.frozen(eq=False, slots=False)
class Pool:
    """The candidates of a request, in a fixed order.

    Raises:
        PoolError: The pool is empty, two candidates have the same name, or an entry is not a candidate.
    """

    candidates: tuple[Candidate, ...] = attrs.field(converter=_as_tuple)

    def __attrs_post_init__(self) -> None:
        if not self.candidates:
            raise PoolError("a pool must have at least one candidate; this one is empty")
        for candidate in self.candidates:
            if not isinstance(candidate, Candidate):
                raise PoolError(f"a pool's entries must be candidates such as ModelSpec('name'), not {candidate!r:.80}")
        if len(set(self.names)) < len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise PoolError(f"names of candidates must be unique; used twice in the pool: {one_of(twice)}")

    def __len__(self) -> int:
        return len(self.candidates)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pool) and self.candidates == other.candidates

    def __hash__(self) -> int:
        return hash(self.candidates)

    def __getstate__(self) -> dict[str, Any]:
        """Return the candidates only: a copy computes its own arrays, since copied arrays would be writable."""
        return {"candidates": self.candidates}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The candidates' names, in order."""
        return tuple(candidate.name for candidate in self.candidates)

    @cached_property
    def arrays(self) -> PoolArrays:
        """The candidates' prices, latencies and context windows as arrays."""
        return PoolArrays.of(self.candidates)

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
            raise PoolError(unknown_name("the pool has no candidate", name, self.names)) from None

    def subset(self, names: Sequence[str]) -> Pool:
        """Return a pool of the named candidates, in the order given."""
        return Pool(self.candidates[self.index(name)] for name in names)
