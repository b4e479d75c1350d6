"""JSON requests and answers of the pages that people and their scripts use; the hot routes have their own code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from aamc_gateway.requests.bodies import parse_object, read_body
from aamc_gateway.server.http.answers import JSON, send_body
from aamc_gateway.server.interfaces import Receive, Scope, Send
from aamc_sdk.storage import plain

SAFE_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
"""Headers for browsers: keep no copy, trust the media type, and tell no other site the address."""


async def read_json(gateway: Any, scope: Scope, receive: Receive, example: str) -> dict[str, Any]:
    """Return a request's body, an object such as the example.

    Raises:
        ClientLeft: The client has closed the connection.
        Refused: The body is too large, too slow, or no JSON object.
    """
    limits = gateway.settings.limits
    return parse_object(await read_body(scope, receive, limits), limits.nesting, example)


async def send_safe_json(send: Send, document: Mapping[str, Any], status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send a document with the safe headers; NaN becomes null."""
    await send_safe_body(send, orjson.dumps(plain(document)), JSON, status, headers)


async def send_safe_body(send: Send, body: bytes, kind: bytes, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send a body of a media type with the safe headers."""
    await send_body(send, body, kind, status, {**dict(SAFE_HEADERS), **dict(headers)}.items())
