"""The figures of a request and of its calls, as metrics, spans and log lines see them."""

from __future__ import annotations

import math
import time
from typing import Protocol

import attrs

from aamc_sdk.interfaces import Usage


@attrs.define
class CallFigures:
    """One call of a candidate for a request.

    Attributes:
        candidate: The candidate.
        began: When it began, in seconds since the epoch.
        ended: When it ended.
        provider: The name of the endpoint's provider.
        upstream_model: The model's name on its server.
        error_kind: Why it failed, see :class:`aamc_sdk.errors.ProviderError`, or ``"cancelled"``; ``""`` if it did not.
        status: The HTTP status of the upstream's answer; None if unknown.
        cost_usd: Its cost; NaN if unknown.
        usage: Its tokens; None if it has not ended.
        finish_reason: Why its answer ended; ``""`` if unknown.
        streamed: Whether its answer was to be a stream.
    """

    candidate: str
    began: float
    ended: float = math.nan
    provider: str = ""
    upstream_model: str = ""
    error_kind: str = ""
    status: int | None = None
    cost_usd: float = math.nan
    usage: Usage | None = None
    finish_reason: str = ""
    streamed: bool = False


@attrs.define(kw_only=True)
class RequestFigures:
    """The figures of one request, whether it is served, refused or fails.

    Attributes:
        request_id: The request's id.
        route: The route as it was declared, such as ``"/v1/chat/completions"``; never the path that was asked for.
        dialect: ``"chat"``, ``"messages"``, ``"responses"``, ``"completions"``, ``"embeddings"``, ``"count_tokens"`` or ``""``.
        status: The HTTP status of the answer; 499 if the client left before it.
        decision_id: The decision's id; ``""`` without one.
        candidate: The candidate that answered; ``""`` for none.
        key_id: The id of the caller's key.
        tenant: The caller's tenant.
        streamed: Whether the answer is a stream.
        cached: Whether the answer comes from the cache.
        began: When the request came, in seconds since the epoch.
        ended: When its answer was complete; 0 until then.
        decision_began: When the decision began; NaN without one.
        decision_ended: When it was made.
        first_token_ms: Time from the beginning of the answering call to its first content; NaN if unknown or not streamed.
        calls: The calls of candidates, in order.
        cost_usd: The cost of all of them and of the decision; NaN if unknown.
        cost_source: The origin of the answer's cost, see :class:`aamc_sdk.Attempt`; ``"estimated"`` if that of any call is.
        saved_usd: The cost of the same tokens with the candidate for which they cost most, of those that could answer, less ``cost_usd``, or the
            first cost of a cached answer; NaN if unknown or without output tokens. The dashboard has another baseline.
        usage: The tokens of the answer's call.
        error_kind: The kind of the error that the client got; ``""`` for none.
        traceparent: The request's W3C header of that name; ``""`` without one.
        tracestate: Likewise.
    """

    request_id: str
    route: str
    dialect: str = ""
    status: int = 200
    decision_id: str = ""
    candidate: str = ""
    key_id: str = ""
    tenant: str | None = None
    streamed: bool = False
    cached: bool = False
    began: float = 0.0
    ended: float = 0.0
    decision_began: float = math.nan
    decision_ended: float = math.nan
    first_token_ms: float = math.nan
    calls: list[CallFigures] = attrs.field(factory=list)
    cost_usd: float = math.nan
    cost_source: str = ""
    saved_usd: float = math.nan
    usage: Usage = attrs.field(factory=Usage)
    error_kind: str = ""
    traceparent: str = ""
    tracestate: str = ""
    _made: float = attrs.field(factory=time.monotonic, init=False, eq=False)

    def note_answer(self, candidate: str, usage: Usage, cost_usd: float, cost_source: str) -> None:
        """Note the candidate that answered, its tokens, and the cost of the request."""
        self.candidate, self.usage, self.cost_usd, self.cost_source = candidate, usage, cost_usd, cost_source

    def end(self, status: int, error_kind: str = "") -> None:
        """Note when and how the request ended."""
        self.status, self.error_kind, self.ended = status, error_kind, self.now()

    def now(self) -> float:
        """Return the present time by the request's own clock, which began with it: setting the machine's clock changes no duration."""
        return self.began + time.monotonic() - self._made


class Ending(Protocol):
    """A request that can end; ``figures`` is what metrics see of it."""

    figures: RequestFigures

    def end(self, status: int, error_kind: str = "") -> None:
        """End it; a second call does nothing."""
