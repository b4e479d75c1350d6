"""Conversations: what ties them to a candidate."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from aamc_gateway.access.shared import SharedState, open_shared
from aamc_gateway.requests.sessions import Answered, Sessions, hashed_session, session_in_metadata
from aamc_gateway.server.settings import SessionSettings
from aamc_models.testing import Script, StubServer
from server.conftest import key

from aamc_sdk.errors import StoreAwayError, StoreError
from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.types import Feedback

NOON = 1_800_014_400.0
TOOLS = [{"name": "weather", "description": "Weather.", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}]


@pytest.mark.parametrize(
    ("user_id", "expected"),
    [
        ("user_1_account_2_session_3", ("user_1_account_2", "3")),
        ('{"device_id": "d", "account_uuid": "a", "session_id": "s"}', ("a", "s")),
        ("anna", ("anna", None)),
        ('{"device_id": 7}', (None, None)),
    ],
)
def test_coding_agents_name_the_session_in_the_metadata(user_id: Any, expected: Any) -> None:
    assert session_in_metadata(user_id) == expected


def test_a_conversation_without_an_id_is_known_by_its_begin() -> None:
    assert hashed_session(None, "hi", "S" * 1000 + "Monday") == hashed_session(None, "hi", "S" * 1000 + "Tuesday")
    assert hashed_session(None, "hi", "S") != hashed_session("anna", "hi", "S")


def test_the_last_answer_of_a_conversation_counts_whichever_worker_gave_it() -> None:
    async def answered_last() -> list[str | None]:
        store = open_store("memory:", get_plugin_manager())
        shared = open_shared(store)
        one, other = (Sessions(SessionSettings(), shared) for _ in range(2))
        found = []
        for worker, candidate in ((one, "small"), (other, "large"), (one, "small"), (one, "small"), (other, "large")):
            last = await worker.find("s")
            found.append(None if last is None else last.candidate)
            await worker.note("s", candidate)
        await shared.close()
        store.close()
        return found

    assert asyncio.run(answered_last()) == [None, "small", "large", "small", "small"]


@pytest.mark.parametrize("stored", [b"\0", b"[]", b'["small"]', b'["small", "now", false]', b"null"])
def test_a_damaged_answer_of_another_worker_is_unknown(stored: bytes) -> None:
    async def find() -> Answered | None:
        with closing(open_store("memory:", get_plugin_manager())) as store:
            shared = open_shared(store)
            await shared.put("session:s", stored, 60.0)
            found = await Sessions(SessionSettings(), shared).find("s")
            await shared.close()
            return found

    assert asyncio.run(find()) is None


def test_a_conversation_that_the_worker_knows_goes_on_while_the_others_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def find() -> str | None:
        store = open_store("memory:", get_plugin_manager())
        shared = open_shared(store)
        sessions = Sessions(SessionSettings(), shared)
        await sessions.note("known", "small")

        async def away(key: str) -> None:
            raise StoreAwayError("away")

        monkeypatch.setattr(shared, "get", away)
        with pytest.raises(StoreAwayError):
            await sessions.find("unknown")
        found = await sessions.find("known")
        await shared.close()
        store.close()
        return None if found is None else found.candidate

    assert asyncio.run(find()) == "small"


@pytest.mark.parametrize("error", [StoreError("no permission"), StoreAwayError("away"), None])
def test_an_answer_is_not_lost_where_the_other_workers_cannot_learn_who_gave_it(serve: Any, monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    async def put(*arguments: Any, **options: Any) -> None:
        if error is not None:
            raise error
        await asyncio.sleep(60)  # a server that hangs

    monkeypatch.setattr(SharedState, "put", put)
    running = serve({"workers": 2}, good=Script())
    for stream in (False, True):
        assert running.chat(stream=stream, headers={"x-aamc-session": f"s{stream}"}).status == 200


def test_a_conversation_goes_on_where_the_other_workers_cannot_be_asked_who_answered_it(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*arguments: Any) -> None:
        raise StoreAwayError("away")

    monkeypatch.setattr(SharedState, "get", away)
    running = serve({"workers": 2}, one=Script(), two=Script())
    said = [("user", "Hello"), ("assistant", "Hi."), ("user", "And now?")]
    messages = [{"role": role, "content": text} for role, text in said]
    for model in ("aamc/auto", "one"):
        assert running.ask("/v1/chat/completions", {"model": model, "messages": messages}).status == 200
    stored = running.ask("/v1/responses", {"model": "aamc/auto", "input": "And now?", "previous_response_id": "resp_1"})
    assert stored.status == 503  # one server alone has the conversation


def test_a_conversation_that_its_server_keeps_goes_on_after_a_reload(serve: Any) -> None:
    apis = {"apis": ["chat", "responses"]}
    running = serve(one=Script(), two=Script(), fields={"one": apis, "two": apis})
    first = running.ask("/v1/responses", {"model": "aamc/auto", "input": "Hello"})
    asyncio.run_coroutine_threadsafe(running.app.reload(), running.loop).result(30)
    body = {"model": "aamc/auto", "input": "And now?", "previous_response_id": first.json["id"]}
    later = running.ask("/v1/responses", body)
    assert (later.status, later.headers["x-aamc-model"]) == (200, first.headers["x-aamc-model"])


def inferred(running: Any) -> Sequence[Feedback]:
    """Return the log's feedback, which is inferred after the answer."""
    deadline = time.monotonic() + 30
    while not (found := running.log().feedback) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def test_a_reload_keeps_requests_for_inferred_feedback(serve: Any) -> None:
    running = serve({"implicit": {"rephrasing": True}}, one=Script(), two=Script())
    headers = {"x-aamc-session": "s"}
    running.chat("how do I sort a list of numbers", headers=headers)
    asyncio.run_coroutine_threadsafe(running.app.reload(), running.loop).result(30)
    running.chat("how can I sort a list of numbers", headers=headers)
    assert [found.source for found in inferred(running)] == ["implicit:rephrasing"]


def test_a_reload_keeps_the_ratio_of_bytes_to_tokens_of_a_candidate_with_the_same_endpoint(serve: Any, tmp_path: Path, stub: StubServer) -> None:
    script = Script(prompt_tokens=1000)
    running = serve(same=script, changed=script)
    for name in ("same", "changed"):
        assert running.chat(model=name).status == 200
    file = tmp_path / "serve.yaml"
    file.write_text(file.read_text().replace("model: changed", "model: other"), encoding="utf-8")
    stub.scripts.update(same=Script(usage="never"), other=Script(usage="never"))
    asyncio.run_coroutine_threadsafe(running.app.reload(), running.loop).result(30)
    for name in ("same", "changed"):
        assert running.chat(model=name).status == 200
    *_, same, changed = [attempt.prompt_tokens for attempt in running.log().attempts]
    assert same > 3 * changed


def test_equal_session_ids_of_different_users_are_different_sessions(serve: Any) -> None:
    running = serve({"implicit": {"rephrasing": True}}, one=Script(), two=Script())
    asked = [("x", "how do I sort a list of numbers"), ("y", "how can I sort a list of numbers"), ("y", "how could I sort a list of numbers")]
    answers = [running.chat(text, headers={"x-aamc-session": "1"}, user=user) for user, text in asked]
    assert [found.decision_id for found in inferred(running)] == [answers[1].headers["x-aamc-decision-id"]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_feedback_is_inferred_also_in_the_arena_and_after_slow_answers(serve: Any, share: float, stream: bool) -> None:
    slow = Script(first_ms=800)
    running = serve({"arena": {"share": share, "share_streams": True, "candidates": 2}, "implicit": {"rephrasing": True}}, one=slow, two=slow)
    for text in ("how do I sort a list of numbers", "how can I sort a list of numbers"):
        assert running.chat(text, headers={"x-aamc-session": "s"}, stream=stream).status == 200
    assert [found.source for found in inferred(running)] == ["implicit:rephrasing"]


@pytest.mark.parametrize("attempt", range(3))
def test_a_tool_loop_stays_on_its_model_with_thinking(serve: Any, attempt: int) -> None:
    script = Script(thinking="Let me see.", strict=True)
    running = serve(one=script, two=script, fields={name: {"provider": "anthropic"} for name in ("one", "two")})
    asked = {"model": "aamc/auto", "max_tokens": 100, "tools": TOOLS, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    messages: list[Any] = [{"role": "user", "content": f"Weather in Paris? {attempt}"}]
    first = running.ask("/v1/messages", {**asked, "messages": messages})
    call = next(block for block in first.json["content"] if block["type"] == "tool_use")
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "sunny"}
    messages += [{"role": "assistant", "content": first.json["content"]}, {"role": "user", "content": [result]}]
    second = running.ask("/v1/messages", {**asked, "messages": messages})
    assert (first.status, second.status) == (200, 200)
    assert second.headers["x-aamc-model"] == first.headers["x-aamc-model"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", ["anthropic", "openai"])
@pytest.mark.parametrize("dialect", ["messages", "chat", "responses"])
def test_tool_loops_of_conversations_that_begin_alike_stay_on_their_models(serve: Any, dialect: str, provider: str, stream: bool) -> None:
    running = serve(one=Script(), two=Script(), fields={name: {"provider": provider} for name in ("one", "two")})
    for _ in range(50):  # the stub numbers each model's calls, and real ids are never the same: no loop of the other has one of its numbers
        running.chat(model="two")
    loops = [ToolLoop(running, dialect, stream) for _ in range(8)]
    while {loop.model for loop in loops} != {"one", "two"}:  # chance may give one of them many loops
        loops.append(ToolLoop(running, dialect, stream))
    for loop in loops:
        assert loop.go_on() == loop.model


def test_tool_calls_leave_other_conversations_their_places(serve: Any) -> None:
    running = serve({"sessions": {"at_most": 3}}, good=Script())
    running.chat(headers={"x-aamc-session": "other"})
    for _ in range(5):
        ToolLoop(running, "chat", False)
    assert "//session/other" in running.gateway.sessions._known
    assert len(running.gateway.calls._known) == 3


def test_conversations_that_are_taken_over_keep_to_the_new_limit() -> None:
    many, few = (Sessions(SessionSettings(at_most=most), None) for most in (5, 2))
    for number in range(5):
        asyncio.run(many.note(f"//session/{number}", "one"))
    few.take_over(many)
    asyncio.run(few.note("//session/5", "one"))
    assert list(few._known) == ["//session/4", "//session/5"]


@pytest.mark.parametrize("stream", [False, True])
def test_the_entries_of_an_answer_are_written_together(serve: Any, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    put, keys = SharedState.put, []

    async def waiting_for_the_other(self: Any, key: str, *arguments: Any, **options: Any) -> None:
        keys.append(key)
        while len(keys) < 2:
            await asyncio.sleep(0.01)
        await put(self, key, *arguments, **options)

    monkeypatch.setattr(SharedState, "put", waiting_for_the_other)
    running = serve({"workers": 2}, good=Script())
    ToolLoop(running, "chat", stream)
    found = [asyncio.run_coroutine_threadsafe(running.gateway.shared.get(key), running.loop).result(30) for key in keys]
    assert [orjson.loads(entry)[0] for entry in found] == ["good", "good"]


class ToolLoop:
    """A conversation whose first answer calls a tool."""

    def __init__(self, running: Any, dialect: str, stream: bool) -> None:
        self._running, self._dialect = running, dialect
        self._path = {"messages": "/v1/messages", "chat": "/v1/chat/completions", "responses": "/v1/responses"}[dialect]
        function = {"name": "weather", "parameters": TOOLS[0]["input_schema"]}
        tools = {"messages": TOOLS, "chat": [{"type": "function", "function": function}], "responses": [{"type": "function", **function}]}[dialect]
        self._asked = {"model": "aamc/auto", "tools": tools, **({"max_tokens": 100} if dialect == "messages" else {})}
        self._history: list[Any] = [{"role": "user", "content": "Weather in Paris?"}]
        answer = self._ask(stream=stream)
        self.model = answer.headers["x-aamc-model"]
        self._call = re.findall(r'"((?:call|toolu)_\d+)"', answer.body.decode())[-1]

    def _ask(self, **more: Any) -> Any:
        answer = self._running.ask(self._path, {**self._asked, **more, "input" if self._dialect == "responses" else "messages": self._history})
        assert answer.status == 200
        return answer

    def go_on(self) -> str:
        """Send the tool's result, and return the model that answers."""
        arguments = '{"city": "Paris"}'
        if self._dialect == "messages":
            call = {"type": "tool_use", "id": self._call, "name": "weather", "input": {"city": "Paris"}}
            result = {"type": "tool_result", "tool_use_id": self._call, "content": "sunny"}
            self._history += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
        elif self._dialect == "chat":
            call = {"id": self._call, "type": "function", "function": {"name": "weather", "arguments": arguments}}
            result = {"role": "tool", "tool_call_id": self._call, "content": "sunny"}
            self._history += [{"role": "assistant", "content": None, "tool_calls": [call]}, result]
        else:
            call = {"type": "function_call", "call_id": self._call, "name": "weather", "arguments": arguments}
            self._history += [call, {"type": "function_call_output", "call_id": self._call, "output": "sunny"}]
        return str(self._ask().headers["x-aamc-model"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["aamc/auto", "aamc/arena"])
def test_another_worker_knows_the_conversation_when_its_answer_ends(serve: Any, monkeypatch: pytest.MonkeyPatch, model: str, stream: bool) -> None:
    put = SharedState.put

    async def slow(*arguments: Any, **options: Any) -> None:
        await asyncio.sleep(0.3)
        await put(*arguments, **options)

    monkeypatch.setattr(SharedState, "put", slow)
    one, other = (serve({"workers": 2}, good=Script()) for _ in range(2))
    assert one.chat(model=model, stream=stream, headers={"x-aamc-session": "s"}).status == 200
    found = asyncio.run_coroutine_threadsafe(other.gateway.sessions.find("//session/s"), other.loop).result(30)
    assert found is not None
    assert found.candidate == "good"


def test_thinking_is_taken_out_when_another_model_is_named(serve: Any) -> None:
    script = Script(thinking="Let me see.", strict=True)
    running = serve(one=script, two=script, fields={name: {"provider": "anthropic"} for name in ("one", "two")})
    messages: list[Any] = [{"role": "user", "content": "hi"}]
    first = running.ask("/v1/messages", {"model": "one", "max_tokens": 100, "messages": messages})
    messages += [{"role": "assistant", "content": first.json["content"]}, {"role": "user", "content": "and now?"}]
    assert running.ask("/v1/messages", {"model": "two", "max_tokens": 100, "messages": messages}).status == 200


@pytest.mark.parametrize("model", ["aamc/auto", "cheap"])
def test_a_title_with_the_session_of_a_conversation_leaves_it_on_its_model(serve: Any, model: str) -> None:
    script = Script(thinking="Let me see.", strict=True)
    fields = {"strong": {"provider": "anthropic"}, "cheap": {"provider": "anthropic", "input_price": 0.1, "output_price": 0.2}}
    running = serve(strong=script, cheap=script, fields=fields)

    def ask(model: str, messages: list[Any], **more: Any) -> Any:
        return running.ask("/v1/messages", {"model": model, "max_tokens": 100, "messages": messages, **more}, x_claude_code_session_id="s")

    messages: list[Any] = [{"role": "user", "content": "hi"}]
    first = ask("strong", messages)
    title = ask(model, messages, system="Generate a concise title for this conversation.")
    messages += [{"role": "assistant", "content": first.json["content"]}, {"role": "user", "content": "and now?"}]
    assert (title.headers["x-aamc-model"], ask("aamc/auto", messages).headers["x-aamc-model"]) == ("cheap", "strong")


@pytest.mark.parametrize("others", [["plain"], ["other", "plain"]])
def test_an_unknown_earlier_answer_is_refused_where_it_may_lie_anywhere(serve: Any, others: list[str]) -> None:
    apis = {"apis": ["chat", "responses"]}
    fields = {"one": apis, "two": apis, **{name: {"provider": "anthropic"} for name in others}}
    running = serve(**dict.fromkeys(fields, Script()), fields=fields)
    answer = running.ask("/v1/responses", {"model": "aamc/auto", "input": "go on", "previous_response_id": "resp_unknown"})
    assert answer.status == 400
    without = f"models whose endpoints lack 'responses' in apis: {', '.join(others)}"
    assert f"does not know ({without}): send the whole conversation, or name its model" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    "state",
    [
        {"previous_response_id": "resp_elsewhere"},
        {"conversation": "conv_1"},
        {"input": [{"type": "item_reference", "id": "msg_1"}, {"role": "user", "content": "Good morning"}]},
    ],
)
def test_a_named_model_gets_the_state_that_its_server_keeps_whoever_answered_last(serve: Any, stub: StubServer, state: dict[str, Any]) -> None:
    running = serve(plain=Script(), keeps=Script(), fields={"plain": {"provider": "anthropic"}, "keeps": {"apis": ["responses"]}})
    headers = {"x-aamc-session": "s"}
    assert running.ask("/v1/responses", {"model": "plain", "input": "Good morning"}, **headers).status == 200
    answer = running.ask("/v1/responses", {"model": "keeps", "input": "Good morning", **state}, **headers)
    assert (answer.status, answer.headers["x-aamc-model"]) == (200, "keeps")
    assert {name: stub.requests[-1].body.get(name) for name in state} == state
    refused = running.ask("/v1/responses", {"model": "plain", "input": "Good morning", **state}, **headers)
    assert refused.status == 400
    why = "'plain' keeps no earlier answers (its endpoint lacks 'responses' in apis): send the whole conversation, and store: false"
    assert why in refused.json["error"]["message"]


def test_an_earlier_answer_is_refused_without_the_advice_to_name_a_model_where_none_keeps_answers(serve: Any) -> None:
    running = serve(one=Script(), two=Script(), fields={"two": {"provider": "anthropic"}})
    answer = running.ask("/v1/responses", {"model": "aamc/auto", "input": "go on", "previous_response_id": "resp_unknown"})
    assert (answer.status, "name its model" in answer.json["error"]["message"]) == (400, False)
    assert "(models whose endpoints lack 'responses' in apis: one, two): send the whole conversation" in answer.json["error"]["message"]


@pytest.mark.parametrize(("model", "dropped"), [("plain", "input.item_reference"), ("aamc/auto", None)])
def test_a_reference_to_reasoning_is_left_out_for_a_model_that_keeps_no_answers(serve: Any, stub: StubServer, model: str, dropped: Any) -> None:
    running = serve(plain=Script(), other=Script(), fields={"plain": {"provider": "anthropic"}})
    call = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "call_1", "output": "a cat"}
    reference = {"type": "item_reference", "id": "rs_c1_0"}
    answer = running.ask("/v1/responses", {"model": model, "input": [{"role": "user", "content": "Look"}, reference, call, result]})
    assert (answer.status, answer.headers.get("x-aamc-dropped")) == (200, dropped)  # without a known origin, it is another model's state
    assert "a cat" in str(stub.requests[-1].body)


def test_an_answer_that_is_to_be_stored_comes_from_a_model_that_stores_if_one_can(serve: Any, stub: StubServer) -> None:
    running = serve(plain=Script(), keeps=Script(), fields={"plain": {"provider": "anthropic"}, "keeps": {"apis": ["responses"]}})
    for count in range(6):
        stored = running.ask("/v1/responses", {"model": "aamc/auto", "input": f"Store {count}", "store": True})
        again = {"model": "aamc/auto", "input": "And now?", "previous_response_id": stored.json["id"]}
        assert [stored.headers["x-aamc-model"], running.ask("/v1/responses", again).headers["x-aamc-model"]] == ["keeps", "keeps"]
    stub.scripts["keeps"] = Script(fault="status", status=500)
    answer = running.ask("/v1/responses", {"model": "aamc/auto", "input": "Store this", "store": True})
    assert (answer.headers["x-aamc-model"], answer.headers["x-aamc-dropped"]) == ("plain", "store")


@pytest.mark.parametrize(
    ("path", "body", "native"),
    [
        ("/v1/responses", {"input": "The news?", "tools": [{"type": "web_search"}]}, "keeps"),
        (
            "/v1/messages",
            {
                "messages": [{"role": "user", "content": "The news?"}],
                "tools": [{"type": "web_search_20250305", "name": "web_search"}],
                "max_tokens": 9,
            },
            "claude",
        ),
    ],
)
def test_a_request_with_tools_of_the_server_alone_goes_to_a_model_of_its_api_if_one_can_answer(
    serve: Any, stub: StubServer, path: str, body: dict[str, Any], native: str
) -> None:
    """Claude Code searches the web by such a request, and takes whatever comes back for the results."""
    fields = {"plain": {"apis": ["chat"]}, "keeps": {"apis": ["responses"]}, "claude": {"provider": "anthropic"}}
    running = serve(plain=Script(), keeps=Script(), claude=Script(), fields=fields)
    assert {running.ask(path, {**body, "model": "aamc/auto"}).headers["x-aamc-model"] for _ in range(6)} == {native}
    function = {"name": "look", "input_schema": {"type": "object"}, "parameters": {"type": "object"}}
    mixed = {**body, "tools": [*body["tools"], {**function, **({"type": "function"} if "input" in body else {})}], "model": "aamc/auto"}
    assert {running.ask(path, mixed).headers["x-aamc-model"] for _ in range(12)} != {native}
    stub.scripts[native] = Script(fault="status", status=500)
    assert running.ask(path, {**body, "model": "aamc/auto"}).headers["x-aamc-model"] != native


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_says_whether_a_server_keeps_it(serve: Any, stub: StubServer, stream: bool) -> None:
    running = serve(plain=Script(), keeps=Script(), fields={"plain": {"provider": "anthropic"}, "keeps": {"apis": ["responses"]}})

    def ask(model: str, **fields: Any) -> Any:
        answer = running.ask("/v1/responses", {"model": model, "input": "Good morning", "stream": stream, **fields})
        return answer.events[-1]["response"] if stream else answer.json

    assert ask("plain")["store"] is False
    known = ask("keeps")
    assert known.get("store") is not False
    assert ask("keeps", previous_response_id=known["id"])["status"] == "completed"


@pytest.mark.parametrize(
    ("access", "status", "words"),
    [
        ({"models": {"big": {"requests_per_minute": 1}}}, 503, "big is over a limit of its own"),
        ({"models": {"big": {"usd_total": 0.012}}}, 402, "big has no budget of its own left"),
        ({"over_budget": "cheaper", "limits": {"usd_total": 0.025}}, 402, "continues an answer of 'big', and another one of it may cost more"),
    ],
)
@pytest.mark.parametrize("text", ["What is my name?", "Generate a concise title for this conversation"])
def test_an_answer_whose_model_may_not_be_called_is_continued_by_no_other(
    serve: Any, stub: StubServer, monkeypatch: pytest.MonkeyPatch, access: Any, status: int, words: str, text: str
) -> None:
    monkeypatch.setattr("aamc_gateway.access.access._FULL_S", 0.0)
    monkeypatch.setattr(time, "time", lambda: NOON)  # a minute does not end in between
    fields = {name: {"apis": ["chat", "responses"], "input_price": price, "output_price": price} for name, price in (("big", 10.0), ("small", 0.1))}
    running = serve({"access": access}, big=Script(prompt_tokens=1000, output_tokens=1000), small=Script(), fields=fields)
    asked = {"model": "aamc/auto", "max_output_tokens": 1000}
    first = running.ask("/v1/responses", {**asked, "model": "big", "input": "My name is Bob."})
    refused = running.ask("/v1/responses", {**asked, "input": text, "previous_response_id": first.json["id"]})
    assert (refused.status, stub.counts("small").calls) == (status, 0)
    assert words in refused.json["error"]["message"]


def test_a_known_earlier_answer_stays_at_its_server(serve: Any) -> None:
    apis = {"apis": ["chat", "responses"]}
    running = serve(one=Script(strict=True), two=Script(strict=True), fields={"one": apis, "two": apis})
    for stream in (False, True):
        first = running.ask("/v1/responses", {"model": "aamc/auto", "input": "hi", "stream": stream})
        known = first.events[-1]["response"]["id"] if stream else first.json["id"]
        served = first.events[-1]["aamc"]["model"] if stream else first.headers["x-aamc-model"]
        second = running.ask("/v1/responses", {"model": "aamc/auto", "input": "go on", "previous_response_id": known})
        assert (second.status, second.headers["x-aamc-model"]) == (200, served)


@pytest.mark.parametrize("stream", [False, True])
def test_a_stored_answer_stays_at_its_server_after_a_restart_and_many_other_conversations(serve: Any, stream: bool) -> None:
    apis = {"apis": ["chat", "responses"]}
    first, restarted = (
        serve({"sessions": {"at_most": 1}}, one=Script(strict=True), two=Script(strict=True), fields={"one": apis, "two": apis}) for _ in range(2)
    )
    for model in ("one", "two"):
        stored = first.ask("/v1/responses", {"model": model, "input": "hi", "stream": stream})
        first.chat("Another conversation")
        asked = {"model": "aamc/auto", "input": "go on", "previous_response_id": (stored.events[-1]["response"] if stream else stored.json)["id"]}
        for running in (first, restarted):
            answer = running.ask("/v1/responses", asked)
            assert (answer.status, answer.headers["x-aamc-model"]) == (200, model)


def test_all_keys_of_a_tenant_and_admins_continue_its_stored_answers(serve: Any) -> None:
    apis = {"apis": ["chat", "responses"]}
    running = serve(one=Script(strict=True), two=Script(strict=True), fields={"one": apis, "two": apis})
    unowned = running.ask("/v1/responses", {"model": "one", "input": "hi"}).json["id"]
    own, sibling, other = key(running, "a", tenant="acme"), key(running, "a2", tenant="acme"), key(running, "b", tenant="other")
    plain, admin = key(running, "plain"), key(running, "root", admin=True)
    running.gateway.access._checked = running.gateway.access._tenants_checked = -math.inf  # a worker looks again after two seconds
    stored = running.ask("/v1/responses", {"model": "one", "input": "hi"}, **own).json["id"]
    asked = [{"model": "aamc/auto", "input": "go on", "previous_response_id": name} for name in (stored, unowned)]
    assert [running.ask("/v1/responses", asked[0], **who).status for who in (sibling, admin, other, plain)] == [200, 200, 404, 404]
    assert [running.ask("/v1/responses", asked[1], **who).status for who in (admin, own, plain)] == [200, 404, 404]


def test_an_answer_that_is_not_to_be_stored_leaves_no_entry(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []

    async def put(self: Any, key: str, *arguments: Any, **options: Any) -> None:
        keys.append(key)

    monkeypatch.setattr(SharedState, "put", put)
    running = serve(good=Script(), fields={"good": {"apis": ["responses"]}})
    for fields in ({"store": False}, {"store": False, "stream": True}, {}):
        assert running.ask("/v1/responses", {"model": "good", "input": "hi", **fields}).status == 200
    assert len(keys) == 1


def test_a_container_goes_to_the_only_model_that_can_have_it_whoever_answered_the_same_first_words(serve: Any) -> None:
    running = serve(keeps=Script(), plain=Script(), fields={"keeps": {"provider": "anthropic"}})
    asked = {"max_tokens": 50, "messages": [{"role": "user", "content": "Summarise the attached sheet"}]}
    assert running.ask("/v1/messages", {**asked, "model": "plain"}).status == 200
    answer = running.ask("/v1/messages", {**asked, "model": "aamc/auto", "container": "c1"})
    assert (answer.status, answer.headers.get("x-aamc-model")) == (200, "keeps")
