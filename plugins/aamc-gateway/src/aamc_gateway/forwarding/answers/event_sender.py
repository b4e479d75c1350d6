"""Sending streams of server-sent events: kept alive while they are silent, and ended by an error event where they fail."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType

from aamc_models.dialects import error_event
from starlette.types import Send

from aamc_gateway.observe.request_figures import Ending
from aamc_gateway.server.http.error_answers import client_message, tell_operator
from aamc_sdk.errors import AamcError

_HEADERS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
KEEP_ALIVE = b": keep-alive\n\n"
"""A comment that keeps connections open while the answer is awaited."""
_SEQUENCE_NUMBER = re.compile(rb'"sequence_number":\s*(\d{1,18})')


class EventSender:
    """Sends a stream of events. Inside its block, comments keep a silent stream alive.

    Args:
        send: Sends to the client.
        dialect: The client's dialect, in which an error event is.
        keep_alive_s: Silence after which a comment is sent, in seconds.
        count: Counts an event in the life of the stream, see :meth:`aamc_gateway.observe.metrics.Metrics.stream_event`.

    Attributes:
        headers: The headers to begin with.
        has_begun: Whether they were sent.
    """

    def __init__(self, send: Send, dialect: str, keep_alive_s: float, count: Callable[[str], None]) -> None:
        self._send, self._dialect, self._keep_alive_s, self._count = send, dialect, keep_alive_s, count
        self.headers: Sequence[tuple[bytes, bytes]] = ()
        self.has_begun = False
        self._writing = asyncio.Lock()
        self._last_write = time.monotonic()
        self._last_events = b""
        self._keeper: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._keep_alive_s, self._tick)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if kind is asyncio.CancelledError:
            self._count("client_left")
        self._timer.cancel()
        if self._keeper is not None:
            self._keeper.cancel()

    async def prepare(self) -> None:
        """Wait until the stream may begin."""

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Send events; the headers before the first ones."""
        if b"sequence_number" in data:  # not in comments
            self._last_events = data
        async with self._writing:
            if not self.has_begun:
                self.has_begun = True
                await self._send({"type": "http.response.start", "status": 200, "headers": [*self.headers, *_HEADERS]})
            await self._send({"type": "http.response.body", "body": data, "more_body": more})
            self._last_write = time.monotonic()

    async def end(self, data: bytes) -> None:
        """Send the last events."""
        self._timer.cancel()
        await self.write(data, more=False)

    async def fail(self, error: AamcError, request: Ending) -> None:
        """End a stream that has begun with an error event, and its request; in the dialect ``responses`` the event gets the next number."""
        kind = getattr(error, "kind", "server")
        self._count("cut" if kind == "protocol" else "error")
        tell_operator(f"request {request.figures.request_id}: a stream", error)
        numbers = _SEQUENCE_NUMBER.findall(self._last_events)
        number = int(numbers[-1]) + 1 if numbers else 0
        told = "server" if kind in ("authentication", "configuration") else kind  # the gateway's own key or pool, not the client's
        await self.end(error_event(self._dialect, client_message(error), told, getattr(error, "status", None), number))
        request.end(200, kind)

    def _tick(self) -> None:
        """Keep a silent stream alive."""
        loop, now, wait = asyncio.get_running_loop(), time.monotonic(), self._keep_alive_s
        if now - self._last_write < wait * 0.999:
            wait -= now - self._last_write
        elif not self._writing.locked():
            self._keeper = loop.create_task(self._keep_alive())
        self._timer = loop.call_later(wait, self._tick)

    async def _keep_alive(self) -> None:
        with suppress(AamcError):  # a refused decision is for the request itself to report
            await self.prepare()
            if not self._timer.cancelled():  # the stream has not ended meanwhile
                await self.write(KEEP_ALIVE)
                self._count("keep_alive")
