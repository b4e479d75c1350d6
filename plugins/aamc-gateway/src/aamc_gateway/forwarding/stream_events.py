"""The headers of streams of server-sent events, the comment that keeps them open, and the event that ends one by an error."""

from __future__ import annotations

import re

from aamc_models.dialects import error_event

from aamc_sdk.errors import AamcError, public_message

STREAM_HEADERS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
KEEP_ALIVE = b": keep-alive\n\n"
"""A comment that keeps connections open while the answer is awaited."""
_SEQUENCE_NUMBER = re.compile(rb'"sequence_number":\s*(\d{1,18})')


def failure_event(dialect: str, error: AamcError, sent: bytes = b"") -> bytes:
    """Return the event that ends a stream by an error.

    Args:
        dialect: The client's dialect.
        error: The error.
        sent: The last events that were sent; in the dialect ``responses`` the error event gets the next number.
    """
    numbers = _SEQUENCE_NUMBER.findall(sent)
    number = int(numbers[-1]) + 1 if numbers else 0
    return error_event(dialect, public_message(error), getattr(error, "kind", "server"), getattr(error, "status", None), number)
