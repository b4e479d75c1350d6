"""Answers that come as a stream of server-sent events."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

from aamc_models.dialects import PlainChat, Seen, StreamConverter, StreamMonitor, last_events, wants_usage, without_usage
from starlette.types import Send

from aamc_gateway.forwarding.answers.descriptions import start_with_requested_model
from aamc_gateway.forwarding.answers.event_sender import EventSender
from aamc_gateway.forwarding.calls.upstreams import UpstreamCall
from aamc_gateway.forwarding.exchange import Exchange
from aamc_gateway.requests.request_reader import prompt_count
from aamc_sdk.concurrency import Deadline
from aamc_sdk.errors import AamcError, DataError, ProviderError

_NULL_USAGE = b',"usage":null'
_LAST_BYTES_S = 0.2
"""Time that the end of an upstream's connection is waited for, so that it can be used again."""
_RESPONSE_ID = re.compile(rb'"id":\s*"(resp[^"]{1,200})"')


class StreamedAnswer(EventSender):
    """Sends an answer as it comes.

    The first events are held until one has content, so that an error before it falls back. After the finish, what is left is held until the usage has
    come. The last event gets the ``aamc`` object. A stream that breaks ends in an error event.
    """

    def __init__(self, exchange: Exchange, send: Send) -> None:
        gateway = exchange.gateway
        super().__init__(send, exchange.request.dialect, gateway.settings.streams.keep_alive_s, gateway.metrics.stream_event)
        self.exchange = exchange
        self.flowing = False  # events go to the client as they come, else they are held
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
                await self.fail(error, self.exchange)

    async def _attempt(self, call: UpstreamCall) -> bool:
        """Stream the answer of a candidate; return False where it failed before its content."""
        exchange = self.exchange
        try:
            async with call:
                relay = _Relay(self, call)
                try:
                    await relay.run()
                except BaseException:
                    await relay.close()
                    raise
                finally:
                    monitor = relay.monitor
                    call.bill(monitor.usage, monitor.cost_usd, lambda: (monitor.text_bytes, monitor.reasoning_bytes), finished=monitor.finished)
                    call.figures.finish_reason = monitor.finish_reason or ""
        except ProviderError as error:
            exchange.call_ended(call, error)
            if self.flowing:
                await self.fail(error, exchange)  # raised, it would hold the request until the garbage collector came
            return self.flowing
        except BaseException:  # the client has left, or the log refused the decision
            exchange.call_ended(call, cancelled=True)
            raise
        exchange.call_answered(call)
        await self.begin(call)
        await exchange.remember(call.upstream, relay.monitor.last_call)
        await self.end(relay.last_events(exchange.document(call.prepared)))
        exchange.end(200)
        await exchange.infer_feedback()
        await relay.drain()
        return True

    async def begin(self, call: UpstreamCall) -> None:
        """Prepare the headers, once the decision is durable; only the first time."""
        self.flowing = True
        if not self.has_begun:
            await self.exchange.commit()
            await self.exchange.note_response(call.upstream, self._response_id)
            self.headers = self.exchange.headers(call)

    async def prepare(self) -> None:
        """Wait until the decision is durable."""
        await self.exchange.commit()
        self.headers = self.headers or self.exchange.headers()

    def note_response(self, event: bytes) -> None:
        """Remember the id of the answer in the dialect ``responses``."""
        if self._response_id is None and (found := _RESPONSE_ID.search(event)) is not None:
            self._response_id = found[1].decode(errors="replace")


class _Relay:
    """Passes the events of one call on; ``monitor`` reads them as they pass."""

    def __init__(self, answer: StreamedAnswer, call: UpstreamCall) -> None:
        request, upstream, wire_request = answer.exchange.request, call.upstream, call.prepared.request
        self._answer, self._exchange, self._call = answer, answer.exchange, call
        self.monitor = StreamMonitor(wire_request.api)
        self._dialect, self._converter = request.dialect, None
        if wire_request.api != request.api:
            self._converter = StreamConverter(wire_request.api, request.dialect, upstream.name, request.known_tools)
        self._plain = PlainChat() if call.becomes_plain else None
        self._hides_usage = request.api in ("chat", "completions") and not wants_usage(request.body)  # which the server is asked for all the same
        self._events: AsyncGenerator[bytes, None] = upstream.wire.events(upstream.candidate, call.request)
        self._held: list[bytes] = []
        has_choices = wire_request.api in ("chat", "completions")
        self._choices: int = (request.body.get("n") or 1) * prompt_count(request.dialect, request.body) if has_choices else 1
        self._done = False  # nothing more is read for the answer
        self._has_finish = False  # the last read ended at a finish, and not at the end of the stream
        self._has_end = False  # the event after which no other comes has come, such as [DONE]

    async def run(self) -> None:
        """Pass events on until the answer has finished and its usage has come.

        Raises:
            ProviderError: The call failed, or its stream ended without a finish that could be converted.
        """
        usage_s = self._exchange.gateway.settings.streams.usage_s
        try:
            while not self._done:
                await self._until_finish()
                if not self._done:
                    with Deadline(usage_s if self._is_whole else math.inf):
                        await self._until_usage()
        except TimeoutError:
            pass  # the usage does not come; the answer is complete
        except ProviderError:
            if not (self._is_whole and self._has_finish):
                raise
        if not self._is_whole or (self._converter is not None and self.monitor.finish_reason is None):
            raise ProviderError(f"the answer of {self._call.upstream.name!r} was cut: its stream ended before the answer did", kind="protocol")
        if self._converter is not None:
            self._held += self._converter.end()

    async def _until_finish(self) -> None:
        """Pass events on until the finish, which is held."""
        answer = self._answer
        self._has_finish = False
        async for event in self._events:
            seen = self.monitor.feed(event)
            if seen.error is not None:
                raise self._error(seen)
            self._held += self._converted(event)
            if self._ending:
                self._done = self._has_end = seen.done
                self._has_finish = True
                return
            if seen.done:
                break  # clients read nothing after the last event, so it must not come before the error
            begins = seen.content and not answer.flowing
            if begins:
                block = self._call.block
                block.first_token()
                self._exchange.figures.first_token_ms = block.first_token_ms
                await answer.begin(self._call)
            if begins or (answer.flowing and self._held):
                data, self._held = b"".join(self._held), []
                await answer.write(data)
        self._done = True

    def _error(self, seen: Seen) -> ProviderError:
        self._call.note_reported_error()
        name = f"model {self._call.upstream.name!r}"
        if seen.broken:
            return ProviderError(f"{name} sent a broken event: {seen.error}", kind="protocol", public=f"{name} sent a broken event")
        public = f"{name} reported an error in its stream"
        text = f"{public}: {seen.error}"
        return ProviderError(text, kind=seen.kind, public=text if seen.kind == "request" else public)

    async def _until_usage(self) -> None:
        """Hold the events after the finish until the last event, or until another choice of the answer continues."""
        async for event in self._events:
            seen = self.monitor.feed(event)
            if seen.error is not None:
                self._done = True
                return
            self._held += self._converted(event)
            if seen.done:
                self._done = self._has_end = True
                return
            if not self._ending:
                return
        self._done = True

    @property
    def _is_whole(self) -> bool:
        """Whether the answer has ended with all its choices, which may come one after the other; after ``[DONE]`` no other comes."""
        return self.monitor.finished and (self._has_end or self.monitor.ended_choices >= self._choices)

    @property
    def _ending(self) -> bool:
        """Whether the finish has come. Anthropic's reason to stop is enough for a conversion, which makes the finish of it before the last event."""
        return self.monitor.finished or (self._converter is not None and self.monitor.finish_reason is not None)

    def _converted(self, event: bytes) -> list[bytes]:
        """Return an event in the client's dialect."""
        if self._converter is not None:
            try:
                found = self._converter.feed(event)
            except DataError as error:
                raise ProviderError(f"an event of {self._call.upstream.name!r} cannot be read: {error}", kind="protocol") from error
            if not self._answer.flowing:
                found = [start_with_requested_model(self._exchange.request, each) for each in found]
            return [shown for each in found if (shown := without_usage(each))] if self._hides_usage else found
        if self._plain is not None and self.monitor.deviates:
            with suppress(DataError):  # the client may be able to read it
                event = self._plain.feed(event)
        if self._dialect == "responses" and not self._answer.flowing:
            self._answer.note_response(event)
        if not self._answer.flowing:
            event = start_with_requested_model(self._exchange.request, event)
        if self._hides_usage and b'"usage"' in event:
            event = event.replace(_NULL_USAGE, b"")
            if b'"usage"' in event:
                event = without_usage(event)
                return [event] if event else []
        return [event]

    def last_events(self, document: dict[str, Any]) -> bytes:
        """Return the held events, the last one with the ``aamc`` object."""
        return last_events(self._held, self._dialect, document)

    async def close(self) -> None:
        """End the call at the server."""
        with suppress(ProviderError):
            await self._events.aclose()

    async def drain(self) -> None:
        """Read the end of the connection, so that it can be used again."""
        try:
            with Deadline(_LAST_BYTES_S), suppress(ProviderError):
                async for _ in self._events:
                    pass
        except TimeoutError:
            pass
        finally:
            await self.close()
