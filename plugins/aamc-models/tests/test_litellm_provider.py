"""Provider ``litellm`` against the stub: run with ``tox -e litellm``, as its library contradicts our pins."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import attrs
import pytest
from aamc_models.dialects import StreamMonitor, reported_cost, usage_of
from aamc_models.testing import Script, StubServer

from aamc_sdk import ModelSpec
from aamc_sdk.errors import PluginError, ProviderError
from aamc_sdk.interfaces import WireRequest

litellm = pytest.importorskip("litellm")
SCRIPT = Script(prompt_tokens=100, output_tokens=20, usage="asked")
ASK: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer(default=SCRIPT) as server:
        yield server


@pytest.fixture
def make(provider: Callable[..., Any], stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Make a provider for a model of the stub by LiteLLM's name for it."""
    monkeypatch.setenv("STUB_KEY", "secret")

    def provide(model: str, **options: Any) -> Any:
        base_url = f"http://127.0.0.1:{stub.port}" + ("" if model.startswith("anthropic/") else "/v1")
        return provider("litellm", model=model, base_url=base_url, api_key_env="STUB_KEY", **options)

    return provide


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec(name="m", **fields)


def request(stream: bool = False, **fields: Any) -> WireRequest:
    return WireRequest(api="chat", body={"messages": ASK, **({"stream": True} if stream else {}), **fields})


async def all_of(events: AsyncIterator[bytes]) -> list[bytes]:
    return [event async for event in events]


@pytest.mark.parametrize("model", ["openai/m", "anthropic/m"])
def test_a_whole_answer_comes_in_openais_dialect(model: str, make: Callable[..., Any]) -> None:
    reply = asyncio.run(make(model).send(spec(), request()))
    assert SCRIPT.text == reply.answer["choices"][0]["message"]["content"]
    assert (usage_of("chat", reply.answer).prompt_tokens, usage_of("chat", reply.answer).output_tokens) == (100, 20)


@pytest.mark.parametrize(("script", "expected"), [(SCRIPT, [False, True]), (Script(fault="status", status=429), [False, True, False])])
def test_a_request_tells_when_it_is_sent_and_when_its_server_has_refused_it(
    make: Callable[..., Any], stub: StubServer, script: Any, expected: Any
) -> None:
    stub.scripts["m"] = script
    noted: list[bool] = []
    with suppress(ProviderError):
        asyncio.run(make("openai/m", retries=0).send(spec(), attrs.evolve(request(), on_sent=noted.append)))
    assert expected == noted


@pytest.mark.parametrize("model", ["openai/m", "anthropic/m"])
def test_a_stream_comes_in_openais_dialect(model: str, make: Callable[..., Any]) -> None:
    monitor = StreamMonitor("chat")
    seen = [monitor.feed(event) for event in asyncio.run(all_of(make(model).events(spec(), request(stream=True))))]
    assert (monitor.finished, monitor.finish_reason) == (True, "stop")
    assert len(SCRIPT.text) == monitor.text_bytes
    assert (monitor.usage.prompt_tokens, monitor.usage.output_tokens) == (100, 20)
    assert seen[-1].done


@pytest.mark.parametrize("model", ["openai/m", "anthropic/m"])
def test_tools_cross(model: str, make: Callable[..., Any]) -> None:
    reply = asyncio.run(make(model).send(spec(), request(tools=[TOOL])))
    assert reply.answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "weather"


def test_the_cost_is_litellms_where_it_has_a_price(make: Callable[..., Any]) -> None:
    priced = make("openai/gpt-4o-mini")
    expected = litellm.completion_cost(model="gpt-4o-mini", completion_response=litellm.ModelResponse(usage=litellm.Usage(100, 20, 120)))
    reply = asyncio.run(priced.send(spec(), request()))
    monitor = StreamMonitor("chat")
    for event in asyncio.run(all_of(priced.events(spec(), request(stream=True)))):
        monitor.feed(event)
    assert expected == pytest.approx(reported_cost(reply.answer, reply.headers)) == pytest.approx(monitor.cost_usd)


@pytest.mark.parametrize("is_listed", [False, True])
def test_a_model_without_a_price_is_not_free(is_listed: bool, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = "openai/m"
    if is_listed:
        monkeypatch.setitem(litellm.model_cost, model, {"litellm_provider": "openai", "mode": "chat"})

    async def streamed() -> list[float]:
        return [chunk.cost_usd async for chunk in make(model).stream(spec(), ASK)]

    assert math.isnan(asyncio.run(make(model).complete(spec(), ASK)).cost_usd)
    assert all(map(math.isnan, asyncio.run(streamed())))


def test_complete_and_stream_answer_like_the_other_providers(make: Callable[..., Any]) -> None:
    async def streamed() -> str:
        return "".join([chunk.content async for chunk in make("anthropic/m").stream(spec(), ASK)])

    answer = asyncio.run(make("anthropic/m").complete(spec(), ASK))
    assert (SCRIPT.text, "stop", 100) == (answer.text, answer.finish_reason, answer.usage.prompt_tokens)
    assert SCRIPT.text == asyncio.run(streamed())


@pytest.mark.parametrize(("status", "kind", "calls"), [(429, "rate_limit", 2), (500, "server", 2), (401, "authentication", 1), (400, "request", 1)])
def test_failures_have_kinds_and_are_retried_where_that_helps(status: int, kind: str, calls: int, make: Callable[..., Any], stub: StubServer) -> None:
    stub.default = Script(fault="status", status=status)
    with pytest.raises(ProviderError, match="model 'm' through LiteLLM failed") as raised:
        asyncio.run(make("openai/m", retries=1, max_pause_s=0.0).send(spec(), request()))
    assert (kind, calls) == (raised.value.kind, len(stub.requests))


@pytest.mark.parametrize("model", ["openai/m", "anthropic/m"])
def test_a_refusal_tells_the_server_s_reason(model: str, make: Callable[..., Any], stub: StubServer) -> None:
    stub.default = Script(fault="status", status=400)
    with pytest.raises(ProviderError) as raised:
        asyncio.run(make(model).send(spec(), request()))
    assert raised.value.body == b"The stub fails as its script says."
    assert raised.value.public == "model 'm' refused the request (400 Bad Request): The stub fails as its script says."


@pytest.mark.parametrize(
    ("message", "kind", "body"),
    [
        ("ContextWindowExceededError: litellm.BadRequestError: OpenAIException - prompt - too long", "request", b"prompt - too long"),
        ('BadRequestError: AnthropicError - {"type": "error", "error": {"message": "prompt is too long"}}', "request", b"prompt is too long"),
        ("ContextWindowExceededError: BedrockException: Context Window Error - prompt is too long", "request", b"prompt is too long"),
        ('GeminiException BadRequestError - {"error": {"message": "API key not valid."}}', "authentication", b"API key not valid."),
        ("""AnthropicException - b'{"error": {"message": "prompt is too long"}}'""", "request", b"prompt is too long"),  # of a stream
        ("LLM Provider NOT provided.", "request", b""),
        pytest.param("Exception " * 100_000, "request", b"", id="a long prompt, repeated"),
    ],
)
def test_the_server_s_words_are_those_after_the_vendor(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, message: str, kind: str, body: bytes
) -> None:
    async def refuse(**_: Any) -> None:
        raise litellm.BadRequestError(message, model="m", llm_provider="openai")

    monkeypatch.setattr(litellm, "acompletion", refuse)
    with pytest.raises(ProviderError) as raised:
        asyncio.run(make("openai/m").send(spec(), request()))
    assert (raised.value.kind, raised.value.body) == (kind, body)


@pytest.mark.parametrize("model", ["openai/m", "anthropic/m"])
def test_the_pause_that_a_server_wants_is_kept(model: str, make: Callable[..., Any], stub: StubServer) -> None:
    stub.default = Script(fault="status", status=429, retry_after_s=30.0)
    calling = make(model)
    with pytest.raises(ProviderError) as raised:
        asyncio.run(calling.send(spec(), request()))
    assert (raised.value.retry_after_s, len(stub.requests)) == (30.0, 1)
    assert calling.state().remaining == 0


def test_a_key_that_a_server_repeats_is_in_no_error(make: Callable[..., Any], stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.default = Script(fault="status", status=401)
    made = make("openai/m", retries=0)
    monkeypatch.setenv("STUB_KEY", "The stub fails")
    with pytest.raises(ProviderError, match=r"\[API key\] as its script says") as raised:
        asyncio.run(made.send(spec(), request()))
    assert "The stub fails" not in str(raised.value)


def test_a_failure_in_the_middle_of_a_stream_is_an_error(make: Callable[..., Any], stub: StubServer) -> None:
    stub.default = Script(fault="half")
    with pytest.raises(ProviderError):
        asyncio.run(all_of(make("openai/m", retries=0).events(spec(), request(stream=True))))


def test_a_request_cannot_choose_the_address_that_is_called(make: Callable[..., Any], stub: StubServer) -> None:
    hostile = {
        "api_base": "http://127.0.0.1:9",
        "base_url": "http://127.0.0.1:9",
        "custom_llm_provider": "ollama",
        "mock_response": "x",
        "model": "ollama/x",
    }
    reply = asyncio.run(make("openai/m").send(spec(), request(**hostile)))
    assert SCRIPT.text == reply.answer["choices"][0]["message"]["content"]
    assert stub.requests[-1].body["model"] == "m"


def test_an_address_of_an_image_is_refused_unless_it_is_allowed(make: Callable[..., Any]) -> None:
    image = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/a.png"}}
    with pytest.raises(ProviderError, match=r"data: URLs only.*remote_files") as raised:
        asyncio.run(make("anthropic/m").send(spec(), request(messages=[{"role": "user", "content": [image]}])))
    assert (raised.value.kind, raised.value.status) == ("request", 400)
    assert asyncio.run(make("openai/m", remote_files=True).send(spec(), request(messages=[{"role": "user", "content": [image]}]))).status == 200


def test_parameters_of_the_candidate_reach_the_server_and_unknown_apis_are_refused(make: Callable[..., Any], stub: StubServer) -> None:
    asyncio.run(make("openai/m").send(spec(parameters={"temperature": 0.25}), request()))
    assert stub.requests[-1].body["temperature"] == 0.25
    with pytest.raises(ProviderError, match="does not offer the API 'responses'; it offers chat and embeddings"):
        asyncio.run(make("openai/m").send(spec(), WireRequest(api="responses", body={"input": "a"})))


def test_an_unset_key_is_named(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made = make("openai/m")
    assert made.unset_keys() == []
    monkeypatch.delenv("STUB_KEY")
    assert made.unset_keys() == ["STUB_KEY"]
    assert make("openai/m", headers={"X-Secret": "$MY_OTHER"}).unset_keys() == ["STUB_KEY", "MY_OTHER"]


def test_a_missing_library_is_named(provider: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_models.providers.litellm.find_spec", lambda name: None)
    with pytest.raises(PluginError, match=r"pip install 'aamc-models\[litellm\]'"):
        provider("litellm")
