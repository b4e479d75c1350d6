"""Turns failures of HTTP calls into the SDK's error, with a kind that decides on retries and fallbacks."""

from __future__ import annotations

import asyncio
import base64
import math
import re
from collections.abc import Mapping
from http.client import responses as phrases
from typing import AnyStr

import aiohttp
import attrs

from aamc_models.dialects.error_bodies import error_in_body, error_message, kind_of, kind_of_status
from aamc_models.transport.deployments import LONGEST_PAUSE_S
from aamc_models.transport.options import EndpointOptions
from aamc_sdk.errors import ProviderError
from aamc_sdk.interfaces import WireRequest

ERROR_CHARACTERS = 500
"""Maximum characters of an error."""
_KEY_CHARACTERS, _HIDDEN = 8, "[API key]"
"""Minimum length of a key that is left out of errors, and the words in its place."""
_KEY_PREFIX = 12
"""Minimum length of the start of a key by which a cut one is found; at least half of it, since keys begin with public words such as sk-ant-api03."""
RETRIED = frozenset({"connection", "timeout", "rate_limit", "server", "protocol"})
"""Kinds of failures after which another attempt may succeed."""
ELSEWHERE = frozenset({404, 405})
"""Statuses after which, as after a refused key, another deployment may succeed, whose key and model differ, but not the same one."""
_CONVERSATIONS = frozenset({"chat", "messages", "responses"})
"""The APIs of conversations, for which candidates are in a pool."""
_STORED = ("previous_response_id", "conversation", "prompt")
"""Fields of a request of ``responses`` that name a stored object."""
_OTHER_THAN_MODEL = re.compile(
    r"no endpoints found that support|does not support|\b(?:item|response|conversation|container|vector store|file)\b.{0,20}['\" :`]\w+[_-]\w",
    re.IGNORECASE,
)
"""Errors with status 404 about an ability that the model lacks (OpenRouter), or about a stored object, with its id (OpenAI, Anthropic)."""
_WRONG_KEY = re.compile("(incorrect|invalid) api key|api key (not valid|expired)", re.IGNORECASE)
"""The beginning of the messages with which Gemini and xAI refuse a key by status 400."""
_NO_CREDIT = "no credit"
"""A refused key whose account is without credit, in messages; its kind is ``authentication``."""
_ADVICE = {
    "connection": "check that the server runs, and base_url",
    "timeout": "check that the server is not overloaded, or raise the endpoint's limits of time, such as timeout_seconds",
    "rate_limit": "wait, or set requests_per_minute and tokens_per_minute of the endpoint to your limits",
    "server": "check the server, or try again later",
    "configuration": "check the endpoint's model, and the end of its base_url, usually /v1",
    "request": "check base_url, model and key of the endpoint, and the candidate's parameters",
    "cancelled": "read the stream faster, or raise timeout_seconds of the endpoint",
    "failed": "check base_url, model and key",
    _NO_CREDIT: "add credit to the account of the key, or raise the limit of its spending",
}
_PUBLIC = {
    "connection": "cannot be reached",
    "timeout": "did not answer in time",
    "rate_limit": "is over its rate limit",
    "protocol": "gave no usable answer",
    "authentication": "refuses the key that it was given",
    "configuration": "is not known to its server",
    "request": "refused the request",
    "cancelled": "broke off: its answer was read too slowly",
    _NO_CREDIT: "has no credit left at its server",
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


def refusal(status: int, body: bytes, retry_after_s: float | None, location: str = "") -> Failure:
    """Return the failure of an answer with a status that is not a success; ``location`` is the address that it redirects to."""
    message = f"redirects to {location}, which is not called; set base_url to the new address" if location else message_of(body)
    kind = kind_of_status(status, message) if status >= 400 else "protocol"
    is_quota = status == 429 and kind_of(error_in_body(body)) == "authentication"  # OpenAI refuses for an exhausted quota with 429
    if is_quota or (status == 400 and _WRONG_KEY.match(message)):
        kind = "authentication"
    return Failure(f"refused: {status} {phrases.get(status, '')}: {message}".rstrip(": "), kind, status, body, retry_after_s)


def without_key(words: AnyStr, key: str) -> AnyStr:
    """Return a server's words without the API key, which some servers repeat in their errors, in whole, cut or in base64.

    A very short key may be part of any word, so it stays.
    """
    if len(key) < _KEY_CHARACTERS:
        return words
    forms = key, base64.b64encode(key.encode()).decode()
    starts = [form[: max(_KEY_PREFIX, len(form) // 2)] for form in forms]
    pattern = f"{'|'.join(map(re.escape, forms))}|(?:{'|'.join(map(re.escape, starts))})[A-Za-z0-9_.~%:+/=-]*"
    return re.sub(pattern, _HIDDEN, words) if isinstance(words, str) else re.sub(pattern.encode(), _HIDDEN.encode(), words)


def redacted(failure: Failure, key: str) -> Failure:
    """Return a failure without the API key."""
    return attrs.evolve(failure, text=without_key(failure.text, key), body=without_key(failure.body, key))


def failure_of(error: BaseException, options: EndpointOptions) -> Failure:
    """Return the failure that an exception of the HTTP library means."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return Failure(f"cannot be reached: no connection in {options.connect_timeout_s:g} s", "connection")
    if isinstance(error, aiohttp.SocketTimeoutError):
        return Failure(f"stopped in the middle of its answer: no byte in {options.idle_timeout_s:g} s", "timeout")
    if isinstance(error, asyncio.TimeoutError):
        return Failure(f"gave no whole answer in {options.timeout_seconds:g} s", "timeout")
    if isinstance(error, aiohttp.ClientHttpProxyError):  # its text has the proxy's address, with the password
        return Failure(f"cannot be reached: the proxy of the environment refused: {error.status} {error.message}", "connection")
    cause = f"{type(error).__name__}: {error.__cause__ or error}".rstrip(": ")
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ClientResponseError):
        return Failure(f"cut or broke its answer: {cause}", "protocol")
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError) and not isinstance(error, aiohttp.ClientConnectorError):
        return Failure(f"closed the connection before its answer: {cause}; {_ADVICE['connection']}", "protocol")
    if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientConnectorError):  # such as an invalid URL, not a wrong certificate
        return Failure(f"cannot be asked: {cause}", "failed")
    return Failure(f"cannot be reached: {cause}", "connection")


def asked_model(failure: Failure, request: WireRequest) -> Failure:
    """Return the failure of a request to a model: status 404 or 405 of a conversation means that the server has no such model or address.

    Of another API it may mean that the server lacks that API alone, and of one that names a stored object, or with an error that names one or an
    ability, that these are missing.
    """
    body = request.body
    is_missing = failure.status in (404, 405) and failure.kind == "request" and request.api in _CONVERSATIONS
    if not is_missing or (isinstance(body, Mapping) and any(body.get(name) for name in _STORED)):
        return failure
    is_other = _OTHER_THAN_MODEL.search(error_message(error_in_body(failure.body)))
    return failure if is_other else attrs.evolve(failure, kind="configuration")


def provider_error(failure: Failure, candidate: str, place: str, key_env: str, key_is_set: bool) -> ProviderError:
    """Return the error for the caller, with advice."""
    if failure.retry_after_s is not None:
        failure = attrs.evolve(failure, retry_after_s=min(failure.retry_after_s, LONGEST_PAUSE_S))
    text = f"model {candidate!r} {place} {failure.text[:ERROR_CHARACTERS]}"
    if advice := _advice_on(_cause(failure), key_env, key_is_set):
        text += f"; {advice}"
    public = f"model {candidate!r} {_public_text(failure)}"
    return ProviderError(text, kind=failure.kind, status=failure.status, body=failure.body, retry_after_s=failure.retry_after_s, public=public)


def _cause(failure: Failure) -> str:
    """Return the kind of a failure, or that the account has no credit."""
    return _NO_CREDIT if failure.kind == "authentication" and failure.status in (402, 429) else failure.kind


def _advice_on(cause: str, key_env: str, key_is_set: bool) -> str:
    """Return what to do about a failure; ``""`` for a broken answer, whose message says it."""
    if cause != "authentication":
        return _ADVICE.get(cause, "")
    if not key_env:
        return "set api_key_env of the endpoint to the variable with your API key"
    return f"check the key in ${key_env}" if key_is_set else f"set ${key_env} to your API key"


def _public_text(failure: Failure) -> str:
    """Return a failure for clients of the gateway, as the end of a sentence; they see the server's message only if it refused the request."""
    not_called = failure.kind == "server" and failure.status is None and failure.retry_after_s is not None  # the circuit breaker is open
    text = "is not called for now, after failures" if not_called else _PUBLIC.get(_cause(failure), "failed")
    if failure.status is not None:
        text += f" ({failure.status} {phrases.get(failure.status, '')}".rstrip() + ")"
    if failure.kind == "request" and failure.body:
        return f"{text}: {message_of(failure.body)}"
    return text if failure.retry_after_s is None else f"{text}; try again in {math.ceil(failure.retry_after_s)} s"


def message_of(body: bytes) -> str:
    """Return the message in the body of an error, else the start of the body."""
    message = error_in_body(body).get("message")
    if not isinstance(message, str) or not message:
        message = " ".join(body[: 4 * ERROR_CHARACTERS].decode(errors="replace").split())
    return message[:ERROR_CHARACTERS]
