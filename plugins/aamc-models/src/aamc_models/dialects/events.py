"""Server-sent events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from aamc_models.dialects.fields import json_object, strict_json
from aamc_sdk.errors import DataError

DONE = b"data: [DONE]\n\n"
"""The event that ends a stream of chat and completions."""


def data_of(event: bytes) -> bytes:
    """Return the data of a server-sent event; ``b""`` without, as in a comment."""
    return b"\n".join([line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")])


def object_of(event: bytes) -> dict[str, Any] | None:
    """Return the JSON object in the data of an event; None for an event without data, and for ``[DONE]``."""
    data = data_of(event)
    if not data or data == b"[DONE]":
        return None
    try:
        value = orjson.loads(data)
    except ValueError as error:
        value = json_object(data)  # without numbers that are not finite
        if value is None:
            raise DataError(f"the data of a streamed event must be a JSON object: {error}, in {data[:60]!r}") from error
    if not isinstance(value, dict):
        raise DataError(f"the data of a streamed event must be a JSON object, not {data[:60]!r}")
    return value


def event_of(data: dict[str, Any], name: str = "") -> bytes:
    """Return a server-sent event with a name, which those of chat and completions lack.

    Raises:
        DataError: The data cannot be written as JSON.
    """
    try:
        text = orjson.dumps(data)
    except (TypeError, ValueError) as error:
        raise DataError(f"a streamed event cannot be written as JSON: {error}") from error
    return b"event: %b\ndata: %b\n\n" % (name.encode(), text) if name else b"data: %b\n\n" % text


def strict_event(event: bytes) -> bytes:
    """Return a server-sent event with null in place of the numbers NaN and infinity; one without them as it is."""
    if b"NaN" not in event and b"Infinity" not in event:
        return event
    data = data_of(event)
    strict = strict_json(data)
    return event if strict is data else event[: event.find(b"data:")] + b"data: %b\n\n" % strict


def last_events(events: Sequence[bytes], dialect: str, document: Mapping[str, Any] | None = None) -> bytes:
    """Return the last events of a stream: the last JSON object with the ``aamc`` object, if one is given, and ``[DONE]`` where the dialect has it."""
    found = list(events)
    for position in reversed(range(len(found) if document is not None else 0)):
        data = json_object(data_of(found[position]))
        if data is not None:
            start = found[position].find(b"data:")
            found[position] = found[position][:start] + event_of({**data, "aamc": document})
            break
    if dialect in ("chat", "completions") and not (found and b"[DONE]" in found[-1]):
        found.append(DONE)
    return b"".join(found)
