"""Answers of servers over HTTP: read whole or as a stream of events, and checked for errors and missing content."""

from __future__ import annotations

import asyncio
import json
import re
from codecs import BOM_UTF8
from collections.abc import Awaitable, Mapping
from typing import Any

import aiohttp

from aamc_models.dialects.error_bodies import error_in, error_in_body, kind_of, status_of
from aamc_models.dialects.events import DONE, data_of
from aamc_models.dialects.fields import json_object
from aamc_models.transport.failures import Failure, refusal
from aamc_models.transport.options import EndpointOptions
from aamc_models.transport.retries import reset_s, wanted_pause_s
from aamc_sdk.concurrency import Deadline

MAX_ERROR_BYTES = 2**20
"""Maximum bytes that are read of an answer that is an error."""
_HOP_HEADERS = frozenset({"connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding"})
"""Headers that describe the connection to the server, not the answer."""
_END = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n")
_TAIL = 3
"""Bytes of an end that may lie in the chunk before."""
_CONTENT = {"chat": "choices", "completions": "choices", "messages": "content", "responses": "output"}
"""The list that holds the content of an answer, by API."""


async def whole_answer(response: aiohttp.ClientResponse, max_bytes: int) -> tuple[int, dict[str, str], bytes]:
    """Return the status, headers and body of an answer.

    One without a length ends with its connection; aiohttp does not tell an end in good order from a lost connection (RFC 9112, section 8).
    """
    protocol = None if response.connection is None else response.connection.protocol
    try:
        await _check_status(response)
        body = await _body(response, max_bytes)
    except BaseException:
        response.close()  # its connection; that of an answer which was read to its end is back in the pool
        raise
    has_length = "content-length" in response.headers or "transfer-encoding" in response.headers
    if not has_length and protocol is not None and isinstance(lost := protocol.exception(), aiohttp.ClientOSError):
        raise aiohttp.ClientPayloadError from lost
    headers = {lowered: value for name, value in response.headers.items() if (lowered := name.lower()) not in _HOP_HEADERS}
    return response.status, headers, body


class EventSplitter:
    """Splits chunks of bytes into events of at most ``max_bytes``, each with the empty line that ends it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the events that a chunk completes."""
        seen = max(len(self._held) - _TAIL, 0)
        self._held += chunk
        if len(self._held) > self._max_bytes:
            raise Failure(f"sent an event of more than {self._max_bytes:,} bytes", "protocol")
        events, start = [], 0
        for end in _END.finditer(self._held, seen):
            events.append(bytes(self._held[start : end.end()]))
            start = end.end()
        del self._held[:start]
        return events

    def rest(self) -> list[bytes]:
        """Return the last event if the stream ended after its last line, without the empty line; a cut line is dropped."""
        data = bytes(self._held)
        self._held.clear()
        return [data.rstrip(b"\r\n") + b"\n\n"] if data.strip() and data.endswith((b"\n", b"\r", b"data: [DONE]")) else []


class EventStream:
    """The events of an answer whose head has come; ``first`` are those that came with the first one."""

    def __init__(self, response: aiohttp.ClientResponse, max_bytes: int) -> None:
        self._response, self._splitter, self._max_bytes = response, EventSplitter(max_bytes), max_bytes
        self.first: list[bytes] = []

    @classmethod
    async def open(cls, begun: Awaitable[aiohttp.ClientResponse], options: EndpointOptions) -> EventStream:
        """Return the events of an answer, once the first one has come.

        Raises:
            Failure: The status is not a success, or the answer begins with an error or is not a stream of events.
            ClientError, TimeoutError, OSError, ValueError: Those of the HTTP library.
        """
        seconds = min(options.first_token_timeout_s, options.timeout_seconds)
        try:
            with Deadline(seconds):
                stream = cls(await begun, options.max_answer_bytes)
                try:
                    await stream._begin()
                except BaseException:
                    stream.close()
                    raise
                return stream
        except aiohttp.ServerTimeoutError:
            raise
        except (TimeoutError, asyncio.TimeoutError) as error:  # Python 3.10 has two
            raise Failure(f"gave no event in {seconds:g} s", "timeout") from error

    async def _begin(self) -> None:
        """Wait for the first event; comments, with which a server keeps a connection alive, are none."""
        await _check_status(self._response)
        self.first = await _whole_events(self._response, self._max_bytes)
        while all(map(_is_comment, self.first)):
            events = await self.more()
            if not events:
                raise Failure("ended its answer before the first event", "protocol")
            self.first = self.first[-1:] + events  # a server may send millions of comments
        self.first[0] = self.first[0].removeprefix(BOM_UTF8)
        first = data_of(next(event for event in self.first if not _is_comment(event)))
        error = error_in(json_object(first)) if b'"error"' in first else None
        if error is not None:
            raise reported(error, first)

    async def more(self) -> list[bytes]:
        """Return the next events; none at the end."""
        while chunk := await self._response.content.readany():
            if events := self._splitter.feed(chunk):
                return events
        return self._splitter.rest()

    def close(self) -> None:
        """End the answer; unless it was read to its end, the connection is closed."""
        self._response.close()


def _is_comment(event: bytes) -> bool:
    return event.startswith(b":") and not data_of(event)


def reported(error: Mapping[str, Any], body: bytes) -> Failure:
    """Return the failure by the error that an answer reports in its body."""
    kind = kind_of(error)
    wanted_s = reset_s({}, error) if kind == "rate_limit" else None
    return Failure(f"answered with an error: {error.get('message') or error}", kind, status_of(error), body, wanted_s)


async def _whole_events(response: aiohttp.ClientResponse, max_bytes: int) -> list[bytes]:
    """Return the events of a whole answer, as a server that cannot stream sends it; none of a stream."""
    if not any(kind in response.content_type for kind in ("json", "html", "xml")):
        return []  # some servers name no type, or a wrong one
    body = await _body(response, max_bytes if "json" in response.content_type else MAX_ERROR_BYTES)
    answer = json_object(body) or {}
    error = error_in(answer)
    if error is not None:
        raise reported(error, body)
    if answer.get("choices") and _has_content(answer, "choices"):
        answer["choices"] = list(map(_as_delta, answer["choices"]))
        if answer.get("object") == "chat.completion":
            answer["object"] = "chat.completion.chunk"
        try:
            return [b"data: %b\n\n" % json.dumps(answer, ensure_ascii=False).encode(), DONE]  # any number that the server sent
        except UnicodeEncodeError as wrong:
            raise Failure(f"answered with a text that is not valid Unicode ({wrong.reason})", "protocol", body=body) from wrong
    raise Failure(f"did not answer with a stream of events but with {_shown(body)}; check the end of base_url, usually /v1", "protocol", body=body)


def _as_delta(choice: Mapping[str, Any]) -> dict[str, Any]:
    """Return a choice of a chat completion as that of a chunk; one of an older completion has the same form in both."""
    message, streamed = choice.get("message"), {name: value for name, value in choice.items() if name != "message"}
    if not isinstance(message, dict):
        return streamed
    delta = {name: value for name, value in message.items() if value is not None}
    if isinstance(calls := delta.get("tool_calls"), list):
        delta["tool_calls"] = [{"index": number, **call} if isinstance(call, dict) else call for number, call in enumerate(calls)]
    return {**streamed, "delta": delta}


async def _check_status(response: aiohttp.ClientResponse) -> None:
    if 200 <= response.status < 300:
        return
    try:
        body = await _body(response, MAX_ERROR_BYTES)
    except Failure as error:
        body = error.body
    location = response.headers.get("location", "") if response.status < 400 else ""
    raise refusal(response.status, body, wanted_pause_s(response.status, response.headers, error_in_body(body)), location)


async def _body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    content = response.content
    parts = [await content.readany()]
    size = len(parts[0])
    while not content.at_eof() and size <= max_bytes:
        parts.append(await content.readany())
        size += len(parts[-1])
    if size > max_bytes:
        raise Failure(f"answered with more than {max_bytes:,} bytes", "protocol", body=parts[0])
    return b"".join(parts)


def _shown(body: bytes) -> str:
    return repr(body[:400].decode(errors="replace"))[:80]


def checked_answer(body: bytes, *, api: str) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Without its content it may be an error with a status of success, as some servers send it, or the answer of another API.

    Raises:
        Failure: It is an error, no JSON object, or has no content.
    """
    answer = json_object(body)
    if answer is None:
        raise Failure(f"did not answer with a JSON object but with {_shown(body)}; check the end of base_url, usually /v1", "protocol", body=body)
    key = _CONTENT.get(api)
    error = error_in(answer)
    if error is not None and (answer.get("type") == "error" or (key is not None and key not in answer)):
        raise reported(error, body)
    if key is not None and not _has_content(answer, key):
        raise Failure(f"answered without {key} but with {_shown(body)}; check the end of base_url, usually /v1", "protocol", body=body)
    return answer


def _has_content(answer: Mapping[str, Any], key: str) -> bool:
    content = answer.get(key)
    return isinstance(content, list) and (key != "choices" or all(map(_is_choice, content)))


def _is_choice(choice: Any) -> bool:
    return isinstance(choice, dict) and (isinstance(choice.get("message"), dict) or isinstance(choice.get("text"), str))
