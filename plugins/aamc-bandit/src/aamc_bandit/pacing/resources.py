"""Resources: the counted amounts of limits, expected before a call and reported after it."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aamc_bandit.pacing.accounts import Account, MeanAccount, WindowAccount
from aamc_bandit.pacing.options import PacedOptions
from aamc_sdk.routing import token_counts
from aamc_sdk.types import Attempt, Floats, RoutingRequest

DAY_S, MINUTE_S = 86400.0, 60.0
LATE_SHARE = 0.05
"""Share of the calls that may exceed the latency of ``p95_ms``."""
MEMORY = 0.99
"""Factor on a candidate's earlier calls with each new one."""
TABLE_CALLS = 100.0
"""Maximum number of calls that the rows of a table count as, the number that calls in service can reach with this factor."""
OTHERS_MEMORY = 0.999
"""Factor on a candidate's earlier calls with each call of another one, so that one that was priced out for a while is tried again."""
MAX_RISE = 10.0
"""Maximum ratio of reported to expected use that is learned from one call, as a multiple of the candidate's present ratio."""
PRIOR_CALLS = 5.0
"""Number of calls that the expectation is worth."""
RATIOS = np.geomspace(1 / 16, 16, 33)
"""Borders between the bins of latency as a multiple of the expected one."""
PRIOR_SD = 0.4
"""Standard deviation of the logarithm of that multiple before any call."""


class LimitedResource(abc.ABC):
    """The amount that a limit counts: USD, tokens, or late calls.

    Attributes:
        name: The limit's option.
        limit: The limit.
    """

    @property
    def refuses(self) -> bool:
        """Whether a request that does not fit may be refused: not for a mean, which later requests can bring down."""
        return self.name in ("usd_per_day", "tokens_per_minute")

    def __init__(self, name: str, limit: float) -> None:
        self.name, self.limit = name, limit
        self.learned: dict[str, list[float]] = {}

    @abc.abstractmethod
    def account(self, config: PacedOptions) -> Account:
        """Return a tenant's account before its first request."""

    @abc.abstractmethod
    def figures(self, request: RoutingRequest) -> Floats:
        """Return the expected figures ``[B, M]`` that the use follows from; NaN where unknown."""

    @abc.abstractmethod
    def use(self, figures: Floats, names: Sequence[str]) -> Floats:
        """Return the expected use ``[B, M]``, from expected figures ``[B, M]`` corrected by the candidates' earlier calls; NaN where unknown."""

    @abc.abstractmethod
    def charged(self, use: float) -> float:
        """Return the charge of a decision, from its candidate's expected use; 0 if unknown."""

    @abc.abstractmethod
    def reported(self, call: Attempt) -> float:
        """Return the reported use of a call; NaN if the call did not report it."""

    @abc.abstractmethod
    def observed(self, figure: float, call: Attempt) -> list[float] | None:
        """Return the numbers that a call adds to its candidate's, given the expected figure; None if it tells nothing."""

    def learn(self, name: str, figure: float, call: Attempt) -> None:
        """Learn from a call how a candidate's use differs from the expected one."""
        if (added := self.observed(figure, call)) is not None:
            self._add(name, added)

    def _add(self, name: str, added: list[float]) -> None:
        """Add to the numbers of a candidate, and forget a little of its earlier calls and of the others'."""
        earlier = self.learned.get(name, [0.0] * len(added))
        self.learned = {each: [OTHERS_MEMORY * number for number in kept] for each, kept in self.learned.items()}
        self.learned[name] = [MEMORY * number + more for number, more in zip(earlier, added, strict=True)]


class SummedResource(LimitedResource):
    """Costs or tokens: the use is the expected figure times the candidate's mean ratio of reported to expected."""

    def use(self, figures: Floats, names: Sequence[str]) -> Floats:
        """Return figures times ratios; a ratio alone makes no request exceed a whole window's budget, or it could never be corrected."""
        use = np.asarray(figures * np.array([self._ratio(name) for name in names]))
        return np.where(figures <= self.limit, np.minimum(use, self.limit), use) if self.refuses else use

    def charged(self, use: float) -> float:
        """Return the expected use."""
        return use if math.isfinite(use) else 0.0

    def observed(self, figure: float, call: Attempt) -> list[float] | None:
        """Return the ratio of reported to expected use, and 1 call."""
        reported = self.reported(call)
        known = call.status == "ok" and math.isfinite(reported) and math.isfinite(figure) and figure > 0
        return [reported / figure, 1.0] if known else None

    def _add(self, name: str, added: list[float]) -> None:
        """Add to the candidate's sums."""
        super()._add(name, [min(added[0], MAX_RISE * self._ratio(name)), added[1]])

    def _ratio(self, name: str) -> float:
        ratios, calls = self.learned.get(name, (0.0, 0.0))
        return (ratios + PRIOR_CALLS) / (calls + PRIOR_CALLS)


class Cost(SummedResource):
    """USD."""

    def account(self, config: PacedOptions) -> Account:
        """Return a day's budget, or a mean."""
        if self.name == "usd_per_day":
            return WindowAccount(self.limit, DAY_S, config.requests_per_day)
        return MeanAccount(self.limit / 1000, config.horizon)

    def figures(self, request: RoutingRequest) -> Floats:
        """Return the expected cost."""
        return request.expected.cost_usd

    def reported(self, call: Attempt) -> float:
        """Return the call's cost; a failed call without one has cost nothing."""
        return 0.0 if call.status in ("error", "refused") and math.isnan(call.cost_usd) else call.cost_usd


class TokenUse(SummedResource):
    """Tokens of prompts and answers."""

    def account(self, config: PacedOptions) -> Account:
        """Return a minute's budget."""
        return WindowAccount(self.limit, MINUTE_S, None if config.requests_per_day is None else config.requests_per_day * MINUTE_S / DAY_S)

    def figures(self, request: RoutingRequest) -> Floats:
        """Return the expected tokens."""
        prompt, answer = token_counts(request.queries).T
        output = request.expected.output_tokens
        return np.asarray(prompt[:, None] + (np.broadcast_to(answer[:, None], request.mask.shape) if output is None else output))

    def reported(self, call: Attempt) -> float:
        """Return the call's tokens; a failed call without any has used none."""
        known = [count for count in (call.prompt_tokens, call.output_tokens) if count is not None]
        return float(sum(known)) if len(known) > 1 else 0.0 if call.status in ("error", "refused") else math.nan


class LateCalls(LimitedResource):
    """Calls that exceed a latency. The use is the probability of that, from the candidate's histogram of latency over expected latency."""

    def account(self, config: PacedOptions) -> Account:
        """Return the share of late calls."""
        return MeanAccount(LATE_SHARE, config.horizon, hard=False)

    def figures(self, request: RoutingRequest) -> Floats:
        """Return the expected latency, the present wait included."""
        return request.expected.latency_ms

    def use(self, figures: Floats, names: Sequence[str]) -> Floats:
        """Return the probability that a call takes longer than the limit; 1 where its latency is unknown."""
        return self.late(figures, names, self.limit)

    def late(self, figures: Floats, names: Sequence[str], limit: float) -> Floats:
        """Return the probability that a call with an expected latency in ms takes longer than ``limit``."""
        with np.errstate(divide="ignore"):
            multiples = np.log(limit / np.where(np.isnan(figures), np.inf, figures))
        borders = np.log(RATIOS)
        tails = [self._tail(name) for name in names]
        return np.stack([np.interp(multiples[..., m], borders, tail, left=1.0, right=0.0) for m, tail in enumerate(tails)], axis=-1)

    def charged(self, use: float) -> float:
        """Return the share that the limit allows, so that a decision without a report changes nothing."""
        return LATE_SHARE

    def reported(self, call: Attempt) -> float:
        """Return 1 for a late call and 0 for an answer in time; NaN for a call that failed or was cancelled before it was late."""
        late = call.latency_ms > self.limit
        return float(late) if late or (call.status == "ok" and not math.isnan(call.latency_ms)) else math.nan

    def observed(self, figure: float, call: Attempt) -> list[float] | None:
        """Return 1 in the bin of the latency over the expected one; a quick failure tells nothing about the time of answers."""
        if math.isnan(self.reported(call)) or not math.isfinite(figure) or figure <= 0:
            return None
        counts = [0.0] * (len(RATIOS) + 1)
        counts[int(np.searchsorted(RATIOS, call.latency_ms / figure))] = 1.0
        return counts

    def _tail(self, name: str) -> Floats:
        counts = np.array(self.learned.get(name, [0.0] * (len(RATIOS) + 1)))
        return np.asarray((PRIOR_CALLS * _PRIOR_TAIL + counts[::-1].cumsum()[::-1][1:]) / (PRIOR_CALLS + counts.sum()))


_PRIOR_TAIL = np.array([0.5 * math.erfc(math.log(ratio) / PRIOR_SD / math.sqrt(2)) for ratio in RATIOS])


def resources_of(limits: Mapping[str, float]) -> list[LimitedResource]:
    """Return the resource of each limit."""
    kinds: Mapping[str, Any] = {"usd_per_day": Cost, "usd_per_1k": Cost, "tokens_per_minute": TokenUse, "p95_ms": LateCalls}
    return [kinds[name](name, limit) for name, limit in limits.items()]


def learn_table(resources: Sequence[LimitedResource], request: RoutingRequest, cost_usd: Floats, latency_ms: Floats) -> None:
    """Learn from measured outcomes ``[B, M]`` how they differ from the expected ones. Rows count equally, since tables are often sorted by task."""
    for resource in resources:
        figures = resource.figures(request)
        for m, name in enumerate(request.pool.names):
            rows = np.flatnonzero(request.mask[:, m]).tolist()
            calls = (Attempt("table", candidate=name, cost_usd=float(cost_usd[row, m]), latency_ms=float(latency_ms[row, m])) for row in rows)
            observed = [resource.observed(float(figures[row, m]), call) for row, call in zip(rows, calls, strict=True)]
            added = [numbers for numbers in observed if numbers is not None]
            if added:
                resource.learned[name] = (np.sum(added, axis=0) * min(1.0, TABLE_CALLS / len(added))).tolist()
