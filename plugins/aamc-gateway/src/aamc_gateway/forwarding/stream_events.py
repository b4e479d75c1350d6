"""The headers of streams of server-sent events, the comment that keeps them open, and the event that ends one by an error."""

from __future__ import annotations

from aamc_models.dialects import error_event

from aamc_sdk.errors import AamcError, public_message

STREAM_HEADERS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
KEEP_ALIVE = b": keep-alive\n\n"
"""A comment that keeps connections open while the answer is awaited."""


def failure_event(dialect: str, error: AamcError) -> bytes:
    """Return the event that ends a stream by an error."""
    return error_event(dialect, public_message(error), getattr(error, "kind", "server"), getattr(error, "status", None))
