"""Answers that come as a stream of server-sent events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aamc_gateway.forwarding.event_sender import EventSender
from aamc_gateway.forwarding.exchange import Exchange
from aamc_gateway.forwarding.relay import Relay
from aamc_gateway.forwarding.upstream_call import UpstreamCall
from aamc_sdk.errors import AamcError, ProviderError

if TYPE_CHECKING:
    from aamc_gateway.server.interfaces import Send

_RESPONSE_ID = re.compile(rb'"id":\s*"(resp[^"]{1,200})"')


class StreamedAnswer(EventSender):
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
        gateway = exchange.gateway
        super().__init__(send, exchange.request.dialect, gateway.settings.streams.keep_alive_s, gateway.metrics.stream_event)
        self.exchange = exchange
        self._flowing = False
        self._response_id: str | None = None

    async def run(self) -> None:
        """Call the decided candidate, or the next allowed one while calls fail before their content, and send the answer.

        Raises:
            UnservedError: No candidate answered, and nothing was sent.
            StoreError: The log refused the decision, and nothing was sent.
        """
        with self:
            try:
                while not await self._attempt(await self.exchange.next_call()):
                    pass  # the next candidate is called
            except AamcError as error:
                if not self.has_begun:
                    raise
                await self._break(error)

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
        await self.end(relay.last_events(exchange.document(call.prepared)))
        exchange.end(200)
        await exchange.infer_feedback()
        await relay.drain()
        return True

    async def begin(self, call: UpstreamCall) -> None:
        """Prepare the headers, once the decision is durable; only the first time."""
        self._flowing = True
        if not self.has_begun:
            await self.exchange.commit()
            self.headers = self.exchange.headers(call.upstream, call.prepared)

    async def prepare(self) -> None:
        """Wait until the decision is durable."""
        await self.exchange.commit()
        self.headers = self.headers or self.exchange.headers()

    async def _break(self, error: AamcError) -> None:
        await self.fail(error)
        self.exchange.end(200, getattr(error, "kind", "server"))

    def note_response(self, event: bytes) -> None:
        """Remember the id of the answer in the dialect ``responses``."""
        if self._response_id is None and (found := _RESPONSE_ID.search(event)) is not None:
            self._response_id = found[1].decode(errors="replace")
