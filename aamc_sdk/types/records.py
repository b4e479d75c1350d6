"""Records: decisions with their inputs, as the decision log keeps them; learned states, partitions, and outcomes of the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import overload

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types.arithmetic import Floats
from aamc_sdk.types.arrays import Estimates, Outcomes, RoutingRequest
from aamc_sdk.types.decisions import STEP, Decision
from aamc_sdk.types.preferences import Preference
from aamc_sdk.types.queries import Query
from aamc_sdk.types.texts import text_hash


@attrs.frozen(eq=False, slots=False)  # without slots, construction takes a third less time
class Record:
    """A decision with its inputs: query, estimates, candidates and expected outcomes.

    Attributes:
        decision: The decision.
        query: The query.
        estimates: The query's estimates, one row.
        candidates: The pool's names at that time, M of them.
        expected: Expected outcomes, ``[1, M]``.
        wait_ms: Waiting times, ``[1, M]``.
        masked_why: Why a candidate was not allowed, by name.
        preference_given: Whether the caller chose the decision's preference.
        in_flight: Requests in flight, ``[1, M]``; None for zeros.
        budget_usd: The request's budget in USD; None for none.
        quality_floor: The request's minimum expected quality; None for none.
        pressure: How scarce each candidate was beyond its wait, ``[1, M]``; None for zeros.
        fingerprint: Digest of the request, see :func:`request_fingerprint`; ``""`` if it can be computed from the text, or was erased.
    """

    decision: Decision
    query: Query
    estimates: Estimates
    candidates: tuple[str, ...]
    expected: Outcomes
    wait_ms: Floats
    masked_why: Mapping[str, str]
    preference_given: bool = True
    in_flight: Floats | None = attrs.field(default=None, kw_only=True)
    budget_usd: float | None = attrs.field(default=None, kw_only=True)
    pressure: Floats | None = attrs.field(default=None, kw_only=True)
    fingerprint: str = attrs.field(default="", kw_only=True)
    quality_floor: float | None = attrs.field(default=None, kw_only=True)

    @classmethod
    def of_step(cls, decision: Decision, query: Query, candidates: Sequence[str]) -> Record:
        """Return the record of an orchestrator's decision, which was made without estimates or expected outcomes."""
        unknown = np.full((1, len(candidates)), np.nan)
        return cls(
            decision=attrs.evolve(decision, notes={**decision.notes, STEP: True}),
            query=query,
            estimates=Estimates.unknown(1),
            candidates=tuple(candidates),
            expected=Outcomes(None, unknown, unknown),
            wait_ms=np.zeros_like(unknown),
            masked_why={},
            preference_given=False,
        )


def request_fingerprint(record: Record) -> str:
    """Return the digest that distinguishes two requests with the same decision id.

    It covers text, turns, tenant, user, session, needs, preference, budget and minimum quality; not the pool's state,
    which changes between two tries.
    """
    return record.fingerprint or fingerprint_of(record.query, record.decision.preference, record.budget_usd, record.quality_floor)


def fingerprint_of(query: Query, preference: Preference, budget_usd: float | None, quality_floor: float | None = None) -> str:
    """Return the fingerprint of a request that is not decided yet, see :func:`request_fingerprint`."""
    turns = [(turn.role, turn.content, turn.model, None if turn.rating is None else float(turn.rating)) for turn in query.turns]
    budget = None if budget_usd is None else float(budget_usd)
    request = (query.text, turns, query.tenant, query.user, query.session, sorted(query.needs))
    floor = () if quality_floor is None else (float(quality_floor),)  # without one, the digest is that of earlier versions
    described = repr((*request, preference.quality, preference.cost, preference.latency, budget, *floor))
    return text_hash(described)


@attrs.frozen
class Snapshot:
    """A router's learned state at one position of the log.

    Attributes:
        position: The log's position up to which the router has learned.
        content: The router's state.
        epoch: The log's epoch, see :class:`aamc_sdk.types.Experience`.
        last: The name of the log's entry at that position.
    """

    position: int
    content: bytes
    epoch: int = 0
    last: str = ""


@attrs.frozen
class StateDelta:
    """A delta: the changes of a router's learned state between two positions of the log.

    Attributes:
        after: The position of the state that it continues from.
        position: The position of the state that results.
        content: The delta as bytes, see :meth:`aamc_sdk.interfaces.OnlineRouter.delta`.
        epoch: The log's epoch, see :class:`aamc_sdk.types.Experience`.
        last: The name of the log's entry at ``position``.
    """

    after: int
    position: int
    content: bytes
    epoch: int = 0
    last: str = ""


@attrs.frozen
class Partition:
    """Successive decisions of the log with all their attempts and feedback, which retention drops together.

    Attributes:
        number: Its number, from 0 in the order of time.
        first: The position of its first decision.
        last: The position before the first decision of the next partition; None for the newest, which still grows.
        begun: When it was begun, in seconds since the epoch.
        size: Its size in the store in bytes, estimated.
    """

    number: int
    first: int
    last: int | None
    begun: float
    size: int


@attrs.frozen
class Aggregate:
    """Sums over decisions of one day, tenant and chosen candidate that retention has dropped.

    ``weighted_quality / inverse_propensity`` estimates the candidate's quality off-policy, see self-normalised inverse propensity scoring.

    Attributes:
        day: The UTC day of the decisions, such as ``2026-11-21``.
        tenant: Their tenant; None for none.
        candidate: The chosen candidate.
        decisions: Number of decisions.
        judged: Number of decisions with a known quality, see :class:`aamc_sdk.types.LoggedOutcomes`.
        quality: Sum of the known qualities.
        inverse_propensity: Sum of 1 / propensity, over judged decisions with a known propensity.
        weighted_quality: Sum of quality / propensity, over the same decisions.
        cost_usd: Sum of the known costs in USD.
        costs: Number of known costs.
        latency_ms: Sum of the known latencies in milliseconds.
        latencies: Number of known latencies.
        failed: Number of decisions whose calls failed, and none was successful.
    """

    day: str
    tenant: str | None
    candidate: str
    decisions: int = 0
    judged: int = 0
    quality: float = 0.0
    inverse_propensity: float = 0.0
    weighted_quality: float = 0.0
    cost_usd: float = 0.0
    costs: int = 0
    latency_ms: float = 0.0
    latencies: int = 0
    failed: int = 0

    def plus(self, other: Aggregate) -> Aggregate:
        """Return the sums of this aggregate and another one of the same day, tenant and candidate."""
        return attrs.evolve(self, **{name: getattr(self, name) + getattr(other, name) for name in self._sums()})

    def negative(self) -> Aggregate:
        """Return the same sums with the other sign: added, they take these away."""
        return attrs.evolve(self, **{name: -getattr(self, name) for name in self._sums()})

    @classmethod
    def _sums(cls) -> list[str]:
        """Return the names of the sums, which stand behind day, tenant and candidate."""
        return [field.name for field in attrs.fields(cls)][3:]


@attrs.frozen(eq=False)
class LoggedOutcomes:
    """The outcomes of N decisions, in log order; NaN where a number is unknown.

    All figures are those of the chosen candidate: after a fallback, those of its failed attempts.

    Attributes:
        decision_ids: The decisions' ids, N of them.
        candidates: The chosen candidates' names, N of them.
        propensity: Probability of each draw, ``[N]``; never use a decision where it is NaN off-policy.
        quality: Quality, from 0 to 1, ``[N]``: the mean of explicit feedback, or of implicit feedback if there is no other, by
            :attr:`Feedback.average_weight`. Without feedback, a failed attempt has the quality 0.
        cost_usd: Cost of the last successful attempt and of all failed ones in USD, ``[N]``; failed ones without a cost were free.
        latency_ms: Latency of the last successful attempt and of all failed ones in milliseconds, ``[N]``.
        output_tokens: Output tokens of the last successful attempt, ``[N]``.
        judged: Whether feedback gives the quality, ``[N]``.
        failed: Whether attempts of the chosen candidate failed and none was successful, ``[N]``.
        fell_back: Whether a candidate other than the chosen one served, ``[N]``.
        compared: Whether feedback compares candidates, ``[N]``.
    """

    decision_ids: Sequence[str]
    candidates: Sequence[str]
    propensity: Floats
    quality: Floats
    cost_usd: Floats
    latency_ms: Floats
    output_tokens: Floats
    judged: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    fell_back: NDArray[np.bool_]
    compared: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.decision_ids)


@attrs.frozen(eq=False, slots=False)  # quicker to construct
class Records(Sequence[Record]):
    """Decisions and the request that they answer, row for row; a record is made when it is read.

    Attributes:
        decisions: B of them.
        request: The request, of B rows.
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
        request, here, is_whole = self.request, slice(row, row + 1), len(self) == 1
        names, in_flight, pressure = request.pool.names, request.in_flight, request.pressure
        return Record(
            decision=self.decisions[row],
            query=request.queries[row],
            estimates=request.estimates if is_whole else request.estimates.take(here),
            candidates=names,
            expected=request.expected if is_whole else request.expected.take(here),
            wait_ms=request.wait_ms[here],
            in_flight=None if in_flight is None else in_flight[here],
            budget_usd=request.budget_usd,
            quality_floor=request.quality_floor,
            pressure=None if pressure is None else pressure[here],
            masked_why={} if request.all_allowed else {names[m]: request.reasons(row, int(m)) for m in np.flatnonzero(~request.mask[row])},
            preference_given=request.preference_given,
        )
