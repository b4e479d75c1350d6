"""Each official client against each fault of an upstream: a served fallback or a typed error, never a silent short answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aamc_gateway.testing import free_port, stub_candidate
from aamc_models.testing import Script, StubServer
from clients.calls import APIS, SDKS, Call, Result
from faults.conftest import BRISK
from forked_gateway import ForkedGateway

TEXT = Script().text
STREAM_FAULTS = ("hang_content", "half", "cut", "late_error", "error_finish")
"""Faults that show after a stream's first content."""
FAULTS: dict[str, Script] = {
    **{name: Script(fault=name) for name in ("refuse", "hang", "hang_stream", *STREAM_FAULTS, "error_event", "empty", "bad_json")},
    "429": Script(fault="status", status=429, retry_after_s=1),
    "500": Script(fault="status", status=500),
    "503": Script(fault="status", status=503),
    "html": Script(fault="html", status=502),
    "html-200": Script(fault="html", status=200),
    "closed-port": Script(),
}
TYPED = {
    *("APIError", "APIStatusError", "InternalServerError", "RateLimitError", "OverloadedError", "ServiceUnavailableError"),
    *("APIConnectionError", "APITimeoutError", "APIConnectionTimeoutError", "GatewayTimeoutError"),
}
"""The classes of errors that the clients raise for a failure of the server."""


def request_body(api: str, model: str, streamed: bool) -> dict[str, Any]:
    question = {"input": "Where?"} if api == "responses" else {"messages": [{"role": "user", "content": "Where?"}]}
    limit = {"max_tokens": 200} if api == "messages" else {}
    return {"model": model, "stream": streamed, **question, **limit}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_a_fallback_or_a_typed_error(node: Any, call: Any, fault: str, tmp_path: Path) -> None:
    with StubServer({"broken": FAULTS[fault]}) as stub:
        address = f"http://127.0.0.1:{free_port()}/v1" if fault == "closed-port" else f"{stub.url}/v1"
        broken = stub_candidate("broken", address, input_price=10.0, output_price=20.0, breaker_failures=1000, **BRISK)
        backup = stub_candidate("backup", f"{stub.url}/v1", retries=0)
        with ForkedGateway(tmp_path, [broken, backup]) as gateway:
            cases = [
                (sdk, api, model, streamed)
                for sdk in SDKS
                for api in APIS[sdk.partition("-")[2]]
                for model in ("aamc/auto", "broken")
                for streamed in (False, True)
            ]

            def result(case: tuple[str, str, str, bool]) -> Result:
                sdk, api, model, streamed = case
                made: Result = call(sdk, Call(url=gateway.url, api=api, body=request_body(api, model, streamed)))
                return made

            with ThreadPoolExecutor(len(cases)) as threads:
                results = dict(zip(cases, threads.map(result, cases), strict=True))
            assert {case: wrong for case, found in results.items() if (wrong := complaint(fault, case, found))} == {}
            assert stub.wait(lambda now: now.active == 0), "a request to the upstream is still open"
            assert gateway.ready()


def complaint(fault: str, case: tuple[str, str, str, bool], result: Result) -> str:
    """Return what is wrong with a result; empty if nothing is."""
    _, _, model, streamed = case
    if result.error is not None and result.error["type"] not in TYPED:
        return f"the error is not a typed one: {result.error}"
    served = result.error is None
    if served and (result.text != TEXT or result.finish not in ("stop", "end_turn", "completed")):
        return f"a silent short answer: {result.text!r}, {result.finish}"
    if model == "broken":
        return "an answer of a broken model" if served else ""
    cut_short = streamed and fault in STREAM_FAULTS  # what the client has read cannot be taken back; an open breaker still avoids the model
    return "" if served or cut_short else f"no fallback: {result.error}"


def test_a_breaker_opens_and_closes(serve: Any, stub: StubServer) -> None:
    import aiohttp  # noqa: F401  # the tests of the gateway need it
    from faults.conftest import ask_all, chat

    stub.scripts["broken"] = Script(fault="status", status=500)
    gateway = serve({"broken": {"breaker_failures": 3, "breaker_rest_s": 1.0}, "backup": {}})
    for _ in range(10):
        ((status, headers, _),) = ask_all(gateway.url, [chat()])
        assert (status, headers["x-aamc-model"]) == (200, "backup")
    assert stub.counts("broken").calls < 10, "the breaker did not open"
    stub.scripts["broken"] = Script()
    calls = stub.counts("broken").calls
    for _ in range(200):
        ((status, headers, _),) = ask_all(gateway.url, [chat()])
        if headers["x-aamc-model"] == "broken":
            break
        assert stub.wait(lambda now: now.counts("broken").calls > calls, 0.05) or status == 200
    assert headers["x-aamc-model"] == "broken", "the breaker did not close"
