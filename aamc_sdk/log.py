"""The decision log: what is kept of each decision so that it can be learned from and explained.

The stores themselves are :mod:`aamc_sdk.stores`; their interface is :class:`aamc_sdk.interfaces.Store`.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np

from aamc_sdk.batch import Estimates, Floats, Outcomes, RoutingRequest
from aamc_sdk.types import Decision, Query


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
    """

    decision: Decision
    query: Query
    estimates: Estimates
    candidates: tuple[str, ...]
    expected: Outcomes
    wait_ms: Floats
    masked_why: Mapping[str, str]


def records(decisions: list[Decision], request: RoutingRequest) -> list[Record]:
    """Return what the log keeps of a batch of decisions, in the order of the request's rows."""
    return [_record(decision, request, row) for row, decision in enumerate(decisions)]


def _record(decision: Decision, request: RoutingRequest, row: int) -> Record:
    names = request.pool.names
    masked = np.flatnonzero(~request.mask[row])
    return Record(
        decision=decision,
        query=request.queries[row],
        estimates=request.estimates.take(slice(row, row + 1)),
        candidates=names,
        expected=request.expected.take(slice(row, row + 1)),
        wait_ms=request.wait_ms[row : row + 1],
        masked_why={names[m]: request.reasons(row, int(m)) for m in masked},
    )
