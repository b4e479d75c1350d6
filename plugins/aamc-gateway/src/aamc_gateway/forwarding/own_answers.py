"""Sending answers that the gateway makes itself, of the arena and of orchestrators: whole, or as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from aamc_models.dialects import convert_answer

from aamc_gateway.forwarding.stream_events import KEEP_ALIVE, STREAM_HEADERS, failure_event
from aamc_gateway.server.http.answers import send_json
from aamc_gateway.server.interfaces import Send
from aamc_sdk.errors import AamcError

T = TypeVar("T")
Headers = list[tuple[bytes, bytes]]


class EventSender:
    """Sends a stream, keeps it alive while the answer is awaited, and ends it in an error event where that fails.

    Args:
        send: Sends to the client.
        dialect: The client's dialect.
        keep_alive_s: Silence after which a comment keeps the stream alive, in seconds.

    Attributes:
        headers: The headers to begin with.
        has_begun: Whether the headers were sent.
    """

    def __init__(self, send: Send, dialect: str, keep_alive_s: float) -> None:
        self._send, self._dialect, self._keep_alive_s = send, dialect, keep_alive_s
        self.headers: Headers = []
        self.has_begun = False
        self._last_events = b""

    async def wait(self, awaited: Awaitable[T]) -> T:
        """Wait for something, which is cancelled with this task."""
        task = asyncio.ensure_future(awaited)
        try:
            while not (await asyncio.wait({task}, timeout=self._keep_alive_s))[0]:
                await self.write(KEEP_ALIVE)
        except BaseException:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        try:
            return task.result()
        finally:
            del task  # its error's traceback has this frame, which has the task: a cycle

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Send events; the headers before the first ones."""
        if b"sequence_number" in data:  # not in comments
            self._last_events = data
        if not self.has_begun:
            self.has_begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": [*self.headers, *STREAM_HEADERS]})
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def fail(self, error: AamcError) -> None:
        """End a stream that has begun with an error event."""
        await self.write(failure_event(self._dialect, error, self._last_events), more=False)


async def send_whole(send: Send, answer: Mapping[str, Any], dialect: str, model: str, headers: Headers) -> None:
    """Send a whole chat completion in the client's dialect."""
    await send_json(send, convert_answer("chat", dialect, answer, model), headers=headers)
