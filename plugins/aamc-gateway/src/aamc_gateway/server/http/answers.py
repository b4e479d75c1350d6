"""The type of endpoints, and their own whole answers, those of the pages of people with headers for browsers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from aamc_sdk.storage import plain

JSON = b"application/json"
SAFE_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
"""Headers for browsers: trust the media type, and tell no other site the address."""
RouteEndpoint = Callable[[Any, Scope, Receive, Send], Awaitable[None]]
"""Answers a request of a route; the first argument is the gateway, which imports the parts that use this type.

``scope["caller"]`` holds the :class:`Caller`, ``scope["path_params"]`` the path's parameters. An AamcError that it raises becomes an error in the
client's dialect.
"""


async def send_json(send: Send, document: Any, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send a JSON document."""
    await send_body(send, orjson.dumps(document), JSON, status, headers)


async def send_body(send: Send, body: bytes, kind: bytes = JSON, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send a body of a media type. Unless a header says otherwise, caches store no copy: they do not know that an ``x-api-key`` is a key."""
    described = {} if status == 204 else {b"content-type": kind, b"content-length": b"%d" % len(body)}  # RFC 9110, section 8.6
    every = {**described, b"cache-control": b"no-store", **dict(headers)}
    await send({"type": "http.response.start", "status": status, "headers": list(every.items())})
    await send({"type": "http.response.body", "body": body})


async def send_safe_json(send: Send, document: Mapping[str, Any], status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send a document with the safe headers; NaN becomes null."""
    await send_safe_body(send, orjson.dumps(plain(document)), JSON, status, headers)


async def send_safe_body(send: Send, body: bytes, kind: bytes, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send a body of a media type with the safe headers."""
    await send_body(send, body, kind, status, [*SAFE_HEADERS, *headers])
