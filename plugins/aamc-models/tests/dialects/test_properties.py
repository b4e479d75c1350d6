"""Properties of the conversions, over generated conversations and answers."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from aamc_models.dialects import (
    DIALECTS,
    StreamConverter,
    StreamMonitor,
    answer_to_chat,
    convert_answer,
    foreign_state,
    from_chat,
    to_chat,
    usage_of,
    without_foreign_state,
)
from aamc_models.dialects.carried_state import carried_state
from hypothesis import given, settings
from hypothesis import strategies as st

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(str.strip)
NAMES = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
ARGUMENTS = st.dictionaries(NAMES, st.integers(-5, 5) | WORDS, max_size=3)
CALLS = st.builds(lambda n, name, arguments: {"n": n, "name": name, "arguments": arguments}, st.integers(0, 999), NAMES, ARGUMENTS)


def chat_call(call: dict[str, Any], position: str) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": json.dumps(call["arguments"])}
    return {"id": f"call_{position}_{call['n']}", "type": "function", "function": function}


def with_image(words: str, url: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": words}, {"type": "image_url", "image_url": {"url": url}}]


@st.composite
def conversations(draw: st.DrawFn) -> dict[str, Any]:
    """A chat request of a person's turns, each answered with text, and with tool calls and their results."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": draw(WORDS)}] if draw(st.booleans()) else []
    for turn in range(draw(st.integers(1, 3))):
        content = draw(WORDS | st.builds(with_image, WORDS, st.sampled_from(["data:image/png;base64,aGk=", "https://example.com/a.png"])))
        messages.append({"role": "user", "content": content})
        calls = [chat_call(call, f"{turn}_{n}") for n, call in enumerate(draw(st.lists(CALLS, max_size=3)))]
        if calls:
            messages.append({"role": "assistant", "content": draw(st.none() | WORDS), "tool_calls": calls})
            messages.extend({"role": "tool", "tool_call_id": call["id"], "content": draw(WORDS)} for call in calls)
        messages.append({"role": "assistant", "content": draw(WORDS)})
    messages.append({"role": "user", "content": draw(WORDS)})
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in draw(st.sets(NAMES, max_size=2))]
    return {"model": "m", "messages": messages, **({"tools": tools} if tools else {})}


def story(chat: dict[str, Any]) -> list[tuple[str, Any]]:
    """What a conversation tells, in order: texts and images by speaker, calls with their parsed arguments, results."""
    told: list[tuple[str, Any]] = []
    for message in chat["messages"]:
        content = message.get("content") or []
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        told += [(message["role"], part.get("text") or part["image_url"]["url"]) for part in parts]
        calls = [(call["id"], call["function"]) for call in message.get("tool_calls", ())]
        told += [(identity, (function["name"], json.loads(function["arguments"]))) for identity, function in calls]
    return told


@pytest.mark.parametrize("dialect", ["messages", "responses"])
@settings(max_examples=40, deadline=None)
@given(chat=conversations())
def test_a_conversation_comes_back_with_its_texts_tools_and_order(dialect: str, chat: dict[str, Any]) -> None:
    back = to_chat(dialect, from_chat(dialect, chat).body).body
    assert story(chat) == story(back)
    if "tools" in chat:
        assert [tool["function"]["name"] for tool in chat["tools"]] == [tool["function"]["name"] for tool in back["tools"]]


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    """A chat completion with reasoning, text and tool calls, any of which may be missing."""
    message: dict[str, Any] = {"role": "assistant", "content": draw(st.none() | WORDS)}
    if draw(st.booleans()):
        message["reasoning_content"] = draw(WORDS)
    calls = [chat_call(call, str(n)) for n, call in enumerate(draw(st.lists(CALLS, max_size=3)))]
    if calls:
        message["tool_calls"] = calls
    message["content"] = message["content"] if calls else message["content"] or "."
    counts = {name: draw(st.integers(0, 99)) for name in ("cached", "written", "reasoning", "uncached", "answer")}
    prompt, output = counts["cached"] + counts["written"] + counts["uncached"], counts["reasoning"] + counts["answer"]
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": counts["cached"], "cache_write_tokens": counts["written"]},
        "completion_tokens_details": {"reasoning_tokens": counts["reasoning"]},
    }
    reason = "tool_calls" if calls else draw(st.sampled_from(["stop", "length", "content_filter"]))
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "m", "choices": [choice], "usage": usage}


def pieces(words: str) -> list[str]:
    return [words[place : place + 3] for place in range(0, len(words), 3)]


def chat_events(answer: dict[str, Any]) -> list[bytes]:
    """The stream of a chat completion; parallel calls come one after another, but for the last piece of each."""
    message = answer["choices"][0]["message"]
    frame = {name: answer[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": piece} for piece in pieces(message.get("reasoning_content", ""))]
    deltas += [{"content": piece} for piece in pieces(message["content"] or "")]
    last: list[dict[str, Any]] = []
    for index, call in enumerate(message.get("tool_calls", ())):
        head = {"index": index, "id": call["id"], "type": "function", "function": {"name": call["function"]["name"], "arguments": ""}}
        *first, final = [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in pieces(call["function"]["arguments"])]
        deltas += [{"tool_calls": [head]}, *first]
        last.append(final)
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in [*deltas, *last]]
    choices.append({"index": 0, "delta": {}, "finish_reason": answer["choices"][0]["finish_reason"]})
    chunks = [{**frame, "choices": [choice], "usage": None} for choice in choices] + [{**frame, "choices": [], "usage": answer["usage"]}]
    return [*(b"data: %b\n\n" % orjson.dumps(chunk) for chunk in chunks), b"data: [DONE]\n\n"]


def converted(source: str, target: str, events: list[bytes]) -> list[bytes]:
    converter = StreamConverter(source, target)
    return [*(written for event in events for written in converter.feed(event)), *converter.end()]


def objects(events: list[bytes]) -> list[dict[str, Any]]:
    data = [event.partition(b"data: ")[2] for event in events]
    return [orjson.loads(entry) for entry in data if not entry.startswith(b"[DONE]")]


def accumulated_chat(events: list[bytes]) -> dict[str, Any]:
    """The chat completion that a stream of chunks says."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    calls: dict[int, dict[str, Any]] = {}
    answer: dict[str, Any] = {"object": "chat.completion"}
    reason = None
    for chunk in objects(events):
        answer.update({name: chunk[name] for name in ("id", "created", "model")})
        answer.update({"usage": chunk["usage"]} if chunk.get("usage") else {})
        for choice in chunk["choices"]:
            delta, reason = choice["delta"], choice["finish_reason"] or reason
            for name in ("content", "reasoning_content", "refusal"):
                if delta.get(name):
                    message[name] = (message.get(name) or "") + delta[name]
            for call in delta.get("tool_calls", ()):
                kept = calls.setdefault(call["index"], {"type": "function", "function": {"name": "", "arguments": ""}})
                kept.update({"id": call["id"]} if call.get("id") else {})
                for name, piece in call["function"].items():
                    kept["function"][name] += piece
            if "thinking_blocks" in delta:
                message.setdefault("thinking_blocks", []).extend(delta["thinking_blocks"])
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    return {**answer, "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}]}


def accumulated_messages(events: list[bytes]) -> dict[str, Any]:
    """The message that a stream says, as the official client accumulates it."""
    message: dict[str, Any] = {}
    for event in objects(events):
        if event["type"] == "message_start":
            message = event["message"]
        elif event["type"] == "content_block_start":
            message["content"].append({**event["content_block"], "_json": ""})
        elif event["type"] == "content_block_delta":
            block, delta = message["content"][event["index"]], event["delta"]
            name = {"input_json_delta": "_json", "text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}[delta["type"]]
            block[name] += delta[name if name != "_json" else "partial_json"]
        elif event["type"] == "message_delta":
            message.update(event["delta"], usage={**message["usage"], **event["usage"]})
    for block in message["content"]:
        written = block.pop("_json")
        block.update({"input": json.loads(written)} if written else {})
    return message


def accumulated(dialect: str, events: list[bytes]) -> dict[str, Any]:
    if dialect == "messages":
        assert events[-1] == b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
        return accumulated_messages(events)
    if dialect == "responses":
        assert [event["sequence_number"] for event in objects(events)] == list(range(len(events)))
        return dict(objects(events)[-1]["response"])
    assert events[-1] == b"data: [DONE]\n\n"
    return accumulated_chat(events)


def parsed_arguments(value: Any) -> Any:
    """The same answer, with the text of arguments read, as its white space may differ."""
    if isinstance(value, dict):
        return {name: json.loads(entry) if name == "arguments" else parsed_arguments(entry) for name, entry in value.items()}
    return [parsed_arguments(entry) for entry in value] if isinstance(value, list) else value


@pytest.mark.parametrize("target", ["messages", "responses"])
@settings(max_examples=40, deadline=None)
@given(answer=answers())
def test_a_converted_stream_says_the_same_as_the_converted_whole_answer(target: str, answer: dict[str, Any]) -> None:
    streamed = accumulated(target, converted("chat", target, chat_events(answer)))
    assert parsed_arguments(convert_answer("chat", target, answer)) == parsed_arguments(streamed)


@pytest.mark.parametrize("source", ["messages", "responses"])
@settings(max_examples=40, deadline=None)
@given(answer=answers())
def test_a_stream_of_another_dialect_says_the_same_in_chat(source: str, answer: dict[str, Any]) -> None:
    native = converted("chat", source, chat_events(answer))
    whole, streamed = answer_to_chat(source, accumulated(source, native)), accumulated_chat(converted(source, "chat", native))
    for said in (whole, streamed):  # a block without another server's signature says no more than the reasoning's text
        blocks = said["choices"][0]["message"].pop("thinking_blocks", ())
        assert all(carried_state(block) for block in blocks if block["signature"])
    assert parsed_arguments(whole) == parsed_arguments(streamed)


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=40, deadline=None)
@given(answer=answers())
def test_a_monitor_reads_the_usage_and_the_finish_of_the_whole_answer(dialect: str, answer: dict[str, Any]) -> None:
    events = chat_events(answer) if dialect == "chat" else converted("chat", dialect, chat_events(answer))
    monitor = StreamMonitor(dialect)
    seen = [monitor.feed(event) for event in events]
    assert usage_of(dialect, convert_answer("chat", dialect, answer)) == monitor.usage == usage_of("chat", answer)
    assert monitor.finished
    assert seen[-1].done
    if dialect != "completions":
        assert monitor.finish_reason == answer["choices"][0]["finish_reason"]
        assert any(entry.content for entry in seen)


@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
@settings(max_examples=40, deadline=None)
@given(chat=conversations(), signed=st.booleans())
def test_without_foreign_state_every_text_call_and_result_is_left(dialect: str, chat: dict[str, Any], signed: bool) -> None:
    for message in chat["messages"]:
        if signed and message["role"] == "assistant":
            message["thinking_blocks"] = [{"type": "thinking", "thinking": "hm", "signature": "sig"}, {"type": "redacted_thinking", "data": "x"}]
    body = chat if dialect == "chat" else from_chat(dialect, chat).body
    if signed:
        assert foreign_state(dialect, body) & {"thinking", "encrypted_reasoning"}
    portable = without_foreign_state(dialect, body)
    assert foreign_state(dialect, portable) <= {"open_tool_calls"}
    assert story(to_chat(dialect, portable).body) == story(chat)
