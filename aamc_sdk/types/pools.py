"""Model pools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import attrs

from aamc_sdk.errors import PoolError, nearest, one_of
from aamc_sdk.types.candidates import Candidate
from aamc_sdk.types.pool_arrays import PoolArrays


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
            hint = nearest(name, self.names)
            raise PoolError(f"the pool has no candidate {name!r}{hint} (it has {one_of(self.names)})") from None

    def subset(self, names: Sequence[str]) -> Pool:
        """Return a pool of the named candidates, in the order given."""
        return Pool(self.candidates[self.index(name)] for name in names)
