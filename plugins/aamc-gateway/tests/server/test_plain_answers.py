"""Answers of chat in a vendor's own form: a client that let the router choose gets OpenAI's, one that named the model gets the vendor's."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest
from aamc_models.testing import Script
from server.conftest import Running

THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
PARTS = [THINKING, {"type": "text", "text": "Paris"}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
OTHER_CALL = {**CALL, "id": "call_2"}
DELTAS: list[dict[str, Any]] = [
    {"role": "assistant", "content": ""},
    {"content": [THINKING]},
    {"content": "Par"},
    {"content": PARTS[1:]},
    {"tool_calls": [CALL]},
    {"tool_calls": [OTHER_CALL]},
]
USAGE = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}


class _Server(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if body.get("stream"):
            choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in DELTAS]
            choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
            chunks: list[dict[str, Any]] = [{"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]} for choice in choices]
            chunks[-1]["usage"] = USAGE
            self.reply("text/event-stream", "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n")
        else:
            message = {"role": "assistant", "content": PARTS, "tool_calls": [CALL]}
            choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
            self.reply("application/json", json.dumps({"id": "c", "model": "m", "choices": [choice], "usage": USAGE}))

    def reply(self, kind: str, content: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def running(serve: Any) -> Iterator[Running]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield serve(fields={"good": {"deployments": [{"base_url": f"http://127.0.0.1:{server.server_port}/v1"}]}}, good=Script())
        server.shutdown()


def test_a_routed_answer_has_its_text_as_a_string_and_its_thinking_apart(running: Running) -> None:
    message = running.chat().json["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "Paris", "reasoning_content": "Hm.", "tool_calls": [CALL]}
    assert running.chat(model="good").json["choices"][0]["message"]["content"] == PARTS


def test_a_routed_stream_has_texts_and_a_number_for_each_call(running: Running) -> None:
    deltas = [choice["delta"] for event in running.chat(stream=True).events for choice in event["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "ParParis"
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "Hm."
    assert [delta["tool_calls"] for delta in deltas if "tool_calls" in delta] == [[{**CALL, "index": 0}], [{**OTHER_CALL, "index": 1}]]
    named = [choice["delta"] for event in running.chat(model="good", stream=True).events for choice in event["choices"]]
    assert named == [*DELTAS, {}]


def test_openais_client_reads_a_routed_stream(running: Running) -> None:
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{running.port}/v1", api_key="none", max_retries=0)
    with client.chat.completions.stream(model="aamc/auto", messages=[{"role": "user", "content": "Hi"}]) as stream:
        message = stream.get_final_completion().choices[0].message
    assert (message.content, [call.id for call in message.tool_calls or ()]) == ("ParParis", ["call_1", "call_2"])


@pytest.mark.parametrize("model", ["good", "aamc/arena"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_of_anthropics_client_keeps_its_name_though_it_is_too_long_for_openai(serve: Any, stub: Any, model: str, stream: bool) -> None:
    running = serve(good=Script(tool_arguments='{"at": 1}'), other=Script(tool_arguments="{}"))
    name = f"mcp__{'x' * 90}"
    tool = {"name": name, "input_schema": {"type": "object"}}
    asked = {"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": "Hi"}], "tools": [tool], "stream": stream}
    answer = running.ask("/v1/messages", {**asked, "tool_choice": {"type": "tool", "name": name}})
    blocks = [event.get("content_block", {}) for event in answer.events] if stream else answer.json["content"]
    assert [block["name"] for block in blocks if block.get("type") == "tool_use"] == [name]
    body = stub.requests[-1].body
    (sent,) = [tool["function"]["name"] for tool in body["tools"]]
    assert (len(sent), body["tool_choice"]["function"]["name"]) == (64, sent)


@pytest.mark.parametrize("model", ["good", "aamc/arena"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_custom_tool_and_a_namespace_of_a_client_of_responses_reach_a_model_of_chat(serve: Any, model: str, stream: bool) -> None:
    """Codex has the tools of MCP servers in namespaces, and patches files by a custom tool."""
    running = serve(good=Script(tool_arguments='{"input": "*** Begin"}'), other=Script(tool_arguments='{"input": "*** Begin"}'))
    patch = {"type": "custom", "name": "apply_patch"}
    for tool, own in (
        (patch, {"type": "custom_tool_call", "name": "apply_patch", "input": "*** Begin"}),
        ({"type": "namespace", "name": "mcp__eyes", "tools": [{"type": "function", "name": "look"}]}, {"name": "look", "namespace": "mcp__eyes"}),
    ):
        answer = running.ask("/v1/responses", {"model": model, "input": "Hi", "tools": [tool], "stream": stream})
        response = next(event["response"] for event in answer.events if event["type"] == "response.completed") if stream else answer.json
        (call,) = [item for item in response["output"] if item["type"] not in ("message", "reasoning")]
        assert own.items() <= call.items()


@pytest.mark.parametrize("model", ["good", "aamc/arena"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_sends_functions_gets_a_function_call(serve: Any, model: str, stream: bool) -> None:
    anthropic = {"provider": "anthropic"}
    running = serve(fields={"good": anthropic, "other": anthropic}, good=Script(tool_arguments='{"at": 1}'), other=Script(tool_arguments="{}"))
    answer = running.chat(model=model, stream=stream, functions=[{"name": "f", "parameters": {"type": "object"}}])
    choices = [choice for event in answer.events for choice in event["choices"]] if stream else answer.json["choices"]
    messages = [choice["delta" if stream else "message"] for choice in choices]
    names = [message["function_call"]["name"] for message in messages if message.get("function_call", {}).get("name")]
    assert (names, choices[-1]["finish_reason"]) == (["f"], "function_call")
    assert not any("tool_calls" in message for message in messages)
