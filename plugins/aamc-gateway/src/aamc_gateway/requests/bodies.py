"""Reading bodies: from the connection, with limits of size and time, and as JSON, with a limit of nesting."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import orjson
from starlette.types import Receive, Scope

from aamc_gateway.access.callers import Caller, Refused
from aamc_gateway.server.settings import RequestLimits
from aamc_sdk.concurrency import Deadline

T = TypeVar("T")

SMALL_BODY = 20_000
"""Maximum size in bytes of a key, a vote or feedback, whose names have at most 512 bytes each: even without a key anyone may send one."""
LARGE_BODY = 1_000_000
"""Size in bytes of a body above which a worker thread reads it, so that other requests do not wait for it."""
_MAX_VALUES = 1_000_000
"""Maximum number of opening brackets, and of commas, in a body, in texts too: 32 MB of empty objects would take a gigabyte and a minute."""
_HELD = "large_body"
"""The name in a request's scope of the size of its large body that is counted."""
_RETRY_S = 2.0
"""Time in seconds after which a refused body is sent again."""


class ClientLeft(Exception):
    """Raised when the client has closed the connection."""


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """Return the value of a header, its name in lower case; ``""`` without it."""
    return next((value.decode("latin-1") for key, value in headers if key == name), "")


class LargeBodies:
    """Counts the bytes of the large bodies in progress, of all keys and of each: while they are read, and then as objects until their answer ends.

    Attributes:
        limits: The limits of bodies.
    """

    def __init__(self, limits: RequestLimits) -> None:
        self.limits = limits
        self._sizes: Counter[str] = Counter()  # by the id of the key; "" for all

    def take_over(self, earlier: LargeBodies) -> None:
        """Share the counts of the replaced gateway, whose requests in progress still change them."""
        self._sizes = earlier._sizes

    def hold(self, scope: Scope, size: int) -> None:
        """Count the bytes of a request's body that came, until its release. One body is always allowed.

        Raises:
            Refused: Together with the others in progress it is too large.
        """
        if size > max(scope.get(_HELD, 0), LARGE_BODY):
            self.check(scope, size)
            self._add(scope["caller"], size - scope.get(_HELD, 0))
            scope[_HELD] = size

    def check(self, scope: Scope, size: int) -> None:
        """Refuse as :meth:`hold` does, without counting: what is only announced must not take the place of others."""
        if size <= LARGE_BODY:
            return
        held, caller = scope.get(_HELD, 0), scope["caller"]
        limits, also = self.limits, f"try again in {_RETRY_S:g} seconds"
        if self._exceeds("", held, size, limits.bodies_mb):
            why = f"the large bodies in progress here would exceed {limits.bodies_mb:g} MB (gateway.limits.bodies_mb); {also}"
            raise Refused(why, status=503, kind="unavailable", retry_after_s=_RETRY_S)
        if caller.key_id and self._exceeds(caller.key_id, held, size, limits.key_bodies_mb):
            why = f"the large bodies in progress of the key {caller.name!r} would exceed {limits.key_bodies_mb:g} MB (gateway.limits.key_bodies_mb)"
            raise Refused(f"{why}; {also}", status=429, kind="rate_limit", retry_after_s=_RETRY_S)

    def release(self, scope: Scope) -> None:
        """Count a request's body no longer, if it was large."""
        if held := scope.pop(_HELD, 0):
            self._add(scope["caller"], -held)

    def _exceeds(self, key_id: str, held: int, size: int, at_most_mb: float) -> bool:
        others = self._sizes[key_id] - held
        return others > 0 and others + size > at_most_mb * 1e6

    def _add(self, caller: Caller, size: int) -> None:
        for key_id in {"", caller.key_id}:
            self._sizes[key_id] += size
            if not self._sizes[key_id]:
                del self._sizes[key_id]


async def read_body(large_bodies: LargeBodies, scope: Scope, receive: Receive, at_most: float = math.inf) -> bytes:
    """Return a request's body. The scope of one that may have more than ``LARGE_BODY`` has a caller.

    Raises:
        ClientLeft: The client has closed the connection.
        Refused: The body is too large, alone or with others, or compressed, or did not come in time.
    """
    limits = large_bodies.limits
    at_most = min(at_most, int(limits.body_mb * 1e6))
    headers = dict(scope["headers"])
    encoding = headers.get(b"content-encoding", b"").decode("latin-1")
    if encoding.lower() not in ("", "identity"):
        why = f"the body has the Content-Encoding {encoding!r:.80}; send it uncompressed"
        raise Refused(why, status=415, headers={b"accept-encoding": b"identity"})
    length = headers.get(b"content-length", b"")
    if length.isdigit():
        if int(length) > at_most:
            raise _too_large(at_most)
        large_bodies.check(scope, int(length))
    parts, size, more = [], 0, True
    try:
        with Deadline(limits.read_s):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                part = message.get("body", b"")
                more = message.get("more_body", False)
                size += len(part)
                if size > at_most:
                    raise _too_large(at_most)
                large_bodies.hold(scope, size)
                parts.append(part)
    except TimeoutError:
        raise Refused(f"the body did not come within {limits.read_s:g} seconds; send it faster", status=408, kind="timeout") from None
    return b"".join(parts)


async def run_by_size(size: int, work: Callable[[], T]) -> T:
    """Return the result of work on a body of a size: done at once, or on a worker thread where the body is large."""
    return await asyncio.to_thread(work) if size > LARGE_BODY else work()


def _too_large(at_most: float) -> Refused:
    raised = ", or raise gateway.limits.body_mb" if at_most != SMALL_BODY else ""
    return Refused(f"the body is larger than {at_most / 1e6:g} MB; send less{raised}", status=413)


def parse_object(raw: bytes, nesting: int, example: str = '{"model": ...}') -> dict[str, Any]:
    """Return a body as a JSON object.

    Raises:
        Refused: It is not JSON, no object, nested too deeply, or has too many values.
    """
    opened = raw.count(b"{") + raw.count(b"[")
    for count, what in ((opened, "brackets that open an object or a list"), (raw.count(b","), "commas")):
        if count > _MAX_VALUES:
            raise Refused(f"the body has more than {_MAX_VALUES:,} {what}; send fewer")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused(f"the body is not valid JSON: {error}; send one JSON object") from None
    if not isinstance(body, dict):
        raise Refused(f"the body must be a JSON object such as {example}, not {raw.strip()[:40].decode(errors='replace')}")
    if opened > nesting and is_deeper(body, nesting):
        raise Refused(f"the body is nested deeper than {nesting} levels; send a flatter one")
    return body


def is_deeper(value: Any, levels: int) -> bool:
    """Whether objects and lists are nested deeper than a number of levels."""
    layer = [value]
    for _ in range(levels):
        layer = [
            inner for outer in layer for inner in (outer.values() if isinstance(outer, dict) else outer) if isinstance(inner, dict | list) and inner
        ]
        if not layer:
            return False
    return True


async def read_json(
    large_bodies: LargeBodies, scope: Scope, receive: Receive, read: Callable[[dict[str, Any], bytes], T], example: str = '{"model": ...}'
) -> T:
    """Return the result of a function that reads a request's body: as an object, such as the example, and as it came."""
    raw = await read_body(large_bodies, scope, receive)
    return await run_by_size(len(raw), lambda: read(parse_object(raw, large_bodies.limits.nesting, example), raw))


async def read_small_json(large_bodies: LargeBodies, scope: Scope, receive: Receive, example: str) -> dict[str, Any]:
    """Return a request's small body, an object such as the example."""
    return parse_object(await read_body(large_bodies, scope, receive, SMALL_BODY), large_bodies.limits.nesting, example)
