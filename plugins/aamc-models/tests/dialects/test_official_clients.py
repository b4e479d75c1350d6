"""The official clients read what the conversions write, from a server that plays back bytes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anthropic
import openai
import pytest
from aamc_models.dialects import DIALECTS, StreamConverter, answer_to_chat, convert_answer, error_body, error_event

FRAME = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1700000000, "model": "upstream"}
DELTAS: list[dict[str, Any]] = [
    {"role": "assistant", "content": ""},
    {"reasoning_content": "Two "},
    {"reasoning_content": "cities."},
    {"content": "I look "},
    {"content": "twice."},
    {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]},
    {"tool_calls": [{"index": 1, "id": "call_2", "type": "function", "function": {"name": "weather", "arguments": '{"city":'}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '"Rome"}'}}]},
    {"tool_calls": [{"index": 1, "function": {"arguments": '"Oslo"}'}}]},
]
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 5},
}
CALLS = [
    {"id": f"call_{n}", "type": "function", "function": {"name": "weather", "arguments": json.dumps({"city": city})}}
    for n, city in enumerate(("Rome", "Oslo"), 1)
]
MESSAGE = {"role": "assistant", "content": "I look twice.", "reasoning_content": "Two cities.", "tool_calls": CALLS}
ANSWER = {
    "id": "chatcmpl-7",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "upstream",
    "choices": [{"index": 0, "message": MESSAGE, "logprobs": None, "finish_reason": "tool_calls"}],
    "usage": USAGE,
}
ASK: list[Any] = [{"role": "user", "content": "The weather in Rome and Oslo?"}]


def chunks() -> list[bytes]:
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in DELTAS]
    choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
    events = [{**FRAME, "choices": [choice]} for choice in choices] + [{**FRAME, "choices": [], "usage": USAGE}]
    return [*(f"data: {json.dumps(event)}\n\n".encode() for event in events), b"data: [DONE]\n\n"]


def converted(source: str, target: str, events: list[bytes]) -> list[bytes]:
    converter = StreamConverter(source, target, "aamc/auto")
    return [*(written for event in events for written in converter.feed(event)), *converter.end()]


class Playback(ThreadingHTTPServer):
    """Answers every request with the same status and bytes."""

    status, media, body = 200, "application/json", b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def play(self, answer: dict[str, Any] | list[bytes], status: int = 200) -> None:
        self.status = status
        self.media, self.body = (
            ("text/event-stream", b"".join(answer)) if isinstance(answer, list) else ("application/json", json.dumps(answer).encode())
        )


class Handler(BaseHTTPRequestHandler):
    server: Playback

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(self.server.status)
        self.send_header("content-type", self.server.media)
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Playback]:
    playback = Playback(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=playback.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield playback
    playback.shutdown()
    thread.join()
    playback.server_close()


@pytest.fixture
def openai_client(server: Playback) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(server: Playback) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as client:
        yield client


def check_message(message: Any) -> None:
    """Check what Anthropic's client has understood, by its own strict model."""
    message = anthropic.types.Message.model_validate(message.model_dump(mode="json"))
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert message.content[0].thinking == "Two cities."
    assert message.content[1].text == "I look twice."
    assert [(block.id, block.input) for block in message.content[2:]] == [("call_1", {"city": "Rome"}), ("call_2", {"city": "Oslo"})]
    assert (message.stop_reason, message.model) == ("tool_use", "aamc/auto")
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens, usage.output_tokens) == (50, 40, 10, 20)


def check_response(response: Any) -> None:
    """Check what OpenAI's client has understood, by its own strict model."""
    response = openai.types.responses.Response.model_validate(response.model_dump(mode="json", warnings=False))
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call", "function_call"]
    assert response.output[0].summary[0].text == "Two cities."
    assert response.output_text == "I look twice."
    assert [(item.call_id, json.loads(item.arguments)) for item in response.output[2:]] == [
        ("call_1", {"city": "Rome"}),
        ("call_2", {"city": "Oslo"}),
    ]
    assert (response.status, response.model) == ("completed", "aamc/auto")
    usage = response.usage
    assert (
        usage.input_tokens,
        usage.input_tokens_details.cached_tokens,
        usage.output_tokens,
        usage.output_tokens_details.reasoning_tokens,
    ) == (100, 40, 20, 5)


def check_completion(completion: Any) -> None:
    completion = openai.types.chat.ChatCompletion.model_validate(completion.model_dump(mode="json", warnings=False))
    choice = completion.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("I look twice.", "tool_calls")
    assert [(call.id, json.loads(call.function.arguments)) for call in choice.message.tool_calls] == [
        ("call_1", {"city": "Rome"}),
        ("call_2", {"city": "Oslo"}),
    ]
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens, completion.usage.prompt_tokens_details.cached_tokens) == (100, 20, 40)


def test_anthropics_client_reads_a_whole_answer(server: Playback, anthropic_client: Any) -> None:
    server.play(convert_answer("chat", "messages", ANSWER, "aamc/auto"))
    check_message(anthropic_client.messages.create(model="m", max_tokens=9, messages=ASK))


def test_anthropics_client_reads_a_stream(server: Playback, anthropic_client: Any) -> None:
    server.play(converted("chat", "messages", chunks()))
    with anthropic_client.messages.stream(model="m", max_tokens=9, messages=ASK) as stream:
        texts = list(stream.text_stream)
        check_message(stream.get_final_message())
    assert texts == ["I look ", "twice."]


def test_every_event_of_a_stream_is_one_of_anthropics(server: Playback, anthropic_client: Any) -> None:
    server.play(converted("chat", "messages", chunks()))
    for event in anthropic_client.messages.create(model="m", max_tokens=9, messages=ASK, stream=True):
        type(event).model_validate(event.model_dump(mode="json", exclude_unset=True))


def test_openais_client_reads_a_whole_response(server: Playback, openai_client: Any) -> None:
    server.play(convert_answer("chat", "responses", ANSWER, "aamc/auto"))
    check_response(openai_client.responses.create(model="m", input="The weather?"))


def test_openais_client_reads_a_stream_of_a_response(server: Playback, openai_client: Any) -> None:
    server.play(converted("chat", "responses", chunks()))
    with openai_client.responses.stream(model="m", input="The weather?") as stream:
        texts = [event.delta for event in stream if event.type == "response.output_text.delta"]
        check_response(stream.get_final_response())
    assert texts == ["I look ", "twice."]


def test_every_event_of_a_stream_is_one_of_responses(server: Playback, openai_client: Any) -> None:
    server.play(converted("chat", "responses", chunks()))
    stream = openai_client.responses.create(model="m", input="The weather?", stream=True)
    kinds = [type(event).model_validate(event.model_dump(mode="json", exclude_unset=True, warnings=False)).type for event in stream]
    assert (kinds[:2], kinds[-1]) == (["response.created", "response.in_progress"], "response.completed")


@pytest.mark.parametrize("source", ["messages", "responses"])
def test_openais_client_reads_a_stream_that_was_of_another_dialect(source: str, server: Playback, openai_client: Any) -> None:
    server.play(converted(source, "chat", converted("chat", source, chunks())))
    with openai_client.chat.completions.stream(model="m", messages=ASK) as stream:
        for _ in stream:
            pass
        check_completion(stream.get_final_completion())


@pytest.mark.parametrize("source", ["messages", "responses"])
def test_openais_client_reads_a_whole_answer_that_was_of_another_dialect(source: str, server: Playback, openai_client: Any) -> None:
    server.play(answer_to_chat(source, convert_answer("chat", source, ANSWER)))
    check_completion(openai_client.chat.completions.create(model="m", messages=ASK))


def test_openais_client_reads_completions(server: Playback, openai_client: Any) -> None:
    server.play(convert_answer("chat", "completions", ANSWER))
    assert openai_client.completions.create(model="m", prompt="a").choices[0].text == "I look twice."
    server.play(converted("chat", "completions", chunks()))
    stream = list(openai_client.completions.create(model="m", prompt="a", stream=True))
    assert "".join(choice.text for chunk in stream for choice in chunk.choices) == "I look twice."
    assert stream[-1].usage.total_tokens == 120


def read_all(dialect: str, openai_client: Any, anthropic_client: Any) -> None:
    """Read a stream to its end with the dialect's client."""
    if dialect == "messages":
        stream = anthropic_client.messages.create(model="m", max_tokens=9, messages=ASK, stream=True)
    elif dialect == "responses":
        stream = openai_client.responses.create(model="m", input="a", stream=True)
    elif dialect == "chat":
        stream = openai_client.chat.completions.create(model="m", messages=ASK, stream=True)
    else:
        stream = openai_client.completions.create(model="m", prompt="a", stream=True)
    for _ in stream:
        pass


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_error_event_in_the_middle_raises_the_clients_own_error(dialect: str, server: Playback, openai_client: Any, anthropic_client: Any) -> None:
    events = converted("chat", dialect, chunks())[:3]
    server.play([*events, error_event(dialect, "the upstream was cut off", "protocol", sequence_number=3)])
    with pytest.raises((openai.APIError, anthropic.APIError), match="the upstream was cut off"):
        read_all(dialect, openai_client, anthropic_client)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_upstreams_error_event_crosses(dialect: str, server: Playback, openai_client: Any, anthropic_client: Any) -> None:
    failed = error_event("messages" if dialect != "messages" else "chat", "overloaded now", status=529)
    source = "messages" if dialect != "messages" else "chat"
    server.play(converted(source, dialect, [failed]))
    with pytest.raises((openai.APIError, anthropic.APIError), match="overloaded now"):
        read_all(dialect, openai_client, anthropic_client)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [("rate_limit", 429, "RateLimitError"), ("authentication", 401, "AuthenticationError"), ("request", 400, "BadRequestError")],
)
def test_an_error_answer_raises_the_clients_own_error(
    dialect: str, kind: str, status: int, expected: str, server: Playback, openai_client: Any, anthropic_client: Any
) -> None:
    server.play(error_body(dialect, "not now", kind, status), status)
    with pytest.raises((openai.APIError, anthropic.APIError), match="not now") as raised:
        read_all(dialect, openai_client, anthropic_client)
    assert expected == type(raised.value).__name__
