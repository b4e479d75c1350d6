"""What the log says that answers cost is what the stub bills, however the answer comes."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import numpy as np
import pytest
from aamc_gateway.forwarding.calls.usage import UsageEstimator
from aamc_gateway.requests.media import Media
from aamc_models.testing import Script, StubServer
from faults.conftest import BRISK, ask, ask_all, chat, entries

from aamc_sdk.interfaces import Usage

APIS = ["chat", "messages", "responses", "completions"]
PATHS = {"chat": "chat/completions"}
SCRIPTS = {
    "plain": Script(prompt_tokens=1000, output_tokens=100),
    "cached": Script(prompt_tokens=1000, output_tokens=100, cached_tokens=700, cache_write_tokens=200),
    "reasoning": Script(prompt_tokens=1000, output_tokens=100, reasoning_tokens=60, thinking="Let me think."),
    "always told": Script(prompt_tokens=1000, output_tokens=100, usage="always"),
    "told in the last chunk with choices": Script(prompt_tokens=1000, output_tokens=100, usage="with_choices"),
    "an own figure": Script(prompt_tokens=1000, output_tokens=100, reported_usd=0.0123),
    "not told": Script(prompt_tokens=1000, output_tokens=100, usage="never"),
}

CODEX = {"prompt_cache_key": "k", "reasoning": {"effort": "low", "summary": "auto"}, "store": False, "tools": [{"type": "web_search"}]}


def body_of(api: str, model: str, **fields: Any) -> dict[str, Any]:
    body = chat(model, **fields)
    if api == "responses":
        body["input"] = body.pop("messages")
    if api == "completions":
        body["prompt"] = body.pop("messages")[0]["content"]
    if api == "messages":
        body["max_tokens"] = 500
    return body


async def exchange(url: str, api: str, body: dict[str, Any]) -> bytes:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/{PATHS.get(api, api)}", json=body) as answer:
        content = await answer.read()
        assert answer.status == 200, content
        return content


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=list(SCRIPTS))
def test_a_streamed_answer_costs_what_the_whole_one_does(serve: Any, stub: StubServer, script: Script, provider: str) -> None:
    address = f"{stub.url}/v1" if provider == "openai" else stub.url
    prices = {"input": 1.0, "output": 2.0, "cached_input": 0.1, "cache_write": 1.25}
    stub.scripts["good"] = Script(**{**vars_of(script), "prices": prices})
    apis = {"apis": ["chat", "responses", "completions", "embeddings"]} if provider == "openai" else {}
    gateway = serve({"good": {"provider": provider, "base_url": address, "input_price": 1.0, "output_price": 2.0, **apis}})
    for api in APIS:
        for streamed in (False, True):
            asyncio.run(exchange(gateway.url, api, body_of(api, "aamc/auto", stream=streamed)))
    attempts = entries(gateway, "attempt")
    costs = [attempt["cost_usd"] for attempt in attempts]
    assert len(costs) == 2 * len(APIS)
    assert costs[0::2] == pytest.approx(costs[1::2])
    assert min(costs) > 0
    if script.reported_usd == script.reported_usd:
        assert costs == pytest.approx([script.reported_usd] * len(costs))
    elif script.usage != "never":
        assert sum(costs) == pytest.approx(stub.counts("good").cost_usd(prices))
        assert {attempt["cost_source"] for attempt in attempts} == {"priced"}
    else:
        assert {attempt["cost_source"] for attempt in attempts} == {"estimated"}


TOOLS: dict[str, list[dict[str, Any]]] = {
    "chat": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
    "messages": [{"name": "weather", "input_schema": {"type": "object"}}],
    "responses": [{"type": "function", "name": "weather", "parameters": {"type": "object"}}],
}


@pytest.mark.parametrize("own", ["openai", "anthropic"])
def test_a_streamed_tool_call_without_usage_costs_what_the_whole_one_does(serve: Any, stub: StubServer, own: str) -> None:
    stub.scripts["good"] = Script(usage="never", tool_arguments=json.dumps({"city": "P" * 200}), chunks=100)
    gateway = serve({"good": {"provider": own, **({} if own == "openai" else {"base_url": stub.url}), "input_price": 1.0, "output_price": 2.0}})
    for api, tools in TOOLS.items():
        for streamed in (False, True):
            asyncio.run(exchange(gateway.url, api, body_of(api, "good", stream=streamed, tools=tools)))
    counts = [attempt["output_tokens"] for attempt in entries(gateway, "attempt")]
    assert counts == [math.ceil(len("weather" + stub.scripts["good"].tool_arguments) / 4)] * 6


def vars_of(script: Script) -> dict[str, Any]:
    import attrs

    return attrs.asdict(script, recurse=False)


@pytest.mark.parametrize("api", APIS)
def test_the_cost_that_another_gateway_reports_is_that_of_a_stream_too(serve: Any, api: str) -> None:
    inner = serve({"good": {"input_price": 100.0, "output_price": 200.0}})
    address = {"provider": "anthropic", "base_url": inner.url} if api == "messages" else {"base_url": f"{inner.url}/v1", "apis": [api]}
    outer = serve({"good": {**address, "input_price": 1.0, "output_price": 2.0}})
    for streamed in (False, True):
        asyncio.run(exchange(outer.url, api, body_of(api, "good", stream=streamed)))
    costs = [attempt["cost_usd"] for attempt in entries(inner, "attempt")]
    attempts = entries(outer, "attempt")
    assert [attempt["cost_usd"] for attempt in attempts] == pytest.approx(costs)
    assert [attempt["cost_source"] for attempt in attempts] == ["reported", "reported"]


def test_an_aborted_stream_is_billed_for_what_came(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(text="word " * 4000, chunks=100, pace_ms=20, output_tokens=4000, prompt_tokens=100)
    gateway = serve({"good": {"input_price": 1.0, "output_price": 2.0}})

    async def leave() -> None:
        async with aiohttp.ClientSession() as session, session.post(f"{gateway.url}/v1/chat/completions", json=chat(stream=True)) as answer:
            for _ in range(10):
                await answer.content.readuntil(b"\n\n")

    asyncio.run(leave())
    assert stub.wait(lambda now: now.counts("good").cancelled == 1)
    (attempt,) = entries(gateway, "attempt")
    assert (attempt["status"], attempt["cost_source"]) == ("cancelled", "estimated")
    billed = stub.counts("good")
    assert 0 < attempt["output_tokens"] < 4000
    assert attempt["cost_usd"] == pytest.approx((100 + 2 * billed.output_tokens) / 1e6, rel=1.0)


def leave_before_the_answer(url: str, begun: Callable[[], bool], model: str = "good", **fields: Any) -> None:
    """Ask, and leave once the call has begun."""

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            asking = asyncio.ensure_future(ask(session, url, chat(model, **fields)))
            assert await asyncio.to_thread(begun)
            asking.cancel()

    asyncio.run(main())


@pytest.mark.parametrize(("model", "streamed"), [("good", False), ("good", True), ("aamc/arena", False)])
def test_a_call_whose_client_left_before_the_answer_costs_its_prompt(serve: Any, stub: StubServer, model: str, streamed: bool) -> None:
    stub.scripts["good"] = stub.scripts["other"] = Script(fault="hang")
    gateway = serve({"good": {"input_price": 1.0, "output_price": 2.0}, "other": {"input_price": 1.0, "output_price": 2.0}})
    count = 1 if model == "good" else 2
    leave_before_the_answer(gateway.url, lambda: stub.wait(lambda now: now.active == count), model, text="word " * 4000, stream=streamed)
    assert stub.wait(lambda now: now.active == 0)
    attempts = entries(gateway, "attempt")
    assert [(each["status"], each["cost_source"], each["output_tokens"]) for each in attempts] == [("cancelled", "estimated", 0)] * count
    assert [each["cost_usd"] for each in attempts] == pytest.approx([5e-3] * count, rel=0.01)


@pytest.mark.parametrize(
    ("script", "options", "is_billed"),
    [
        (Script(fault="hang"), BRISK, True),
        (Script(fault="hang_stream"), BRISK, True),
        (Script(fault="cut"), {}, True),
        (Script(fault="status", status=500), {}, False),
        (Script(fault="status", status=429), {}, False),
        (Script(fault="error_event"), {}, False),
        (Script(), {"base_url": "http://127.0.0.1:9/v1"}, False),
    ],
    ids=lambda value: value.fault if isinstance(value, Script) else None,
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_failed_call_costs_its_prompt_unless_its_server_refused_it(
    serve: Any, stub: StubServer, script: Script, options: Any, is_billed: bool, streamed: bool
) -> None:
    stub.scripts["good"] = script
    gateway = serve({"good": {**options, "input_price": 1.0, "output_price": 0.0}})
    ask_all(gateway.url, [chat("good", "word " * 4000, stream=streamed)])
    (attempt,) = entries(gateway, "attempt")
    cost = (attempt.get("cost_usd"), attempt.get("cost_source"))
    assert cost == ((pytest.approx(5e-3, rel=0.01), "estimated") if is_billed else (None, None))


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_leaves_before_another_attempt_pays_nothing_for_a_refused_one(serve: Any, stub: StubServer, streamed: bool) -> None:
    stub.scripts["good"] = Script(fault="status", status=503, retry_after_s=30.0)
    gateway = serve({"good": {"input_price": 1.0, "output_price": 2.0, "retries": 1, "max_pause_s": 60.0}})
    leave_before_the_answer(gateway.url, lambda: stub.wait(lambda now: now.counts("good").faults == 1 and now.active == 0), stream=streamed)
    (attempt,) = entries(gateway, "attempt")
    assert (attempt["status"], attempt.get("cost_usd")) == ("cancelled", None)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_call_whose_retry_is_refused_costs_its_prompt_if_the_first_attempt_may_be_billed(serve: Any, stub: StubServer, streamed: bool) -> None:
    stub.scripts["good"] = Script(fault="status", status=504, retry_after_s=3.0)
    gateway = serve({"good": {"input_price": 1.0, "output_price": 0.0, "retries": 1, "max_pause_s": 60.0}})
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(ask_all, gateway.url, [chat("good", "word " * 4000, stream=streamed)])
        assert stub.wait(lambda now: now.counts("good").faults == 1)
        stub.scripts["good"] = Script(fault="status", status=429)
        asked.result(60)
    (attempt,) = entries(gateway, "attempt")
    assert (attempt["cost_usd"], attempt["cost_source"]) == (pytest.approx(5e-3, rel=0.01), "estimated")


@pytest.mark.parametrize(("fault", "source"), [("hang_stream", "estimated"), ("error_event", "priced")])
def test_a_request_whose_cost_has_an_estimated_part_is_marked_as_estimated(serve: Any, stub: StubServer, fault: str, source: str) -> None:
    stub.scripts["broken"] = Script(fault=fault)
    gateway = serve({"broken": BRISK, "good": {}}, settings={"observe": {"logs": {"format": "json"}}}, router="llm-only")
    ((_, _, content),) = ask_all(gateway.url, [chat(stream=True)])
    (event,) = [json.loads(line[6:]) for line in content.splitlines() if b'"aamc"' in line]
    attempts = entries(gateway, "attempt")
    (logged,) = [json.loads(line) for line in gateway.output.splitlines() if '"cost_source"' in line]
    assert (event["aamc"]["cost_source"], logged["cost_source"], attempts[-1]["cost_source"]) == (source, source, "priced")
    assert event["aamc"]["cost_usd"] == pytest.approx(sum(attempt["cost_usd"] or 0.0 for attempt in attempts))


def test_failed_attempts_and_fallbacks_are_all_in_the_log(serve: Any, stub: StubServer) -> None:
    stub.scripts["broken"] = Script(fault="status", status=500, fault_calls=2)
    gateway = serve({"broken": {}, "backup": {}})
    ask_all(gateway.url, [chat()])
    attempts = entries(gateway, "attempt")
    assert [(attempt["candidate"], attempt["error"] is None) for attempt in attempts] == [("broken", False), ("backup", True)]


def test_the_figures_that_a_client_sees_are_the_logs(serve: Any) -> None:
    gateway = serve({"good": {}})
    ((_, headers, _),) = ask_all(gateway.url, [chat()])
    ((_, streamed_headers, content),) = ask_all(gateway.url, [chat(stream=True)])
    assert headers["x-aamc-model"] == streamed_headers["x-aamc-model"] == "good"
    assert float(headers["x-aamc-propensity"]) == 1.0
    events = [json.loads(line[6:]) for line in content.decode().splitlines() if line.startswith("data: {")]
    (told,) = [event["aamc"] for event in events if "aamc" in event]
    attempts = {attempt["decision_id"]: attempt["cost_usd"] for attempt in entries(gateway, "attempt")}
    assert float(headers["x-aamc-cost-usd"]) == pytest.approx(attempts[headers["x-aamc-decision-id"]])
    assert told["cost_usd"] == pytest.approx(attempts[told["decision_id"]])
    assert told["model"] == "good"
    assert told["decision_id"] == streamed_headers["x-aamc-decision-id"]


def test_the_first_64_answers_and_every_16th_later_one_are_measured() -> None:
    estimator, measured = UsageEstimator(), []
    for number in range(1, 101):

        def text_bytes(number: int = number) -> tuple[int, int]:
            measured.append(number)
            return 40, 0

        usage = Usage(prompt_tokens=5, output_tokens=10)
        assert estimator.usage("good", {"messages": []}, text_bytes, usage, finished=True) == (usage, False)
    assert measured == [*range(1, 65), 80, 96]


@pytest.mark.parametrize("bytes_per_token", [2.0, 2.8, 4.0])
@pytest.mark.parametrize("beside", [0, 100], ids=["no template", "template"])
def test_short_texts_of_many_sizes_teach_the_ratio_of_long_ones(bytes_per_token: float, beside: int) -> None:
    rng, estimator = np.random.default_rng(0), UsageEstimator()
    for size in np.exp(rng.normal(math.log(300), 0.5, 800)).clip(20, 990).astype(int).tolist():
        output = max(1, round(beside + size / bytes_per_token * math.exp(rng.normal(0, 0.15))))
        estimator.usage("good", {}, lambda size=size: (size, 0), Usage(prompt_tokens=1, output_tokens=output), finished=True)  # type: ignore[misc]
    for size in (20, 300, 4_000, 20_000):
        estimate, _ = estimator.usage("good", {}, lambda size=size: (size, 0), Usage(), finished=False)  # type: ignore[misc]
        assert estimate.output_tokens == pytest.approx(beside + size / bytes_per_token, rel=0.15, abs=15)


@pytest.mark.parametrize("share", [0.4, 0.8])
@pytest.mark.parametrize("bytes_per_token", [2.0, 4.0])
def test_reasoning_that_came_as_text_is_no_hidden_one(bytes_per_token: float, share: float) -> None:
    rng, estimator = np.random.default_rng(0), UsageEstimator()
    for size in np.exp(rng.normal(math.log(6000), 0.8, 800)).astype(int).tolist():
        output = max(1, round(size / bytes_per_token * math.exp(rng.normal(0, 0.2))))
        usage = Usage(prompt_tokens=1, output_tokens=output, reasoning_tokens=int(share * output))
        estimator.usage("good", {}, lambda size=size: (size, int(share * size)), usage, finished=True)  # type: ignore[misc]
    for size in (200, 6_000, 60_000):
        estimate, _ = estimator.usage("good", {}, lambda size=size: (size, 0), Usage(), finished=False)  # type: ignore[misc]
        assert estimate.output_tokens == pytest.approx(size / bytes_per_token, rel=0.15, abs=200)


def test_documents_do_not_change_the_estimate_of_an_image() -> None:
    estimator, document, image = UsageEstimator(), Media(400_000, documents=100_000), Media(6_000, images=6_500)
    for _ in range(30):
        estimator.usage("good", {}, lambda: (1, 0), Usage(prompt_tokens=2_000, output_tokens=1), finished=True, media=document)
        estimator.usage("good", {}, lambda: (1, 0), Usage(prompt_tokens=1_100, output_tokens=1), finished=True, media=image)
    for media, tokens in ((document, 2_000), (image, 1_100)):
        estimate, _ = estimator.usage("good", {}, lambda: (1, 0), Usage(), finished=False, media=media)
        assert estimate.prompt_tokens == pytest.approx(tokens, rel=0.1)


async def leave(url: str, body: dict[str, Any], events: int) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/chat/completions", json=body) as answer:
        for _ in range(events):
            await answer.content.readuntil(b"\n\n")


def test_hidden_reasoning_does_not_grow_with_the_text_of_an_aborted_answer(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(text="word " * 16, output_tokens=2020, reasoning_tokens=2000)
    gateway = serve({"good": {}})
    ask_all(gateway.url, [chat()] * 30)
    stub.scripts["good"] = Script(text="word " * 2000, chunks=100, pace_ms=20)
    asyncio.run(leave(gateway.url, chat(stream=True, max_completion_tokens=8192), 82))
    asyncio.run(leave(gateway.url, chat(stream=True, max_completion_tokens=100), 82))
    *_, long, limited = entries(gateway, "attempt")
    assert (long["status"], long["cost_source"]) == ("cancelled", "estimated")
    assert long["output_tokens"] == pytest.approx(4000, rel=0.1)
    assert limited["output_tokens"] <= 100


def test_visible_reasoning_is_not_added_to_the_text_of_an_answer(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(text="word " * 16, thinking="word " * 1600, output_tokens=2020, reasoning_tokens=2000)
    gateway = serve({"good": {}})
    ask_all(gateway.url, [chat()] * 30)
    stub.scripts["good"] = Script(text="word " * 1600, usage="never")
    ask_all(gateway.url, [chat()])
    assert entries(gateway, "attempt")[-1]["output_tokens"] == pytest.approx(2000, rel=0.1)


@pytest.mark.parametrize(
    ("answers", "fields", "parameters", "limit"),
    [
        ("chat", {"max_tokens": 300}, {}, 300),
        ("chat", {"max_tokens": 300, "n": 2}, {}, 600),
        ("chat", {}, {"max_completion_tokens": 300}, 300),
        ("chat", {"max_tokens": 400}, {"max_completion_tokens": 300}, 400),
        ("messages", {"max_tokens": 300}, {}, 300),
        ("completions", {"prompt": ["a", "b"], "max_tokens": 300}, {}, 600),
    ],
)
def test_an_estimate_does_not_exceed_the_limit_of_the_answers(
    serve: Any, stub: StubServer, answers: str, fields: Any, parameters: Any, limit: int
) -> None:
    stub.scripts["good"] = Script(text="word " * 16, output_tokens=100)
    gateway = serve({"good": {"parameters": parameters, "apis": ["chat", "completions"]}})
    for body in [body_of(answers, "good")] * 10:
        asyncio.run(exchange(gateway.url, answers, body))
    stub.scripts["good"] = Script(text="word " * 2000, usage="never")
    asyncio.run(exchange(gateway.url, answers, {**body_of(answers, "good"), **fields}))
    attempt = entries(gateway, "attempt")[-1]
    assert (attempt["output_tokens"], attempt["cost_source"]) == (limit, "estimated")


IMAGES = {
    "in base64": {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4000, "detail": "low"}},
    "by its address": {"type": "image_url", "image_url": {"url": "https://images.test/cat.png"}},
}


@pytest.mark.parametrize(("image", "tokens"), [("in base64", 85), ("by its address", 1100)])
def test_images_do_not_change_the_estimate_of_a_text(serve: Any, stub: StubServer, image: str, tokens: int) -> None:
    stub.scripts["good"] = Script(prompt_tokens=tokens + 10)
    gateway = serve({"good": {}})
    seen = [{"type": "text", "text": "What is this?"}, IMAGES[image]]
    ask_all(gateway.url, [{"model": "good", "messages": [{"role": "user", "content": seen}]}] * 30)
    stub.scripts["good"] = Script(usage="never")
    for content in ("word " * 8000, seen, [*seen, IMAGES[image]], "word " * 8000):
        ask_all(gateway.url, [{"model": "good", "messages": [{"role": "user", "content": content}]}])
    *_, text, one, two, text_again = [attempt["prompt_tokens"] for attempt in entries(gateway, "attempt")]
    assert [text, text_again] == pytest.approx([10_000, 10_000], rel=0.01)
    assert [one, two] == pytest.approx([tokens + 10, 2 * tokens + 10], abs=0.1 * tokens + 15)


def test_the_template_of_a_server_does_not_grow_with_the_prompt(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(prompt_tokens=100)
    gateway = serve({"good": {}})
    ask_all(gateway.url, [chat(text="Hi")] * 30)
    stub.scripts["good"] = Script(usage="never")
    for text in ("Hi", "word " * 8000):
        ask_all(gateway.url, [chat(text=text)])
    *_, short, long = [attempt["prompt_tokens"] for attempt in entries(gateway, "attempt")]
    assert [short, long] == pytest.approx([100, 10_100], rel=0.05)


def test_the_ratio_of_long_prompts_is_learned(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(prompt_tokens=2000)
    gateway = serve({"good": {}})
    ask_all(gateway.url, [chat(text="日本" * 500)] * 10)
    stub.scripts["good"] = Script(usage="never")
    ask_all(gateway.url, [chat(text="日本" * 5000)])
    assert entries(gateway, "attempt")[-1]["prompt_tokens"] == pytest.approx(20_000, rel=0.1)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_request_that_all_candidates_refuse_is_no_failure_of_theirs(serve: Any, stub: StubServer, streamed: bool) -> None:
    stub.scripts |= {"picky": Script(fault="status", status=400), "strict": Script(fault="status", status=422), "good": Script()}
    gateway = serve({"picky": {}, "strict": {}, "good": {}})
    bodies = [chat("picky", stream=streamed), chat(stream=streamed)]
    assert [status for body in bodies for status, _, _ in ask_all(gateway.url, [body])] == [400, 200]
    stub.scripts["good"] = Script(fault="status", status=400)
    assert [status for status, _, _ in ask_all(gateway.url, [chat(stream=streamed)])] == [400]
    ends = [(attempt["candidate"], attempt.get("status", "error" if attempt.get("error") else "ok")) for attempt in entries(gateway, "attempt")]
    assert ends[:1] == [("picky", "refused")]
    assert ends[1:4] == [("picky", "error"), ("strict", "error"), ("good", "ok")]
    assert ends[4:] == [("picky", "refused"), ("strict", "refused"), ("good", "refused")]


def test_a_refusal_of_a_request_that_lost_content_is_no_failure_either(serve: Any, stub: StubServer) -> None:
    stub.scripts |= {"picky": Script(fault="status", status=400), "good": Script()}
    gateway = serve({"picky": {}, "good": {}})
    content = [{"type": "text", "text": "Hi"}, {"type": "container_upload", "file_id": "file_1"}]
    for _ in range(2):
        asyncio.run(exchange(gateway.url, "messages", {**body_of("messages", "aamc/auto"), "messages": [{"role": "user", "content": content}]}))
    ends = [(attempt["candidate"], attempt.get("status", "error" if attempt.get("error") else "ok")) for attempt in entries(gateway, "attempt")]
    assert ends == [("picky", "refused"), ("good", "ok")] * 2
    warnings = [line for line in (gateway.folder / "serve.log").read_text(encoding="utf-8").splitlines() if "refused a request" in line]
    assert len(warnings) == 1
    assert "model 'picky' refused a request (status 400) that had lost content.container_upload, content.file_id; the router" in warnings[0]


@pytest.mark.parametrize(("api", "fields"), [("messages", {"top_k": 5, "cache_control": {"type": "ephemeral"}}), ("responses", CODEX)])
def test_a_refusal_counts_though_the_request_lost_options(serve: Any, stub: StubServer, api: str, fields: dict[str, Any]) -> None:
    stub.scripts |= {"picky": Script(fault="status", status=400), "good": Script()}
    gateway = serve({"picky": {}, "good": {}})
    asyncio.run(exchange(gateway.url, api, body_of(api, "aamc/auto", **fields)))
    ends = [(attempt["candidate"], attempt.get("status", "error" if attempt.get("error") else "ok")) for attempt in entries(gateway, "attempt")]
    assert ends == [("picky", "error"), ("good", "ok")]
