"""The description of a request's processing in its answer: headers ``x-aamc-...``, the object ``aamc`` of a stream's last event, and the model."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from aamc_models.dialects import event_of, object_of, usage_of

from aamc_gateway.forwarding.calls.upstreams import Prepared, UpstreamCall
from aamc_gateway.observe.request_figures import RequestFigures
from aamc_gateway.requests.client_request import ClientRequest
from aamc_sdk import Decision

HeaderList = list[tuple[bytes, bytes]]
_UNPRINTABLE = re.compile(r"[^ -~]")
"""HTTP servers and clients refuse control characters in headers."""
_KEPT = (string.punctuation + " ").replace("%", "")
MAX_DROPPED = 1000
"""Maximum characters of the names in ``x-aamc-dropped``."""


def printable(text: str) -> bytes:
    """Return text as a header value, with ``?`` for each character that is not printable ASCII."""
    return _UNPRINTABLE.sub("?", text).encode("ascii")


@lru_cache(1024)
def model_header(name: str) -> tuple[bytes, bytes]:
    """Return the header with a model's name; ``%`` and characters that are not printable ASCII are percent-encoded as UTF-8."""
    return b"x-aamc-model", quote(name, safe=_KEPT, errors="replace").encode("ascii")


def dropped_header(names: Sequence[str]) -> tuple[bytes, bytes]:
    """Return the header with the names of fields that were left out; ``...`` ends a list that is too long."""
    text = ", ".join(names)
    return b"x-aamc-dropped", printable(text if len(text) <= MAX_DROPPED else f"{text[:MAX_DROPPED]}...")


def description_headers(decision: Decision, call: UpstreamCall | None) -> HeaderList:
    """Return the headers of an answer besides that of its cost; ``call`` gave it, and is None for a stream that begins before one has answered."""
    found: HeaderList = [(b"x-aamc-decision-id", decision.id.encode())]
    if not math.isnan(decision.propensity):
        found.append((b"x-aamc-propensity", f"{decision.propensity:.6g}".encode()))
    if call is None:
        return found
    found.append(model_header(call.upstream.name))
    if call.prepared.max_tokens is not None:
        found.append((b"x-aamc-max-tokens", str(call.prepared.max_tokens).encode()))
    if call.prepared.dropped:
        found.append(dropped_header(call.prepared.dropped))
    return found


def cost_header(cost_usd: float) -> HeaderList:
    """Return the header with the cost of an answer; none if it is unknown."""
    return [] if math.isnan(cost_usd) else [(b"x-aamc-cost-usd", f"{cost_usd:.10g}".encode())]


def description_object(decision: Decision, figures: RequestFigures, prepared: Prepared) -> dict[str, Any]:
    """Return the object ``aamc`` of a stream."""
    found: dict[str, Any] = {"decision_id": decision.id, "model": figures.candidate}
    if not math.isnan(decision.propensity):
        found["propensity"] = decision.propensity
    found["cost_usd"] = figures.cost_usd  # NaN becomes null
    found["cost_source"] = figures.cost_source
    if prepared.max_tokens is not None:
        found["max_tokens"] = prepared.max_tokens
    if prepared.dropped:
        found["dropped"] = list(prepared.dropped)
    return found


def with_requested_model(request: ClientRequest, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an answer of which ``messages`` name the requested model: Claude Code does not send back the thinking of another one."""
    return {**answer, "model": request.body["model"]} if request.dialect == "messages" else answer


def start_with_requested_model(request: ClientRequest, events: bytes) -> bytes:
    """Return one or more events of a stream; the first one of ``messages`` names the requested model too, and has the prompt's tokens.

    These are estimated where the server has not reported them: some clients read them there alone, and others take those of the last event.
    """
    if request.dialect != "messages":
        return events
    first, _, rest = events.partition(b"\n\n")
    start = (object_of(first) if b'"message_start"' in first else None) or {}
    message = start.get("message")
    if not isinstance(message, dict):
        return events
    usage = message.get("usage")
    if isinstance(usage, dict) and not usage_of("messages", message).prompt_tokens:
        message = {**message, "usage": {**usage, "input_tokens": request.query.expected_prompt_tokens}}
    return event_of({**start, "message": with_requested_model(request, message)}, "message_start") + rest
