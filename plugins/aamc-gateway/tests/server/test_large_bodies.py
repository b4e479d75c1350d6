"""Large bodies in progress are limited, all together and those of one key."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from aamc_gateway.access.callers import Caller, Refused
from aamc_gateway.requests.bodies import LargeBodies
from aamc_gateway.server.settings import RequestLimits
from aamc_models.testing import Script
from server.conftest import Running, key

MB = 1_000_000
LIMITS: dict[str, Any] = {"bodies_mb": 3.0, "key_bodies_mb": 2.0}


def scope_of(name: str) -> dict[str, Any]:
    return {"caller": Caller(key_id=name, name=name)}


def test_large_bodies_are_counted_for_all_and_for_each_key() -> None:
    bodies, first, second, third = LargeBodies(RequestLimits(**LIMITS)), scope_of("a"), scope_of("b"), scope_of("a")
    bodies.hold(first, int(1.2 * MB))
    bodies.hold(first, int(1.5 * MB))  # it grew
    with pytest.raises(Refused, match="of the key 'a' would exceed 2 MB") as refused:
        bodies.hold(third, int(1.1 * MB))
    assert (refused.value.status, refused.value.kind) == (429, "rate_limit")
    bodies.hold(second, int(1.4 * MB))
    with pytest.raises(Refused, match="here would exceed 3 MB") as refused:
        bodies.hold(scope_of("c"), int(1.1 * MB))
    assert (refused.value.status, refused.value.kind) == (503, "unavailable")
    bodies.hold(third, MB)  # small
    for scope in (first, second, third, third):
        bodies.release(scope)
    bodies.hold(third, 9 * MB)  # alone, whatever its size
    bodies.release(third)
    assert not bodies._sizes


def test_a_gateway_without_keys_has_the_limit_of_all_alone() -> None:
    bodies = LargeBodies(RequestLimits(**LIMITS))
    bodies.hold(scope_of(""), int(1.5 * MB))
    bodies.hold(scope_of(""), int(1.5 * MB))
    with pytest.raises(Refused, match="bodies_mb"):
        bodies.hold(scope_of(""), int(1.1 * MB))


@contextlib.contextmanager
def unfinished(running: Running, size: int, headers: Mapping[str, str], *, chunked: bool) -> Iterator[None]:
    """Send a request without the end of its body, of which this size comes."""
    head = ["POST /v1/chat/completions HTTP/1.1", "host: localhost", "transfer-encoding: chunked" if chunked else f"content-length: {size + 1}"]
    head += [f"{name}: {value}" for name, value in headers.items()]
    start = "\r\n".join([*head, "", ""]) + (f"{size:x}\r\n{'x' * size}\r\n" if chunked else "x" * size)
    before = running.gateway.large_bodies._sizes[""]
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as client:
        client.sendall(start.encode())
        wait_for(running, before + size)
        yield
    wait_for(running, before)


def wait_for(running: Running, size: int) -> None:
    end = time.monotonic() + 30
    while running.gateway.large_bodies._sizes[""] != size:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/images/generations", "/v1/route"])
def test_a_large_body_waits_for_the_end_of_others(serve: Any, path: str, chunked: bool) -> None:
    running = serve({"limits": LIMITS}, good=Script())
    own, other = key(running, "own"), key(running, "other")
    body = b"x" * int(1.5 * MB)
    with unfinished(running, int(1.2 * MB), own, chunked=chunked):
        answer = running.ask(path, body, **own)
        assert (answer.status, answer.headers["retry-after"]) == (429, "2")
        assert "x-should-retry" not in answer.headers
        assert running.ask(path, b"x" * MB, **own).status == 400  # read, and no JSON
        with unfinished(running, int(1.1 * MB), other, chunked=chunked):
            assert running.ask(path, body, **other).status == 503
        assert running.ask(path, body, **other).status == 400
    assert running.ask(path, body, **own).status == 400


def test_bodies_that_are_only_announced_take_no_place(serve: Any) -> None:
    running = serve({"limits": LIMITS}, good=Script())
    own, other = key(running, "own"), key(running, "other")
    with contextlib.ExitStack() as clients:
        for _ in range(2):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=30))
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: {own['authorization']}\r\n"
            client.sendall(f"{head}content-length: {int(1.9 * MB)}\r\nexpect: 100-continue\r\n\r\n".encode())
            assert client.recv(100).startswith(b"HTTP/1.1 100")  # the body is waited for
            client.sendall(b"x")
        assert running.ask("/v1/chat/completions", b"x" * int(1.5 * MB), **own).status == 400  # read, and no JSON
        assert running.ask("/v1/chat/completions", b"x" * int(1.5 * MB), **other).status == 400


def test_the_counts_go_on_over_a_reload() -> None:
    first, second, scope = LargeBodies(RequestLimits()), LargeBodies(RequestLimits(**LIMITS)), scope_of("a")
    first.hold(scope, 2 * MB)
    second.take_over(first)
    with pytest.raises(Refused):
        second.hold(scope_of("a"), 2 * MB)
    first.release(scope)
    second.hold(scope_of("a"), 2 * MB)
