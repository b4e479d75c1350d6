"""A call of a candidate for a request."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from aamc_gateway.observe.request_figures import CallFigures
from aamc_sdk.interfaces import Usage

if TYPE_CHECKING:
    from aamc_gateway.access.admission import Reservation
    from aamc_gateway.forwarding.calls.upstreams import Prepared, Upstream
    from aamc_gateway.forwarding.calls.usage import UsageEstimator
    from aamc_sdk.serving import Call


class UpstreamCall:
    """A call of a candidate, in progress or ended. :meth:`aamc_gateway.forwarding.exchange.Exchange.ended` must follow its block.

    Attributes:
        upstream: The candidate.
        prepared: The request that it gets.
        block: Measures, prices and records the call.
        held: The call's share of the candidate's own limits; None if it has none.
        figures: What metrics and logs see of it.
    """

    __slots__ = ("_estimator", "block", "figures", "held", "prepared", "upstream")

    def __init__(self, upstream: Upstream, prepared: Prepared, block: Call, held: Reservation | None, estimator: UsageEstimator) -> None:
        self.upstream, self.prepared, self.block, self.held, self._estimator = upstream, prepared, block, held, estimator
        self.figures = CallFigures(upstream.name, time.time(), provider=upstream.endpoint.provider, upstream_model=upstream.model)

    def bill(self, reported: Usage | None, cost_usd: float, text_bytes: Callable[[], int], *, finished: bool) -> None:
        """Set usage and cost inside the block: as reported, else estimated from the bytes that came; nothing where nothing came."""
        if not finished and not text_bytes() and (reported is None or reported.prompt_tokens is None):
            return
        body, block = self.prepared.request.body, self.block
        block.usage, estimated = self._estimator.usage(
            self.upstream.name, body if isinstance(body, dict) else {}, text_bytes, reported or Usage(), finished=finished
        )
        if finished and not math.isnan(cost_usd):
            block.cost_usd = cost_usd
        elif estimated:
            block.cost_source = "estimated"
