"""A clock that is set, a key that expires in mid-stream, an offer of HTTP/2, an arena of one, an orchestrator that does not end."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from aamc_gateway.access.keys import add_key
from aamc_gateway.access.shared import SharedState
from aamc_gateway.observe.request_figures import RequestFigures
from aamc_gateway.orchestrations.served_orchestrator import ServedOrchestrator, _Steps
from aamc_gateway.server.settings import OrchestratorSettings
from aamc_models.testing import Script, StubServer
from prometheus_client.parser import text_string_to_metric_families
from server.conftest import key

from aamc_sdk.errors import ProviderError
from aamc_sdk.interfaces import Orchestrator, Step
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.types import Query


@pytest.mark.parametrize("shift_s", [-40 * 86400.0, -90.0, 90.0, 40 * 86400.0])
def test_a_clock_that_is_set_refuses_nobody_and_loses_no_budget(serve: Any, monkeypatch: pytest.MonkeyPatch, shift_s: float) -> None:
    limits = {"usd_per_day": 100.0, "usd_total": 100.0, "tokens_per_minute": 1_000_000, "parallel_requests": 1}
    running = serve({"access": {"limits": limits}}, good=Script())
    real = time.time
    for shift in (0.0, shift_s, 0.0):
        monkeypatch.setattr(time, "time", lambda shift=shift: real() + shift)
        assert [running.chat(stream=stream).status for stream in (False, True)] == [200, 200]
    samples = [sample for family in text_string_to_metric_families(running.gateway.metrics.text().decode()) for sample in family.samples]
    assert all(sample.value >= 0 for sample in samples if sample.name.endswith(("_sum", "_total", "aamc_in_flight")))


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
def test_no_duration_depends_on_a_clock_that_is_set(serve: Any, monkeypatch: pytest.MonkeyPatch, step_s: float) -> None:
    running = serve(good=Script())
    seen: list[RequestFigures] = []
    monkeypatch.setattr(running.gateway.observer, "ended", seen.append)
    real, looks = time.time(), itertools.count()
    monkeypatch.setattr(time, "time", lambda: real + step_s * next(looks))  # it is set before each look
    assert [running.chat(stream=stream).status for stream in (False, True)] == [200, 200]
    until = time.monotonic() + 30
    while len(seen) < 2 and time.monotonic() < until:  # a stream's client has all of it a moment before it has ended
        time.sleep(0.01)
    intervals = [(one.began, one.decision_began, one.decision_ended, one.calls[0].began, one.calls[0].ended, one.ended) for one in seen]
    assert all(sorted(times) == [*times] and times[-1] - times[0] < 600 for times in intervals)
    assert len(intervals) == 2


def test_a_stream_goes_on_when_its_key_expires(serve: Any, stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    running = serve(good=Script(chunks=12, pace_ms=200))
    real = time.time

    def key(shared: SharedState, **fields: Any) -> str:
        return asyncio.run_coroutine_threadsafe(add_key(shared, **fields), running.loop).result(30)[1]

    headers = {"authorization": f"Bearer {key(running.gateway.shared, name='short', expires=real() + 600)}"}
    with ThreadPoolExecutor(1) as threads:
        streamed = threads.submit(running.chat, stream=True, headers=headers)
        while not stub.counts("good").calls and not streamed.done():
            time.sleep(0.01)
        monkeypatch.setattr(time, "time", lambda: real() + 1200)
        answer = streamed.result(60)
    assert (answer.status, "cost_usd" in answer.events[-1]["aamc"]) == (200, True)
    refused = running.chat(headers=headers)
    assert (refused.status, "expired" in refused.json["error"]["message"]) == (401, True)
    assert stub.counts("good").calls == 1


@pytest.mark.parametrize("at_once", [False, True])
def test_a_client_that_offers_http_2_is_answered_in_http_1(serve: Any, at_once: bool) -> None:
    running = serve(good=Script(text="In Paris."))
    body = json.dumps({"model": "good", "messages": [{"role": "user", "content": "Where?\r\nUpgrade: h2c"}]}).encode()
    offer = "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAA\r\nUpgrade: h2c"  # as Java's client does
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{offer}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as client:
        for _ in range(2):
            client.sendall(head + body if at_once else head)
            if not at_once:
                time.sleep(0.05)
                client.sendall(body)
            answer = http.client.HTTPResponse(client)
            answer.begin()
            assert (answer.status, b"In Paris." in answer.read()) == (200, True)


def test_an_offer_of_http_2_whose_header_comes_in_pieces_and_behind_another_request_is_answered(serve: Any) -> None:
    running = serve(good=Script(text="In Paris."))
    body = json.dumps({"model": "good", "messages": [{"role": "user", "content": "Where?"}]}).encode()
    offer = b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    request = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s" % (len(body), offer)
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as client:
        client.sendall(request + body + request[:-9])
        time.sleep(0.05)
        client.sendall(request[-9:] + body)
        for _ in range(2):
            answer = http.client.HTTPResponse(client)
            answer.begin()
            assert (answer.status, b"In Paris." in answer.read()) == (200, True)


def test_the_rest_of_a_body_that_was_refused_unread_is_no_further_request(serve: Any) -> None:
    running = serve(good=Script())
    owner = key(running, "owner")["authorization"]
    pieces = [b"\r\nupgrade:" + b"a" * 90] * 40 + [b"\r\n" * 40 + b"GET /v1/arena/zz HTTP/1.1\r\nHost: h\r\nx: "]
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % sum(map(len, pieces)))
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert (answer.status, answer.getheader("connection"), b"error" in answer.read()) == (401, "close", True)
        for piece in [*pieces, f"GET /v1/models HTTP/1.1\r\nHost: h\r\nAuthorization: {owner}\r\n\r\n".encode()]:
            client.sendall(piece)
            time.sleep(0.005)
        assert client.recv(1000) == b""


def test_a_large_body_that_is_read_keeps_its_connection(serve: Any) -> None:
    running = serve(good=Script())
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    body = json.dumps({"model": "good", "messages": [{"role": "user", "content": "\r\nUpgrade: h2c" * 50_000}]})
    for _ in range(2):
        connection.request("POST", "/v1/chat/completions", body)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("connection"), bool(answer.read())) == (200, None, True)
    connection.close()


@pytest.mark.parametrize("target", ["h:80", "/v1/models"])
def test_a_tunnel_is_refused(serve: Any, target: str) -> None:
    running = serve(good=Script())
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as client:
        client.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: h\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        received = b"".join(iter(lambda: client.recv(1000), b""))
    assert (received[:12], received.count(b"HTTP/1.1")) == (b"HTTP/1.1 400", 1)


@pytest.mark.parametrize(
    ("version", "hosts", "status"), [("1.1", [], 400), ("1.1", ["localhost", "localhost"], 400), ("1.1", ["localhost"], 200), ("1.0", [], 200)]
)
def test_a_request_has_one_host_and_only_that_of_http_1_0_may_lack_it(serve: Any, version: str, hosts: list[str], status: int) -> None:
    running = serve(good=Script())
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as client:
        client.sendall("\r\n".join([f"GET /v1/models HTTP/{version}", *(f"Host: {host}" for host in hosts), "", ""]).encode())
        assert client.recv(12) == f"HTTP/1.1 {status}".encode()


@pytest.mark.parametrize(("version", "status"), [("1.1", 100), ("1.0", 200)])
def test_only_a_client_of_http_1_1_is_told_to_continue(serve: Any, version: str, status: int) -> None:
    running = serve(good=Script())
    body = json.dumps({"model": "good", "messages": [{"role": "user", "content": "Where?"}]})
    head = f"POST /v1/chat/completions HTTP/{version}\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as client:
        client.sendall((head + body).encode())
        assert client.recv(12) == f"HTTP/1.1 {status}".encode()


def test_answers_have_a_date_and_refusals_the_headers_that_their_status_demands(serve: Any) -> None:
    running = serve(good=Script())
    wrong_method = running.ask("/v1/models", method="OPTIONS")
    assert (wrong_method.status, wrong_method.headers["allow"]) == (405, "GET, HEAD")
    compressed = running.ask("/v1/messages", b"", content_encoding="gzip")
    assert (compressed.status, compressed.headers["accept-encoding"]) == (415, "identity")
    for answer in (wrong_method, compressed, running.chat(), running.chat(stream=True)):
        assert abs(parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()) < 60


def test_no_cache_may_store_answers_of_a_key(serve: Any) -> None:
    running = serve(good=Script())
    own = {"x_api_key": key(running, "own")["authorization"].removeprefix("Bearer ")}
    paths = ["/v1/models", "/v1/models/good", "/v1/models/none", "/v1/files/f?model=good", "/v1/files/f?model=none", "/none"]
    answers = [running.ask(path, method="GET", **own) for path in paths]
    assert [(answer.status, answer.headers["cache-control"]) for answer in answers] == [
        (status, "no-store") for status in (200, 200, 404, 200, 404, 404)
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_an_arena_of_one_answer_offers_no_vote(serve: Any, stream: bool) -> None:
    running = serve(good=Script(), broken=Script(fault="status", status=500))
    answer = running.chat(model="aamc/arena", stream=stream)
    assert (answer.status, answer.headers.get("x-aamc-vote")) == (200, None)
    assert not stream or "vote" not in answer.events[-1]["aamc"]


def test_a_pool_of_one_answers_for_the_arena(serve: Any) -> None:
    answer = serve(good=Script()).chat(model="aamc/arena")
    assert (answer.status, answer.headers["x-aamc-model"]) == (200, "good")


class Endless(Orchestrator):
    """An orchestrator that looks at no budget."""

    def __init__(self, wait: Callable[[], Any], cost_usd: float = 0.0) -> None:
        self._wait, self._cost_usd = wait, cost_usd

    async def run(self, task: Query, budget: Any) -> AsyncIterator[Step]:
        while True:
            waited = self._wait()
            if waited is not None:
                await waited
            yield Step(decision=None, content="again", cost_usd=self._cost_usd)


def steps(orchestrator: Endless, **settings: Any) -> int:
    served = ServedOrchestrator("endless", OrchestratorSettings(**settings), get_plugin_manager())
    served._orchestrator = orchestrator

    async def log(orchestration: Any) -> None:
        pass

    async def count() -> int:
        found = served.run(Query("Loop"), served.settings.budget_usd, log, "request")
        return len([step async for step in found if isinstance(step, Step)])

    return asyncio.run(count())


def test_an_orchestrator_that_loops_is_ended_at_its_budget() -> None:
    assert steps(Endless(lambda: None), steps=7) == 7
    assert steps(Endless(lambda: None, cost_usd=0.4), steps=1000, budget_usd=1.0) == 3
    assert 1 <= steps(Endless(lambda: time.sleep(0.01)), steps=10**9, seconds=1.0) < 1000


def test_an_orchestrator_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_gateway.orchestrations.served_orchestrator._STOP_S", 0.1)
    assert steps(Endless(lambda: asyncio.sleep(3600)), seconds=0.2) == 0  # its step is cancelled
    with pytest.raises(ProviderError, match=r"took longer than its 0\.2 s"):
        steps(Endless(lambda: time.sleep(2)), seconds=0.2)


def test_a_step_that_ends_after_its_client_has_left_is_charged_as_it_is_logged(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    working, left, stop = threading.Event(), threading.Event(), _Steps.stop

    def work() -> None:
        working.set()
        assert left.wait(30)  # it blocks its thread, so it cannot be cancelled

    async def stop_while_it_works(steps: _Steps) -> None:
        asyncio.get_running_loop().call_later(0.2, left.set)
        await stop(steps)

    endless = Endless(work, cost_usd=0.25)
    monkeypatch.setattr("aamc_gateway.orchestrations.served_orchestrator.find_orchestrator", lambda *arguments: (endless, None))
    monkeypatch.setattr(_Steps, "stop", stop_while_it_works)
    running = serve({"orchestrators": {"endless": {}}}, good=Script())
    client = http.client.HTTPConnection("127.0.0.1", running.port)
    client.request("POST", "/v1/chat/completions", json.dumps({"model": "aamc/endless", "messages": [{"role": "user", "content": "Loop"}]}))
    assert working.wait(30)
    client.close()
    deadline = time.monotonic() + 30
    while b'status="499"' not in (metrics := running.ask("/metrics", method="GET").body) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [attempt.cost_usd for attempt in running.log().attempts] == [0.25]
    assert b'aamc_cost_usd_total{model="aamc/endless"} 0.25' in metrics


class Done(Orchestrator):
    """An orchestrator of one step."""

    async def run(self, task: Query, budget: Any) -> AsyncIterator[Step]:
        yield Step(decision=None, content="done", cost_usd=0.25, final=True)


def test_work_is_logged_although_its_client_leaves_while_its_thread_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    served = ServedOrchestrator("done", OrchestratorSettings(), get_plugin_manager())
    served._orchestrator = Done(None, None)

    async def leave() -> float:
        ending, left, logged, stop = asyncio.Event(), asyncio.Event(), asyncio.Queue[float](), _Steps.stop

        async def stop_slowly(steps: _Steps) -> None:
            ending.set()
            await left.wait()
            await stop(steps)

        async def log(orchestration: Any) -> None:
            logged.put_nowait(orchestration.cost_usd)

        async def read() -> None:
            async for _ in served.run(Query("Work"), 1.0, log, "request"):
                pass

        monkeypatch.setattr(_Steps, "stop", stop_slowly)
        client = asyncio.create_task(read())
        await ending.wait()
        client.cancel()
        await asyncio.wait([client], timeout=0.1)
        left.set()
        return await asyncio.wait_for(logged.get(), 30)

    assert asyncio.run(leave()) == 0.25
