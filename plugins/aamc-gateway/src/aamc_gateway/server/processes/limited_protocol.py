"""Limits of connections that ASGI does not cover: sizes of headers, clients that stop reading their answer, and versions of HTTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar
from weakref import proxy

import orjson
from aamc_models.dialects import error_body
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from aamc_gateway.server.settings import RequestLimits

_CHECKS = 8
"""Number of times that a client which takes no data is checked before its connection ends."""
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


class _LimitedProtocol(HttpToolsProtocol):
    """Ends a connection whose request has headers that are too large or too slow, or whose client takes nothing of its answer."""

    limits: ClassVar[RequestLimits]
    max_header_bytes: ClassVar[int]
    _reading = False
    _size = _received = 0
    _header_size = 0
    _headers_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _unsent = 0
    _taken = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._start_headers_timer()

    def data_received(self, data: bytes) -> None:
        self._received = 0
        if self._awaits_headers():
            data = _without_upgrade(data)
            self._received = len(data)
            self._size += self._received
        super().data_received(data)
        if self._headers_timer is None and self._awaits_headers():  # the headers of most requests come at once
            self._start_headers_timer()
        if self._reading and self._size > self.max_header_bytes and not self.transport.is_closing():
            self._stop_headers_timer()
            self._refuse_headers()

    def _awaits_headers(self) -> bool:
        return self._reading or self.cycle is None or self.cycle.response_complete

    def on_message_begin(self) -> None:
        self._reading, self._header_size, self._size = True, 0, self._received  # without the rest of a body that was refused
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._reading, self._size = False, 0
        self._header_size = len(self.url) + sum([len(name) + len(value) for name, value in self.headers])
        self._stop_headers_timer()
        if self._header_size > self.max_header_bytes:  # they came at once, with a part of the body perhaps
            raise ValueError("the headers are too large")  # ends the parser, which calls send_400_response
        super().on_headers_complete()
        if not self.cycle.keep_alive:
            self.cycle.transport = _LastTransport(self.transport, self.cycle)  # type: ignore[assignment]  # a cycle needs no more of it
        if self.scope["http_version"] == "1.0" and self.scope["method"] != "HEAD":
            self.cycle.send = _unchunked(self.cycle)  # type: ignore[assignment, method-assign]  # uvicorn sends chunks, which came with HTTP/1.1

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle.response_complete and not self.cycle.keep_alive:
            self.transport.close()
            self._watch_end()

    def send_400_response(self, msg: str) -> None:
        if self._header_size > self.max_header_bytes:
            self._refuse_headers()
        else:
            super().send_400_response(msg)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_headers_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def _refuse_headers(self) -> None:
        self.transport.write(_too_large(self.limits.header_kb))
        self.transport.close()

    def _start_headers_timer(self) -> None:
        self._headers_timer = self.loop.call_later(self.limits.header_s, self.transport.close)

    def _stop_headers_timer(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_write_timer()

    def resume_writing(self) -> None:
        if not self.transport.is_closing():
            self._stop_write_timer()
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_end()

    def shutdown(self) -> None:
        super().shutdown()
        self._watch_end()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_end()

    def _watch_end(self) -> None:
        """See that a connection which is closed does not wait forever for a client to take the rest."""
        if self.transport.is_closing():
            self._start_write_timer()

    def _start_write_timer(self) -> None:
        if self._write_timer is None:
            self._unsent, self._taken = self.transport.get_write_buffer_size(), self.loop.time()
            self._write_timer = self._next_check()

    def _next_check(self) -> asyncio.TimerHandle:
        return self.loop.call_later(self.limits.write_s / _CHECKS, self._check_progress)

    def _check_progress(self) -> None:
        unsent, now = self.transport.get_write_buffer_size(), self.loop.time()
        if unsent < self._unsent:
            self._taken = now
        self._unsent = unsent
        if now - self._taken >= self.limits.write_s:
            self.transport.abort()
        else:
            self._write_timer = self._next_check()

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


class _LastTransport:
    """The transport of a connection's last request, which stays open after its answer until the request's body has come.

    Closing while a body arrives resets the connection, and the client never reads why it was refused. The timers of the protocol limit the wait.
    """

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle) -> None:
        self.write, self.is_closing, self._close = transport.write, transport.is_closing, transport.close
        self._cycle = proxy(cycle)  # which holds this object: the two would keep each other

    def close(self) -> None:
        """Close the connection, unless a body still comes."""
        if not (self._cycle.more_body and self._cycle.response_complete):
            self._close()


def limited_protocol(limits: RequestLimits) -> type[HttpToolsProtocol]:
    """Return a protocol with these limits, for uvicorn, which takes a class."""
    return type("LimitedProtocol", (_LimitedProtocol,), {"limits": limits, "max_header_bytes": int(limits.header_kb * 1e3)})


def _without_upgrade(data: bytes) -> bytes:
    """Return the start of a request without the header ``Upgrade``: the parser would skip the body. Clients such as Java's offer HTTP/2 by it.

    A header that comes in two pieces is not found; such a request gets status 400.
    """
    end = data.find(b"\r\n\r\n")
    found = _UPGRADE.search(data, 0, len(data) if end < 0 else end)
    return data if found is None else data[: found.start()] + b"\r\nx-upgrade:" + data[found.end() :]


def _unchunked(cycle: RequestResponseCycle) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """Return the ``send`` of a request in HTTP/1.0, where an answer without a length ends with its connection."""
    whole, ends_with_connection = cycle.send, False

    async def send(message: Any) -> None:
        nonlocal ends_with_connection
        if message["type"] == "http.response.start":
            ends_with_connection = all(name != b"content-length" for name, _ in message["headers"])
            cycle.chunked_encoding = False if ends_with_connection else None
        elif ends_with_connection:
            if cycle.flow.write_paused and not cycle.disconnected:
                await cycle.flow.drain()
            if not cycle.disconnected:
                cycle.transport.write(message.get("body", b""))
            if message.get("more_body"):
                return
            message = {**message, "body": b""}
        await whole(message)

    return send


def _too_large(header_kb: float) -> bytes:
    """Return the answer to a request whose headers are too large."""
    message = f"the request's line and headers are larger than {header_kb:g} kB; send less, or raise gateway.limits.header_kb"
    body = orjson.dumps(error_body("chat", message, "request", 431))
    head = (
        f"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
