"""Streams: fallback before content, errors after it, keep-alive, usage, and the closing object."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from aamc_gateway.forwarding.answers.event_sender import EventSender
from aamc_models.dialects import ChatEvents
from aamc_models.testing import Script, StubServer, playback

from aamc_sdk.errors import AamcError, ProviderError, StoreAwayError

PATHS = {"chat/completions": "messages", "messages": "messages", "responses": "input", "completions": "prompt"}


def streamed(running: Any, path: str, **fields: Any) -> Any:
    said = "hi" if PATHS[path] == "prompt" else [{"role": "user", "content": "hi"}]
    return running.ask(f"/v1/{path}", {"model": "aamc/auto", "stream": True, "max_tokens": 100, PATHS[path]: said, **fields})


@pytest.mark.parametrize("path", PATHS)
def test_the_last_event_has_the_aamc_object_and_the_cost_is_that_of_the_whole_answer(serve: Any, path: str) -> None:
    running = serve(good=Script(prompt_tokens=50, output_tokens=20, cached_tokens=10))
    events = streamed(running, path).events
    whole = streamed(running, path, stream=False)
    assert ["aamc" in event for event in events] == [False] * (len(events) - 1) + [True]
    assert events[-1]["aamc"]["cost_usd"] == pytest.approx(float(whole.headers["x-aamc-cost-usd"]))
    assert events[-1]["aamc"]["model"] == "good"


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
@pytest.mark.parametrize("model", ["aamc/auto?quality_floor=0", "good"])
def test_an_answer_of_messages_names_the_requested_model(serve: Any, provider: str, model: str) -> None:
    # Claude Code leaves thinking out of a conversation if a model other than the requested one has answered
    running = serve(fields={"good": {"provider": provider, "model": "claude-sonnet"}}, good=Script())
    events = streamed(running, "messages", model=model).events
    assert (events[0]["message"]["model"], events[-1]["aamc"]["model"]) == (model, "good")
    whole = streamed(running, "messages", model=model, stream=False)
    assert (whole.json["model"], whole.headers["x-aamc-model"]) == (model, "good")


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
def test_a_stream_of_messages_begins_with_the_tokens_of_its_prompt(serve: Any, provider: str) -> None:
    """Some clients read them from the first event alone; servers of chat report them in the last one, so they are estimated."""
    running = serve(fields={"good": {"provider": provider}}, good=Script(prompt_tokens=5000))
    events = streamed(running, "messages", messages=[{"role": "user", "content": "x" * 400}]).events
    (reported,) = [event["usage"] for event in events if event["type"] == "message_delta"]
    first = events[0]["message"]["usage"]["input_tokens"]
    assert first == 5000 if provider == "anthropic" else 100 <= first < 200
    assert reported.get("input_tokens", first) == 5000


def test_usage_is_hidden_from_clients_that_did_not_ask(serve: Any, stub: StubServer) -> None:
    running = serve(good=Script())
    assert not any("usage" in event for event in streamed(running, "chat/completions").events)
    asked = streamed(running, "chat/completions", stream_options={"include_usage": True}).events
    assert asked[-1]["usage"]["completion_tokens"] == 16
    assert all(received.body["stream_options"] == {"include_usage": True} for received in stub.requests)


TOOL = {"name": "look_up", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        *((path, {}) for path in PATHS),
        ("chat/completions", {"tools": [{"type": "function", "function": TOOL}]}),
        ("responses", {"tools": [{"type": "function", **TOOL}]}),
    ],
)
def test_a_whole_answer_of_a_server_that_does_not_stream_is_sent_as_events(serve: Any, monkeypatch: Any, path: str, fields: Any) -> None:
    monkeypatch.setattr(playback, "STREAMED", frozenset())
    running = serve(fields={"good": {"apis": ["chat", "completions"]}}, good=Script(text="In Paris.", prompt_tokens=50, output_tokens=20))
    answer = streamed(running, path, **fields)
    expected = b"look_up" if fields else b"In Paris."
    assert (answer.status, expected in answer.body, answer.events[-1]["aamc"]["model"]) == (200, True, "good")
    (attempt,) = running.log().attempts
    assert (attempt.status, attempt.prompt_tokens, attempt.output_tokens, attempt.cost_source) == ("ok", 50, 20, "priced")


def test_a_whole_answer_of_a_server_that_does_not_stream_may_be_large(serve: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(playback, "STREAMED", frozenset())
    answer = streamed(serve(good=Script(text="In Paris. " * 120_000)), "chat/completions")
    assert (answer.status, answer.body.count(b"In Paris.")) == (200, 120_000)


def test_a_whole_answer_that_is_no_valid_unicode_falls_back(serve: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(playback, "STREAMED", frozenset())
    monkeypatch.setattr(playback, "orjson", SimpleNamespace(dumps=lambda value: json.dumps(value).replace("BAD", "\\ud800").encode()))
    running = serve(broken=Script(text="BAD"), good=Script())
    for _ in range(4):
        assert streamed(running, "chat/completions").events[-1]["aamc"]["model"] == "good"


@pytest.mark.parametrize("asked", [True, False])
def test_a_stream_of_another_dialect_has_the_closing_object_and_no_unasked_usage(serve: Any, asked: bool) -> None:
    running = serve(fields={"good": {"provider": "anthropic"}}, good=Script())
    events = streamed(running, "chat/completions", **({"stream_options": {"include_usage": True}} if asked else {})).events
    assert events[-1]["aamc"]["model"] == "good"
    assert [event["usage"]["completion_tokens"] for event in events if event.get("usage")] == ([16] if asked else [])


@pytest.mark.parametrize("fault", ["refuse", "status", "html", "error_event", "empty"])
@pytest.mark.parametrize("path", ["chat/completions", "messages", "responses"])
def test_an_error_before_content_falls_back(serve: Any, fault: str, path: str) -> None:
    running = serve(broken=Script(fault=fault), good=Script())
    for _ in range(4):
        answer = streamed(running, path)
        assert answer.events[-1]["aamc"]["model"] == "good"
        assert answer.headers["x-aamc-model"] == "good"
    assert {attempt.candidate for attempt in running.log().attempts} >= {"good"}


@pytest.mark.parametrize(("path", "told"), [("chat/completions", "error"), ("messages", "error"), ("responses", "error")])
@pytest.mark.parametrize("fault", ["cut", "half", "late_error"])
def test_a_stream_that_breaks_ends_in_an_error_event(serve: Any, path: str, told: str, fault: str) -> None:
    running = serve(broken=Script(fault=fault))
    events = streamed(running, path).events
    assert told in events[-1]
    assert events[-1][told]["message"]
    (attempt,) = running.log().attempts
    assert (attempt.status, attempt.cost_source) == ("error", "estimated")


def sent_when_failing(error: AamcError) -> list[bytes]:
    """Return the bodies of a chat's stream that an error ends."""
    sent: list[bytes] = []

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message.get("body", b""))

    async def work() -> None:
        sender = EventSender(send, "chat", 100.0, lambda _: None)
        with sender:
            await sender.write(b": the first\n\n")
        await sender.fail(error, Mock())

    asyncio.run(work())
    return sent


@pytest.mark.parametrize(
    ("kind", "told"), [("authentication", b"server_error"), ("configuration", b"server_error"), ("request", b"invalid_request_error")]
)
def test_an_error_of_a_model_s_key_in_a_stream_is_not_told_as_the_client_s(kind: str, told: bytes) -> None:
    sent = sent_when_failing(ProviderError("model 'a' reported an error in its stream", kind=kind))
    assert told in b"".join(sent)


CHOICE = b'data: {"choices": [{"index": %d, "delta": {"content": "%s"}, "finish_reason": %s}]}\n\n'
FIRST, SECOND = ([CHOICE % (index, b"hi", b"null"), CHOICE % (index, b"", b'"stop"')] for index in (0, 1))


@pytest.mark.parametrize(
    ("events", "pause_s", "complete"),
    [
        ([*FIRST, *SECOND], 0.0, True),
        ([*FIRST, *SECOND], 0.5, True),
        (FIRST, 0.0, False),
        ([*FIRST, b"data: [DONE]\n\n"], 0.0, True),  # the server gives one choice only
    ],
)
def test_a_stream_that_ends_before_its_last_choice_began_is_cut(serve: Any, events: list[bytes], pause_s: float, complete: bool) -> None:
    with upstream_of(events, pause_s) as address:
        running = serve({"streams": {"usage_s": 0.2}}, {"good": {"deployments": [{"base_url": address}]}}, good=Script())
        answer = streamed(running, "chat/completions", n=2)
    assert ("error" in answer.events[-1]) is not complete
    finished = sum(event["choices"][0]["finish_reason"] == "stop" for event in answer.events if "choices" in event)
    assert finished == len(events) // 2 or not complete


def test_a_client_reads_the_error_of_a_stream_that_ends_without_its_finish(serve: Any) -> None:
    with upstream_of([FIRST[0], b"data: [DONE]\n\n"], 0.0) as address:
        answer = streamed(serve({}, {"good": {"deployments": [{"base_url": address}]}}, good=Script()), "chat/completions")
    assert "error" in answer.events[-1]
    assert b"[DONE]" not in answer.body  # clients read nothing after it


@pytest.mark.parametrize("is_cut", [False, True], ids=["usage too late", "connection lost"])
def test_an_answer_is_complete_though_the_stream_goes_wrong_after_its_finish(serve: Any, is_cut: bool) -> None:
    last = b": cut\n\n" if is_cut else b'data: {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 1}}\n\n'
    with upstream_of([*FIRST, last], 3.0, is_cut=is_cut) as address:
        running = serve({"streams": {"usage_s": 60.0 if is_cut else 0.2}}, {"good": {"deployments": [{"base_url": address}]}}, good=Script())
        answer = streamed(running, "chat/completions")
    assert "error" not in answer.events[-1]
    assert answer.events[-1]["aamc"]["cost_source"] == "estimated"


@pytest.mark.parametrize("complete", [True, False])
def test_a_stream_of_completions_needs_a_choice_for_each_prompt(serve: Any, complete: bool) -> None:
    choice = b'data: {"choices": [{"index": %d, "text": "hi", "finish_reason": "stop"}]}\n\n'
    with upstream_of([choice % 0, choice % 1][: 2 if complete else 1], 0.0) as address:
        running = serve({}, {"good": {"deployments": [{"base_url": address}]}}, good=Script())
        answer = streamed(running, "completions", model="good", prompt=["one", "two"])
    assert (answer.status == 200) is complete


@contextmanager
def upstream_of(events: list[bytes], pause_s: float, *, is_cut: bool = False) -> Iterator[str]:
    """Serve streams of these events, with a pause after the second one, whose connection may end too early; yield the base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            if is_cut:
                self.send_header("content-length", "1000000")
            self.end_headers()
            for number, event in enumerate(events):
                time.sleep(pause_s if number == 2 else 0)
                self.wfile.write(event)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def test_a_converted_stream_without_its_finish_is_cut(serve: Any) -> None:
    deltas = [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}, {"type": "message_stop"}]
    with upstream_of([f"data: {json.dumps(event)}\n\n".encode() for event in deltas], 0.0) as address:
        running = serve({}, {"good": {"provider": "anthropic", "deployments": [{"base_url": address}]}}, good=Script())
        for path in ("chat/completions", "responses"):
            assert "was cut" in streamed(running, path).events[-1]["error"]["message"]


@pytest.mark.parametrize("path", ["chat/completions", "messages", "responses"])
@pytest.mark.parametrize("end", ["\n", "\r"])
def test_a_response_that_comes_only_with_its_end_is_an_answer(serve: Any, path: str, end: str) -> None:
    response = {"id": "resp_1", "status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": "Paris"}]}]}
    event = end.join((f"data: {json.dumps({'type': 'response.completed', 'response': response})}", "id: 1", "", "")).encode()
    with upstream_of([event], 0.0) as address:
        running = serve({}, {"good": {"apis": ["responses"], "deployments": [{"base_url": address}]}}, good=Script())
        answer = streamed(running, path)
    assert (answer.status, answer.body.count(b"Paris") > 0, "error" in answer.events[-1]) == (200, True, False)


def test_a_cached_stream_with_other_line_ends_has_a_closing_object_of_its_own(serve: Any) -> None:
    first = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}}]}\r\n\r\n'
    last = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\r\n\r\n'
    with upstream_of([first, last, b"data: [DONE]\r\n\r\n"], 0.0) as address:
        running = serve({"cache": {"enabled": True}}, {"good": {"deployments": [{"base_url": address}]}}, good=Script())
        end = time.monotonic() + 60
        while (answer := streamed(running, "chat/completions", model="good", temperature=0)).headers.get("x-aamc-cache") != "hit":
            assert time.monotonic() < end  # it is kept just after it was sent
    closing = answer.events[-1]["aamc"]
    assert (closing.get("cache"), closing["cost_usd"], answer.body.count(b"[DONE]")) == ("hit", 0.0, 1)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("fault", ["half", "late_error"])
def test_the_error_event_has_the_next_number_of_the_stream(serve: Any, provider: str, fault: str) -> None:
    running = serve({"streams": {"keep_alive_s": 0.05}}, {"broken": {"provider": provider}}, broken=Script(fault=fault, first_ms=200, pace_ms=70))
    answer = streamed(running, "responses")
    assert answer.body.count(b": keep-alive") > 1
    assert [event["sequence_number"] for event in answer.events] == list(range(len(answer.events)))
    assert answer.events[-1]["type"] == "error"


def test_the_error_event_of_an_orchestrator_s_stream_has_the_next_number() -> None:
    sent: list[bytes] = []
    events: list[str] = []
    request = Mock()

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message.get("body", b""))

    async def work() -> None:
        sender = EventSender(send, "responses", 1.0, events.append)
        with sender:
            await sender.write(ChatEvents("responses", "aamc/team", shows_usage=False).delta({"role": "assistant", "content": "hi"}))
            await sender.write(b": a server's comment\n\n")
        await sender.fail(ProviderError("it gave no answer", kind="server"), request)

    asyncio.run(work())
    assert events == ["error"]
    request.end.assert_called_once_with(200, "server")
    assert [int(number) for number in re.findall(rb'"sequence_number":(\d+)', b"".join(sent))] == list(range(sent[1].count(b"data:") + 1))


def test_a_stream_that_a_log_which_is_away_ends_names_no_address_and_the_servers_log_does(caplog: pytest.LogCaptureFixture) -> None:
    sent = sent_when_failing(StoreAwayError("the log redis://own-host/0 cannot be reached"))
    assert b"cannot be used now" in sent[-1]
    assert b"own-host" not in sent[-1]
    assert "own-host" in caplog.text


def test_a_silent_stream_is_kept_alive_and_the_closing_object_names_its_model(serve: Any) -> None:
    running = serve({"streams": {"keep_alive_s": 0.05}}, good=Script(first_ms=300))
    answer = streamed(running, "chat/completions")
    assert answer.body.startswith(b": keep-alive\n\n")
    assert "x-aamc-model" not in answer.headers
    assert "x-aamc-decision-id" in answer.headers
    assert answer.events[-1]["aamc"]["model"] == "good"


def test_when_all_have_failed_the_error_says_so_and_is_not_retried(serve: Any) -> None:
    running = serve(one=Script(fault="status", status=500), two=Script(fault="status", status=429, retry_after_s=7))
    answer = streamed(running, "chat/completions")
    assert (answer.status, answer.headers["retry-after"], answer.headers["x-should-retry"]) == (429, "7", "false")
    assert answer.headers["x-aamc-decision-id"]
    assert sorted(attempt.candidate for attempt in running.log().attempts) == ["one", "two"]
