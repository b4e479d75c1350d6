"""Turns failures of HTTP calls into the SDK's error, with a kind that decides on retries and fallbacks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
import attrs

from aamc_models.dialects.error_bodies import error_in, json_object
from aamc_models.transport.options import EndpointOptions
from aamc_sdk.errors import ProviderError

ERROR_CHARACTERS = 500
"""Maximum characters of an error."""
RETRIED = frozenset({"connection", "timeout", "rate_limit", "server", "protocol"})
"""Kinds of failures after which another attempt may succeed."""
ELSEWHERE = frozenset({401, 403, 404})
"""Statuses after which another deployment may succeed, whose key and model differ, but not the same one."""
_KINDS = {401: "authentication", 403: "authentication", 408: "timeout", 409: "server", 429: "rate_limit"}

_KINDS_OF_TYPES = {
    "authentication_error": "authentication",
    "invalid_request_error": "request",
    "not_found_error": "request",
    "permission_error": "authentication",
    "rate_limit_error": "rate_limit",
    "request_too_large": "request",
    "timeout_error": "timeout",
}


@attrs.frozen
class Failure(Exception):  # not raised to callers
    """One attempt's failure.

    Attributes:
        text: What happened, as the end of a sentence that begins with the model's name and address.
        kind: See :class:`aamc_sdk.errors.ProviderError`.
        status: The HTTP status; None without one.
        body: The body of the answer.
        retry_after_s: The pause that the server wants; None if it wants none.
    """

    text: str
    kind: str
    status: int | None = None
    body: bytes = b""
    retry_after_s: float | None = None

    @property
    def advice(self) -> bool:
        """Whether address, model and key may be at fault."""
        return self.kind in ("connection", "authentication", "request", "server", "rate_limit", "timeout", "failed")


def refusal(status: int, body: bytes, retry_after_s: float | None) -> Failure:
    """Return the failure of an answer with a status that is no success."""
    kind = _KINDS.get(status) or ("server" if status >= 500 else "request" if status >= 400 else "protocol")
    return Failure(f"refused: {status} {_phrase(status)}: {message_of(body)}".rstrip(": "), kind, status, body, retry_after_s)


def failure_of(error: BaseException, options: EndpointOptions) -> Failure:
    """Return the failure that an exception of the HTTP library means.

    Args:
        error: An ``aiohttp.ClientError``, ``TimeoutError``, ``OSError`` or ``ValueError``.
        options: The endpoint's options.
    """
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return Failure(f"cannot be reached: no connection in {options.connect_timeout_s:g} s", "timeout")
    if isinstance(error, aiohttp.SocketTimeoutError):
        return Failure(f"stopped in the middle of its answer: no byte in {options.idle_timeout_s:g} s", "timeout")
    if isinstance(error, asyncio.TimeoutError):
        return Failure(f"gave no whole answer in {options.timeout_seconds:g} s", "timeout")
    cause = f"{type(error).__name__}: {error.__cause__ or error}".rstrip(": ")
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ClientResponseError):
        return Failure(f"cut or broke its answer: {cause}", "protocol")
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return Failure(f"cannot be asked: {cause}", "request")
    return Failure(f"cannot be reached: {cause}", "connection")


def provider_error(failure: Failure, candidate: str, base_url: str, key_env: str, key_is_set: bool) -> ProviderError:
    """Return the error for the caller."""
    text = f"model {candidate!r} at {base_url} {failure.text[:ERROR_CHARACTERS]}"
    if failure.advice:
        variable = f"in ${key_env}" if key_is_set else f"(${key_env} is not set)"
        text += f"; check base_url, model and the key{f' {variable}' if key_env else ''}, and that the server runs"
    return ProviderError(text, kind=failure.kind, status=failure.status, body=failure.body, retry_after_s=failure.retry_after_s)


def message_of(body: bytes) -> str:
    """Return the message in the body of an error, else the start of the body."""
    error = error_in(json_object(body))
    if error is None:
        return " ".join(body[: 4 * ERROR_CHARACTERS].decode(errors="replace").split())[:ERROR_CHARACTERS]
    return str(error.get("message") or error)[:ERROR_CHARACTERS]


def kind_of(error: Mapping[str, Any]) -> str:
    """Return the kind of an error without a status, by its type as OpenAI and Anthropic name it."""
    return _KINDS_OF_TYPES.get(str(error.get("type")), "server")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
