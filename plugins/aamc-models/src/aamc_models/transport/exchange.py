"""One attempt: a request to one deployment, and its answer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import aiohttp
import attrs
from yarl import URL

from aamc_models.dialects.error_bodies import error_in
from aamc_models.dialects.events import data_of
from aamc_models.dialects.fields import json_object
from aamc_models.transport.event_splitter import EventSplitter
from aamc_models.transport.failures import Failure, kind_of, refusal
from aamc_models.transport.options import EndpointOptions
from aamc_models.transport.retries import retry_after_s

if sys.version_info >= (3, 11):
    from asyncio import timeout as time_limit
else:
    from async_timeout import timeout as time_limit

MAX_ERROR_BYTES = 2**20
"""Maximum bytes that are read of an answer that is an error."""
_HOP_HEADERS = frozenset({"connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding"})
"""Headers that describe the connection to the server, not the answer."""


@attrs.frozen(kw_only=True, slots=False)  # without slots, construction takes a third less time
class HttpExchange:
    """A request to one address.

    Attributes:
        session: The HTTP session.
        options: The endpoint's options.
        timeout: The limits of time that the session keeps.
        method: The HTTP method.
        url: The address.
        headers: The headers.
        data: The body.
        proxy: The proxy's address; None without one.
    """

    session: aiohttp.ClientSession
    options: EndpointOptions
    timeout: aiohttp.ClientTimeout
    method: str
    url: URL
    headers: Mapping[str, str]
    data: bytes | None
    proxy: str | None = None

    async def reply(self) -> tuple[int, dict[str, str], bytes]:
        """Return the status, headers and body of the whole answer.

        Raises:
            Failure: The status is no success, or the answer is too long.
            ClientError, TimeoutError, OSError, ValueError: Those of the HTTP library.
        """
        response = await self._begin()
        with closing(response):  # a connection whose answer was read to its end is back in the pool, any other one is closed
            if not 200 <= response.status < 300:
                raise await _refusal(response)
            body = await _body(response, self.options.max_answer_bytes)
        return response.status, _plain(response), body

    async def stream(self) -> EventStream:
        """Return the answer as events, once the first one has come.

        Raises:
            Failure: The status is no success, or the answer begins with an error or is no stream of events.
            ClientError, TimeoutError, OSError, ValueError: Those of the HTTP library.
        """
        seconds = min(self.options.first_token_timeout_s, self.options.timeout_seconds)
        try:
            async with time_limit(seconds):
                return await self._stream()
        except aiohttp.ServerTimeoutError:
            raise
        except asyncio.TimeoutError as error:
            raise Failure(f"gave no event in {seconds:g} s", "timeout") from error

    async def _stream(self) -> EventStream:
        response = await self._begin()
        try:
            if not 200 <= response.status < 300:
                raise await _refusal(response)  # noqa: TRY301  # the answer is closed below
            await _check_stream(response)
            stream = EventStream(response, EventSplitter(self.options.max_answer_bytes))
            await stream.begin()
        except BaseException:
            response.close()
            raise
        return stream

    async def _begin(self) -> aiohttp.ClientResponse:
        """Return the answer's head; from then on, silence is limited."""
        response = await self.session.request(
            self.method, self.url, data=self.data, headers=self.headers, proxy=self.proxy, timeout=self.timeout, allow_redirects=False
        )
        connection = response.connection
        if connection is not None and connection.protocol is not None:  # None: the whole answer is already here
            connection.protocol.read_timeout = self.options.idle_timeout_s
            connection.protocol.start_timeout()
        return response


class EventStream:
    """The events of an answer that has begun.

    Args:
        response: The answer.
        splitter: Splits its bytes.

    Attributes:
        first: The events that came with the first one.
    """

    def __init__(self, response: aiohttp.ClientResponse, splitter: EventSplitter) -> None:
        self._response, self._splitter = response, splitter
        self.first: list[bytes] = []

    async def begin(self) -> None:
        """Wait for the first event; comments, with which a server keeps a connection alive, are none.

        Raises:
            Failure: It is an error, or there is none.
        """
        while all(event.startswith(b":") for event in self.first):
            events = await self.more()
            if not events:
                raise Failure("ended its answer before the first event", "protocol")
            self.first += events
        error = _error_of(next(event for event in self.first if not event.startswith(b":")))
        if error is not None:
            raise error

    async def more(self) -> list[bytes]:
        """Return the next events; none at the end."""
        read, feed = self._response.content.readany, self._splitter.feed
        while chunk := await read():
            events = feed(chunk)
            if events:
                return events
        return self._splitter.rest()

    def close(self) -> None:
        """End the answer; unless it was read to its end, the connection is closed."""
        self._response.close()


def _error_of(event: bytes) -> Failure | None:
    """Return the failure that an answer's first event reports."""
    if b'"error"' not in event:
        return None
    data = data_of(event)
    error = error_in(json_object(data))
    return None if error is None else _reported(error, data)


def _reported(error: Mapping[str, Any], body: bytes) -> Failure:
    """Return the failure in the error that an answer holds."""
    return Failure(f"answered with an error: {error.get('message') or error}", kind_of(error), body=body)


async def _check_stream(response: aiohttp.ClientResponse) -> None:
    """Check that an answer is a stream of events.

    Raises:
        Failure: It is a document.
    """
    if not any(kind in response.content_type for kind in ("json", "html", "xml")):
        return  # some servers name no type, or a wrong one
    body = await _body(response, MAX_ERROR_BYTES)
    error = error_in(json_object(body))
    if error is not None:
        raise _reported(error, body)
    raise Failure(f"did not answer with a stream of events but with {_shown(body)}; check the end of base_url, usually /v1", "protocol", body=body)


async def _refusal(response: aiohttp.ClientResponse) -> Failure:
    try:
        body = await _body(response, MAX_ERROR_BYTES)
    except Failure as error:
        body = error.body
    return refusal(response.status, body, retry_after_s(response.headers))


async def _body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Return the body.

    Raises:
        Failure: It exceeds the limit.
    """
    parts: list[bytes] = []
    size = 0
    while part := await response.content.readany():
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise Failure(f"answered with more than {max_bytes:,} bytes", "protocol", body=parts[0])
    return b"".join(parts)


def _plain(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {lowered: value for name, value in response.headers.items() if (lowered := name.lower()) not in _HOP_HEADERS}


def _shown(body: bytes) -> str:
    return repr(body[:400].decode(errors="replace"))[:80]


def _has_content(choice: Any) -> bool:
    return isinstance(choice, dict) and (isinstance(choice.get("message"), dict) or isinstance(choice.get("text"), str))


def checked_answer(body: bytes, *, choices: bool) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Args:
        body: The answer.
        choices: Whether the answer must have ``choices``; without, it may be an error with a status of success, as some servers send it.

    Raises:
        Failure: The answer is not a JSON object, is an error, or lacks its choices.
    """
    answer = json_object(body)
    if answer is None:
        raise Failure(f"did not answer with a JSON object but with {_shown(body)}; check the end of base_url, usually /v1", "protocol", body=body)
    error = error_in(answer)
    if error is not None and (answer.get("type") == "error" or (choices and "choices" not in answer)):
        raise _reported(error, body)
    if choices and not (isinstance(answer.get("choices"), list) and all(map(_has_content, answer["choices"]))):
        raise Failure(f"answered without choices but with {_shown(body)}; check the end of base_url, usually /v1", "protocol", body=body)
    return answer
