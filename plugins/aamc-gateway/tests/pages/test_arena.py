"""The arena: several candidates answer one request, one answer is served, and votes become feedback."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from types import SimpleNamespace

import aiohttp
import pytest
from aamc_models.testing import Script, StubServer, playback
from pages.conftest import ADMIN, MODELS, Serve, chat, http, logged

ASK = {
    "/v1/chat/completions": chat("aamc/arena"),
    "/v1/messages": {**chat("aamc/arena"), "max_tokens": 100},
    "/v1/responses": {"model": "aamc/arena", "input": "What is the capital of France?"},
}


def text_of(path: str, answer: dict) -> str:
    if path == "/v1/messages":
        return answer["content"][0]["text"]
    return answer["output"][0]["content"][0]["text"] if path == "/v1/responses" else answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize("path", list(ASK))
def test_several_candidates_answer_and_one_answer_comes_in_the_dialect(serve: Serve, stub: StubServer, path):
    gateway = serve({"arena": {"candidates": 3}})
    found = http(gateway.url + path, ASK[path])
    served = found.headers["x-aamc-model"]
    assert (200, f"Answer of {served}.") == (found.status, text_of(path, found.json))
    assert dict.fromkeys(MODELS, 1) == {name: stub.counts(name).calls for name in MODELS}
    gateway.stop()
    attempts = logged(gateway).attempts
    assert (3, served) == (len(attempts), attempts[-1].candidate)
    assert pytest.approx(sum(attempt.cost_usd for attempt in attempts)) == float(found.headers["x-aamc-cost-usd"])


def test_a_streamed_answer_names_its_model_cost_and_vote_in_the_last_event(serve: Serve):
    gateway = serve({"arena": {"candidates": 2}})
    found = http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena", stream=True))
    last = found.events[-1]["aamc"]
    text = "".join(choice["delta"].get("content") or "" for event in found.events for choice in event["choices"])
    assert f"Answer of {last['model']}." == text
    assert found.body.endswith(b"data: [DONE]\n\n")
    assert last["cost_usd"] > 0
    assert f"/v1/arena/{found.headers['x-aamc-decision-id']}" == last["vote"]


def test_an_answer_of_messages_names_the_requested_model(serve: Serve):
    gateway = serve({"arena": {"candidates": 2}})
    body = ASK["/v1/messages"]
    assert http(f"{gateway.url}/v1/messages", body).json["model"] == "aamc/arena"
    events = http(f"{gateway.url}/v1/messages", {**body, "stream": True}).events
    assert (events[0]["message"]["model"], events[-1]["aamc"]["model"] in MODELS) == ("aamc/arena", True)


def test_a_stream_is_kept_alive_while_the_candidates_answer(serve: Serve, stub: StubServer):
    stub.scripts.update(dict.fromkeys(MODELS, Script(first_ms=300)))
    gateway = serve({"arena": {"candidates": 2}, "streams": {"keep_alive_s": 0.05}})
    found = http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena", stream=True))
    assert found.body.startswith(b": keep-alive\n\n")
    assert (found.body.endswith(b"data: [DONE]\n\n"), "error" in found.events[-1]) == (True, False)


def test_a_stream_that_fails_after_it_has_begun_counts_with_the_status_that_its_client_got(serve: Serve, stub: StubServer):
    stub.scripts.update(dict.fromkeys(MODELS, Script(fault="hang")))
    gateway = serve({"arena": {"candidates": 2, "timeout_seconds": 0.5}, "streams": {"keep_alive_s": 0.05}})
    found = http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena", stream=True))
    assert (found.status, "error" in found.events[-1]) == (200, True)
    assert b'model="",route="/v1/chat/completions",status="200"} 1.0' in http(f"{gateway.url}/metrics").body


def test_a_vote_is_blind_and_becomes_feedback_of_comparisons(serve: Serve):
    gateway = serve({"arena": {"candidates": 3}})
    vote = gateway.url + http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena")).headers["x-aamc-vote"]
    match = http(vote).json
    assert [answer["label"] for answer in match["answers"]] == ["A", "B", "C"]
    assert all(set(answer) == {"label", "text"} for answer in match["answers"])
    best = next(answer["label"] for answer in match["answers"] if answer["text"] == "Answer of small.")
    first, again = (http(f"{vote}/vote", {"winner": best}) for _ in range(2))
    assert (first.json["new"], again.json["new"]) == (2, 0)
    assert next(answer["candidate"] for answer in first.json["answers"] if answer["label"] == best) == "small"
    other = next(answer["label"] for answer in match["answers"] if answer["label"] != best)
    assert http(f"{vote}/vote", {"winner": other}).status == 409
    assert http(f"{vote}/vote", {"winner": "Z"}).status == 400
    assert "a vote has no field 'best'" in http(f"{vote}/vote", {"winner": best, "best": "B"}).json["error"]["message"]
    assert http(f"{gateway.url}/v1/arena/unknown").status == 404
    gateway.stop()
    assert {("small", "middle"), ("small", "large")} == {(feedback.candidate, feedback.over) for feedback in logged(gateway).feedback}


def test_voters_read_the_whole_conversation(serve: Serve):
    gateway = serve({"arena": {"candidates": 2}})
    turns = ("user", "Name a capital."), ("assistant", "Paris."), ("user", "Of which country?")
    body = chat("aamc/arena", messages=[{"role": "system", "content": "Be brief."}, *({"role": role, "content": text} for role, text in turns)])
    match = http(gateway.url + http(f"{gateway.url}/v1/chat/completions", body).headers["x-aamc-vote"]).json
    assert match["prompt"] == "user: Name a capital.\nassistant: Paris.\nuser: Of which country?"


def test_a_key_votes_only_on_what_it_asked(serve: Serve):
    gateway = serve({"arena": {"candidates": 2}}, keys=True)
    found = http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena"), authorization=f"Bearer {ADMIN}")
    assert http(gateway.url + found.headers["x-aamc-vote"]).status == 401
    assert http(gateway.url + found.headers["x-aamc-vote"], authorization=f"Bearer {ADMIN}").status == 200


def test_a_failed_candidate_is_left_out_or_fails_the_request(serve: Serve, stub: StubServer):
    stub.scripts["large"] = Script(fault="status", status=500)
    gateway = serve({"arena": {"candidates": 3}})
    found = http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena"))
    assert found.status == 200
    assert len(http(gateway.url + found.headers["x-aamc-vote"]).json["answers"]) == 2
    assert b'aamc_fallbacks_total{kind="server",model="large"} 1.0' in http(f"{gateway.url}/metrics").body


def test_a_candidate_whose_dialect_cannot_express_the_request_is_left_out(serve: Serve, stub: StubServer, candidates):
    from aamc_gateway.testing import stub_candidate

    candidates[:] = [candidates[0], stub_candidate("claude", f"{stub.url}", provider="anthropic", input_price=1.0)]
    gateway = serve({"arena": {"candidates": 2}})
    found = http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena", response_format={"type": "grammar"}))
    assert (found.status, found.headers.get("x-aamc-model")) == (200, "small")


def with_claude(candidates: list, stub: StubServer) -> dict:
    """Make the pool ``small`` and ``claude``, and return a request that the dialect of ``claude`` cannot express."""
    from aamc_gateway.testing import stub_candidate

    candidates[:] = [candidates[0], stub_candidate("claude", stub.url, provider="anthropic", input_price=1.0)]
    return chat("aamc/arena", response_format={"type": "grammar"})


def test_a_candidate_that_cannot_express_the_request_has_not_failed(serve: Serve, stub: StubServer, candidates):
    asked = with_claude(candidates, stub)
    found = http(f"{serve({'arena': {'candidates': 2, 'on_error': 'fail'}}).url}/v1/chat/completions", asked)
    assert (found.status, found.headers.get("x-aamc-model")) == (200, "small")


def test_a_timeout_beside_a_candidate_that_cannot_express_the_request_is_a_timeout(serve: Serve, stub: StubServer, candidates):
    asked = with_claude(candidates, stub)
    stub.scripts["small"] = Script(fault="hang")
    found = http(f"{serve({'arena': {'candidates': 2, 'timeout_seconds': 0.5}}).url}/v1/chat/completions", asked)
    assert (found.status, "gave no answer in 0.5 s" in found.json["error"]["message"]) == (504, True)


def test_a_request_that_no_candidate_can_express_is_refused(serve: Serve, stub: StubServer, candidates):
    asked = with_claude(candidates, stub)
    candidates[0] = {**candidates[1], "name": "other"}
    assert http(f"{serve({'arena': {'candidates': 2}}).url}/v1/chat/completions", asked).status == 400


def test_a_candidate_over_its_own_budget_could_have_taken_what_another_cannot_express(serve: Serve, stub: StubServer, candidates):
    asked = {**with_claude(candidates, stub), "model": "aamc/auto", "max_tokens": 10}
    found = http(f"{serve({'access': {'models': {'small': {'usd_total': 1e-9}}}}).url}/v1/chat/completions", asked)
    assert (found.status, "the budget of the model 'small'" in found.json["error"]["message"]) == (402, True)


def test_on_error_fail_fails_the_request(serve: Serve, stub: StubServer):
    stub.scripts["large"] = Script(fault="status", status=500)
    found = http(f"{serve({'arena': {'candidates': 3, 'on_error': 'fail'}}).url}/v1/chat/completions", chat("aamc/arena"))
    assert (found.status, found.headers["x-should-retry"]) == (502, "false")


def test_vote_returns_the_answer_that_most_candidates_gave(serve: Serve, stub: StubServer):
    stub.scripts.update(small=Script(text="42"), middle=Script(text=" 42."), large=Script(text="41"))
    gateway = serve({"arena": {"candidates": 3, "aggregate": "vote"}})
    for _ in range(3):
        found = http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena"))
        assert found.json["choices"][0]["message"]["content"].strip(" .") == "42"


@pytest.mark.parametrize("arena", [{"aggregate": "vote"}, {}, {"judge": "middle"}], ids=["vote", "choose", "judge"])
@pytest.mark.parametrize("in_parts", [False, True])
def test_an_empty_answer_is_served_only_where_all_are_empty(serve: Serve, stub: StubServer, monkeypatch, arena: dict, in_parts: bool):
    stub.scripts.update(small=Script(text="42"), middle=Script(text=""), large=Script(text=""))
    if in_parts:  # as Mistral's reasoning models answer
        patch_answers(monkeypatch, lambda message: message.update(content=[{"type": "text", "text": message["content"]}]))
    gateway = serve({"arena": {"candidates": 3, **arena}}, router={"name": "llm-only"})
    assert http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena")).headers["x-aamc-model"] == "small"
    stub.scripts["small"] = Script(text="")
    assert http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena")).headers["x-aamc-model"] == "large"


CONVERSATION = [
    {"role": role, "content": text}
    for role, text in (("user", "What is 6 x 7?" + " Please." * 3000), ("assistant", "42"), ("user", [{"type": "text", "text": "And 6 x 8?"}]))
]
CONVERSATION_TEXT = f"user: {CONVERSATION[0]['content']}\nassistant: 42\nuser: And 6 x 8?"


def test_a_judge_chooses_and_its_comparison_is_feedback(serve: Serve, stub: StubServer, candidates):
    from aamc_gateway.testing import stub_candidate

    stub.scripts["judge"] = Script(text="Reasons.\nA")  # in both orders the first: a tie
    candidates.append(stub_candidate("judge", f"{stub.url}/v1", input_price=5.0))
    gateway = serve({"arena": {"candidates": 2, "judge": "judge"}}, router={"name": "thompson"})
    found = http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena", messages=CONVERSATION))
    assert found.status == 200
    assert CONVERSATION_TEXT in stub.requests[-1].body["messages"][-1]["content"]
    gateway.stop()
    log = logged(gateway)
    (feedback,) = log.feedback
    assert (feedback.source, feedback.tie) == ("judge:judge", True)
    assert pytest.approx(sum(attempt.cost_usd for attempt in log.attempts)) == float(found.headers["x-aamc-cost-usd"])


def test_synthesize_writes_one_answer_from_all(serve: Serve, stub: StubServer, candidates):
    stub.scripts["small"] = Script(text="The one answer.")
    stub.scripts["large"] = Script(text="Mine.</answer>")
    gateway = serve({"arena": {"candidates": 3, "aggregate": "synthesize", "synthesizer": "small"}})
    found = http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena", messages=CONVERSATION))
    assert found.json["choices"][0]["message"]["content"] == "The one answer."
    assert stub.counts("small").calls == 2
    asked = stub.requests[-1].body["messages"][-1]["content"]
    assert CONVERSATION_TEXT in asked
    assert "Mine.&lt;/answer>" in asked  # an answer ends no section


def test_a_writer_that_writes_nothing_is_replaced_by_the_routers_choice(serve: Serve, stub: StubServer, candidates):
    stub.scripts["small"] = Script(text="")
    gateway = serve({"arena": {"candidates": 2, "aggregate": "synthesize", "synthesizer": "small"}}, router={"name": "llm-only"})
    found = http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena"))
    assert (found.headers["x-aamc-model"], bool(found.json["choices"][0]["message"]["content"])) == ("large", True)


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize("form", [{"tools": [TOOL]}, {"response_format": {"type": "json_object"}}, {"n": 2}], ids=lambda form: next(iter(form)))
def test_an_answer_in_a_form_that_a_writer_cannot_keep_to_is_a_candidate_s_own(serve: Serve, stub: StubServer, form: dict):
    stub.scripts["small"] = Script(text="The one answer.")
    gateway = serve({"arena": {"candidates": 2, "aggregate": "synthesize", "synthesizer": "small"}}, router={"name": "llm-only"})
    found = http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena", **form))
    assert (found.status, found.headers["x-aamc-model"]) == (200, "large")
    assert sum(stub.counts(name).calls for name in MODELS) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_of_a_custom_tool_is_answered_and_shown_to_voters(serve: Serve, stub: StubServer, monkeypatch, stream: bool):
    called = {"id": "c1", "type": "custom", "custom": {"name": "run", "input": "ls"}}
    patch_answers(monkeypatch, lambda message: message.update(content=None, tool_calls=[called]))
    gateway = serve({"arena": {"candidates": 2}})
    tools = [{"type": "custom", "custom": {"name": "run"}}]
    found = http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena", tools=tools, stream=stream))
    assert (found.status, b'"input":"ls"' in found.body) == (200, True)
    vote = found.events[-1]["aamc"]["vote"] if stream else found.headers["x-aamc-vote"]
    assert [answer["text"] for answer in http(gateway.url + vote).json["answers"]] == ["run(ls)", "run(ls)"]


def test_an_answer_that_the_client_could_not_read_has_failed(serve: Serve, stub: StubServer, monkeypatch):
    patch_answers(monkeypatch, lambda message: message.update(content=5), model="large")
    gateway = serve({"arena": {"candidates": 3}}, router={"name": "llm-only"})
    found = http(f"{gateway.url}/v1/messages", ASK["/v1/messages"])
    assert (found.status, found.headers.get("x-aamc-model") in ("small", "middle")) == (200, True)


def test_an_answer_that_is_no_valid_unicode_has_failed(serve: Serve, stub: StubServer, monkeypatch):
    monkeypatch.setattr(playback, "orjson", SimpleNamespace(dumps=lambda value: json.dumps(value).encode()))
    patch_answers(monkeypatch, lambda message: message.update(content="a\ud800b"), model="large")
    gateway = serve({"arena": {"candidates": 3}}, router={"name": "llm-only"})
    for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses"):
        found = http(f"{gateway.url}{path}", ASK[path])
        assert (found.status, found.headers.get("x-aamc-model") in ("small", "middle")) == (200, True)


def patch_answers(monkeypatch, change: Callable[[dict], object], model: str = "") -> None:
    """Change the messages of the stub's answers, those of all models or of one."""
    made = playback.answer_of

    def changed(api: str, reply, body) -> dict:
        answer = made(api, reply, body)
        if model in ("", reply.model):
            change(answer["choices"][0]["message"])
        return answer

    monkeypatch.setattr(playback, "answer_of", changed)


def test_a_judge_without_prices_leaves_the_cost_unknown(serve: Serve, stub: StubServer, candidates):
    from aamc_gateway.testing import stub_candidate

    stub.scripts["judge"] = Script(text="A")
    candidates.append({key: value for key, value in stub_candidate("judge", f"{stub.url}/v1").items() if key != "prices"})
    gateway = serve({"arena": {"candidates": 2, "judge": "judge"}}, router={"name": "epsilon-greedy", "exploration_rate": 0.0})
    costs = [http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena")).headers.get("x-aamc-cost-usd") for _ in range(3)]
    assert costs == [None] * 3


def test_a_share_of_the_traffic_is_asked_of_several_but_not_with_tools(serve: Serve, stub: StubServer):
    gateway = serve({"arena": {"candidates": 2, "share": 1.0}})
    assert "x-aamc-vote" in http(f"{gateway.url}/v1/chat/completions", chat()).headers
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    assert "x-aamc-vote" not in http(f"{gateway.url}/v1/chat/completions", chat(tools=tools)).headers
    assert "x-aamc-vote" not in http(f"{gateway.url}/v1/chat/completions", chat(stream=True)).headers


FAILED = Script(fault="status", status=500)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("asked", ["aamc/auto", "aamc/arena"])
@pytest.mark.parametrize("answers", list(MODELS))
def test_the_next_candidate_answers_if_all_of_a_match_fail(serve: Serve, stub: StubServer, answers: str, asked: str, stream: bool):
    stub.scripts.update({name: FAILED for name in MODELS if name != answers})
    gateway = serve({"arena": {"candidates": 2, "share": 1.0, "share_streams": True}}, router={"name": "llm-only"})
    for n in range(4):  # others than the router's choice are drawn by the decision's id
        found = http(f"{gateway.url}/v1/chat/completions", chat(asked, text=f"What is {n}?", stream=stream))
        shown = found.events[-1]["aamc"] if stream else {"model": found.headers.get("x-aamc-model")}
        assert (found.status, shown["model"]) == (200, answers)


def test_a_match_that_fails_calls_as_many_further_candidates_as_other_requests(serve: Serve, stub: StubServer):
    stub.scripts.update(small=FAILED, middle=FAILED, large=FAILED)
    gateway = serve({"arena": {"candidates": 2, "share": 1.0}, "limits": {"fallbacks": 0}})
    found = http(f"{gateway.url}/v1/chat/completions", chat())
    assert (found.status, sum(stub.counts(name).calls for name in MODELS)) == (502, 2)


def test_on_error_fail_fails_no_request_of_a_share(serve: Serve, stub: StubServer):
    stub.scripts.update(large=FAILED)
    gateway = serve({"arena": {"candidates": 3, "on_error": "fail", "share": 1.0}})
    assert http(f"{gateway.url}/v1/chat/completions", chat()).status == 200


def test_a_share_whose_budget_lacks_room_for_all_answers_gets_one(serve: Serve, stub: StubServer):
    limits = {"usd_per_day": 0.0008}  # enough for one answer of each candidate, and for two only without the most expensive one
    gateway = serve({"access": {"limits": limits}, "arena": {"candidates": 2, "share": 1.0}}, router={"name": "llm-only"})
    refused = http(f"{gateway.url}/v1/chat/completions", chat("aamc/arena", max_tokens=10))
    assert (refused.status, sum(stub.counts(name).calls for name in MODELS)) == (402, 0)
    found = http(f"{gateway.url}/v1/chat/completions", chat(max_tokens=10))
    assert (found.status, sum(stub.counts(name).calls for name in MODELS), "x-aamc-vote" in found.headers) == (200, 1, False)


@pytest.mark.parametrize(("store", "is_match"), [(None, False), (True, False), (False, True)])
def test_a_share_leaves_out_responses_that_a_server_may_keep(serve: Serve, store: bool | None, is_match: bool):
    gateway = serve({"arena": {"candidates": 2, "share": 1.0}})
    found = http(f"{gateway.url}/v1/responses", {"model": "aamc/auto", "input": "What is the capital of France?", "store": store})
    assert (found.status, "x-aamc-vote" in found.headers) == (200, is_match)


def test_a_client_that_leaves_ends_all_calls(serve: Serve, stub: StubServer):
    for name in MODELS:
        stub.scripts[name] = Script(fault="hang")
    gateway = serve({"arena": {"candidates": 3}})

    async def leave() -> None:
        async with aiohttp.ClientSession() as session:
            asking = asyncio.ensure_future(session.post(f"{gateway.url}/v1/chat/completions", json=chat("aamc/arena")))
            await asyncio.to_thread(stub.wait, lambda stub: all(stub.counts(name).calls for name in MODELS))
            asking.cancel()

    began = time.monotonic()
    asyncio.run(leave())
    assert stub.wait(lambda stub: all(stub.counts(name).cancelled for name in MODELS))
    assert time.monotonic() - began < 30


def test_the_models_list_has_the_arena(serve: Serve):
    assert "aamc/arena" in [model["id"] for model in http(f"{serve().url}/v1/models").json["data"]]
