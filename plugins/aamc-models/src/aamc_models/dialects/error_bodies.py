"""Errors in the dialects of clients."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aamc_models.dialects.events import event_of
from aamc_models.dialects.fields import json_value, object_or_empty, objects_or_empty
from aamc_sdk.errors import ProviderError

_STATUSES = {"authentication": 401, "rate_limit": 429, "request": 400, "timeout": 504, "connection": 502, "protocol": 502, "configuration": 502}
_SHARED_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
"""The types of errors that have the same name in both vendors' dialects, by status."""
_MESSAGES_TYPES = {**_SHARED_TYPES, 402: "billing_error", 413: "request_too_large", 504: "timeout_error", 529: "overloaded_error"}
_OPENAI_TYPES = {**_SHARED_TYPES, 402: "insufficient_quota"}
_OPENAI_CODES = {401: "invalid_api_key", 402: "insufficient_quota", 404: "not_found", 413: "request_too_large", 429: "rate_limit_exceeded"}

_TOO_LONG = re.compile("prompt is too long|maximum context length|context.?length.?exceeded|context window", re.IGNORECASE)
"""Errors of prompts that are longer than a context window. Agents shorten their conversation after the first of these messages, or OpenAI's code."""

BROKEN_OFF_REASONS = ("error", "abort", "insufficient_system_resource")
"""Finish reasons of answers that a server broke off: in general, in vLLM and SGLang, and at DeepSeek."""
_KINDS = {
    "authentication_error": "authentication",
    "insufficient_quota": "authentication",  # as status 402: a pause does not help
    "invalid_request_error": "request",
    "not_found_error": "configuration",
    "permission_error": "authentication",
    "request_too_large": "request",
    "timeout_error": "timeout",
}
"""The kinds of errors by their code or type, as servers name them."""
_STATUS_KINDS = {
    **dict.fromkeys((401, 402, 403), "authentication"),
    407: "connection",
    408: "timeout",
    409: "server",
    421: "connection",
    429: "rate_limit",
}
_STATUS = re.compile("[45][0-9]{2}")
_REFUSED_CONTENT = re.compile("input was flagged|violates usage guidelines|content.?policy", re.IGNORECASE)
"""Messages with which OpenRouter and xAI refuse the content of a request by status 403, which otherwise refuses a key."""


def error_body(dialect: str, message: str, kind: str, status: int | None) -> dict[str, Any]:
    """Return the body of an error answer.

    Args:
        dialect: The client's dialect.
        message: What is wrong and what to do.
        kind: The kind of a :class:`aamc_sdk.errors.ProviderError`.
        status: The HTTP status, which has priority over the kind; None if unknown.
    """
    status = _STATUSES.get(kind, 500) if status is None else status
    message = message.encode(errors="replace").decode()  # half a surrogate pair cannot be sent
    refused = 400 <= status < 500
    is_too_long = status == 400 and _TOO_LONG.search(message) is not None
    if dialect == "messages":
        name = _MESSAGES_TYPES.get(status) or ("invalid_request_error" if refused else "api_error")
        message = f"prompt is too long: {message}" if is_too_long and "prompt is too long" not in message else message
        return {"type": "error", "error": {"type": name, "message": message}}
    name = _OPENAI_TYPES.get(status) or ("invalid_request_error" if refused else "server_error")
    code = "context_length_exceeded" if is_too_long else _OPENAI_CODES.get(status) or (None if refused else "server_error")
    return {"error": {"message": message, "type": name, "param": None, "code": code}}


def error_event(dialect: str, message: str, kind: str = "server", status: int | None = None, sequence_number: int = 0) -> bytes:
    """Return the server-sent event that ends a stream with an error; the official clients raise their API error on it.

    The arguments are those of :func:`error_body`; events of ``responses`` have a ``sequence_number``.
    """
    body = error_body(dialect, message, kind, status)
    if dialect == "messages":
        return event_of(body, "error")
    if dialect == "responses":  # OpenAI's Python client raises only where the data has "error"; the API's own fields stay
        own = {"type": "error", "code": body["error"]["code"], "message": body["error"]["message"], "param": None, "sequence_number": sequence_number}
        return event_of({**own, **body}, "error")
    return event_of(body)


def error_in(answer: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the error in an answer, in the form of OpenAI and Anthropic, or of servers that give only a text or, as older vLLM, its fields."""
    answer = answer or {}
    if answer.get("object") == "error" and "error" not in answer:
        return dict(answer)
    error = answer.get("error")
    if isinstance(error, str) and error:
        return {"message": error}
    return error if isinstance(error, dict) and error else None


def error_in_body(body: bytes) -> dict[str, Any]:
    """Return the error in the body of an answer whose status is not a success; an empty one if it cannot be read.

    Gemini puts it into a list. Others leave the object ``error`` out, and FastAPI and Mistral have a list of wrong fields in place of a message.
    """
    content = json_value(body)
    first = content[0] if isinstance(content, list) and content else content
    if not isinstance(first, dict):
        return {}
    error = error_in(first) or first
    message = error.get("message") or error.get("detail")
    message = message.get("detail") if isinstance(message, dict) else message
    if isinstance(message, list):
        message = "; ".join(_problem(entry) for entry in objects_or_empty(message))
    return {**error, "message": message}


def _problem(entry: Mapping[str, Any]) -> str:
    """Return what is wrong with which field."""
    place = entry.get("loc")
    field = ".".join(map(str, place)) if isinstance(place, list) else ""
    return f"{field}: {entry.get('msg')}" if field else str(entry.get("msg"))


def error_in_event(event: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the error that an event of a stream reports, which events of ``responses`` hold in their response or in fields of their own."""
    if event.get("type") == "error" and "error" not in event:
        return dict(event)
    return error_in(event) or error_in(object_or_empty(event.get("response")))


def broken_off(answer: Mapping[str, Any]) -> object:
    """Return the error that ended a whole answer: a failed response, or a message or choice that finished with an error; None without one."""
    if answer.get("status") in ("failed", "cancelled"):
        return answer.get("error") or f"its status is {answer['status']}"
    if answer.get("stop_reason") in BROKEN_OFF_REASONS:
        return f"its finish reason is {answer['stop_reason']}"
    found = map(error_of_choice, objects_or_empty(answer.get("choices")))
    return next((error for error in found if error is not None), None)


def error_of_choice(choice: Mapping[str, Any]) -> object:
    """Return the error with which a choice, or its last chunk, has finished; None without one."""
    reason = choice.get("finish_reason")
    return choice.get("error") or f"its finish reason is {reason}" if reason in BROKEN_OFF_REASONS else None


def broken_off_error(model: str, error: object, *, body: bytes = b"", status: int | None = None) -> ProviderError:
    """Return the error for an answer that a model broke off with an error of its server."""
    public = f"model {model!r} broke its answer off with an error"
    return ProviderError(f"{public}: {error_message(error)}", kind=kind_of(error), body=body, status=status, public=public)


def error_message(error: object) -> str:
    """Return the message of a reported error; never an empty one."""
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) and message else "the server reported an error without a message"


def status_of(error: Mapping[str, Any]) -> int | None:
    """Return the HTTP status that a reported error has as its code, as those of SGLang, vLLM and OpenRouter do; None without one."""
    code = str(error.get("code"))
    return int(code) if _STATUS.fullmatch(code) else None


def kind_of_status(status: int, message: str) -> str:
    """Return the kind of an error with an HTTP status."""
    if status == 403 and _REFUSED_CONTENT.search(message):
        return "request"
    return _STATUS_KINDS.get(status) or ("server" if status >= 500 else "request")


def kind_of(error: object) -> str:
    """Return the kind of a reported error: a rate limit if its code or type says so, else by the status that it names, its code, or its type."""
    if not isinstance(error, Mapping):
        return "server"
    names = [str(error.get(key)) for key in ("code", "type")]
    if any("rate_limit" in name for name in names):  # servers end it in _error, _exceeded or -ed
        return "rate_limit"
    status = status_of(error)
    if status is not None:
        return kind_of_status(status, error_message(error))
    return next((_KINDS[name] for name in names if name in _KINDS), "server")
