"""Budgets hold against requests that come at the same time."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Any

import aiohttp
import httpx
import pytest
import yaml
from aamc_models.testing import Script, StubServer
from faults.conftest import ask_all, chat, entries
from forked_gateway import ForkedGateway

PRICES = {"input_price": 0.0, "output_price": 10_000.0}
"""A cent a token of the answer."""
WORDS = "word " * 50
SMALLER = "send a shorter text, or fewer or smaller files"
THINKS = {"thinking": {"type": "enabled", "budget_tokens": 6000}}
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'iVBORw0KGgo=' * 8000}"}}


@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["one worker", "two workers"])
def test_of_50_parallel_requests_on_a_budget_worth_10_at_most_10_are_admitted(serve: Any, stub: StubServer, options: list[str]) -> None:
    stub.scripts["good"] = Script(output_tokens=100, prompt_tokens=10, first_ms=300)
    settings = {"access": {"limits": {"usd_total": 10.0}}}
    gateway = serve({"good": PRICES}, settings=settings, options=options)
    answers = ask_all(gateway.url, [chat(max_tokens=100)] * 50)
    statuses = Counter(status for status, _, _ in answers)
    assert stub.counts("good").calls == statuses[200] <= 10
    assert set(statuses) == {200, 402} or set(statuses) == {200, 429}
    refused = next(json.loads(body) for status, _, body in answers if status != 200)
    assert "budget" in refused["error"]["message"]
    assert "10 USD" in refused["error"]["message"]


def test_what_a_failed_request_reserved_is_free_again(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(fault="status", status=500, fault_calls=5, output_tokens=100, prompt_tokens=10)
    gateway = serve({"good": {**PRICES, "breaker_failures": 1000}}, settings={"access": {"limits": {"usd_total": 1.5}}})
    statuses = [ask_all(gateway.url, [chat(max_tokens=100)])[0][0] for _ in range(7)]
    assert statuses[:5] == [statuses[0]] * 5
    assert statuses[0] >= 500
    assert statuses[5:] == [200, statuses[6]]
    assert statuses[6] in (402, 429)


def test_what_an_answer_did_not_use_is_free_again(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(output_tokens=10, prompt_tokens=10)
    gateway = serve({"good": PRICES}, settings={"access": {"limits": {"usd_total": 1.2}}})
    assert [ask_all(gateway.url, [chat(max_tokens=100)])[0][0] for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("chat/completions", {"max_tokens": -100_000}, 400),
        ("chat/completions", {"max_tokens": 1e6}, 400),
        ("chat/completions", {"max_tokens": 1, "n": 100_000}, 400),
        ("chat/completions", {"max_tokens": 1, "n": 1.5}, 400),
        ("chat/completions", {"max_tokens": 1, "n": 128}, 402),
        ("chat/completions", {"max_tokens": 1000, "max_completion_tokens": 1}, 402),
        ("chat/completions", {"max_tokens": 1000, "max_output_tokens": 1}, 402),
        ("completions", {"max_tokens": 1, "prompt": "hi", "best_of": 120}, 402),
        ("completions", {"max_tokens": 1, "prompt": ["hi"] * 120}, 402),
    ],
)
def test_no_field_makes_a_request_look_cheaper_than_it_may_be(serve: Any, stub: StubServer, path: str, fields: Any, status: int) -> None:
    gateway = serve({"good": PRICES}, settings={"access": {"limits": {"usd_total": 1.0}}})
    found, _, body = ask_all(gateway.url, [chat(**fields)], path=path)[0]
    assert (found, stub.counts("good").calls) == (status, 0), body


def test_the_arena_reserves_only_for_candidates_that_can_be_called(serve: Any, stub: StubServer) -> None:
    stub.scripts["broken"] = Script(fault="status", status=500)
    models = {"broken": {**PRICES, "breaker_failures": 1, "breaker_rest_s": 600.0}, "good": PRICES, "other": PRICES}
    gateway = serve(models, settings={"access": {"limits": {"usd_total": 2.5}}, "arena": {"candidates": None}})
    assert ask_all(gateway.url, [chat("aamc/arena", max_tokens=100)])[0][0] == 402
    assert ask_all(gateway.url, [chat("broken", max_tokens=100)])[0][0] == 502
    assert ask_all(gateway.url, [chat("aamc/arena", max_tokens=100)])[0][0] == 200


def test_the_arena_never_calls_several_candidates_on_a_budget_for_one(serve: Any, stub: StubServer) -> None:
    settings = {"access": {"limits": {"usd_total": 1.5}, "over_budget": "cheaper"}, "arena": {"candidates": 2}}
    gateway = serve({"good": PRICES, "other": PRICES}, settings=settings)
    assert ask_all(gateway.url, [chat("aamc/arena", max_tokens=100)])[0][0] == 402
    assert stub.counts("good").calls + stub.counts("other").calls == 0


@pytest.mark.parametrize("arena", [{"judge": "good"}, {"aggregate": "synthesize"}], ids=["judge", "synthesizer"])
@pytest.mark.parametrize("holder", ["all", "the model"])
def test_judging_and_writing_in_the_arena_cost_no_more_than_was_reserved(serve: Any, stub: StubServer, arena: Any, holder: str) -> None:
    stub.scripts |= dict.fromkeys(("good", "other"), Script(output_tokens=100, prompt_tokens=10, text="word " * 100))
    access = {"limits": {"usd_total": 2.0}} if holder == "all" else {"models": {"good": {"usd_total": 2.0}}}
    settings = {"access": access, "arena": {"candidates": 2, **arena}, "limits": {"output_tokens": 50}}
    gateway = serve({"good": PRICES, "other": PRICES}, settings=settings)
    found = [ask_all(gateway.url, [chat("aamc/arena", max_tokens=10)])[0][0] for _ in range(20)]
    assert (found[0], found[-1]) == (200, 402 if holder == "all" else 200)
    charged = [attempt["cost_usd"] for attempt in entries(gateway, "attempt") if holder == "all" or attempt["candidate"] == "good"]
    assert 0 < sum(charged) <= 2.0 + 1e-9


def test_what_the_arena_writes_from_all_answers_has_the_client_s_limit(serve: Any, stub: StubServer) -> None:
    stub.scripts |= dict.fromkeys(("good", "other"), Script(output_tokens=100, text="word " * 100))
    gateway = serve({"good": PRICES, "other": PRICES}, settings={"arena": {"candidates": 2, "aggregate": "synthesize"}})
    for path, field in (("chat/completions", "max_tokens"), ("messages", "max_tokens"), ("responses", "max_output_tokens")):
        ((status, _, body),) = ask_all(gateway.url, [{**chat("aamc/arena"), "input": "hi", field: 20}], path=path)
        assert (status, body.count(b"word")) == (200, 20)


def test_each_candidate_of_the_arena_is_charged_for_its_own_answer(serve: Any, stub: StubServer) -> None:
    stub.scripts |= dict.fromkeys(("good", "other"), Script(output_tokens=100, prompt_tokens=10))
    settings = {"access": {"models": {name: {"usd_total": 1.5} for name in ("good", "other")}}, "arena": {"candidates": 2}}
    gateway = serve({"good": PRICES, "other": PRICES}, settings=settings)
    assert ask_all(gateway.url, [chat("aamc/arena", max_tokens=100)])[0][0] == 200
    assert [ask_all(gateway.url, [chat(name, max_tokens=100)])[0][0] for name in ("good", "other")] == [402, 402]
    assert [ask_all(gateway.url, [chat(name, max_tokens=50)])[0][0] for name in ("good", "other")] == [200, 200]


def serves_soon(url: str, body: Any) -> None:
    """Ask until an earlier request's reservation is settled, so that the budget is enough."""
    deadline = time.monotonic() + 30
    while ask_all(url, [body])[0][0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_cancelled_candidate_of_the_arena_is_not_charged_for_the_others(serve: Any, stub: StubServer) -> None:
    stub.scripts |= {"good": Script(output_tokens=100, prompt_tokens=10), "other": Script(fault="hang")}
    settings = {"access": {"models": {"other": {"usd_total": 1.5}}}, "arena": {"candidates": 2}}
    gateway = serve({"good": PRICES, "other": PRICES}, settings=settings)

    async def leave() -> None:
        async with aiohttp.ClientSession() as session:
            asking = asyncio.ensure_future(session.post(f"{gateway.url}/v1/chat/completions", json=chat("aamc/arena", max_tokens=100)))
            assert await asyncio.to_thread(stub.wait, lambda now: now.counts("good").calls == now.counts("other").calls == 1)
            asking.cancel()

    asyncio.run(leave())
    stub.scripts["other"] = Script(output_tokens=10, prompt_tokens=10)
    serves_soon(gateway.url, chat("other", max_tokens=100))


def test_the_tokens_of_all_candidates_of_the_arena_count(serve: Any, stub: StubServer) -> None:
    stub.scripts |= dict.fromkeys(("good", "other"), Script(output_tokens=100, prompt_tokens=10))
    settings = {"access": {"limits": {"tokens_per_minute": 300}}, "arena": {"candidates": 2}}
    gateway = serve({"good": PRICES, "other": PRICES}, settings=settings)
    asked = [chat("aamc/arena", max_tokens=150), chat("aamc/arena", max_tokens=100), chat("good", max_tokens=100)]
    assert [ask_all(gateway.url, [body])[0][0] for body in asked] == [400, 200, 429]


@pytest.mark.parametrize(
    "access",
    [{"limits": {"usd_total": 1.5}}, {"models": {"good": {"usd_total": 1.5}}}, {"limits": {"tokens_per_minute": 200}}],
    ids=["all", "the model", "tokens"],
)
def test_a_client_that_leaves_a_stream_pays_for_what_came(serve: Any, stub: StubServer, access: Any) -> None:
    stub.scripts["good"] = Script(text="word " * 80, chunks=2, pace_ms=60_000, output_tokens=100, prompt_tokens=10)
    gateway = serve({"good": PRICES}, settings={"access": access})
    with httpx.stream("POST", f"{gateway.url}/v1/chat/completions", json=chat(stream=True, max_tokens=100), timeout=60) as answer:
        assert "word" in next(text for text in answer.iter_text() if "word" in text)
    stub.scripts["good"] = Script(output_tokens=10, prompt_tokens=10)
    serves_soon(gateway.url, chat(max_tokens=60))
    assert ask_all(gateway.url, [chat(max_tokens=100)])[0][0] in (402, 429)


def test_clients_that_leave_before_the_answer_use_a_budget_up(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(fault="hang")
    gateway = serve({"good": {"input_price": 1.0, "output_price": 0.0}}, settings={"access": {"limits": {"usd_total": 0.035}}})

    async def leave() -> None:
        async with aiohttp.ClientSession() as session:
            asking = asyncio.ensure_future(session.post(f"{gateway.url}/v1/chat/completions", json=chat(text="word " * 4000)))
            assert await asyncio.to_thread(stub.wait, lambda now: now.active == 1)
            asking.cancel()

    for _ in range(5):  # each costs 5,000 tokens, and a further one reserves 10,000
        asyncio.run(leave())
        assert stub.wait(lambda now: now.active == 0)
    assert ask_all(gateway.url, [chat(text="word " * 4000)])[0][0] == 402


@pytest.mark.parametrize("ttl", ["1h", "\\u0031h"])
def test_a_prompt_that_is_cached_for_an_hour_reserves_twice_its_price(serve: Any, stub: StubServer, ttl: str) -> None:
    gateway = serve({"good": {"input_price": 10_000.0, "output_price": 0.0}}, settings={"access": {"limits": {"usd_total": 3.2}}})

    def post(mark: str) -> int:
        block = f'{{"type": "text", "text": "{WORDS}", "cache_control": {{"type": "ephemeral", "ttl": "{mark}"}}}}'
        body = f'{{"model": "good", "max_tokens": 10, "messages": [{{"role": "user", "content": [{block}]}}]}}'
        return httpx.post(f"{gateway.url}/v1/messages", content=body, headers={"content-type": "application/json"}, timeout=60).status_code

    assert (post(ttl), stub.counts("good").calls) == (402, 0)
    assert post("5m") == 200
    lasting = {"model": "good", "max_tokens": 10, "messages": [{"role": "user", "content": WORDS}], "prompt_cache_options": {"ttl": "12h"}}
    assert httpx.post(f"{gateway.url}/v1/chat/completions", json=lasting, timeout=60).status_code == 402


@pytest.mark.parametrize("limits", [{"usd_total": 9.0}, {"tokens_per_minute": 8000}])
def test_the_bytes_of_an_image_are_no_text_of_a_budget(serve: Any, stub: StubServer, limits: Any) -> None:
    stub.scripts["good"] = Script(output_tokens=1, prompt_tokens=1500)
    gateway = serve({"good": {"input_price": 1000.0, "output_price": 0.0}}, settings={"access": {"limits": limits}})
    ((status, _, body),) = ask_all(gateway.url, [{**chat(max_tokens=1), "messages": [{"role": "user", "content": [IMAGE]}]}])
    assert status == 200, body


@pytest.mark.parametrize("limits", [{"usd_total": 0.001}, {"tokens_per_minute": 50}])
def test_embeddings_reserve_no_answer(serve: Any, limits: Any) -> None:
    gateway = serve({"good": {**PRICES, "apis": ["embeddings"]}}, settings={"access": {"limits": limits}})
    ((status, headers, body),) = ask_all(gateway.url, [{"model": "aamc/auto", "input": "Hello"}], path="embeddings")
    assert (status, "x-aamc-max-tokens" in headers) == (200, False), body


@pytest.mark.parametrize(("path", "size"), [("audio/transcriptions", 300_000), ("images/edits", 300_000)])
@pytest.mark.parametrize("limits", [{"usd_total": 11.0}, {"tokens_per_minute": 11_000}])
def test_the_bytes_of_an_uploaded_file_are_no_text_of_a_budget(serve: Any, path: str, size: int, limits: Any) -> None:
    gateway = serve({"good": {"input_price": 1000.0, "output_price": 0.0}}, settings={"access": {"limits": limits}})
    files = {"file": ("a.bin", bytes(size))}
    answer = httpx.post(f"{gateway.url}/v1/{path}", data={"model": "good"}, files=files, timeout=60)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("path", "fields", "advice"),
    [
        ("chat/completions", {"messages": chat()["messages"]}, "ask for fewer tokens (max_tokens)"),
        ("responses", {"input": WORDS}, "ask for fewer tokens (max_output_tokens)"),
        ("embeddings", {"input": WORDS}, SMALLER),
        ("images/generations", {"prompt": WORDS}, SMALLER),
        ("audio/speech", {"input": WORDS}, SMALLER),
    ],
)
@pytest.mark.parametrize("limits", [{"tokens_per_minute": 10}, {"usd_total": 1e-9}])
def test_the_advice_names_a_field_that_the_request_can_have(serve: Any, path: str, fields: Any, advice: str, limits: Any) -> None:
    gateway = serve({"good": {"input_price": 1.0, "output_price": 1.0}}, settings={"access": {"limits": limits}})
    ((status, _, body),) = ask_all(gateway.url, [{"model": "good", **fields}], path=path)
    cheaper = "" if "tokens_per_minute" in limits else ", or ask a cheaper model"
    assert (status, json.loads(body)["error"]["message"].partition(": ")[2]) == (402 if cheaper else 400, advice + cheaper)


def test_images_of_unknown_cost_use_the_budget_up(serve: Any, stub: StubServer) -> None:
    gateway = serve({"good": PRICES}, settings={"access": {"limits": {"usd_total": 100.0}}})
    answers = ask_all(gateway.url, [{"model": "good", "prompt": "a cat"}] * 5, path="images/generations")
    assert Counter(status for status, _, _ in answers) == {200: 2, 402: 3}  # 4096 tokens at a cent each
    assert not any("x-aamc-cost-usd" in headers for _, headers, _ in answers)


def test_images_with_a_price_for_each_request_cost_that(serve: Any) -> None:
    gateway = serve({"good": {"input_price": 0.0, "output_price": 0.0, "request_price": 1.0}}, settings={"access": {"limits": {"usd_total": 2.5}}})
    answers = [ask_all(gateway.url, [{"model": "good", "prompt": "a cat"}], path="images/generations")[0] for _ in range(3)]
    assert [(status, headers.get("x-aamc-cost-usd")) for status, headers, _ in answers] == [(200, "1"), (200, "1"), (402, None)]


def test_each_of_several_images_costs_the_price_of_a_request(serve: Any, stub: StubServer) -> None:
    gateway = serve({"good": {"input_price": 0.0, "output_price": 0.0, "request_price": 1.0}}, settings={"access": {"limits": {"usd_total": 6.5}}})
    bodies = [{"model": "good", "prompt": "a cat", "n": n} for n in (10, 3, 4)]
    answers = [ask_all(gateway.url, [body], path="images/generations")[0] for body in bodies]
    form = {"data": {"model": "good", "n": "2"}, "files": {"image": ("a.png", b"x")}, "timeout": 60}
    edits = [httpx.post(f"{gateway.url}/v1/images/edits", **form) for _ in range(2)]
    found = [(status, headers.get("x-aamc-cost-usd")) for status, headers, _ in answers]
    found += [(answer.status_code, answer.headers.get("x-aamc-cost-usd")) for answer in edits]
    assert found == [(402, None), (200, "3"), (402, None), (200, "2"), (402, None)]


def test_several_images_reserve_the_tokens_of_each(serve: Any) -> None:
    gateway = serve({"good": PRICES}, settings={"access": {"limits": {"usd_total": 100.0}}})  # 4096 tokens at a cent each for an image
    statuses = [ask_all(gateway.url, [{"model": "good", "prompt": "a cat", "n": n}], path="images/generations")[0][0] for n in (3, 2, 1)]
    assert statuses == [402, 200, 402]


@pytest.mark.parametrize("n", [0, -1, 129, "10", 1.5, True, [1]])
def test_a_number_of_images_that_is_none_is_refused(serve: Any, stub: StubServer, n: Any) -> None:
    gateway = serve({"good": {}})
    ((status, _, body),) = ask_all(gateway.url, [{"model": "good", "prompt": "a cat", "n": n}], path="images/generations")
    assert (status, f"n must be an integer of 1 to 128, not {n!r}" in json.loads(body)["error"]["message"]) == (400, True)
    answer = httpx.post(f"{gateway.url}/v1/images/edits", data={"model": "good", "n": f"{n}x"}, files={"image": ("a.png", b"x")}, timeout=60)
    assert (answer.status_code, stub.counts("good").calls) == (400, 0)


def test_files_cost_nothing_and_a_batch_fits_no_budget(serve: Any, stub: StubServer) -> None:
    gateway = serve({"good": PRICES}, settings={"access": {"limits": {"usd_total": 1.0}}})
    headers = {"x-aamc-model": "good"}
    for _ in range(3):
        answer = httpx.post(f"{gateway.url}/v1/files", content=b"x" * 100_000, headers={**headers, "content-type": "text/plain"}, timeout=60)
        assert (answer.status_code, answer.headers["x-aamc-cost-usd"]) == (200, "0")
    calls = len(stub.requests)
    answer = httpx.post(f"{gateway.url}/v1/batches", json={"input_file_id": "file-1"}, headers=headers, timeout=60)
    assert (answer.status_code, len(stub.requests)) == (402, calls)
    assert "unknown" in answer.json()["error"]["message"]


def test_a_budget_that_was_exceeded_refuses_nothing_that_is_free(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(output_tokens=1, prompt_tokens=1000)  # a multiple of what is reserved for the prompt
    settings = {"access": {"over_budget": "cheaper", "limits": {"usd_total": 0.5}}}
    gateway = serve({"good": {"input_price": 1000.0, "output_price": 0.0}, "other": {"input_price": 0.0, "output_price": 0.0}}, settings=settings)
    assert [ask_all(gateway.url, [chat("good")])[0][0] for _ in range(2)] == [200, 402]
    ((status, headers, _),) = ask_all(gateway.url, [chat()])
    assert (status, headers["x-aamc-model"]) == (200, "other")
    assert [ask_all(gateway.url, [chat()], path=path)[0][0] for path in ("messages/count_tokens", "route")] == [200, 200]


def test_an_answer_without_a_limit_gets_the_one_that_was_reserved(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(output_tokens=50_000, prompt_tokens=10, first_ms=200)
    settings = {"access": {"limits": {"usd_total": 100.0}}, "limits": {"output_tokens": 1000}}
    gateway = serve({"good": PRICES}, settings=settings)
    answers = ask_all(gateway.url, [chat()] * 40)
    served = [headers for status, headers, _ in answers if status == 200]
    assert 1 <= len(served) <= 10
    assert {headers["x-aamc-max-tokens"] for headers in served} == {"1000"}
    assert {request.body["max_tokens"] for request in stub.requests} == {1000}
    assert "x-aamc-max-tokens" not in ask_all(gateway.url, [chat(max_tokens=1)])[0][1]


def test_a_limit_among_the_parameters_of_a_candidate_is_what_is_reserved(serve: Any, stub: StubServer) -> None:
    gateway = serve({"good": {**PRICES, "parameters": {"max_tokens": 100}}}, settings={"access": {"limits": {"usd_total": 1.1}}})
    ((status, headers, _),) = ask_all(gateway.url, [chat()])
    assert (status, "x-aamc-max-tokens" in headers) == (200, False)
    assert [request.body["max_tokens"] for request in stub.requests] == [100]


def test_digits_take_twice_the_tokens_of_prose(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(output_tokens=1, prompt_tokens=5000, first_ms=300)
    gateway = serve({"good": {"input_price": 1000.0, "output_price": 0.0}}, settings={"access": {"limits": {"usd_total": 20.0}}})
    answers = ask_all(gateway.url, [{**chat(max_tokens=1), "messages": [{"role": "user", "content": "1 " * 5000}]}] * 20)
    assert 1 <= Counter(status for status, _, _ in answers)[200] <= 4


def test_what_requests_in_progress_hold_is_said_to_be_free_soon(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(output_tokens=1, prompt_tokens=1, first_ms=500)
    gateway = serve({"good": PRICES}, settings={"access": {"limits": {"usd_per_day": 1.5}}})
    answers = ask_all(gateway.url, [chat(max_tokens=100)] * 3)
    assert Counter(status for status, _, _ in answers) == {200: 1, 402: 2}
    _, headers, body = next(answer for answer in answers if answer[0] == 402)
    assert (headers["retry-after"], headers["x-should-retry"]) == ("1", "true")
    assert "1 USD are reserved for requests in progress, and this one may cost up to 1 USD: try again once they have ended" in body.decode()
    assert ask_all(gateway.url, [chat(max_tokens=100)])[0][0] == 200


def test_a_new_text_in_a_conversation_is_not_expected_to_be_cached(serve: Any) -> None:
    gateway = serve({"good": {"input_price": 10.0}, "small": {"input_price": 0.1}})
    turns = [{"role": "user", "content": "Hi"}]

    def ask() -> str:
        [(_, headers, _)] = ask_all(gateway.url, [{**chat(max_tokens=1, aamc={"budget_usd": 0.05, "session": "s"}), "messages": turns}])
        return str(headers["x-aamc-model"])

    assert ask() == "good"
    turns += [{"role": "assistant", "content": "Hello."}, {"role": "user", "content": "word " * 20_000}]
    assert ask() == "small"  # the new text alone costs .25 USD


def test_a_cheaper_candidate_does_not_reserve_all_that_is_left(serve: Any, stub: StubServer) -> None:
    for name in ("good", "expensive"):
        stub.scripts[name] = Script(output_tokens=100, prompt_tokens=10, first_ms=300)
    settings = {"access": {"over_budget": "cheaper", "limits": {"usd_total": 9.0}}}
    gateway = serve({"good": PRICES, "expensive": {"input_price": 0.0, "output_price": 1e6}}, settings=settings)
    answers = ask_all(gateway.url, [chat("aamc/auto", max_tokens=100)] * 5)
    assert [(status, headers.get("x-aamc-model")) for status, headers, _ in answers] == [(200, "good")] * 5


@pytest.mark.parametrize(
    ("path", "fields"),
    [("chat/completions", {"max_output_tokens": 1}), ("chat/completions", {"max_tokens": 0}), ("messages", {"max_output_tokens": 1})],
)
def test_only_the_fields_that_an_api_reads_limit_its_answer(serve: Any, stub: StubServer, path: str, fields: Any) -> None:
    settings = {"access": {"limits": {"usd_total": 100.0}}, "limits": {"output_tokens": 1000}}
    gateway = serve({"good": PRICES}, settings=settings)
    ((status, _, _),) = ask_all(gateway.url, [chat("good", **fields)], path=path)
    assert (status, [request.body["max_tokens"] for request in stub.requests]) == (200, [1000])


@pytest.mark.parametrize(
    ("fields", "path", "body", "limit"),
    [
        ({}, "completions", {"model": "good", "prompt": "hi"}, 16),
        ({"parameters": {"max_completion_tokens": 100}}, "completions", {"model": "good", "prompt": "hi"}, 100),
        ({"provider": "anthropic", "max_output_tokens": 500}, "chat/completions", chat("good"), 500),
        ({"provider": "anthropic", "parameters": THINKS}, "chat/completions", chat("good"), 14_192),
        ({"context_window": 2400}, "chat/completions", chat("good", text="x" * 2000), None),
        ({"context_window": 8000}, "chat/completions", chat("good", text="x" * 2000), 1000),
        ({"context_window": 8000}, "chat/completions", {"model": "good", "messages": [{"role": "user", "content": [IMAGE]}]}, 1000),
        ({"apis": ["responses"], "parameters": {"max_tokens": 100}}, "responses", {"model": "good", "input": "hi"}, 100),
        ({"apis": ["responses"]}, "responses", {"model": "good", "input": "hi"}, 1000),
        ({"parameters": {"max_tokens": 100}, "provider": "anthropic"}, "chat/completions", chat("good"), 100),
        ({"parameters": {"max_output_tokens": 100}}, "chat/completions", chat("good"), 1000),
    ],
)
def test_the_limit_of_a_budget_is_never_more_than_the_candidate_s_own(
    serve: Any, stub: StubServer, fields: Any, path: str, body: Any, limit: Any
) -> None:
    settings = {"access": {"limits": {"usd_total": 1000.0}}, "limits": {"output_tokens": 1000}}
    gateway = serve({"good": {**PRICES, **fields}}, settings=settings)
    ((status, _, answer),) = ask_all(gateway.url, [body], path=path)
    assert status == 200, answer
    assert [request.body.get("max_tokens", request.body.get("max_output_tokens")) for request in stub.requests] == [limit]


def test_a_model_s_own_budget_limits_its_answers_too(serve: Any, stub: StubServer) -> None:
    settings = {"access": {"models": {"good": {"usd_total": 100.0}}}, "limits": {"output_tokens": 1000}}
    gateway = serve({"good": PRICES, "other": PRICES}, settings=settings)
    headers = [ask_all(gateway.url, [chat(name)])[0][1] for name in ("good", "other")]
    assert [found.get("x-aamc-max-tokens") for found in headers] == ["1000", None]


def test_a_model_s_own_budget_refuses_as_any_other_and_sends_routed_requests_elsewhere(serve: Any, stub: StubServer) -> None:
    gateway = serve({"good": PRICES, "other": PRICES}, settings={"access": {"models": {"good": {"usd_total": 1e-9}}}})
    ((status, headers, body),) = ask_all(gateway.url, [chat("good", max_tokens=10)])
    assert (status, headers["x-should-retry"]) == (402, "false")
    assert b"the budget of the model 'good' has" in body
    for path in ("messages", "responses"):
        assert ask_all(gateway.url, [chat("good", max_tokens=10, input="hi")], path=path)[0][0] == 402
    assert ask_all(gateway.url, [chat("good", max_tokens=10, stream=True)])[0][0] == 402
    ((status, headers, _),) = ask_all(gateway.url, [chat("aamc/auto", max_tokens=10)])
    assert (status, headers["x-aamc-model"]) == (200, "other")


@pytest.mark.parametrize("model", ["aamc/auto", "aamc/arena"])
def test_a_request_beyond_all_models_own_budgets_is_refused_as_one_of_a_budget(serve: Any, stub: StubServer, model: str) -> None:
    own = {name: {"usd_per_day": 0.5} for name in ("good", "other")}
    gateway = serve({"good": PRICES, "other": PRICES}, settings={"access": {"models": own}})
    ((status, headers, body),) = ask_all(gateway.url, [chat(model, max_tokens=100)])
    assert (status, headers["x-should-retry"]) == (402, "false")
    assert b"the budget of the model" in body
    assert stub.counts("good").calls + stub.counts("other").calls == 0
    assert "aamc_fallbacks_total{" not in httpx.get(f"{gateway.url}/metrics", timeout=60).text


@pytest.mark.parametrize("refused", ["good", "other"])
def test_a_call_that_failed_says_more_than_a_model_s_own_budget(serve: Any, stub: StubServer, refused: str) -> None:
    stub.scripts |= dict.fromkeys(("good", "other"), Script(fault="status", status=500))
    gateway = serve({"good": PRICES, "other": PRICES}, settings={"access": {"models": {refused: {"usd_total": 0.5}}}})
    ((status, headers, body),) = ask_all(gateway.url, [chat("aamc/auto", max_tokens=100)])
    assert (status, headers["x-should-retry"]) == (502, "false")
    assert f"the budget of the model '{refused}' has 0.5 USD left".encode() in body
    assert b"500" in body


def test_an_arena_that_has_paid_an_answer_is_not_refused_as_a_budget(serve: Any) -> None:
    settings = {"access": {"models": {"good": {"usd_total": 0.5}}}, "arena": {"candidates": 2, "on_error": "fail"}}
    gateway = serve({"good": PRICES, "other": PRICES}, settings=settings)
    ((status, _, body),) = ask_all(gateway.url, [chat("aamc/arena", max_tokens=100)])
    assert (status, b"the budget of the model 'good' has 0.5 USD left" in body) == (503, True)


def test_a_model_without_prices_is_left_out_under_a_budget_wherever_it_stands(serve: Any, stub: StubServer) -> None:
    gateway = serve({"good": PRICES, "other": PRICES}, settings={"access": {"limits": {"usd_total": 100.0}}})
    file = gateway.folder / "pool.yaml"
    pool = yaml.safe_load(file.read_text())
    gateway.stop()
    pool["candidates"].insert(0, {"name": "unpriced", "endpoint": pool["candidates"][0]["endpoint"]})
    with ForkedGateway(gateway.folder, pool["candidates"], settings={"access": {"limits": {"usd_total": 100.0}}}) as again:
        ((status, headers, body),) = ask_all(again.url, [chat("aamc/auto", max_tokens=10)])
        assert (status, headers.get("x-aamc-model")) != (200, "unpriced"), body
        assert status == 200, body
        assert ask_all(again.url, [chat("unpriced", max_tokens=10)])[0][0] == 402


def test_a_request_beyond_the_whole_budget_is_not_told_to_wait(serve: Any) -> None:
    gateway = serve({"good": PRICES}, settings={"access": {"limits": {"usd_per_day": 0.5}}})
    ((status, headers, body),) = ask_all(gateway.url, [chat(max_tokens=100)])
    assert (status, "retry-after" in headers, b"renewed" in body) == (402, False, False)
