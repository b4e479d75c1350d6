"""Admission of requests: their maximum cost is reserved before, and their actual cost charged afterwards."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from aamc_gateway.access.callers import refused_for_now
from aamc_gateway.access.limit_claims import PARALLEL, REQUESTS, TOKENS, USD, Advice, Demand, Holder, LimitedClaim, claims_of, counters_without_budget
from aamc_gateway.access.settings import Limits
from aamc_gateway.access.shared import Exceeded, SharedState
from aamc_sdk.errors import StoreAwayError


class Reservation:
    """The amounts that a request reserves on the counters of some holders; their periods without a budget are charged too.

    Attributes:
        budget_usd: The cost that is held, in USD; infinity where no budget limits it.
    """

    def __init__(
        self, shared: SharedState, holders: Sequence[Holder], began: float, token: str, claims: Sequence[LimitedClaim], granted: float
    ) -> None:
        self._shared, self._holders, self._began = shared, holders, began
        self._token, self._claims, self._granted = token, claims, granted
        self._settled = False
        self.budget_usd = min((self._held(one) for one in claims if one.unit == USD), default=math.inf)

    @classmethod
    async def make(cls, shared: SharedState, holders: Sequence[Holder], demand: Demand) -> Reservation:
        """Reserve the maximum of a request.

        Raises:
            Refused: A limit has not enough left, or the shared state is away.
        """
        now = time.time()
        claims = [claim for holder in holders for claim in claims_of(holder, demand, now)]
        if not claims:
            return cls(shared, holders, now, "", (), math.inf)
        try:
            token, found = await shared.reserve([claim.claim for claim in claims], demand.costs_usd)
        except StoreAwayError as error:
            raise refused_for_now("budgets and limits cannot be checked now") from error
        if isinstance(found, Exceeded):
            raise claims[found.claim].refusal(found, demand.advice)
        return cls(shared, holders, now, token, claims, found)

    def settle(self, cost_usd: float, tokens: int | None) -> None:
        """Charge the actual amounts; NaN and None charge the reserved ones. It does not wait, so it cannot be cancelled. A repeat does nothing."""
        if self._settled:
            return
        self._settled = True
        actual = {PARALLEL: 0.0, REQUESTS: None, TOKENS: tokens, USD: None if math.isnan(cost_usd) else cost_usd}
        if cost_usd > 0:  # not NaN
            for holder in self._holders:
                self._shared.charge(counters_without_budget(holder, int(self._began // 3600)), cost_usd)
        if not self._claims:
            return
        charges = [self._held(one) if (amount := actual[one.unit]) is None else float(amount) for one in self._claims]
        self._shared.settle(self._token, [one.claim for one in self._claims], charges)

    def _held(self, one: LimitedClaim) -> float:
        return one.claim.amount if one.claim.minimum >= one.claim.amount else min(one.claim.amount, self._granted)


class Admission:
    """An admitted request. ``settle`` must be called once it has ended, however it ended; a second call does nothing.

    Attributes:
        budget_usd: The maximum cost of the answer, which is reserved; infinity without a budget.
    """

    def __init__(self, shared: SharedState, reservation: Reservation, models: dict[str, Limits], tokens: float, advice: Advice) -> None:
        self.budget_usd = reservation.budget_usd
        self._shared, self._reservation, self._models, self._tokens, self._advice = shared, reservation, models, tokens, advice
        self._calls: list[Reservation] = []

    def limits_cost(self, model: str) -> bool:
        """Return whether a budget limits the cost of a candidate's answer: one of the request's key, tenant or user, or the candidate's own."""
        own = self._models.get(model)
        return self.budget_usd != math.inf or (own is not None and own.has_budget)

    def fits(self, max_cost_usd: float) -> bool:
        """Return whether an answer of that maximum cost in USD is within the reservation; NaN, an unknown cost, fits no budget."""
        return self.budget_usd == math.inf or max_cost_usd <= self.budget_usd * (1 + 1e-9)

    async def use(self, model: str, max_cost_usd: float) -> Reservation | None:
        """Reserve a call's share of the candidate's own limits; return None if it has none.

        Settle the reservation once the call has ended; otherwise the end of the request settles it. A maximum cost of NaN is unknown.

        Raises:
            Refused: The candidate is over its limits: take another one.
        """
        limits = self._models.get(model)
        if limits is None:
            return None
        holder = Holder("model", model, f"the model {model!r}", limits)
        tokens = min(self._tokens, limits.tokens_per_minute or math.inf)  # a larger request takes all of a minute
        reservation = await Reservation.make(self._shared, [holder], Demand(max_cost_usd, max_cost_usd, tokens, advice=self._advice))
        self._calls.append(reservation)
        return reservation

    def settle(self, cost_usd: float, tokens: int | None = None) -> None:
        """Charge the request's actual cost in place of its reservation, also for any unsettled call.

        Args:
            cost_usd: The cost of all attempts in USD; NaN if it is unknown, which charges the reserved amount.
            tokens: Tokens of prompts and answers; None charges the estimate of the admission.
        """
        for reservation in (self._reservation, *self._calls):
            reservation.settle(cost_usd, tokens)
