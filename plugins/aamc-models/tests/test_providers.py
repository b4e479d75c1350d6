import asyncio
import json
import math
from contextlib import aclosing

import pytest
from aamc_models.testing import Script, StubServer
from misbehaving_server import DONE, event, events, reply

from aamc_sdk import MetaController, ModelSpec, Pool, Prices, get_plugin_manager
from aamc_sdk.errors import ProviderError
from aamc_sdk.interfaces import WireRequest
from aamc_sdk.serving import ModelClient
from aamc_sdk.testing import assert_conforms
from aamc_sdk.types import Attempt

PROVIDERS = ("anthropic", "openai")
CANDIDATE = ModelSpec("m")
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is the Louvre?"}]


@pytest.fixture
def stub():
    scripts = {
        "m": Script(text="In Paris.", prompt_tokens=100, output_tokens=20, cached_tokens=40),
        "cut": Script(fault="cut", text="In Paris. " * 9),
    }
    with StubServer(scripts) as server:
        yield server


@pytest.fixture(params=PROVIDERS)
def calling(request, stub, provider):
    return provider(request.param, base_url=f"{stub.url}/v1")


@pytest.mark.parametrize("name", PROVIDERS)
def test_each_provider_keeps_the_contract(name: str) -> None:
    assert_conforms("provider", name, get_plugin_manager())


@pytest.mark.parametrize("name", PROVIDERS)
def test_each_provider_keeps_the_contract_with_its_server(name: str) -> None:
    with StubServer({"kit": Script(text="In Paris. " * 20)}) as server:
        assert_conforms("provider", name, get_plugin_manager(), {"base_url": f"{server.url}/v1"})


def test_both_answer_messages_of_openais_dialect(calling) -> None:
    answer = asyncio.run(calling.complete(CANDIDATE, MESSAGES, temperature=0.0))
    assert (answer.text, answer.finish_reason, answer.message["role"]) == ("In Paris.", "stop", "assistant")
    assert (answer.usage.prompt_tokens, answer.usage.cached_tokens, answer.usage.output_tokens) == (100, 40, 20)


def test_both_stream_what_they_answer(calling) -> None:
    async def collected():
        return [chunk async for chunk in calling.stream(CANDIDATE, MESSAGES)]

    chunks = asyncio.run(collected())
    assert len(chunks) > 2
    assert "".join(chunk.content for chunk in chunks) == "In Paris."
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
    *_, usage = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert usage == asyncio.run(calling.complete(CANDIDATE, MESSAGES)).usage


def test_a_stream_that_is_left_has_the_tokens_that_anthropic_reports_at_its_beginning(stub, provider) -> None:
    stub.scripts["m"] = Script(thinking="Let me think. " * 40, prompt_tokens=5000, cached_tokens=4000, output_tokens=900, chunks=50)
    models, attempts = ModelClient(lambda _: provider("anthropic", base_url=f"{stub.url}/v1")), []

    async def record(attempt: Attempt) -> None:
        attempts.append(attempt)

    async def read() -> str:
        reasoning = ""
        async with aclosing(models.stream(ModelSpec("m", endpoint={"provider": "anthropic"}), MESSAGES, decision_id="d")) as chunks:
            while len(reasoning) < 100:
                reasoning += (await anext(chunks)).reasoning
        await models.close()
        return reasoning

    models.record_attempts(record)
    reasoning = asyncio.run(read())
    (attempt,) = attempts
    assert (attempt.prompt_tokens, attempt.cached_tokens, attempt.output_tokens) == (5000, 4000, math.ceil(len(reasoning) / 4))


def test_of_several_answers_the_first_is_streamed(stub, provider) -> None:
    calling = provider(base_url=f"{stub.url}/v1")

    async def collected() -> str:
        return "".join([chunk.content async for chunk in calling.stream(CANDIDATE, MESSAGES, n=3)])

    assert asyncio.run(collected()) == "In Paris."


def test_both_call_tools_of_openais_dialect(calling) -> None:
    answer = asyncio.run(calling.complete(CANDIDATE, MESSAGES, tools=TOOLS))
    (call,) = answer.message["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert answer.finish_reason == "tool_calls"
    result = {"role": "tool", "tool_call_id": call["id"], "content": "rain"}
    assert asyncio.run(calling.complete(CANDIDATE, [*MESSAGES, answer.message, result], tools=TOOLS)).text == "In Paris."


def test_a_stream_without_an_end_is_an_error(calling) -> None:
    async def collected() -> None:
        async for chunk in calling.stream(ModelSpec("cut"), MESSAGES):
            came.append(chunk.content)  # noqa: PERF401  # the list keeps what came before the error

    came: list[str] = []
    with pytest.raises(ProviderError) as raised:
        asyncio.run(collected())
    assert raised.value.kind == "protocol"
    assert "".join(came).startswith("In Paris.")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_answer_that_finishes_with_an_error_is_a_failed_call(upstream, provider, streamed) -> None:
    choice = {"finish_reason": "error", "error": {"message": "the server behind it is gone"}}
    whole = reply({"choices": [{"message": {"content": "In Par"}, **choice}]})
    pieces = events(event("In Par"), b"data: " + json.dumps({"choices": [{"delta": {}, **choice}]}).encode() + b"\n\n", DONE)
    called = provider(base_url=upstream(pieces if streamed else whole).url)

    async def collected() -> None:
        if not streamed:
            await called.complete(CANDIDATE, MESSAGES)
        async for _ in called.stream(CANDIDATE, MESSAGES):
            pass

    with pytest.raises(ProviderError, match="model 'm' broke its answer off with an error: the server behind it is gone"):
        asyncio.run(collected())


@pytest.mark.parametrize("reason", ["error", "abort", "insufficient_system_resource"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_answer_that_its_server_gave_up_is_a_failed_call(upstream, provider, reason, streamed) -> None:
    whole = reply({"choices": [{"message": {"content": "In Par"}, "finish_reason": reason}]})
    pieces = events(event("In Par"), event(finish_reason=reason), DONE)
    spec = ModelSpec("m", endpoint={"provider": "openai", "base_url": upstream(pieces if streamed else whole).url, "retries": 0})
    with MetaController.build(router="random", pool=Pool([spec, ModelSpec("other")])) as controller:
        with pytest.raises(ProviderError, match=f"broke its answer off with an error: its finish reason is {reason}"):
            controller.complete("?", on_text=(lambda text: None) if streamed else None)
        (attempt,) = controller.store.experience().attempts
    assert attempt.status == "error"


@pytest.mark.parametrize("reason", ["error", "abort"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_message_that_its_server_gave_up_is_a_failed_call(upstream, reason, streamed) -> None:
    message = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "In Par"}], "stop_reason": reason}
    pieces = (
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "In Par"}},
        {"type": "message_delta", "delta": {"stop_reason": reason}},
        {"type": "message_stop"},
    )
    script = events(*(f"event: {piece['type']}\ndata: {json.dumps(piece)}\n\n".encode() for piece in pieces)) if streamed else reply(message)
    spec = ModelSpec("m", endpoint={"provider": "anthropic", "base_url": upstream(script).url, "retries": 0})
    with (
        MetaController.build(router="random", pool=Pool([spec, ModelSpec("other")])) as controller,
        pytest.raises(ProviderError, match=f"broke its answer off with an error: its finish reason is {reason}"),
    ):
        controller.complete("?", on_text=(lambda text: None) if streamed else None)


@pytest.mark.parametrize("kind", ["server_error", "timeout_error"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_error_with_a_status_of_success_costs_the_usage_that_it_reports(upstream, stub, streamed, kind) -> None:
    failed = {"error": {"message": "the provider broke", "type": kind}, "usage": {"prompt_tokens": 10, "completion_tokens": 3, "cost": 0.25}}
    server = upstream(events(b"data: " + json.dumps(failed).encode() + b"\n\n") if streamed else reply(failed))
    endpoints = {"failing": server.url, "m": f"{stub.url}/v1"}
    specs = [ModelSpec(name, endpoint={"provider": "openai", "base_url": url}) for name, url in endpoints.items()]
    with MetaController.build(router={"name": "slm-only", "model": "failing"}, pool=Pool(specs)) as controller:
        answer = controller.complete("?", on_text=(lambda text: None) if streamed else None)
        attempts = controller.store.experience().attempts
    assert (answer.text, answer.candidate) == ("In Paris.", "m")
    assert len(server.asked) == 1  # each further attempt would cost as much, and be in no log
    assert [(attempt.candidate, attempt.status) for attempt in attempts] == [("failing", "error"), ("m", "ok")]
    assert (attempts[0].prompt_tokens, attempts[0].output_tokens, attempts[0].cost_usd, attempts[0].cost_source) == (10, 3, 0.25, "reported")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_answer_without_a_choice_is_a_failed_call(upstream, stub, streamed) -> None:
    empty = {"id": "x", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 0}}
    server = upstream(events(b"data: " + json.dumps(empty).encode() + b"\n\n", DONE) if streamed else reply(empty))
    endpoints = {"empty": server.url, "m": f"{stub.url}/v1"}
    specs = [ModelSpec(name, endpoint={"provider": "openai", "base_url": url, "retries": 0}) for name, url in endpoints.items()]
    with MetaController.build(router={"name": "slm-only", "model": "empty"}, pool=Pool(specs)) as controller:
        answer = controller.complete("?", on_text=(lambda text: None) if streamed else None)
        attempts = controller.store.experience().attempts
    assert (answer.text, answer.candidate) == ("In Paris.", "m")
    assert [(attempt.candidate, attempt.status) for attempt in attempts] == [("empty", "error"), ("m", "ok")]
    assert (attempts[0].prompt_tokens, attempts[0].output_tokens) == (10, 0)


def test_content_in_parts_is_no_empty_answer(upstream, provider) -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "In Paris."}]
    whole = reply({"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]})
    pieces = events(b"data: " + json.dumps({"choices": [{"delta": {"content": parts}}]}).encode() + b"\n\n", event(finish_reason="stop"), DONE)
    called = provider(base_url=upstream(whole, pieces).url)

    async def both() -> tuple[str, str]:
        answer = await called.complete(CANDIDATE, MESSAGES)
        return answer.text, "".join([chunk.content async for chunk in called.stream(CANDIDATE, MESSAGES)])

    assert asyncio.run(both()) == ("In Paris.", "In Paris.")


def test_a_stream_that_is_done_without_a_finish_is_cut(upstream, provider) -> None:
    async def collected() -> None:
        async for _ in provider(base_url=upstream(events(event("In Par"), DONE)).url).stream(CANDIDATE, MESSAGES):
            pass

    with pytest.raises(ProviderError, match="without a finish_reason"):
        asyncio.run(collected())


def test_anthropic_takes_its_own_dialect_too(stub, provider) -> None:
    calling = provider("anthropic", base_url=f"{stub.url}/v1")
    messages = [{"role": "user", "content": [{"type": "text", "text": "Where?"}]}]
    tools = [{"name": "weather", "input_schema": {"type": "object"}}]
    assert asyncio.run(calling.complete(CANDIDATE, messages, system="Be brief.", tools=tools)).message["tool_calls"]
    body = stub.requests[-1].body
    assert (body["system"], body["tools"], body["max_tokens"]) == ("Be brief.", tools, 8192)


def thinks(tokens: int) -> dict[str, object]:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


@pytest.mark.parametrize(
    ("messages", "options", "sent"),
    [
        (MESSAGES, {}, {"system": "Be brief.", "max_tokens": 18_192, **thinks(10_000)}),
        (MESSAGES[1:], {"temperature": 0.0, "max_tokens": 12_000}, {"max_tokens": 12_000, **thinks(10_000)}),
        (MESSAGES[1:], {"max_tokens": 9000}, {"max_tokens": 9000, "thinking": {"type": "disabled"}}),
        (MESSAGES[1:], {"top_k": 5, "system": "Be brief."}, {"system": "Be brief.", "max_tokens": 18_192, **thinks(10_000)}),
        (MESSAGES[1:], thinks(2000), {"max_tokens": 10_192, **thinks(2000)}),
    ],
)
def test_complete_asks_a_candidate_that_thinks_as_anthropic_accepts_it(stub, messages, options, sent) -> None:
    spec = ModelSpec("m", endpoint={"provider": "anthropic", "base_url": stub.url}, parameters=thinks(10_000))
    with MetaController.build(router="random", pool=Pool([spec])) as controller:
        asyncio.run(controller.models.complete(spec, messages, **options))
    assert stub.requests[-1].body == {"model": "m", "messages": MESSAGES[1:], **sent}


@pytest.mark.parametrize(
    ("model", "parameters", "options", "dropped"),
    [
        ("claude-opus-4-5", {}, {"temperature": 0.5, "top_p": 0.9}, "top_p"),
        ("claude-opus-4-5", {"temperature": 0.2}, {"top_p": 0.9}, "top_p"),
        ("claude-opus-4-5", {}, {"temperature": 1.5, "seed": 7}, "seed, temperature"),
        ("claude-opus-4-5", thinks(2000), {"temperature": 0.5, "top_k": 5}, "temperature, top_k"),
        ("claude-opus-5-5", {}, {"temperature": 0.5, "top_k": 5}, "temperature, top_k"),
        ("claude-opus-5-5", {}, {"temperature": 0.5, "system": "Be brief."}, "temperature"),
        ("claude-opus-5-5", {"temperature": 0.0}, {"top_p": 1, "system": "Be brief."}, "temperature"),
    ],
)
def test_complete_warns_once_of_options_that_anthropic_rejects(stub, caplog, model, parameters, options, dropped) -> None:
    spec = ModelSpec("m", endpoint={"provider": "anthropic", "base_url": stub.url, "claude_model": model}, parameters=parameters)
    with MetaController.build(router="random", pool=Pool([spec])) as controller:
        for on_text in (None, None, lambda text: None):
            assert controller.complete("Where?", options=options, on_text=on_text).text == "In Paris."
        controller.complete("Where?")
    (warning,) = caplog.messages
    assert warning == f"options left out of requests for model 'm', or changed, as its API lacks or rejects them: {dropped}"


def test_anthropics_key_version_and_paths(stub, provider, monkeypatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "abc")
    for address in (stub.url, f"{stub.url}/", f"{stub.url}/v1", f"{stub.url}/v1/"):
        calling = provider("anthropic", base_url=address)
        assert calling.apis == {"messages", "count_tokens"}
        request = WireRequest(api="count_tokens", body={"messages": MESSAGES[1:]}, headers={"anthropic-beta": "x", "Anthropic-Version": "2026-10-21"})
        assert asyncio.run(calling.send(CANDIDATE, request)).answer["input_tokens"] > 0
        headers = {name.lower(): value for name, value in stub.requests[-1].headers.items()}
        assert (headers["x-api-key"], headers["anthropic-version"], headers["anthropic-beta"]) == ("abc", "2023-06-01", "x")


@pytest.mark.parametrize(
    ("address", "apis"),
    [
        ("https://api.openai.com/v1", {"chat", "responses", "completions", "embeddings"}),
        ("http://127.0.0.1:9/v1", {"chat", "completions", "embeddings"}),
    ],
)
def test_openais_apis_depend_on_the_address(provider, address, apis) -> None:
    assert provider(base_url=address).apis == apis
    assert provider(base_url=address, apis=["chat"]).apis == {"chat"}


def test_a_streamed_call_costs_as_much_as_a_whole_one(stub) -> None:
    prices = Prices(1.0, 2.0, cached_input=0.5)
    for name in PROVIDERS:
        spec = ModelSpec("m", prices=prices, endpoint={"provider": name, "base_url": stub.url})
        with MetaController.build(router="random", pool=Pool([spec, ModelSpec("other")])) as controller:
            client = controller.models

            async def both(spec=spec, client=client) -> tuple[float, float]:
                decided = controller.route("?").id
                async for _ in client.stream(spec, MESSAGES, decision_id=decided):
                    pass
                answer = await client.complete(spec, MESSAGES, decision_id=decided)
                return answer.cost_usd

            whole = asyncio.run(both())
            streamed, again = controller.store.experience().attempts
        assert streamed.cost_usd == again.cost_usd == whole == pytest.approx((60 * 1 + 40 * 0.5 + 20 * 2) / 1e6)
        assert not math.isnan(streamed.first_token_ms)


@pytest.mark.parametrize("name", PROVIDERS)
def test_an_answer_without_usage_has_an_unknown_cost(stub, name) -> None:
    stub.scripts["silent"] = Script(usage="never")
    assert [math.isnan(cost) for cost in both_costs(stub, name, "silent", Prices(1.0, 2.0))] == [True, True]


def test_tokens_that_a_cache_keeps_for_an_hour_have_their_price(stub) -> None:
    stub.scripts["hour"] = Script(prompt_tokens=100, output_tokens=20, cache_write_tokens=80, cache_write_1h_tokens=50)
    prices = Prices(1.0, 2.0, cache_write=1.25, cache_write_1h=3.0)
    expected = (20 * 1 + 30 * 1.25 + 50 * 3 + 20 * 2) / 1e6
    assert both_costs(stub, "anthropic", "hour", prices) == pytest.approx((expected, expected))


def both_costs(stub, name: str, model: str, prices: Prices) -> tuple[float, float]:
    """Return the costs of a whole answer and of a streamed one."""
    spec = ModelSpec(model, prices=prices, endpoint={"provider": name, "base_url": f"{stub.url}/v1"})
    with MetaController.build(router="random", pool=Pool([spec, ModelSpec("other")])) as controller:
        return controller.complete("?").cost_usd, controller.complete("?", on_text=lambda text: None).cost_usd
