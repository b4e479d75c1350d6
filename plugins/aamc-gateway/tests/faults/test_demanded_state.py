"""Tool loops over servers of chat that demand their state back, or refuse the ids of others, whatever API the client has."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

PATHS = {"chat": "chat/completions", "messages": "messages", "responses": "responses"}
SIGNATURE = {"google": {"thought_signature": "SIG"}}
NO_SIGNATURE = {"google": {"thought_signature": "skip_thought_signature_validator"}}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}
TOOLS: dict[str, dict[str, Any]] = {
    "chat": {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}},
    "messages": {"name": "weather", "input_schema": SCHEMA},
    "responses": {"type": "function", "name": "weather", "parameters": SCHEMA},
}


def complaint(model: str, messages: list[dict[str, Any]]) -> str:
    """The error of a server for a conversation, as Gemini's, DeepSeek's and Mistral's servers word it; empty if it accepts it."""
    asked = max(place for place, message in enumerate(messages) if message["role"] == "user")
    for place, message in enumerate(messages):
        for call in message.get("tool_calls") or ():
            if model.startswith("gemini") and place > asked and call.get("extra_content") not in (SIGNATURE, NO_SIGNATURE):
                return "Function call is missing a thought_signature in functionCall parts."
            if model == "deepseek" and not message.get("reasoning_content"):
                return "The `reasoning_content` in the thinking mode must be passed back to the API."
            if model == "devstral" and not re.fullmatch("[a-zA-Z0-9]{9}", call["id"]):
                return f"Tool call id was {call['id']} but must be a-z, A-Z, 0-9, with a length of 9."
    return ""


class _Server(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        model, messages = body["model"], body["messages"]
        if wrong := complaint(model, messages):
            self.reply(400, {"error": {"message": wrong, "type": "invalid_request_error"}})
            return
        message: dict[str, Any] = {"role": "assistant", "content": "Rain."}
        if messages[-1]["role"] != "tool":
            call_id = "D681PevKs" if model == "devstral" else f"call_{len(messages):024}"
            state = {"extra_content": SIGNATURE} if model.startswith("gemini") else {}
            message["tool_calls"] = [{"id": call_id, "type": "function", "function": {"name": "weather", "arguments": "{}"}, **state}]
        if model == "deepseek":
            message["reasoning_content"] = "I need the weather."
        usage = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
        finish = "tool_calls" if "tool_calls" in message else "stop"
        self.reply(200, {"id": "c", "model": model, "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage})

    def reply(self, status: int, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def converse(url: str, dialect: str, models: list[str]) -> None:
    """Ask a question of each model, run the tool that it calls, and return everything as it came."""
    for _ in turns(url, dialect, models, f"The weather? {models}"):
        pass


def turns(url: str, dialect: str, models: list[str], question: str) -> Iterator[None]:
    """Yield after each call of a conversation."""
    said: list[dict[str, Any]] = []
    body = {"tools": [TOOLS[dialect]], "max_tokens": 100, "input" if dialect == "responses" else "messages": said}
    for model in models:
        said.append({"role": "user", "content": f"{question} {len(said)}"})
        for _ in range(2):
            request = urllib.request.Request(f"{url}/v1/{PATHS[dialect]}", json.dumps({**body, "model": model}).encode())
            with urllib.request.urlopen(request, timeout=30) as answered:
                answer = json.load(answered)
            if dialect == "chat":
                said.append(answer["choices"][0]["message"])
                said += [{"role": "tool", "tool_call_id": call["id"], "content": "rain"} for call in said[-1].get("tool_calls") or ()]
            elif dialect == "messages":
                said.append({"role": "assistant", "content": answer["content"]})
                calls = [block["id"] for block in answer["content"] if block["type"] == "tool_use"]
                results = [{"type": "tool_result", "tool_use_id": call_id, "content": "rain"} for call_id in calls]
                said += [{"role": "user", "content": results}] if results else []
            else:
                said += answer["output"]
                calls = [item["call_id"] for item in answer["output"] if item["type"] == "function_call"]
                said += [{"type": "function_call_output", "call_id": call_id, "output": "rain"} for call_id in calls]
            yield
        assert "Rain." in json.dumps(answer)


@pytest.mark.parametrize("dialect", PATHS)
def test_tool_loops_go_on_with_every_server(serve: Any, address: str, dialect: str) -> None:
    gateway = serve({name: {"base_url": address} for name in ("gemini", "deepseek", "devstral", "other")})
    converse(gateway.url, dialect, ["gemini", "gemini", "devstral", "devstral", "gemini"])
    converse(gateway.url, dialect, ["deepseek", "deepseek", "other"])
    converse(gateway.url, dialect, ["other", "devstral"])


@pytest.mark.parametrize("dialect", ["messages", "responses"])
def test_conversations_that_begin_alike_keep_what_their_models_demand(serve: Any, address: str, dialect: str) -> None:
    gateway = serve({name: {"base_url": address} for name in ("gemini", "deepseek")})
    gemini, deepseek = (turns(gateway.url, dialect, [name] * 2, "The weather?") for name in ("gemini", "deepseek"))
    assert len(list(zip(gemini, deepseek, strict=True))) == 4


def test_a_tool_loop_goes_on_with_gemini_for_clients_that_drop_its_signatures(serve: Any, address: str) -> None:
    gateway = serve({name: {"base_url": address} for name in ("gemini-3-flash", "other")})
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    said = [
        {"role": "user", "content": "The weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    body = {"model": "gemini-3-flash", "messages": said, "tools": [TOOLS["chat"]]}
    request = urllib.request.Request(f"{gateway.url}/v1/chat/completions", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=30) as answered:
        assert json.load(answered)["choices"][0]["message"]["content"] == "Rain."
