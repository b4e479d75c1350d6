"""The begin and the end of streams of server-sent events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aamc_models.dialects import DONE, error_event, event_of

from aamc_sdk.errors import AamcError, public_message

STREAM_HEADERS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))


def last_events(events: Sequence[bytes], dialect: str, document: Mapping[str, Any]) -> bytes:
    """Return the last events of a stream: the last JSON object with the ``aamc`` object, and ``[DONE]`` where the dialect has it.

    Args:
        events: The events.
        dialect: The client's dialect.
        document: The ``aamc`` object.
    """
    found = list(events)
    for position in range(len(found) - 1, -1, -1):
        changed = _with_document(found[position], document)
        if changed is not None:
            found[position] = changed
            break
    if dialect in ("chat", "completions") and not (found and b"[DONE]" in found[-1]):
        found.append(DONE)
    return b"".join(found)


def _with_document(event: bytes, document: Mapping[str, Any]) -> bytes | None:
    """Return an event with the ``aamc`` object; None where its data is no JSON object."""
    start = event.find(b"data:")
    if start < 0:
        return None
    try:
        data = orjson.loads(event[start + 5 :])
    except orjson.JSONDecodeError:
        return None
    return event[:start] + event_of({**data, "aamc": document}) if isinstance(data, dict) else None


def failure_event(dialect: str, error: AamcError) -> bytes:
    """Return the event that ends a stream by an error."""
    return error_event(dialect, public_message(error), getattr(error, "kind", "server"), getattr(error, "status", None))
