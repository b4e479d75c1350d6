"""A call of a candidate for a request: its cost, its end, and what the request remembers of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from aamc_gateway.forwarding.usage import tokens_of
from aamc_gateway.observe.request_figures import CallFigures
from aamc_sdk.errors import ProviderError
from aamc_sdk.interfaces import Usage

if TYPE_CHECKING:
    from aamc_gateway.access.admission import Reservation
    from aamc_gateway.forwarding.upstreams import Prepared, Upstream
    from aamc_gateway.observe.request_figures import RequestFigures
    from aamc_gateway.server.gateway import Gateway
    from aamc_sdk.serving import Call


class PaidRequest(Protocol):
    """The request that a call is made for.

    Attributes:
        gateway: The gateway.
        served: What metrics and logs see.
        spent_usd: The known cost so far.
        spent_tokens: The tokens of its calls so far.
    """

    gateway: Gateway
    served: RequestFigures
    spent_usd: float
    spent_tokens: int

    def add_failure(self, upstream: Upstream, prepared: Prepared, error: ProviderError) -> None:
        """Note that a candidate could not answer."""


class UpstreamCall:
    """A call of a candidate, in progress or ended. :meth:`end` must be called once its block has ended.

    Args:
        request: The request, which must not hold the call: that would be a cycle.
        upstream: The candidate.
        prepared: The request that it gets.
        block: The block around the call.
        held: The call's share of the candidate's own limits; None if it has none.

    Attributes:
        upstream: The candidate.
        prepared: The request that it gets.
        block: Measures, prices and records the call.
    """

    __slots__ = ("_figures", "_held", "_request", "block", "prepared", "upstream")

    def __init__(self, request: PaidRequest, upstream: Upstream, prepared: Prepared, block: Call, held: Reservation | None) -> None:
        self._request, self.upstream, self.prepared, self.block, self._held = request, upstream, prepared, block, held
        self._figures = CallFigures(upstream.name, time.time(), provider=upstream.provider_name, upstream_model=upstream.model)
        request.served.calls.append(self._figures)

    def bill(self, reported: Usage | None, cost_usd: float, text_bytes: Callable[[], int], *, finished: bool) -> None:
        """Set usage and cost inside the block: as reported, else estimated from the bytes that came; nothing where nothing came."""
        if not finished and not text_bytes() and (reported is None or reported.prompt_tokens is None):
            return
        body, block = self.prepared.request.body, self.block
        block.usage, estimated = self._request.gateway.usage_estimator.usage(
            self.upstream.name, body if isinstance(body, dict) else {}, text_bytes, reported or Usage(), finished=finished
        )
        if finished and not math.isnan(cost_usd):
            block.cost_usd = cost_usd
        elif estimated:
            block.cost_source = "estimated"

    def end(self, error: ProviderError | None = None, *, cancelled: bool = False) -> None:
        """Add cost and tokens to the request's sums, and charge the candidate's own limits; a failed call without a cost was free.

        Args:
            error: Why the call failed; None if it did not.
            cancelled: Whether it was cancelled, such as by a client that left; the part of the answer that came is charged.
        """
        figures, block, request = self._figures, self.block, self._request
        cost_usd, tokens, failed = block.cost_usd, tokens_of(block.usage), cancelled or error is not None
        unknown = math.isnan(cost_usd)
        request.spent_usd += 0.0 if unknown else cost_usd
        request.spent_tokens += tokens
        figures.ended, figures.cost_usd, figures.usage = time.time(), cost_usd, block.usage
        if self._held is not None:
            self._held.settle(0.0 if failed and unknown else cost_usd, tokens or (0 if failed else None))
        if error is not None:
            figures.error_kind, figures.status = error.kind, error.status
            request.add_failure(self.upstream, self.prepared, error)
        elif cancelled:
            figures.error_kind = "cancelled"
