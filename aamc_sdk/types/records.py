"""The decision log: what is kept of each decision so that it can be learned from and explained.

The stores themselves are :mod:`aamc_sdk.log.opening`; their interface is :class:`aamc_sdk.interfaces.Store`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import overload

import attrs
import numpy as np

from aamc_sdk.types.arrays import Estimates, Floats, Outcomes, RoutingRequest
from aamc_sdk.types.decisions import Decision
from aamc_sdk.types.queries import Query


@attrs.frozen(eq=False)
class Record:
    """A decision with what it was made from.

    Attributes:
        decision: What was decided.
        query: What was asked.
        estimates: What was estimated of it, one row.
        candidates: The pool's names then, M of them.
        expected: Expected outcomes, ``[1, M]``.
        wait_ms: Waiting times, ``[1, M]``.
        masked_why: Why a candidate was not allowed, by name.
        preference_given: Whether somebody asked for the decision's preference.
    """

    decision: Decision
    query: Query
    estimates: Estimates
    candidates: tuple[str, ...]
    expected: Outcomes
    wait_ms: Floats
    masked_why: Mapping[str, str]
    preference_given: bool = True


@attrs.frozen
class View:
    """What an online router has made of the log so far: kept there, so that a restart need not learn all of it again.

    Attributes:
        position: The log's position that was learned up to.
        content: The router's state then.
        epoch: The log's epoch then, see :class:`aamc_sdk.types.Experience`.
        last: What names the entry at that position, likewise.
    """

    position: int
    content: bytes
    epoch: int = 0
    last: str = ""


@attrs.frozen(eq=False)
class Records(Sequence[Record]):
    """Decisions and the request that they answer, row for row; a record is made when it is looked at.

    Attributes:
        decisions: B of them.
        request: Of B rows.
    """

    decisions: Sequence[Decision]
    request: RoutingRequest

    def __len__(self) -> int:
        return len(self.decisions)

    @overload
    def __getitem__(self, row: int) -> Record: ...
    @overload
    def __getitem__(self, row: slice) -> list[Record]: ...
    def __getitem__(self, row: int | slice) -> Record | list[Record]:
        if isinstance(row, slice):
            return [self[number] for number in range(*row.indices(len(self)))]
        row = range(len(self))[row]
        request, here = self.request, slice(row, row + 1)
        return Record(
            decision=self.decisions[row],
            query=request.queries[row],
            estimates=request.estimates.take(here),
            candidates=request.pool.names,
            expected=request.expected.take(here),
            wait_ms=request.wait_ms[here],
            masked_why={request.pool.names[m]: request.reasons(row, int(m)) for m in np.flatnonzero(~request.mask[row])},
            preference_given=request.preference_given,
        )
