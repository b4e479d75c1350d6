"""Reading the log for the dashboard: each entry once, in log order, into sums of bounded size.

The log is read by position and not by time: a call or feedback often comes long after its decision, and an entry that was counted is never
read again. At the first look at most ``MAX_ENTRIES`` entries are read, the newest; entries on the decisions before these are left out.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any

import attrs
import msgspec

from aamc_gateway.dashboard.log_sums import CandidateSums, CountedAnswer, PeriodSums, Tokens, latency_bin, written_tokens
from aamc_gateway.dashboard.price_history import PriceHistory
from aamc_sdk.interfaces import Store
from aamc_sdk.log import ATTEMPT, DECISION, FEEDBACK, Batch, Row, RowStore, columns_of, decode_entry, read_batches
from aamc_sdk.types import Feedback

AT_ONCE = 1000
"""Entries that are read at once."""
MAX_ENTRIES = 500_000
"""Entries of the log that the first look reads at most."""
RECENT = 200
"""Number of decisions whose calls and feedback are kept."""
OPEN = 5000
"""Number of decisions whose answer is remembered, since a later call may replace it; of others the log is asked."""
RINGS: Mapping[str, tuple[float, float]] = {"hour": (3600.0, 60.0), "day": (86_400.0, 1800.0), "month": (30 * 86_400.0, 86_400.0)}
"""The length of each period and of its parts, in seconds."""


class _Decision(msgspec.Struct, gc=False):
    candidate: str
    propensity: float | None = None
    router: str = ""
    notes: dict[str, Any] = {}


class _Expected(msgspec.Struct, gc=False):
    quality: list[float | None] | None = None


class _Query(msgspec.Struct, gc=False):
    text: str = ""
    tenant: str | None = None


class _Content(msgspec.Struct, gc=False):
    decision: _Decision
    query: _Query
    expected: _Expected
    candidates: tuple[str, ...] = ()


_CONTENT = msgspec.json.Decoder(_Content)


@attrs.define
class RecentDecision:
    """One of the newest decisions, as the dashboard lists it."""

    id: str
    time: float
    candidate: str
    propensity: float | None
    router: str
    tenant: str | None
    text: str
    calls: list[dict[str, Any]] = attrs.field(factory=list)
    feedback: list[dict[str, Any]] = attrs.field(factory=list)


class LogReader:
    """Sums over the log. All methods may be called from any thread.

    Attributes:
        history: The prices over time.
        since: The time of the first decision that was read, in seconds since the epoch; None for none.
        is_whole: Whether the log was read from its start.
    """

    def __init__(self, store: Store, history: PriceHistory, max_entries: int = MAX_ENTRIES) -> None:
        self._store, self.history, self._max_entries = store, history, max_entries
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self.position, self.epoch = 0, 0
        self._has_begun = False
        self.since: float | None = None
        self.is_whole = True
        self.total = PeriodSums()
        self._rings = {name: defaultdict[int, PeriodSums](PeriodSums) for name in RINGS}
        self._open: OrderedDict[str, CountedAnswer | None] = OrderedDict()  # the present answer of each decision
        self._recent: OrderedDict[str, RecentDecision] = OrderedDict()
        self._quality: dict[str, list[float]] = {}

    def read(self, seconds: float = math.inf) -> int:
        """Read new entries, at most half of the time, so that requests are served meanwhile; return the number of unread entries.

        Raises:
            StoreError: The log cannot be read.
        """
        with self._lock:
            end, left = time.monotonic() + seconds, self._store.position()
            if not self._has_begun:
                self._skip(left)
            while True:
                began = time.monotonic()
                batch = next(read_batches(self._store, self.position, AT_ONCE))
                if self._has_begun and (batch.epoch != self.epoch or batch.position < self.position):
                    self._begin()  # a user was forgotten, or the log is another one
                    self._skip(self._store.position())
                    continue
                self._add(batch)
                now = time.monotonic()
                if not batch.rows or now > end:
                    break
                time.sleep(min(now - began, 0.1))
            self._prune(time.time())
            return max(0, left - self.position) if batch.rows else 0

    def _skip(self, end: int) -> None:
        """Begin at the newest entries of a log."""
        self.position = max(0, end - self._max_entries)
        self.is_whole = self.position == 0

    def _add(self, batch: Batch) -> None:
        calls = self._earlier_calls(batch)
        self._has_begun = True
        if self.position < batch.start:
            self.is_whole = False
        self.position, self.epoch = batch.position, batch.epoch
        decisions = {row.id: row for row in batch.decisions}
        revisions = defaultdict[str, list[Row]](list)
        for row in (*batch.replaced, *batch.rows):
            if row.kind == FEEDBACK:
                revisions[row.id].append(row)
        for row in batch.rows:
            decision = decisions.get(row.decision_id)
            if decision is None:
                continue
            if row.kind == DECISION:
                self._add_decision(row)
            elif self._is_before(decision):
                continue
            elif row.kind == ATTEMPT:
                self._add_attempt(row, decision, calls.get(row.decision_id, ()))
            elif row.kind == FEEDBACK:
                earlier = [other for other in revisions[row.id] if other.revision < row.revision]
                self._add_feedback(row, decision, max(earlier, key=lambda other: other.revision, default=None))

    def _earlier_calls(self, batch: Batch) -> Mapping[str, Sequence[Row]]:
        """Return the calls of those decisions with a call in the batch whose answers are not remembered any more."""
        made = {row.id for row in batch.rows if row.kind == DECISION}
        late = {row.decision_id for row in batch.rows if row.kind == ATTEMPT} - made - self._open.keys()
        return self._store.attempts(late) if late and isinstance(self._store, RowStore) else {}

    def _is_before(self, decision: Row) -> bool:
        """Return whether a decision is older than those that were read: its earlier entries are in no sum, so a later one cannot replace them."""
        return not self.is_whole and (self.since is None or decision.time < self.since)

    def _periods(self, when: float) -> Iterator[PeriodSums]:
        """Yield the sums that an entry on a decision of that time belongs to."""
        yield self.total
        now = time.time()
        for name, (length, part) in RINGS.items():
            if when > now - length - part:
                yield self._rings[name][int(when // part)]

    def _prune(self, now: float) -> None:
        for name, (length, part) in RINGS.items():
            ring = self._rings[name]
            for number in [number for number in ring if (number + 1) * part <= now - length - part]:
                del ring[number]

    def _add_decision(self, row: Row) -> None:
        content = decode_entry(row.content, _CONTENT, row.name)
        self.since = row.time if self.since is None else min(self.since, row.time)
        spent = content.decision.notes.get("spent_usd")
        deciding_usd = float(spent) if isinstance(spent, int | float) and spent == spent else 0.0
        for period in self._periods(row.time):
            period.decisions += 1
            period.deciding_usd += deciding_usd
            period.candidates[row.candidate].chosen += 1
        for name, quality in zip(content.candidates, content.expected.quality or (), strict=False):
            if quality is not None and quality == quality:
                sums = self._quality.setdefault(name, [0.0, 0.0])
                sums[0] += quality
                sums[1] += 1
        drawn = content.decision
        self._recent[row.id] = RecentDecision(
            row.id, row.time, drawn.candidate, drawn.propensity, drawn.router, content.query.tenant, content.query.text[:2000]
        )
        while len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        self._remember(row.id, None)

    def _remember(self, decision_id: str, served: CountedAnswer | None) -> None:
        self._open[decision_id] = served
        while len(self._open) > OPEN:
            self._open.popitem(last=False)

    def _add_attempt(self, row: Row, decision: Row, calls: Sequence[Row]) -> None:
        columns = columns_of(row)
        status, cost = columns["status"], columns["cost_usd"]
        if (recent := self._recent.get(row.decision_id)) is not None:
            names = ("status", "cost_usd", "cost_source", "latency_ms", "first_token_ms", "prompt_tokens", "cached_tokens", "output_tokens")
            recent.calls.append({"candidate": row.candidate, **{name: columns.get(name) for name in names}})
        periods = list(self._periods(decision.time))
        called = [period.candidates[row.candidate] for period in periods]
        for sums in called:
            if cost is None and status not in ("error", "refused"):
                sums.unknown_costs += 1
            if columns.get("cost_source") == "estimated":
                sums.estimated_costs += 1
        if status != "ok":
            for sums in called:
                sums.failed += status == "error"
                sums.cancelled += status == "cancelled"
                if status != "cancelled":
                    sums.extra_usd += cost or 0.0
                elif cost is not None:  # any model would have answered for as long as the client stayed
                    sums.cost_usd += cost
                    sums.known_costs += 1
            return
        self._serve(row, decision, columns, periods, called, calls)

    def _serve(
        self, row: Row, decision: Row, columns: Mapping[str, Any], periods: list[PeriodSums], called: list[CandidateSums], calls: Sequence[Row]
    ) -> None:
        """Add a successful call: the last one of a decision is the one that served."""
        if row.decision_id in self._open:
            before = self._open.pop(row.decision_id)
        else:
            earlier = [call for call in takewhile(lambda call: call.id != row.id, calls) if columns_of(call)["status"] == "ok"]
            before = self._served(earlier[-1], decision) if earlier else None
        served = self._served(row, decision)
        for period, sums in zip(periods, called, strict=True):
            if before is not None:
                period.candidates[before.candidate].replace_answer(before)
            sums.add_answer(served)
            period.fell_back += served.has_fallen_back - (before is not None and before.has_fallen_back)
            for figure, bins in (("latency_ms", sums.latencies), ("first_token_ms", sums.first_tokens)):
                if (value := columns.get(figure)) is not None:
                    bins[latency_bin(value)] += 1
        self._remember(row.decision_id, served)

    def _served(self, row: Row, decision: Row) -> CountedAnswer:
        """Return a successful call as the answer of its decision."""
        columns = columns_of(row)
        prompt, output = columns.get("prompt_tokens"), columns.get("output_tokens")
        tokens = None if prompt is None or output is None else Tokens(prompt, columns.get("cached_tokens") or 0, output)
        cost_usd = math.nan if columns["cost_usd"] is None else columns["cost_usd"]
        number = self.history.number_at(decision.time)
        if tokens is not None and columns.get("cost_source") == "priced":
            tokens = written_tokens(self.history.price(number, row.candidate), cost_usd, tokens)
        return CountedAnswer(row.candidate, row.candidate != decision.candidate, cost_usd, tokens, number)

    def _add_feedback(self, row: Row, decision: Row, before: Row | None) -> None:
        """Add feedback, in place of the revision that it replaces."""
        if (recent := self._recent.get(row.decision_id)) is not None:
            shown = {name: row.fields.get(name) for name in ("quality", "over", "tie", "source")}
            recent.feedback = [other for other in recent.feedback if other["id"] != row.id]
            recent.feedback.append({"id": row.id, "candidate": row.candidate or decision.candidate, "revision": row.revision, **shown})
        periods = list(self._periods(decision.time))
        if before is not None:
            self._count_feedback(periods, before, decision, -1)
        self._count_feedback(periods, row, decision, 1)

    def _count_feedback(self, periods: list[PeriodSums], row: Row, decision: Row, sign: int) -> None:
        """Add feedback to the sums of its candidate, or with sign -1 take it away."""
        candidate, columns = row.candidate or decision.candidate, columns_of(decision)
        user = None if columns.get("user_id") is None else hash((columns.get("tenant"), columns["user_id"]))
        with suppress(ValueError):
            given = Feedback(**row.fields)
            for period in periods:
                sums = period.candidates[candidate]
                if given.over is not None:
                    won = 0.5 if given.tie else 1.0
                    beaten = period.candidates[given.over]
                    sums.wins, beaten.wins = sums.wins + sign * won, beaten.wins + sign * (1 - won)
                    sums.comparisons, beaten.comparisons = sums.comparisons + sign, beaten.comparisons + sign
                elif given.quality is not None and given.average_weight > 0:
                    (sums.implicit if given.implicit else sums.explicit).add(given.quality, given.average_weight, sign, user)

    def period(self, name: str, now: float) -> tuple[PeriodSums, list[tuple[float, PeriodSums]]]:
        """Return the sums of a period that ends now, and all its parts with the time at which each begins; those without decisions too.

        Args:
            name: ``"hour"``, ``"day"`` or ``"month"``; ``"all"`` for everything that was read, with the parts of ``"month"``.
            now: The time, in seconds since the epoch.
        """
        with self._lock:
            length, part = RINGS["month" if name == "all" else name]
            first, last = int((now - length) // part) + 1, int((now + length) // part)  # a clock may be ahead by less than the period
            ring = self._rings["month" if name == "all" else name]
            numbers = sorted({*range(first, int(now // part) + 1), *(number for number in ring if first <= number <= last)})
            whole, parts = PeriodSums(), [(number * part, PeriodSums()) for number in numbers]
            for number, (_, copy) in zip(numbers, parts, strict=True):
                if number in ring:
                    copy.plus(ring[number])
            for sums in [self.total] if name == "all" else [copy for _, copy in parts]:
                whole.plus(sums)
            return whole, parts

    def recent(self, limit: int) -> list[RecentDecision]:
        """Return the newest decisions, the newest first."""
        with self._lock:
            return [attrs.evolve(each, calls=[*each.calls], feedback=[*each.feedback]) for each in reversed([*self._recent.values()][-limit:])]

    def expected_quality(self) -> dict[str, float]:
        """Return each candidate's mean expected quality over the decisions that were read; without candidates of unknown quality."""
        with self._lock:
            return {name: total / count for name, (total, count) in self._quality.items()}
