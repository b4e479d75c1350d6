"""The stub server does what its scripts say, and counts it."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from aamc_models.testing import FAULTS, Script, StubServer

ASKED = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer() as started:
        yield started


def post(stub: StubServer, body: dict[str, Any], path: str = "/v1/chat/completions", timeout_s: float = 60.0) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", stub.port, timeout=timeout_s)
    try:
        connection.request("POST", path, json.dumps(body))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_tokens_and_cost_are_counted(stub: StubServer) -> None:
    prices = {"input": 1.0, "output": 2.0, "cached_input": 0.1, "cache_write": 1.25}
    stub.scripts["m"] = Script(prompt_tokens=100, cached_tokens=60, cache_write_tokens=30, output_tokens=20, prices=prices)
    for streamed in (False, True):
        post(stub, {**ASKED, "stream": streamed})
    assert stub.wait(lambda now: now.active == 0)  # an answer is counted after its last byte
    counts = stub.counts("m")
    assert stub.wait(lambda _: counts.served == 2)  # an answer counts as served once its connection waits for the next request
    assert (counts.calls, counts.prompt_tokens, counts.output_tokens) == (2, 200, 40)
    assert counts.cost_usd(prices) == pytest.approx(2 * (10 * 1.0 + 60 * 0.1 + 30 * 1.25 + 20 * 2.0) / 1e6)


def test_faults_are_spread_evenly_and_not_billed(stub: StubServer) -> None:
    stub.scripts["m"] = Script(fault="status", status=503, fault_share=0.25, output_tokens=10)
    statuses = [post(stub, ASKED)[0] for _ in range(8)]
    assert statuses == [200, 200, 200, 503] * 2
    assert (stub.counts("m").faults, stub.counts("m").output_tokens) == (2, 60)


def test_faults_end_after_a_number_of_calls(stub: StubServer) -> None:
    stub.scripts["m"] = Script(fault="status", fault_calls=2)
    assert [post(stub, ASKED)[0] for _ in range(4)] == [500, 500, 200, 200]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault])
@pytest.mark.parametrize("path", ["chat/completions", "messages", "responses", "completions"])
def test_no_fault_looks_like_a_whole_answer(stub: StubServer, fault: str, path: str, streamed: bool) -> None:
    stub.scripts["m"] = Script(fault=fault)
    body = {**ASKED, "input": "Hello", "prompt": "Hello", "stream": streamed}
    try:
        status, content = post(stub, body, f"/v1/{path}", timeout_s=0.3)
    except (OSError, http.client.HTTPException):
        return
    finished = any(end in content for end in (b'"stop"', b"end_turn", b'"status":"completed","model"'))
    assert status != 200 or not finished or (not streamed and not _is_json(content))


def _is_json(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except ValueError:
        return False


def test_a_client_that_leaves_is_counted(stub: StubServer) -> None:
    stub.scripts["m"] = Script(fault="hang")
    body = json.dumps(ASKED).encode()
    with socket.create_connection(("127.0.0.1", stub.port)) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        assert stub.wait(lambda now: now.active == 1)
    assert stub.wait(lambda now: now.counts("m").cancelled == 1 and now.active == 0 and now.connections == 0)


def test_content_that_was_not_sent_is_not_billed(stub: StubServer) -> None:
    stub.scripts["m"] = Script(fault="cut", chunks=8, output_tokens=80, prompt_tokens=10)
    post(stub, {**ASKED, "stream": True})
    assert (stub.counts("m").prompt_tokens, stub.counts("m").output_tokens) == (10, 40)


def test_a_strict_model_takes_back_its_own_thinking_only(stub: StubServer) -> None:
    stub.scripts.update(alpha=Script(thinking="Hm.", strict=True), beta=Script(thinking="Hm.", strict=True))
    first = json.loads(post(stub, {**ASKED, "model": "alpha", "max_tokens": 100}, "/v1/messages")[1])
    messages = [*ASKED["messages"], {"role": "assistant", "content": first["content"]}, {"role": "user", "content": "And?"}]
    body = {"max_tokens": 100, "messages": messages}
    assert post(stub, {**body, "model": "alpha"}, "/v1/messages")[0] == 200
    assert post(stub, {**body, "model": "beta"}, "/v1/messages")[0] == 400
    assert stub.counts("beta").refused == 1


def test_a_strict_model_knows_its_own_responses_only(stub: StubServer) -> None:
    stub.scripts.update(alpha=Script(strict=True), beta=Script(strict=True))
    first = json.loads(post(stub, {"model": "alpha", "input": "Hello"}, "/v1/responses")[1])
    body = {"input": "And?", "previous_response_id": first["id"]}
    assert post(stub, {**body, "model": "alpha"}, "/v1/responses")[0] == 200
    assert post(stub, {**body, "model": "beta"}, "/v1/responses")[0] == 400


def test_bodies_in_chunks_and_several_requests_on_a_connection_are_read(stub: StubServer) -> None:
    body = json.dumps(ASKED).encode()
    chunked = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (10, body[:10], len(body) - 10, body[10:])
    head = b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", stub.port)) as client:
        client.sendall(2 * (head + chunked))
        assert stub.wait(lambda now: now.counts("m").served == 2)
    assert [request.body for request in stub.requests] == [ASKED, ASKED]


def test_a_process_takes_scripts_and_tells_its_counts() -> None:
    command = [sys.executable, "-m", "aamc_models.testing"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("PUT", "/stub/scripts", json.dumps({"m": {"fault": "status", "status": 503}}))
        connection.getresponse().read()
        connection.request("POST", "/v1/chat/completions", json.dumps(ASKED))
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["error"]["type"]) == (503, "server_error")
        connection.request("GET", "/stub/counts")
        assert json.loads(connection.getresponse().read())["models"]["m"]["faults"] == 1
        connection.close()
        process.terminate()
