"""Bad input gets an error in the client's dialect that names the value, and never an internal error."""

from __future__ import annotations

import http.client
import io
import json
from typing import Any

import pytest
from aamc_gateway.testing import GatewayProcess
from aamc_models.testing import StubServer
from faults.conftest import ask_all, chat

PATHS = ["chat/completions", "messages", "responses", "completions", "embeddings", "messages/count_tokens"]
BROKEN = {
    "nothing": b"",
    "broken JSON": b'{"model": "aamc/auto", ',
    "bad UTF-8": b'{"model": "aamc/auto", "messages": [{"role": "user", "content": "\xff\xfe"}]}',
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "text": b"hello",
    "NaN": b'{"model": NaN}',
    "a lone surrogate": rb'{"model": "aamc/auto", "messages": [{"role": "user", "content": "\ud800"}], "input": "\ud800", "prompt": "\ud800"}',
    "deep lists": b'{"model": "aamc/auto", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "no model": b'{"messages": [{"role": "user", "content": "hi"}]}',
    "an empty model": b'{"model": "", "messages": [{"role": "user", "content": "hi"}]}',
    "a model that is a number": b'{"model": 7, "messages": [{"role": "user", "content": "hi"}]}',
    "messages that are a text": b'{"model": "aamc/auto", "messages": "hi", "input": 7, "prompt": {}}',
    "messages of numbers": b'{"model": "aamc/auto", "messages": [1, null, "a"], "input": [1.5, null], "prompt": [null]}',
    "no messages": b'{"model": "aamc/auto"}',
    "a stream that is a text": b'{"model": "aamc/auto", "stream": "yes", "messages": [{"role": "user", "content": "hi"}]}',
    "a preference of words": b'{"model": "aamc/auto?preference=a,b,c", "messages": [{"role": "user", "content": "hi"}]}',
    "an unknown argument": b'{"model": "aamc/auto?nonsense=1", "messages": [{"role": "user", "content": "hi"}]}',
    "an unknown alias": b'{"model": "aamc/nothing", "messages": [{"role": "user", "content": "hi"}]}',
    "a negative budget": b'{"model": "aamc/auto", "aamc": {"budget_usd": -1}, "messages": [{"role": "user", "content": "hi"}]}',
    "an object that is a list": b'{"model": "aamc/auto", "aamc": [], "messages": [{"role": "user", "content": "hi"}]}',
}

SERVABLE = ("a lone surrogate", "a stream that is a text", "messages that are a text", "messages of numbers", "no messages")
"""What the gateway may pass on: the model's server judges its contents."""
REFUSED = {(name, path) for name in BROKEN for path in ("chat/completions", "messages", "responses") if name not in SERVABLE}


@pytest.fixture
def gateway(serve: Any) -> GatewayProcess:
    started: GatewayProcess = serve({"good": {}})
    return started


def post(gateway: GatewayProcess, path: str, body: bytes) -> tuple[int, Any]:
    import asyncio

    import aiohttp

    async def main() -> tuple[int, Any]:
        async with aiohttp.ClientSession() as session:
            headers = {"content-type": "application/json"}
            async with session.post(f"{gateway.url}/v1/{path}", data=io.BytesIO(body), headers=headers) as answer:
                return answer.status, json.loads(await answer.read())

    return asyncio.run(main())


def test_a_broken_body_is_the_clients_error_in_its_dialect(gateway: GatewayProcess) -> None:
    wrong = {}
    for name, body in BROKEN.items():
        for path in PATHS:
            status, document = post(gateway, path, body)
            error = document.get("error")
            readable = isinstance(error, dict) and isinstance(error.get("message"), str) and bool(error["message"])
            in_dialect = readable and (document.get("type") == "error") == path.startswith("messages")
            if not (400 <= status < 500 and in_dialect) and not (status == 200 and (name, path) not in REFUSED):
                wrong[name, path] = status, str(document)[:200]
    assert wrong == {}
    assert gateway.ready()


def test_an_unknown_model_is_named(gateway: GatewayProcess) -> None:
    status, document = post(gateway, "chat/completions", json.dumps(chat("no-such-model")).encode())
    assert status == 404
    assert "no-such-model" in document["error"]["message"]
    assert document["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("field", ["temperature", "max_tokens", "n", "tools", "response_format", "stop", "user", "metadata", "stream_options"])
@pytest.mark.parametrize("value", [{"a": [1]}, [[]], "text", -1, None, True], ids=str)
def test_a_field_of_the_wrong_type_is_no_internal_error(shared: GatewayProcess, field: str, value: Any) -> None:
    ((status, _, _),) = ask_all(shared.url, [chat(**{field: value})])
    assert status < 500


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from aamc_gateway.testing import stub_candidate

    with StubServer() as stub:
        candidates = [stub_candidate("good", f"{stub.url}/v1")]
        with GatewayProcess(tmp_path_factory.mktemp("gateway"), candidates) as gateway:
            yield gateway


def test_ten_megabytes_of_prompt_reach_the_model(serve: Any, stub: StubServer) -> None:
    gateway = serve({"good": {}})
    body = chat(text="word " * 2_000_000)
    ((status, _, _),) = ask_all(gateway.url, [body])
    assert status == 200
    assert stub.requests[-1].body["messages"] == body["messages"]


def test_a_body_beyond_the_limit_is_refused(serve: Any, stub: StubServer) -> None:
    gateway = serve({"good": {}}, settings={"limits": {"body_mb": 1.0}})
    ((status, _, body),) = ask_all(gateway.url, [chat(text="x" * 1_200_000)])
    assert status == 413
    assert json.loads(body)["error"]["message"]
    assert stub.counts("good").calls == 0


@pytest.mark.parametrize(("version", "last"), [(11, False), (11, True), (10, False)], ids=["keep-alive", "close", "http/1.0"])
def test_a_client_that_sends_all_of_a_too_large_body_first_reads_why(serve: Any, version: int, last: bool) -> None:
    gateway = serve({"good": {}}, settings={"limits": {"body_mb": 1.0}})
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=30)
    connection._http_vsn, connection._http_vsn_str = version, f"HTTP/{version / 10}"  # type: ignore[attr-defined]  # nginx sends 1.0 by default
    headers = {"content-type": "application/json", **({"connection": "close"} if last else {})}  # as urllib sends it
    for _ in range(3):  # a reset would come in the middle of a body, or in place of the answer
        connection.request("POST", "/v1/chat/completions", body=b"x" * 20_000_000, headers=headers)
        answer = connection.getresponse()
        assert (answer.status, "body_mb" in answer.read().decode()) == (413, True)
    connection.close()


@pytest.mark.parametrize("path", ["/dashboard/login", "/v1/feedback", "/v1/arena/one/vote"])
def test_the_body_of_a_sign_in_feedback_or_vote_is_small(shared: GatewayProcess, path: str) -> None:
    connection = http.client.HTTPConnection(shared.url.removeprefix("http://"), timeout=30)
    connection.request("POST", path, body=b'{"key": "%s"}' % (b"x" * 20_000))
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["message"]) == (413, "the body is larger than 0.02 MB; send less")
    connection.close()


def test_a_body_of_too_many_objects_is_refused_before_it_is_read(shared: GatewayProcess) -> None:
    status, document = post(shared, "chat/completions", b'{"model": "good", "messages": [%s]}' % b",".join([b"{}"] * 1_000_000))
    assert (status, "has more than 1,000,000 brackets" in document["error"]["message"]) == (400, True)


def test_a_body_of_too_many_values_is_refused_before_it_is_read(shared: GatewayProcess) -> None:
    status, document = post(shared, "chat/completions", b'{"model": "good", "x": [%s]}' % b",".join([b"1"] * 1_000_001))
    assert (status, "has more than 1,000,000 commas" in document["error"]["message"]) == (400, True)


def test_many_large_bodies_at_once_leave_others_served(serve: Any) -> None:
    gateway = serve({"good": {}})
    bodies = [chat(text="word " * 400_000) if i % 4 == 0 else chat() for i in range(32)]
    assert [status for status, _, _ in ask_all(gateway.url, bodies)] == [200] * 32


def test_no_request_can_name_an_address(serve: Any, stub: StubServer) -> None:
    with StubServer() as outside:
        gateway = serve({"good": {}})
        address = f"{outside.url}/v1"
        fields = {"base_url": address, "api_base": address, "endpoint": {"base_url": address}, "aamc": {"base_url": address}}
        for name, value in fields.items():
            ask_all(gateway.url, [chat(**{name: value})])
        for name, value in {"x-aamc-base-url": address, "x-forwarded-host": address, "host": address.removeprefix("http://")[:-3]}.items():
            ask_all(gateway.url, [chat()], headers={name: value})
        assert outside.accepted == 0
