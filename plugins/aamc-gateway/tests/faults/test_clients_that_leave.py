"""Clients that leave, read slowly or write slowly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from typing import Any

import aiohttp
import httpx
import pytest
from aamc_models.testing import Script, StubServer
from faults.conftest import ask_all, chat, entries


def connect(url: str, receive_bytes: int | None = None) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    client = socket.socket()
    client.settimeout(30)
    if receive_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.connect((host, int(port)))
    return client


def head(body: bytes, path: str = "/v1/chat/completions") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize("script", [Script(fault="hang"), Script(fault="hang_stream"), Script(fault="hang_content")], ids=lambda script: script.fault)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_the_upstream_call_ends_when_the_client_leaves(serve: Any, stub: StubServer, script: Script, streamed: bool) -> None:
    stub.scripts["good"] = script
    gateway = serve({"good": {}})
    body = json.dumps(chat(stream=streamed)).encode()
    with connect(gateway.url) as client:
        client.sendall(head(body) + body)
        assert stub.wait(lambda now: now.active == 1)
    assert stub.wait(lambda now: now.counts("good").cancelled == 1 and now.active == 0)
    assert gateway.ready()
    deadline = time.monotonic() + 30
    while 'aamc_calls_total{model="good",result=' not in (
        metrics := httpx.get(f"{gateway.url}/metrics", timeout=60).text
    ):  # counted when the request has ended
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert 'aamc_calls_total{model="good",result="cancelled"} 1.0' in metrics


def test_the_calls_of_pipelined_requests_end_when_their_client_leaves(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(fault="hang")
    gateway = serve({"good": {}})
    body = json.dumps(chat()).encode()
    with connect(gateway.url) as client:
        client.sendall((head(body) + body) * 2)
        assert stub.wait(lambda now: now.active == 1)
    assert stub.wait(lambda now: now.counts("good").cancelled == 1 and now.active == 0)


def test_a_connection_with_too_many_requests_at_once_is_closed(serve: Any) -> None:
    gateway = serve({"good": {}})
    request = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    for count, status in ((30, b"200"), (1000, b"400")):
        with connect(gateway.url) as client, client.makefile("rb") as answers:
            client.sendall(request * count)
            assert answers.readline().startswith(b"HTTP/1.1 " + status)
    assert gateway.ready()


def test_many_clients_that_leave_lose_no_connection(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(pace_ms=200, chunks=50)
    gateway = serve({"good": {}})
    body = json.dumps(chat(stream=True)).encode()
    clients = [connect(gateway.url) for _ in range(40)]
    for client in clients:
        client.sendall(head(body) + body)
    assert stub.wait(lambda now: now.active == 40)
    for client in clients:
        client.close()
    assert stub.wait(lambda now: now.active == 0 and now.connections == 0)
    stub.scripts["good"] = Script()
    assert [status for status, _, _ in ask_all(gateway.url, [chat()] * 40)] == [200] * 40


def test_a_slow_reader_holds_the_upstream_up_and_reads_all(serve: Any, stub: StubServer) -> None:
    """The gateway must not take in an answer that nobody reads: 64 MB of it would show in its memory."""
    text = "x" * 64_000_000
    stub.scripts["good"] = Script(text=text, chunks=2000)
    gateway = serve({"good": {}})
    before = resident_mb(gateway.process.pid)

    async def main() -> int:
        async with (
            aiohttp.ClientSession(read_bufsize=2**14) as session,
            session.post(f"{gateway.url}/v1/chat/completions", json=chat(stream=True)) as answer,
        ):
            assert answer.status == 200
            await answer.content.readany()
            await asyncio.sleep(1.0)  # nobody reads: what the gateway takes in meanwhile is in its memory
            held = resident_mb(gateway.process.pid)
            assert held - before < 30, f"the gateway holds {held - before} MB of an answer that nobody reads"
            return sum([len(part) async for part in answer.content.iter_any()])

    assert asyncio.run(main()) > len(text) * 0.9


def test_a_stream_that_its_client_reads_too_slowly_is_cancelled_not_a_failure_of_its_model(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(text="x" * 64_000_000, chunks=2000)
    gateway = serve({"good": {"timeout_seconds": 2.0}})
    body = json.dumps(chat(stream=True)).encode()
    with connect(gateway.url, receive_bytes=4096) as client, client.makefile("rb") as answer:
        client.sendall(head(body) + body)
        time.sleep(4.0)
        last = b""
        while part := answer.read1(2**20):
            last = (last + part)[-1000:]
            if last.endswith(b"0\r\n\r\n"):
                break
    assert b"was read too slowly" in last
    assert [(entry["candidate"], entry["status"]) for entry in entries(gateway, "attempt")] == [("good", "cancelled")]


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(serve: Any, stub: StubServer, stream: bool) -> None:
    stub.scripts["good"] = Script(text="x" * 64_000_000, chunks=2000)
    gateway = serve({"good": {}}, settings={"limits": {"write_s": 1.0}})
    body = json.dumps(chat(stream=stream)).encode()
    with contextlib.ExitStack() as clients:
        for _ in range(3):
            client = clients.enter_context(connect(gateway.url, receive_bytes=4096))
            client.sendall(head(body) + body)
        assert stub.wait(lambda now: now.counts("good").calls == 3)
        assert stub.wait(lambda now: now.active == 0)
        began = time.monotonic()
        gateway.stop()
        assert time.monotonic() - began < 30  # not after shutdown_s, ten minutes


def test_a_connection_that_is_to_close_ends_too_where_its_client_takes_nothing(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(text="x" * 2_900_000)
    gateway = serve({"good": {}}, settings={"limits": {"write_s": 1.0}})
    body = json.dumps(chat()).encode()
    with contextlib.ExitStack() as clients:
        for length in range(0, 60_000, 20_000):  # the end of some answers is below what pauses the writer
            stub.scripts["good"] = Script(text="x" * (2_780_000 + length))
            client = clients.enter_context(connect(gateway.url, receive_bytes=4096))
            client.sendall(head(body).replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n") + body)
            assert stub.wait(lambda now: now.active == 0 and now.counts("good").calls > 0)
        began = time.monotonic()
        gateway.stop()
        assert time.monotonic() - began < 30


def resident_mb(pid: int) -> float:
    from pathlib import Path

    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * 4096 / 1e6


def test_a_slow_writer_is_served(serve: Any, stub: StubServer) -> None:
    gateway = serve({"good": {}})
    body = json.dumps(chat(text="slow " * 100)).encode()
    with connect(gateway.url) as client:
        message = head(body) + body
        for at in range(0, len(message), 64):
            client.sendall(message[at : at + 64])
            time.sleep(0.005)
        assert client.recv(2**16).startswith(b"HTTP/1.1 200")


def test_a_client_that_never_ends_its_body_is_cut_off(serve: Any) -> None:
    gateway = serve({"good": {}}, settings={"limits": {"read_s": 1.0}})
    with connect(gateway.url) as client:
        client.sendall(head(b"x" * 1000) + b"{")
        answer = client.recv(2**16)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 408")
    assert [status for status, _, _ in ask_all(gateway.url, [chat()])] == [200]


def test_a_client_that_half_closes_still_reads_its_answer_or_is_dropped(serve: Any, stub: StubServer) -> None:
    gateway = serve({"good": {}})
    body = json.dumps(chat()).encode()
    with connect(gateway.url) as client:
        client.sendall(head(body) + body)
        client.shutdown(socket.SHUT_WR)
        answer = client.recv(2**16)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 200")
    assert stub.wait(lambda now: now.active == 0)


def test_a_stream_to_a_client_of_http_1_0_has_no_chunks_and_ends_with_its_connection(serve: Any, stub: StubServer) -> None:
    text = "x" * 3_000_000
    stub.scripts["good"] = Script(text=text, chunks=100)
    gateway = serve({"good": {}})
    for stream in (True, False):
        body = json.dumps(chat(stream=stream)).encode()
        with connect(gateway.url) as client, client.makefile("rb") as answer:
            client.sendall(head(body).replace(b"HTTP/1.1", b"HTTP/1.0") + body)
            fields, _, content = answer.read().partition(b"\r\n\r\n")
        assert (fields[:12], b"chunked" in fields, len(content) > len(text)) == (b"HTTP/1.1 200", False, True)
        lines = content.removesuffix(b"\n\n").split(b"\n\n") if stream else [b"data: " + content]
        assert all(line.startswith(b"data: ") for line in lines)
        assert lines[-1] == b"data: [DONE]" if stream else json.loads(content)


@pytest.mark.parametrize("end", [b"\r\n\r\n", b""], ids=["whole", "unfinished"])
def test_headers_that_are_too_large_are_refused_however_they_arrive(serve: Any, end: bytes) -> None:
    gateway = serve({"good": {}}, settings={"limits": {"header_kb": 4}})
    body = json.dumps(chat(text="x" * 20_000)).encode()
    start = head(body).removesuffix(b"\r\n\r\n")
    with connect(gateway.url) as client:
        client.sendall(start + b"\r\nx-own: " + b"a" * 8000 + end + (body if end else b""))
        answer = client.recv(2**16)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert "gateway.limits.header_kb" in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]
    with connect(gateway.url) as client:
        client.sendall(start + b"\r\nx-own: " + b"a" * 2000 + b"\r\n\r\n" + body)
        assert client.recv(2**16).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("trailers", [b"x-own: " + b"a" * 10_000, b"x-own: a\r\n" * 1000], ids=["one", "many"])
def test_trailers_that_are_too_large_are_refused_before_they_end(serve: Any, trailers: bytes) -> None:
    gateway = serve({"good": {}}, settings={"limits": {"header_kb": 4}})
    body = json.dumps(chat(text="x" * 20_000)).encode()
    start = head(body).replace(b"content-length: %d" % len(body), b"transfer-encoding: chunked")
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:1], body[1:]))
    with connect(gateway.url) as client:
        client.sendall(start + chunks + b"0\r\n")
        time.sleep(0.2)
        client.sendall(trailers)
        assert client.recv(2**16).startswith(b"HTTP/1.1 431 ")
    with connect(gateway.url) as client:
        client.sendall(start + chunks + b"0\r\nx-own: " + b"a" * 2000 + b"\r\n\r\n")
        assert client.recv(2**16).startswith(b"HTTP/1.1 200")


def test_headers_that_are_too_large_are_refused_behind_another_request(serve: Any) -> None:
    gateway = serve({"good": {}})
    request = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    with connect(gateway.url) as client:
        client.sendall(request + b"\r\n" + request)  # the headers of the second one come in two pieces
        time.sleep(0.2)
        client.sendall(b"x-own: a\r\n\r\n")
        time.sleep(0.2)
        assert client.recv(2**16).count(b"HTTP/1.1 200") == 2
        client.sendall(request + b"x-own: " + b"a" * 70_000)
        assert client.recv(2**16).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("next_request", [b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/1.1\r\nx-own: " + b"a" * 70_000], ids=["invalid", "too large"])
def test_a_request_that_is_refused_does_not_break_the_answer_before_its_own(serve: Any, stub: StubServer, next_request: bytes) -> None:
    stub.scripts["good"] = Script(chunks=20, pace_ms=50)
    gateway = serve({"good": {}})
    body = json.dumps(chat(stream=True)).encode()
    with connect(gateway.url) as client:
        client.sendall(head(body) + body)
        received = client.recv(2**16)
        client.sendall(next_request)
        received += b"".join(iter(lambda: client.recv(2**16), b""))
    assert (received.count(b"HTTP/1.1"), received.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")) == (1, True)


@pytest.mark.parametrize("trailer", [b"x-forwarded-for: 192.0.2.1", b"x-aamc-preference: none", b"content-encoding: gzip"])
def test_trailers_are_not_headers(serve: Any, trailer: bytes) -> None:
    gateway = serve({"good": {}})
    body = json.dumps(chat()).encode()
    start = head(body).replace(b"content-length: %d" % len(body), b"transfer-encoding: chunked")
    with connect(gateway.url) as client:
        client.sendall(start + b"%x\r\n%b\r\n0\r\n%b\r\n\r\n" % (len(body), body, trailer))
        assert client.recv(2**16).startswith(b"HTTP/1.1 200")
