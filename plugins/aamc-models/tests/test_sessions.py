import asyncio
import gc
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import aiohttp
import attrs
import pytest
from aamc_models.transport.sessions import HttpSessions, proxy_of
from misbehaving_server import ANSWER, hang, reply, then
from test_http_provider import CANDIDATE, CHAT

from aamc_sdk.concurrency import EventLoopThread
from aamc_sdk.errors import ProviderError

STAYING = then(reply(), hang)


@pytest.fixture
def fast_switches():
    """Let threads take turns within each other's steps."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_provider_that_is_forgotten_leaves_no_connection(upstream, provider) -> None:
    server, loop = upstream(STAYING), EventLoopThread()
    assert loop.submit(provider(base_url=server.url).send(CANDIDATE, CHAT)).result(60).status == 200
    assert server.hanging.wait(60)
    gc.collect()
    assert server.left.wait(60)
    loop.close()


def test_what_comes_on_an_idle_connection_is_no_answer_to_the_next_request(upstream, provider) -> None:
    answered, pushed = threading.Event(), threading.Event()

    def push(server, connection, request) -> None:
        assert answered.wait(60)
        reply({**ANSWER, "id": "of nobody"})(server, connection, request)
        pushed.set()

    server = upstream(then(reply({**ANSWER, "id": "first"}), push), reply({**ANSWER, "id": "second"}))
    calling = provider(base_url=server.url)

    async def both() -> list[str]:
        ids = [(await calling.send(CANDIDATE, CHAT)).answer["id"]]
        answered.set()
        assert await asyncio.to_thread(pushed.wait, 60)
        await asyncio.sleep(0.05)  # the event loop reads what has come
        return [*ids, (await calling.send(CANDIDATE, CHAT)).answer["id"]]

    assert asyncio.run(both()) == ["first", "second"]


def test_connections_end_with_their_event_loop(upstream, provider) -> None:
    server = upstream(STAYING)
    calling = provider(base_url=server.url)
    asyncio.run(calling.send(CANDIDATE, CHAT))
    assert server.left.wait(60)
    server = upstream(STAYING)
    calling, loop = provider(base_url=server.url), EventLoopThread()
    loop.submit(calling.send(CANDIDATE, CHAT)).result(60)
    loop.close()
    assert server.left.wait(60)


def test_several_event_loops_call_at_the_same_time(upstream, provider) -> None:
    server = upstream(reply())
    calling, all_here, statuses = provider(base_url=server.url), threading.Barrier(4, timeout=60), []

    async def several() -> list[int]:
        return [(await calling.send(CANDIDATE, CHAT)).status for _ in range(20)]

    def work() -> None:
        all_here.wait()
        statuses.extend(asyncio.run(several()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert statuses == [200] * 80
    assert calling._deployments.all[0].in_flight == 0


def test_event_loops_begin_while_another_looks_for_ended_sessions(fast_switches) -> None:
    sessions, all_here = HttpSessions(), threading.Barrier(8, timeout=60)

    async def first() -> None:
        await sessions.session()

    def work(_: int) -> None:
        all_here.wait()
        for _ in range(100):
            asyncio.run(first())

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))  # raises what a thread raised


def test_the_proxy_is_that_of_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "localhost,.example.org")
    addresses = ("https://api.example.com/v1", "https://api.example.org/v1", "http://localhost:1/v1")
    assert [proxy_of(address) for address in addresses] == ["http://proxy:3128", None, None]


def test_a_proxy_may_have_no_scheme_and_an_address_a_user(monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", "proxy:3128")
    monkeypatch.setenv("no_proxy", "b")
    assert [proxy_of(address) for address in ("http://a/v1", "http://me:secret@b:1/v1")] == ["http://proxy:3128", None]


def test_a_server_whose_name_gets_another_address_is_found_there(upstream, provider, monkeypatch) -> None:
    addresses = iter(["127.0.0.2", "127.0.0.1"])  # where nobody listens, and where it is now

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[dict[str, object]]:
        return [{"hostname": host, "host": next(addresses), "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    monkeypatch.setattr(aiohttp.connector.DefaultResolver, "resolve", resolve)
    port = urlsplit(upstream(reply()).url).port
    calling = provider(base_url=f"http://moved.test:{port}/v1", retries=1, max_pause_s=0.0)
    assert asyncio.run(calling.send(CANDIDATE, CHAT)).status == 200


def test_a_proxy_that_refuses_was_no_call_and_its_password_stays_secret(upstream, provider, monkeypatch) -> None:
    proxy = upstream(reply(b"", 407))
    monkeypatch.setenv("https_proxy", proxy.address.replace("://", "://me:secret@"))
    sent = []
    with pytest.raises(ProviderError) as raised:
        asyncio.run(provider(base_url="https://api.example.org/v1", retries=0).send(CANDIDATE, attrs.evolve(CHAT, on_sent=sent.append)))
    assert (raised.value.kind, any(sent), "secret" in str(raised.value)) == ("connection", False, False)
    assert "the proxy of the environment refused: 407" in str(raised.value)
