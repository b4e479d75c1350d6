"""Limits of connections that ASGI does not cover: sizes of headers, clients that stop reading their answer, and versions of HTTP."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import httptools
import orjson
from aamc_models.dialects import error_body
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from aamc_gateway.server.settings import RequestLimits

_CHECKS = 8
"""Number of times that a client which takes no data is checked before its connection ends."""
_PIPELINED = 32
"""Maximum number of requests of a connection without an answer: one of 25 bytes takes 2 KB, and clients rarely send a second."""


class _LimitedProtocol(HttpToolsProtocol):
    """Ends a connection with large headers or trailers, slow headers, too many requests at once, or a client that takes nothing of its answer."""

    limits: ClassVar[RequestLimits]
    max_header_bytes: ClassVar[int]
    _reading = _begins_body = False
    _is_last = False
    _size = _header_size = 0
    _headers_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _unsent = 0
    _taken = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._cycles = deque[RequestResponseCycle]()  # without a whole answer, in order
        self._start_headers_timer()

    def data_received(self, data: bytes) -> None:
        if self._is_last:
            return
        self._size += len(data)
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self.send_400_response(message)
        if self._begins_body:
            self._begins_body = False
            self.cycle.send = self._last_if_early(self.cycle)  # type: ignore[assignment, method-assign]
        if self._size > self.max_header_bytes and not self.transport.is_closing():
            self._header_size = self._size
            self.send_400_response("")
        if self._headers_timer is None and not self._is_last and self._awaits_headers():  # the headers of most requests come at once
            self._start_headers_timer()

    def _parse(self, data: bytes) -> None:
        """Parse data; a request that offers another protocol, as Java's client offers HTTP/2, is parsed again without its header ``Upgrade``.

        The parser skips the body of such a request.
        """
        rest = memoryview(data)
        while True:
            try:
                self.parser.feed_data(rest)
                break
            except httptools.HttpParserUpgrade as offer:
                rest = rest[offer.args[0] :]
                line = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
                headers = [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
                self.parser.feed_data(b"\r\n".join([line, *headers, b"\r\n"]))

    def _awaits_headers(self) -> bool:
        return self._reading or self.cycle is None or self.cycle.response_complete

    def on_message_begin(self) -> None:
        self._reading, self._header_size = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ValueError("CONNECT is refused: the gateway is not a proxy")
            return
        self._reading, self._size = False, 0
        self._header_size = len(self.url) + sum([len(name) + len(value) for name, value in self.headers])
        self._stop_headers_timer()
        if self._header_size > self.max_header_bytes:  # they came at once, with a part of the body perhaps
            raise ValueError("the headers are too large")  # ends the parser, which calls send_400_response
        if len(self._cycles) >= _PIPELINED:
            raise ValueError("too many requests wait for the answers before theirs")
        hosts = sum([name == b"host" for name, _ in self.headers])
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            raise ValueError("a request has one header Host (RFC 9112, section 3.2)")
        super().on_headers_complete()
        self.headers = []  # what follows are trailers, which are not headers (RFC 9110, section 6.5.1)
        self._cycles.append(self.cycle)
        self._begins_body = True
        if self.scope["http_version"] == "1.0" and self.scope["method"] != "HEAD":
            self.cycle.waiting_for_100_continue = False  # it would take that for its answer (RFC 9110, section 10.1.1)
            self.cycle.send = _unchunked(self.cycle)  # type: ignore[assignment, method-assign]  # uvicorn sends chunks, which came with HTTP/1.1

    def on_body(self, body: bytes) -> None:
        self._size = 0  # what follows without a body may be trailers: the parser copies an unfinished one again for each piece that comes
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            self._begins_body = False
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what came last; while an answer is sent, without another one, which would come in the middle of it."""
        self._stop_headers_timer()
        if self._cycles and self._cycles[0].response_started:
            self._is_last = True
        elif self._header_size > self.max_header_bytes:
            self.transport.write(_too_large(self.limits.header_kb))
            self.transport.close()
        else:
            super().send_400_response(msg)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_headers_timer()
        self._stop_write_timer()
        for cycle in self._cycles:  # uvicorn tells the last one alone
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

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

    def _last_if_early(self, cycle: RequestResponseCycle) -> Callable[[Any], Coroutine[Any, Any, None]]:
        """Return the ``send`` of a request whose body is not complete: an answer that begins before ends the connection.

        The rest of the body is discarded for a while, since a client that still sends it would be reset before it reads the answer.
        """
        whole = cycle.send

        async def send(message: Any) -> None:
            vars(cycle).pop("send", None)  # or the two would wait for the garbage collector
            if message["type"] == "http.response.start" and cycle.more_body:
                self._is_last, cycle.keep_alive = True, False
                await whole(message)
                cycle.keep_alive = True  # or uvicorn would close at once
            else:
                await whole(message)

        return send

    def on_response_complete(self) -> None:
        self._cycles.popleft()
        super().on_response_complete()
        if self._is_last and not self._cycles and not self.transport.is_closing() and self.transport.can_write_eof():
            self.transport.write_eof()
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


def limited_protocol(limits: RequestLimits) -> type[HttpToolsProtocol]:
    """Return a protocol with these limits, for uvicorn, which takes a class."""
    return type("LimitedProtocol", (_LimitedProtocol,), {"limits": limits, "max_header_bytes": int(limits.header_kb * 1e3)})


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
