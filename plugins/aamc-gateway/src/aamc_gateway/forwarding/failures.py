"""Errors of requests that no candidate answered."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aamc_models.dialects import json_object

from aamc_gateway.access.callers import Refused
from aamc_gateway.access.limit_claims import USD, LimitedClaim
from aamc_gateway.forwarding.calls.upstreams import Upstream
from aamc_gateway.requests.client_request import ClientRequest
from aamc_sdk.errors import NoCandidateError, ProviderError, public_message
from aamc_sdk.messages import failures_text

_STATUSES = {"timeout": 504, "rate_limit": 429, "request": 400}
"""The statuses of kinds; 502 for the others."""
PASSING = frozenset(("unavailable", "rate limit"))
"""Reasons that mask a candidate for some time only."""
_REASONS = {
    "context window": "the request is longer than its context window",
    "lacks tools": "it takes no tools",
    "lacks vision": "it takes no images",
    "lacks json": "it has no JSON mode",
    "unknown cost, which fits no budget": "its cost is unknown, which fits no budget_usd",
    "unavailable": "it cannot be called now",
    "rate limit": "it is over its rate limit",
}
"""What the reasons that mask a candidate mean for a client."""
_FINAL = ("request", "rate_limit", "timeout")
"""Kinds that tell the client more than the others, in this order."""


class UnservedError(Refused):
    """Raised when every candidate that may answer has failed; ``kind`` is that of :class:`aamc_sdk.errors.ProviderError`.

    Attributes:
        body: An upstream's own error in the client's dialect; None to make one from the message.
    """

    def __init__(self, message: str, status: int, kind: str, retry_after_s: float | None = None, body: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, status=status, kind=kind, retry_after_s=retry_after_s)
        self.body = body


def unserved(failures: Sequence[tuple[ProviderError, bool]], refusals: Sequence[Refused] = ()) -> UnservedError:
    """Return the error of a request by the errors of its calls.

    Args:
        failures: Each call's error, and whether its dialect has the client's form of errors, so that the client understands the upstream's own.
        refusals: Why other candidates were not called.
    """
    errors = [error for error, _ in failures]
    telling = next((error for kind in _FINAL for error in errors if error.kind == kind), errors[-1])
    one_form = dict(failures)[telling]
    refused = telling.kind == "request"
    status = _status_of(telling)
    if status in (401, 403, 407):  # the client would take it for its own key
        status = 400 if refused else 502
    waits = [error.retry_after_s for error in errors if error.retry_after_s is not None]
    told = list(dict.fromkeys(map(public_message, [*errors, *refusals])))
    message = told[0] if len(told) == 1 else failures_text("no candidate answered", told)
    body = json_object(telling.body) if one_form and refused else None
    is_error = body is not None and isinstance(body.get("error"), dict)
    return UnservedError(message, status, telling.kind, min(waits) if waits else None, body if is_error else None)


def _status_of(error: ProviderError) -> int:
    if error.kind == "request" and error.status is not None and 400 <= error.status < 500:
        return error.status
    if error.kind == "server" and error.status is None and error.retry_after_s is not None:  # nobody was called: the circuit breakers are open
        return 503
    return _STATUSES.get(error.kind, 502)


def unsuitable(request: ClientRequest, names: Sequence[str], error: NoCandidateError) -> Refused:
    """Return the refusal of a request that no candidate, or not the named one, can answer, in words of its fields."""
    words = {**_REASONS, "over budget": f"its expected cost is above budget_usd ({request.budget_usd or 0:g})"}
    whys = {name: ", ".join(words.get(why, why) for why in sorted(error.reasons.get(name, ()))) for name in sorted(names)}
    if request.mode == "model":
        return Refused(f"model {request.model!r} cannot answer this request: {whys[request.model]}; change the request, or ask another model")
    told = "; ".join(f"{name}: {why}" for name, why in whys.items()) or "the key allows none that has this API"
    return Refused(f"no model can answer this request ({told}); change the request")


def unavailable(upstreams: Mapping[str, Upstream], full: Mapping[str, LimitedClaim | None]) -> Refused:
    """Return the refusal of a request that some candidates may answer later."""
    now = time.time()
    waits = [upstreams[name].retry_after_s if claim is None else claim.passes_at(now) - now for name, claim in full.items()]
    known = [wait for wait in waits if wait is not None and math.isfinite(wait)]
    why = failures_text("no candidate can answer now", [f"{name} {_why(claim)}" for name, claim in full.items()])
    is_budget = all(claim is not None and claim.unit == USD for claim in full.values())
    status, kind = (402, "budget") if is_budget else (503, "unavailable")
    later = "; try again later" if known or not is_budget else ""
    return Refused(why + later, status=status, kind=kind, retry_after_s=max(1.0, min(known)) if known else None)


def _why(claim: LimitedClaim | None) -> str:
    if claim is None:
        return "is not called for now, after failures, or is over its rate limit"
    return "has no budget of its own left, or requests in progress reserve it" if claim.unit == USD else "is over a limit of its own"
