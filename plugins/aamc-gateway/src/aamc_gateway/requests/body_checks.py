"""Checks of the fields of a body, by API."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from aamc_gateway.access.callers import FALLBACKS, Refused
from aamc_gateway.requests.object_owners import OBJECT_FIELDS
from aamc_sdk.interfaces import ANY_OUTPUT_LIMIT

_REQUIRED = {
    "chat": ("messages",),
    "messages": ("messages",),
    "count_tokens": ("messages",),
    "completions": ("prompt",),
    "embeddings": ("input",),
    "responses": ("input", "previous_response_id", "prompt", "conversation"),
}
"""The fields of an API of which a request has at least one."""
_LIMITED = {**dict.fromkeys(ANY_OUTPUT_LIMIT, (0, math.inf)), **dict.fromkeys(("n", "best_of"), (1, 128))}
"""Fields with numbers, with minimum and maximum: a number outside would make the reserved cost too small."""
_CHECKED = frozenset(
    (*_LIMITED, *OBJECT_FIELDS, *FALLBACKS, "model", "user", "metadata", "stream", "stream_options", "tools", "background", "service_tier")
).union(*_REQUIRED.values())
"""Fields by which a request is allowed, limited or priced."""


def check_spelling(body: Mapping[str, Any]) -> None:
    """Check that no field would be taken for one that the gateway checks by a server that reads names without regard to case, as in Go.

    Raises:
        Refused: There is such a field.
    """
    for name in body:
        if name not in _CHECKED and (known := name.casefold()) in _CHECKED:
            raise Refused(f"some servers would read the field {name!r:.80} as {known}; write {known}, or leave it out")


def check_fields(api: str, body: Mapping[str, Any]) -> None:
    """Check that a request has the fields that its API requires.

    Raises:
        Refused: A field is missing, or has a type that no server accepts.
    """
    names = _REQUIRED.get(api, ())
    if names and body.get(names[0]) is None and all(body.get(name) is None for name in names[1:]):
        raise Refused(f"the request has no {names[0]}; add the field")
    _check_stream(body)
    if api == "embeddings" and body.get("stream"):
        raise Refused("embeddings are not streamed; leave stream out")
    tools = body.get("tools")
    if not (tools is None or (isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools))):
        raise Refused(f"tools must be a list of objects, not {tools!r:.80}")
    for field in [name for name in body if name in _LIMITED]:
        check_number(field, body[field])
    given = body.get(names[0]) if names else None
    if names and names[0] == "messages":
        if not isinstance(given, list) or not given:
            raise Refused(f"messages must be a list of at least one object with role and content, not {given!r:.80}")
        _check_messages("messages", given)
    elif api == "responses" and isinstance(given, list):
        _check_messages("input", given)
    elif given is not None and api in ("completions", "embeddings"):
        items = given if isinstance(given, list) else [given]
        numbers = all(isinstance(item, int) and not isinstance(item, bool) for item in items)
        if not items or not ((numbers and isinstance(given, list)) or all(isinstance(item, str | list) for item in items)):
            raise Refused(f"{names[0]} must be a text, or a list of texts or tokens, not {given!r:.80}")


def check_number(field: str, value: Any) -> None:
    """Raise Refused unless the value of a field of :data:`_LIMITED` is an integer in its limits, or None."""
    minimum, maximum = _LIMITED[field]
    if value is not None and not (type(value) is int and minimum <= value <= maximum):
        limits = f"at least {minimum}" if maximum == math.inf else f"{minimum} to {maximum}"
        raise Refused(f"{field} must be an integer of {limits}, not {value!r:.80}")


def _check_messages(name: str, messages: Iterable[Any]) -> None:
    """Refuse what is not a message, a message without a role, and a user's without content; an assistant's may have calls of tools instead.

    A message's server says which roles it knows, since some chat templates have their own. Items of ``input`` need not be messages.
    """
    for index, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if name == "messages":
            if not isinstance(message, dict):
                raise Refused(f"messages[{index}] must be an object with role and content, not {message!r:.80}")
            if role is None:
                raise Refused(f"messages[{index}] has no role; add it, such as user")
            if not (isinstance(role, str) and role):
                raise Refused(f"messages[{index}].role must be a text such as user, not {role!r:.80}")
        if role == "user" and message.get("content") is None:
            raise Refused(f"{name}[{index}].content must be a text or a list of parts, as the role is user")


def _check_stream(body: Mapping[str, Any]) -> None:
    options = body.get("stream_options")
    if not (options is None or isinstance(options, dict)):
        example = '{"include_usage": true}'
        raise Refused(f"stream_options must be an object such as {example}, not {options!r:.80}")
    for name, value in (("stream", body.get("stream")), ("stream_options.include_usage", (options or {}).get("include_usage"))):
        if not (value is None or isinstance(value, bool)):
            raise Refused(f"{name} must be true or false, not {value!r:.80}")
