"""The figures of the dashboard as JSON documents, from the log."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter
from typing import Any

import attrs

from aamc_gateway.access.shared import SharedState
from aamc_gateway.dashboard.learned_state import TrialReader
from aamc_gateway.dashboard.log_reader import LogReader
from aamc_gateway.dashboard.log_sums import CandidateSums, PeriodSums, QualitySums, Tokens, percentiles
from aamc_gateway.dashboard.price_history import PriceHistory, note_prices
from aamc_sdk import MetaController
from aamc_sdk.errors import DataError
from aamc_sdk.messages import check_known
from aamc_sdk.types import Pool, Prices

PERIODS = ("hour", "day", "month", "all")
_SHARES = (0.5, 0.9, 0.95, 0.99)
_NAMES = ("p50", "p90", "p95", "p99")
MIN_FEEDBACK = 30
"""Number of answers of each candidate with feedback from which measured quality decides which one is the best."""
_USUAL = Tokens(prompt=1000, output=1000)
"""The tokens by which the most expensive candidate is found before there are answers."""
READ_S = 1.0
"""Time for which one request reads the log, in seconds; the next one goes on."""


@attrs.frozen
class Baseline:
    """The model that the costs are compared with.

    Attributes:
        candidate: Its name; None if no candidate has prices.
        why: Why it is this one.
        prices: Its prices in each list of the history, or those of another model that was the best one then.
    """

    candidate: str | None
    why: str
    prices: Sequence[Prices | None] = ()


def overview(reader: LogReader, period: str, baseline: str | None = None, now: float | None = None) -> dict[str, Any]:
    """Return the figures of a period.

    Raises:
        DataError: No pool had the baseline with prices.
    """
    now = time.time() if now is None else now
    whole, parts = reader.period(period, now)
    names = sorted({name for prices in reader.history.lists for name in prices})
    if baseline is not None:
        check_known([baseline], names, "no model with prices is named", DataError, "there are")
    best, explicit = baseline_of(reader, whole, baseline), QualitySums()
    counted = attrgetter("answers" if any(each.calls for each in whole.candidates.values()) else "chosen")  # some callers log no calls
    total = sum(map(counted, whole.candidates.values()))
    for each in whole.candidates.values():
        explicit.plus(each.explicit)
    return {
        "schema": 1,
        "period": period,
        "now": now,
        "since": reader.since,
        "is_whole": reader.is_whole,
        "position": reader.position,
        "decisions": whole.decisions,
        "fell_back": whole.fell_back,
        "cost": cost_of(whole, best),
        "quality": _quality(explicit),
        "baselines": names,
        "candidates": [
            {**_candidate(name, sums), "share": counted(sums) / total if total else None} for name, sums in sorted(whole.candidates.items())
        ],
        "parts": [
            {
                "begin": begin,
                "decisions": sums.decisions,
                "answers": {name: counted(each) for name, each in sums.candidates.items() if counted(each)},
                **{key: value for key, value in cost_of(sums, best).items() if key in ("total_usd", "baseline_usd", "saved_usd")},
            }
            for begin, sums in parts
        ],
    }


def prices_of(pool: Pool) -> dict[str, Prices]:
    """Return the prices of the candidates that have some, by name."""
    return {spec.name: spec.prices for spec in pool if spec.prices is not None}


def baseline_of(reader: LogReader, period: PeriodSums, chosen: str | None) -> Baseline:
    """Return the chosen model; without one the best model of the pool, for the answers of each price list that of the pool of its time."""
    history, expected = reader.history, reader.expected_quality()
    bests = [
        Baseline(chosen, "you chose it") if chosen else best_candidate(reader.total, expected, prices, period.tokens(number))
        for number, prices in enumerate(history.lists)
    ]
    prices = [None if best.candidate is None else history.price(number, best.candidate) for number, best in enumerate(bests)]
    last, names = bests[-1], {best.candidate for best in bests}
    earlier = sorted(name for name in names - {last.candidate} if name)
    why = f"{last.why}; earlier answers are compared with the best model of their time: {', '.join(earlier)}" if earlier else last.why
    return Baseline(last.candidate, why, prices)


def cost_of(sums: PeriodSums, best: Baseline) -> dict[str, Any]:
    """Return the cost of a period's answers, the cost of routing, and the savings against always using the best model.

    Both sides of the comparison cover the same answers: those of known cost and tokens. The cost of routing is everything that one model alone
    would not have cost: the decisions, failed calls, and answers that were not served.
    """
    candidates = sums.candidates.values()
    answers_usd = sum(each.cost_usd for each in candidates)
    extra_usd = sum(each.extra_usd for each in candidates)
    routing_usd = sums.deciding_usd + extra_usd
    compared = sum(each.compared for each in candidates)
    compared_usd = sum(each.compared_usd for each in candidates)
    baseline_usd = None if best.candidate is None else sum(each.cost_by(best.prices) for each in candidates)
    saved_usd = None
    if baseline_usd is not None and compared:
        spent_usd = compared_usd + routing_usd
        saved_usd = 0.0 if math.isclose(baseline_usd, spent_usd) else baseline_usd - spent_usd  # the order of sums is not a saving
    return {
        "total_usd": answers_usd + routing_usd,
        "answers_usd": answers_usd,
        "routing_usd": routing_usd,
        "deciding_usd": sums.deciding_usd,
        "extra_calls_usd": extra_usd,
        "unknown": sum(each.unknown_costs for each in candidates),
        "estimated": sum(each.estimated_costs for each in candidates),
        "compared": compared,
        "baseline": best.candidate,
        "baseline_why": best.why,
        "baseline_usd": baseline_usd if compared else None,
        "saved_usd": saved_usd,
        "saved_share": saved_usd / baseline_usd if saved_usd is not None and baseline_usd else None,
    }


def best_candidate(total: PeriodSums, expected: Mapping[str, float], prices: Mapping[str, Prices], tokens: Tokens) -> Baseline:
    """Return the best candidate with prices: by feedback if all have enough of it, by expected quality, or the one for which tokens cost most."""
    if not prices:
        return Baseline(None, "no candidate has prices")
    explicit = {name: total.candidates[name].explicit for name in prices if name in total.candidates}
    if len(explicit) == len(prices) and all(each.n >= MIN_FEEDBACK for each in explicit.values()):
        best = max(sorted(prices), key=lambda name: explicit[name].mean or 0.0)
        return Baseline(best, f"it has the highest quality by feedback (n = {explicit[best].n})")
    if known := {name: expected[name] for name in sorted(prices) if name in expected}:
        return Baseline(max(known, key=lambda name: known[name]), "it has the highest expected quality")
    tokens = tokens if tokens.answers else _USUAL
    most_expensive = max(sorted(prices), key=lambda name: tokens.cost_usd(prices[name]))
    return Baseline(most_expensive, f"it is the most expensive; not all models have {MIN_FEEDBACK} ratings yet")


def _candidate(name: str, sums: CandidateSums) -> dict[str, Any]:
    return {
        "name": name,
        "chosen": sums.chosen,
        "answers": sums.answers,
        "failed": sums.failed,
        "cancelled": sums.cancelled,
        "failure_rate": sums.failed / sums.calls if sums.calls else None,
        "cost_usd": sums.cost_usd,
        "extra_usd": sums.extra_usd,
        "unknown_costs": sums.unknown_costs,
        "mean_cost_usd": sums.cost_usd / sums.known_costs if sums.known_costs else None,
        "latency_ms": dict(zip(_NAMES, percentiles(sums.latencies, _SHARES), strict=True)),
        "first_token_ms": dict(zip(_NAMES, percentiles(sums.first_tokens, _SHARES), strict=True)),
        "quality": _quality(sums.explicit),
        "implicit_quality": _quality(sums.implicit),
        "comparisons": sums.comparisons,
        "wins": sums.wins,
    }


def _quality(sums: QualitySums) -> dict[str, Any] | None:
    mean, interval = sums.mean, sums.interval
    return None if mean is None or interval is None else {"mean": mean, "n": sums.n, "ci95": list(interval)}


class Overview:
    """Reads the log for a worker's dashboard: one request at a time, on a worker thread; :meth:`start` comes first."""

    def __init__(self, controller: MetaController) -> None:
        self._controller = controller
        self._reader = LogReader(controller.store, PriceHistory([]))
        self._trials = TrialReader(controller.store)
        self._lock = asyncio.Lock()

    async def start(self, shared: SharedState, candidates: Collection[str]) -> None:
        """Note the prices of the candidates that answer in words, so that the answers to come are compared at these, also once others hold."""
        prices = {name: each for name, each in prices_of(self._controller.pool).items() if name in candidates}
        self._reader.history = await note_prices(shared, prices)

    async def of_period(self, period: str, baseline: str) -> dict[str, Any]:
        """Return the figures of a period; ``baseline`` names the model that costs are compared with, ``""`` for the best one."""
        return await self._read(lambda: overview(self._reader, period, baseline or None))

    async def recent(self, limit: int) -> dict[str, Any]:
        """Return the newest decisions with their calls and feedback."""
        return await self._read(lambda: {"schema": 1, "decisions": [attrs.asdict(each) for each in self._reader.recent(limit)]})

    async def trials(self) -> dict[str, Any]:
        """Return the state of a canary or shadow."""
        async with self._lock:
            return await asyncio.to_thread(self._trials.document, self._controller.router)

    async def _read(self, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Read new entries of the log for a second at most, and return a document with the number of unread ones."""

        def read() -> dict[str, Any]:
            left = self._reader.read(READ_S)
            return {**make(), "left": left}

        async with self._lock:
            return await asyncio.to_thread(read)
