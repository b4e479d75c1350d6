"""Whole answers of the gateway's own endpoints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from aamc_gateway.server.interfaces import Send

JSON = b"application/json"


async def send_json(send: Send, document: Any, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send a JSON document."""
    await send_body(send, orjson.dumps(document), JSON, status, headers)


async def send_body(send: Send, body: bytes, kind: bytes = JSON, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send a body of a media type."""
    own = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})
