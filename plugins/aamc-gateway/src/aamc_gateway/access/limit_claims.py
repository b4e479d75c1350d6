"""The claims of a request on the counters of its key, tenant, user and model."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from functools import lru_cache

import attrs

from aamc_gateway.access.callers import Refused, hashed_name
from aamc_gateway.access.settings import Limits
from aamc_gateway.access.shared import Claim, Exceeded

USD, REQUESTS, TOKENS, PARALLEL = "usd", "requests", "tokens", "parallel"
_MINUTE_S = 60.0
_LATE_S = 7 * 86400.0
"""Time for which the spending of a day or month is kept after its end: it counts again once a clock that was ahead is corrected."""


@attrs.frozen
class Holder:
    """A key, tenant, user or model that has limits.

    Attributes:
        kind: ``"key"``, ``"tenant"``, ``"user"`` or ``"model"``.
        id: Its id among those of the kind.
        label: Its name in messages.
        limits: Its limits.
    """

    kind: str
    id: str
    label: str
    limits: Limits

    @property
    def scope(self) -> str:
        """The prefix of the names of its counters; users and tenants are hashed, so that none is named there."""
        return f"{self.kind}/{self.id}" if self.kind in ("key", "model") else f"{self.kind}/{hashed_name(self.id)}"


@attrs.frozen(kw_only=True)
class Advice:
    """The advice to a client whose request does not fit a limit.

    Attributes:
        too_long: If it may take more tokens than a minute allows.
        too_expensive: If it may cost more than is left.
        unpriced: If its cost is unknown.
    """

    too_long: str = "ask for fewer tokens (max_tokens)"
    too_expensive: str = attrs.Factory(lambda advice: f"{advice.too_long}, or ask a cheaper model", takes_self=True)
    unpriced: str = "ask a model with prices, or add them to the pool"


USUAL_ADVICE = Advice()


@attrs.frozen
class Demand:
    """The amounts that a request asks for.

    Attributes:
        max_usd: The maximum of its cost in USD; NaN if unknown.
        minimum_usd: The cost in USD of which less is refused; equal to ``max_usd`` to get all or nothing.
        tokens: The maximum of its tokens.
        costs_usd: The maximum cost of each candidate in USD. If less than ``max_usd`` is left, the largest of them that fits is reserved.
        advice: What the client is advised if it does not fit.
    """

    max_usd: float
    minimum_usd: float
    tokens: float
    costs_usd: Sequence[float] = ()
    advice: Advice = USUAL_ADVICE


@attrs.frozen
class LimitedClaim:
    """A claim, with the text of its refusal."""

    claim: Claim
    holder: Holder
    unit: str
    period: str
    ends: float

    def passes_at(self, now: float) -> float:
        """Return when a used-up limit may have something left, in seconds since the epoch; infinity for a budget that is not renewed."""
        return now + 1.0 if self.unit == PARALLEL else self.ends

    def refusal(self, found: Exceeded, advice: Advice) -> Refused:
        """Return the refusal of a request that does not fit."""
        limit, who, used = self.claim.limit, self.holder.label, found.used
        if self.unit == USD:
            left = f"the budget of {who} has {_usd(max(0.0, limit - used))} USD left of {_usd(limit)} USD {_PERIODS[self.period]}"
            if used - found.held + self.claim.minimum <= limit:
                held = f"{_usd(found.held)} USD are reserved for requests in progress, and this one may cost up to {_usd(self.claim.minimum)} USD"
                return Refused(f"{left}; {held}: try again once they have ended", status=402, kind="budget", retry_after_s=1.0)
            asks = f"this request may cost up to {_usd(self.claim.minimum)} USD: {advice.too_expensive}"
            renewed = self.ends != math.inf and self.claim.minimum <= limit
            after = f"; the budget is renewed at {_time(self.ends)}" if renewed else ""
            wait = max(1.0, self.ends - time.time()) if renewed else None
            return Refused(f"{left}; {asks}{after}", status=402, kind="budget", retry_after_s=wait, left_usd=limit - used)
        if self.unit == PARALLEL:
            return Refused(f"{who} has {limit:g} requests in progress, which is its limit", status=429, kind="rate_limit", retry_after_s=1.0)
        if self.claim.amount > limit:
            return Refused(f"this request may take {self.claim.amount:g} {self.unit}, and {who} may use {limit:g} a minute: {advice.too_long}")
        wait = max(1, math.ceil(self._wait_s(found)))
        return Refused(f"{who} is over its limit of {limit:g} {self.unit} a minute", status=429, kind="rate_limit", retry_after_s=wait)

    def _wait_s(self, found: Exceeded) -> float:
        """Return the seconds until the sliding minute has room: first the amounts of the minute before leave it evenly, then those of this one."""
        amount, limit, left_s = self.claim.amount, self.claim.limit, _MINUTE_S * self.claim.weight
        over, own = found.used + amount - limit, found.used - found.used_before
        if own + amount <= limit:  # holds for 0 of this one, whatever rounding does to the sums
            return left_s * over / found.used_before
        return left_s + _MINUTE_S * (over - found.used_before) / own


def claims_of(holder: Holder, demand: Demand, now: float) -> Iterator[LimitedClaim]:
    """Yield the claims on the counters of a holder's limits.

    Raises:
        Refused: It has a budget, and the cost is unknown.
    """
    limits = holder.limits
    if limits.parallel_requests is not None:
        yield _claim(holder, PARALLEL, "now", limits.parallel_requests, 1.0, now)
    if limits.requests_per_minute is not None:
        yield _claim(holder, REQUESTS, "minute", limits.requests_per_minute, 1.0, now)
    if limits.tokens_per_minute is not None:
        yield _claim(holder, TOKENS, "minute", limits.tokens_per_minute, demand.tokens, now)
    for period, limit in budgets_of(limits):
        if limit is None:
            continue
        if math.isnan(demand.max_usd) or math.isnan(demand.minimum_usd):
            why = f"{holder.label} has a budget, and the cost of this request is unknown: {demand.advice.unpriced}"
            raise Refused(why, status=402, kind="budget")
        yield _claim(holder, USD, period, limit, demand.max_usd, now, demand.minimum_usd)


@lru_cache(maxsize=10_000)  # each request of a key looks there
def counters_without_budget(holder: Holder, hour: int) -> Sequence[tuple[str, float]]:
    """Return the counters in USD, each with its expiry, of the periods without a budget: a later budget begins with what was spent before.

    The total of a user is left out: it would be kept for good. The periods are those of an hour since the epoch.
    """
    periods = [period for period, budget in budgets_of(holder.limits) if budget is None and (period, holder.kind) != ("total", "user")]
    claims = [_claim(holder, USD, period, math.inf, 0.0, 3600.0 * hour).claim for period in periods]
    return [(claim.counter, claim.expires) for claim in claims]


def counters_of(holder: Holder, now: float) -> list[str]:
    """Return a holder's counters in USD, of the periods of :func:`budgets_of`."""
    return [_claim(holder, USD, period, math.inf, 0.0, now).claim.counter for period, _ in budgets_of(holder.limits)]


def budgets_of(limits: Limits) -> Sequence[tuple[str, float | None]]:
    """Return the budget of each period in USD."""
    return ("day", limits.usd_per_day), ("month", limits.usd_per_month), ("total", limits.usd_total)


def _claim(holder: Holder, unit: str, period: str, limit: float, amount: float, now: float, minimum: float | None = None) -> LimitedClaim:
    name, ends = _window(period, now)
    scope = f"{holder.scope}|{unit}"
    minimum = amount if minimum is None else min(minimum, amount)
    expires, before, weight = ends + _LATE_S, "", 0.0
    if period == "minute":
        begin = ends - _MINUTE_S
        expires, before = ends + _MINUTE_S, f"{scope}|{begin - _MINUTE_S:.0f}"
        weight = 1.0 - (now - begin) / _MINUTE_S  # the window of the last 60 s, if requests came evenly in the minute before
    return LimitedClaim(Claim(f"{scope}|{name}", float(limit), amount, minimum, expires, before, weight), holder, unit, period, ends)


def _window(period: str, now: float) -> tuple[str, float]:
    """Return the name of the window of a time, and its end."""
    if period == "total":
        return period, math.inf
    if period == "now":
        return period, now  # so that its counter goes: there may be one for each of millions of users
    if period == "minute":
        begin = now - now % _MINUTE_S
        return f"{begin:.0f}", begin + _MINUTE_S
    return _calendar(period, int(now // 3600))


@lru_cache(maxsize=16)
def _calendar(period: str, hour: int) -> tuple[str, float]:
    """Return the name of the day or month of an hour since the epoch, in UTC, and its end."""
    day = datetime.fromtimestamp(3600 * hour, timezone.utc).replace(hour=0)
    if period == "day":
        return day.strftime("%Y-%m-%d"), (day + timedelta(days=1)).timestamp()
    return day.strftime("%Y-%m"), (day.replace(day=28) + timedelta(days=4)).replace(day=1).timestamp()


def _usd(amount: float) -> str:
    return f"{amount:.6f}".rstrip("0").rstrip(".") or "0"


def _time(when: float) -> str:
    return datetime.fromtimestamp(when, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


_PERIODS = {"day": "a day", "month": "a month", "total": "in all"}
