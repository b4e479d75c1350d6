"""Errors of the SDK as answers in the client's dialect: the one place that turns one into the other."""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Mapping
from typing import Any

from aamc_models.dialects import error_body
from starlette.types import Send

from aamc_gateway.access.callers import Refused
from aamc_gateway.forwarding.failures import UnservedError
from aamc_gateway.server.http.answers import send_json
from aamc_sdk.errors import (
    AamcError,
    ConfigError,
    DataError,
    LimitError,
    NoCandidateError,
    PoolError,
    PreferenceError,
    ProviderError,
    StoreAwayError,
    UnknownDecisionError,
    public_message,
)

logger = logging.getLogger(__name__)
_STATUSES: tuple[tuple[type[AamcError] | tuple[type[AamcError], ...], int, str], ...] = (
    (UnknownDecisionError, 404, "not_found"),
    ((NoCandidateError, PreferenceError, DataError, ConfigError), 400, "request"),
    (PoolError, 503, "server"),
    (StoreAwayError, 503, "unavailable"),
    (ProviderError, 502, "server"),
)
_RETRIED = frozenset(("rate_limit", "unavailable"))
"""Kinds of refusals after which a client's automatic retry makes sense."""
_SOON_S = 5.0
"""Maximum wait in seconds for which a retry is advised. Clients do not retry a 402 unless ``x-should-retry`` says so."""
_PASSING = frozenset((429, 503))
"""Statuses of refusals that clients retry by themselves."""


def dialect_of(path: str) -> str:
    """Return the dialect of the errors of a path."""
    return "messages" if path.startswith("/v1/messages") else "responses" if path.startswith("/v1/responses") else "chat"


async def send_error(error: BaseException, dialect: str, send: Send, *, decision_id: str = "") -> None:
    """Send an error."""
    status, kind, retry_after_s, body = _parts(error)
    message: Any = body or error_body(dialect, client_message(error), kind, status)
    if kind == "model_not_found" and dialect != "messages":
        message["error"]["code"] = kind  # clients tell a missing model from a missing page by it
    headers = list(error.headers.items()) if isinstance(error, Refused) else []  # errors of other libraries have headers of servers
    if decision_id:
        headers.append((b"x-aamc-decision-id", decision_id.encode()))
    if retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(retry_after_s)))
    soon = retry_after_s is not None and retry_after_s <= _SOON_S
    if kind == "budget" and soon:
        headers.append((b"x-should-retry", b"true"))
    elif not (soon and status in _PASSING) and (isinstance(error, UnservedError) or kind not in _RETRIED):
        headers.append((b"x-should-retry", b"false"))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send_json(send, message, status, headers)


def client_message(error: BaseException) -> str:
    """Return what a client is told of an error. The text of one that only the operator can repair may name files, addresses or other requests."""
    if not isinstance(error, AamcError) or status_and_kind(error)[0] == 500:
        return "a part of the gateway failed; the gateway's log has the reason"
    return public_message(error)


def tell_operator(what: str, error: BaseException) -> None:
    """Log an error whose cause only the operator can repair, with its place; at DEBUG, or if it is not the SDK's own, with its traceback."""
    if isinstance(error, StoreAwayError):
        logger.error("%s failed: %s", what, error, extra={"cause": str(error)})  # each request meets it until the store is back
    elif status_and_kind(error)[0] == 500:
        own = isinstance(error, AamcError)
        traced = not own or logger.isEnabledFor(logging.DEBUG)
        text = error if own else type(error).__name__  # the traceback has its message, which may quote a prompt
        logger.error("%s failed: %s%s", what, text, _place(error), exc_info=error if traced else None)


def _place(error: BaseException) -> str:
    """Return the module and line where an error, or the one that caused it, was raised."""
    causes = [error]
    while (cause := causes[-1].__cause__) is not None and cause not in causes:  # an error may be its own cause
        causes.append(cause)
    frames = list(traceback.walk_tb(causes[-1].__traceback__))
    return f" (in {frames[-1][0].f_globals.get('__name__')}:{frames[-1][1]})" if frames else ""


def status_and_kind(error: BaseException) -> tuple[int, str]:
    """Return the status that the client gets, and the kind of the error for metrics and logs."""
    status, kind, _, _ = _parts(error)
    return status, getattr(error, "kind", kind) if isinstance(error, AamcError) else kind


def _parts(error: BaseException) -> tuple[int, str, float | None, Mapping[str, Any] | None]:
    if isinstance(error, Refused):
        return error.status, error.kind, error.retry_after_s, getattr(error, "body", None)
    if isinstance(error, LimitError):
        return 402 if error.kind == "budget" else 429, error.kind, error.retry_after_s, None
    if isinstance(error, ProviderError) and error.kind == "timeout":
        return 504, "timeout", None, None
    for kinds, status, name in _STATUSES:
        if isinstance(error, kinds):
            return status, name, None, None
    return 500, "server", None, None
