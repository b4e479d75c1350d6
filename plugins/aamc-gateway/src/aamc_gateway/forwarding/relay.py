"""Passing on the events of one call."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from aamc_models.dialects import Seen, StreamConverter, StreamMonitor, last_events, without_usage

from aamc_gateway.server.deadline import Deadline
from aamc_sdk.errors import DataError, ProviderError

if TYPE_CHECKING:
    from aamc_gateway.forwarding.exchange import Exchange
    from aamc_gateway.forwarding.upstream_call import UpstreamCall

_NULL_USAGE = b',"usage":null'
_LAST_BYTES_S = 0.2
"""Time that the end of an upstream's connection is waited for, so that it can be used again."""


class Answer(Protocol):
    """The answer that the events of calls make up.

    Attributes:
        exchange: The request.
    """

    exchange: Exchange

    async def begin(self, call: UpstreamCall) -> None:
        """Send the headers; only the first time."""

    async def write(self, data: bytes) -> None:
        """Send events."""

    def note_response(self, event: bytes) -> None:
        """Remember the id of the answer in the dialect ``responses``."""


class Relay:
    """Passes the events of one call on.

    Args:
        answer: The answer to the client.
        call: The call.

    Attributes:
        monitor: Reads the events as they pass.
    """

    def __init__(self, answer: Answer, call: UpstreamCall) -> None:
        request, upstream, wire_request = answer.exchange.request, call.upstream, call.prepared.request
        self._answer, self._exchange, self._call = answer, answer.exchange, call
        self.monitor = StreamMonitor(wire_request.api)
        self._converter = None if wire_request.api == request.api else StreamConverter(wire_request.api, request.dialect, upstream.name)
        self._dialect, self._hides_usage = request.dialect, call.prepared.hides_usage
        self._events: AsyncGenerator[bytes, None] = upstream.wire.events(upstream.candidate, wire_request)
        self._held: list[bytes] = []
        self._flowing = self._done = self._has_finish = False

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
                    with Deadline(usage_s):
                        await self._until_usage()
        except TimeoutError:
            pass  # the usage does not come; the answer is complete
        except ProviderError:
            if not (self.monitor.finished and self._has_finish):
                raise
        if not self.monitor.finished:
            raise ProviderError(f"the answer of {self._call.upstream.name!r} was cut: its stream ended before the answer did", kind="protocol")
        if self._converter is not None:
            self._held += self._converter.end()

    async def _until_finish(self) -> None:
        """Pass events on until the finish, which is held."""
        monitor, answer, held = self.monitor, self._answer, self._held
        self._has_finish = False
        async for event in self._events:
            seen = monitor.feed(event)
            if seen.error is not None:
                raise self._error(seen)
            out = self._converted(event)
            if self._ending:
                held += out
                self._done, self._has_finish = seen.done, True
                return
            if seen.done:
                break  # clients read nothing after the last event, so it must not come before the error
            if self._flowing:
                if held:
                    out, self._held = [*held, *out], []
                    held = self._held
                if out:
                    await answer.write(out[0] if len(out) == 1 else b"".join(out))
            else:
                held += out
                if seen.content:
                    block = self._call.block
                    block.first_token()
                    self._exchange.served.first_token_ms = block.first_token_ms
                    await answer.begin(self._call)
                    self._flowing, self._held = True, []
                    await answer.write(b"".join(held))
                    held = self._held
        self._done = True

    def _error(self, seen: Seen) -> ProviderError:
        name = f"model {self._call.upstream.name!r}"
        if seen.broken:
            return ProviderError(f"{name} sent a broken event: {seen.error}", kind="protocol", public=f"{name} sent a broken event")
        return ProviderError(f"{name} reported an error in its stream: {seen.error}", kind="server", public=f"{name} reported an error in its stream")

    async def _until_usage(self) -> None:
        """Hold the events after the finish until the last event, or until another choice of the answer continues."""
        async for event in self._events:
            seen = self.monitor.feed(event)
            if seen.error is not None:
                self._done = True
                return
            self._held += self._converted(event)
            if seen.done:
                self._done = True
                return
            if not self._ending:
                return
        self._done = True

    @property
    def _ending(self) -> bool:
        """Whether the finish has come. A conversion makes the finish of Anthropic's reason to stop, which comes before the last event."""
        return self.monitor.finished or (self._converter is not None and self.monitor.finish_reason is not None)

    def _converted(self, event: bytes) -> list[bytes]:
        """Return an event in the client's dialect."""
        if self._converter is not None:
            try:
                found = self._converter.feed(event)
            except DataError as error:
                raise ProviderError(f"an event of {self._call.upstream.name!r} cannot be read: {error}", kind="protocol") from error
            return [shown for each in found if (shown := without_usage(each))] if self._hides_usage else found
        if self._dialect == "responses" and not self._flowing:
            self._answer.note_response(event)
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
