"""Splits a stream of bytes into server-sent events."""

from __future__ import annotations

import re

from aamc_models.transport.failures import Failure

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n")
_TAIL = 3
"""Bytes of an end that may lie in the chunk before."""


class EventSplitter:
    """Splits chunks of bytes into events, each with the empty line that ends it.

    Args:
        max_bytes: Maximum bytes of an event.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._tail = b""
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the events that a chunk completes."""
        seam = self._tail + chunk
        self._tail = seam[-_TAIL:]
        self._parts.append(chunk)
        self._size += len(chunk)
        if self._size > self._max_bytes:
            raise Failure(f"sent an event of more than {self._max_bytes:,} bytes", "protocol")
        if _END.search(seam) is None:
            return []
        data = b"".join(self._parts)
        events, start = [], 0
        for end in _END.finditer(data):
            events.append(data[start : end.end()])
            start = end.end()
        left = data[start:]
        self._parts, self._size, self._tail = [left] if left else [], len(left), left[-_TAIL:]
        return events

    def rest(self) -> list[bytes]:
        """Return the last event if the stream ended after its last line, without the empty line; a cut line is dropped."""
        data = b"".join(self._parts)
        return [data.rstrip(b"\r\n") + b"\n\n"] if data.strip() and (data.endswith((b"\n", b"\r")) or data.endswith(b"data: [DONE]")) else []
