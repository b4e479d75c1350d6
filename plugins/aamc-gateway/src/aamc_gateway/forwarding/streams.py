"""Answers that come as a stream of server-sent events."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from aamc_gateway.forwarding.exchange import Exchange
from aamc_gateway.forwarding.relay import Relay
from aamc_gateway.forwarding.stream_events import KEEP_ALIVE, STREAM_HEADERS, failure_event
from aamc_gateway.forwarding.upstream_call import UpstreamCall
from aamc_gateway.forwarding.upstreams import Prepared, Upstream
from aamc_sdk.errors import AamcError, ProviderError

if TYPE_CHECKING:
    from aamc_gateway.server.interfaces import Send

_RESPONSE_ID = re.compile(rb'"id":\s*"(resp[^"]{1,200})"')


class StreamedAnswer:
    """Sends an answer as it comes.

    The first events are held until one has content, so that an error before it falls back. After the finish, what is left is held until the usage has
    come. The last event gets the ``aamc`` object. A stream that breaks ends in an error event.

    Args:
        exchange: The request.
        send: Sends to the client.

    Attributes:
        exchange: The request.
    """

    def __init__(self, exchange: Exchange, send: Send) -> None:
        self.exchange, self._send = exchange, send
        self._settings = exchange.gateway.settings
        self._writing = asyncio.Lock()
        self._open = self._flowing = False
        self._last_write = time.monotonic()
        self._response_id: str | None = None
        self._last_events = b""
        self._keeper: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Call the decided candidate, or the next allowed one while calls fail before their content, and send the answer.

        Raises:
            UnservedError: No candidate answered, and nothing was sent.
            StoreError: The log refused the decision, and nothing was sent.
        """
        exchange = self.exchange
        self._timer = asyncio.get_running_loop().call_later(self._settings.streams.keep_alive_s, self._tick)
        try:
            while not await self._attempt(await exchange.next_call()):
                pass  # the next candidate is called
        except asyncio.CancelledError:
            exchange.gateway.metrics.stream_event("client_left")
            raise
        except AamcError as error:
            if not self._open:
                raise
            await self._break(error)
        finally:
            self._timer.cancel()
            if self._keeper is not None:
                self._keeper.cancel()

    async def _attempt(self, call: UpstreamCall) -> bool:
        """Stream the answer of a candidate; return False where it failed before its content."""
        exchange, relay = self.exchange, Relay(self, call)
        try:
            async with call.block:
                try:
                    await relay.run()
                except BaseException:
                    await relay.close()
                    raise
                finally:
                    monitor = relay.monitor
                    call.bill(monitor.usage, monitor.cost_usd, lambda: monitor.text_bytes, finished=monitor.finished)
        except ProviderError as error:
            call.end(error)
            if self._flowing:
                await self._break(error)  # raised, it would hold the request until the garbage collector came
            return self._flowing
        except BaseException:  # the client has left, or the log refused the decision
            call.end(cancelled=True)
            raise
        exchange.answered(call)
        exchange.served.finish_reason = relay.monitor.finish_reason or ""
        await self.begin(call)
        await exchange.remember(call.upstream, self._response_id)
        await self._end(relay.last_events(exchange.document(call.prepared)))
        exchange.end(200)
        await exchange.infer_feedback()
        await relay.drain()
        return True

    async def begin(self, call: UpstreamCall) -> None:
        """Send the headers, once the decision is durable; only the first time."""
        self._flowing = True
        if not self._open:
            await self._start(call.upstream, call.prepared)

    async def _start(self, upstream: Upstream | None, prepared: Prepared | None) -> None:
        await self.exchange.commit()
        async with self._writing:
            if not self._open:
                self._open = True
                headers = [*self.exchange.headers(upstream, prepared), *STREAM_HEADERS]
                await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def write(self, data: bytes) -> None:
        """Send events."""
        if b"sequence_number" in data:  # not in comments
            self._last_events = data
        async with self._writing:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
            self._last_write = time.monotonic()

    async def _end(self, data: bytes) -> None:
        self._timer.cancel()
        async with self._writing:
            await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def _break(self, error: AamcError) -> None:
        """End a stream that has begun with an error event in the client's dialect."""
        kind = getattr(error, "kind", "server")
        self.exchange.gateway.metrics.stream_event("cut" if kind == "protocol" else "error")
        await self._end(failure_event(self.exchange.ask.dialect, error, self._last_events))
        self.exchange.end(200, kind)

    def note_response(self, event: bytes) -> None:
        """Remember the id of the answer in the dialect ``responses``."""
        if self._response_id is None and (found := _RESPONSE_ID.search(event)) is not None:
            self._response_id = found[1].decode(errors="replace")

    def _tick(self) -> None:
        """Keep a silent stream alive."""
        loop, now, every = asyncio.get_running_loop(), time.monotonic(), self._settings.streams.keep_alive_s
        wait = every
        if now - self._last_write < every * 0.999:
            wait = every - (now - self._last_write)
        elif not self._writing.locked():
            self._keeper = loop.create_task(self._keep_alive())
        self._timer = loop.call_later(wait, self._tick)

    async def _keep_alive(self) -> None:
        with suppress(AamcError):  # a refused decision is for the request itself to report
            await self._start(None, None)
            await self.write(KEEP_ALIVE)
            self.exchange.gateway.metrics.stream_event("keep_alive")
