"""Tools of responses that are no plain functions: those in a namespace, as of MCP servers in Codex, and custom ones, which take text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aamc_models.dialects import KnownTools, StreamConverter, StreamMonitor, convert_answer, convert_request
from aamc_models.dialects.events import data_of, event_of

PATCH = "*** Begin Patch\n*** Add File: a.txt\n+hé\n*** End Patch\n"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
REQUEST: dict[str, Any] = {
    "input": [
        {"role": "user", "content": "Fix it."},
        {"type": "function_call", "call_id": "c1", "name": "look", "namespace": "mcp__eyes", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "a cat"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": PATCH},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "done"},
    ],
    "tools": [
        {"type": "function", "name": "look", "parameters": SCHEMA},
        {"type": "namespace", "name": "mcp__eyes", "tools": [{"type": "function", "name": "look", "description": "Look.", "parameters": SCHEMA}]},
        {"type": "namespace", "name": "n" * 60, "tools": [{"type": "function", "name": "look"}]},
        {"type": "custom", "name": "apply_patch", "description": "Patches.", "format": GRAMMAR},
        {"type": "web_search"},
    ],
    "tool_choice": {"type": "custom", "name": "apply_patch"},
}


def test_tools_of_namespaces_and_custom_ones_become_functions() -> None:
    converted = convert_request("responses", "chat", REQUEST)
    assert converted.dropped == ["tools.format", "tools.web_search"]
    plain, named, long, custom = (tool["function"] for tool in converted.body["tools"])
    assert plain == {"name": "look", "parameters": SCHEMA}
    assert named == {"name": "mcp__eyes__look", "description": "Look.", "parameters": SCHEMA}
    assert len(long["name"]) == 64
    text = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"], "additionalProperties": False}
    assert custom == {"name": "apply_patch", "description": "Patches.\n\nGrammar of the input (lark):\nstart: /.+/", "parameters": text}
    assert converted.body["tool_choice"] == {"type": "function", "function": {"name": "apply_patch"}}
    called = [call["function"] for message in converted.body["messages"] for call in message.get("tool_calls", [])]
    assert [(call["name"], json.loads(call["arguments"])) for call in called] == [("mcp__eyes__look", {}), ("apply_patch", {"input": PATCH})]
    assert [tool["name"] for tool in convert_request("responses", "messages", REQUEST).body["tools"]] == [
        plain["name"],
        named["name"],
        long["name"],
        custom["name"],
    ]


@pytest.mark.parametrize("arguments", [json.dumps({"input": PATCH}), PATCH], ids=["as asked for", "without JSON"])
def test_an_answer_calls_them_as_the_client_named_them(arguments: str) -> None:
    tools = KnownTools.of(REQUEST, "responses")
    given = [("mcp__eyes__look", '{"city": "Oslo"}'), ("apply_patch", arguments), ("look", "{}")]
    calls = [
        {"index": n, "id": f"c{n}", "type": "function", "function": {"name": name, "arguments": written}} for n, (name, written) in enumerate(given)
    ]
    whole = convert_answer("chat", "responses", {"choices": [{"message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}, tools=tools)
    expected = [
        {"type": "function_call", "call_id": "c0", "name": "look", "namespace": "mcp__eyes", "arguments": '{"city": "Oslo"}'},
        {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": PATCH},
        {"type": "function_call", "call_id": "c2", "name": "look", "arguments": "{}"},
    ]
    assert [without_labels(item) for item in whole["output"]] == expected
    events = streamed(chunks(calls), tools)
    assert [without_labels(event["item"]) for event in events if event["type"] == "response.output_item.done"] == expected
    assert [without_labels(item) for item in events[-1]["response"]["output"]] == expected
    begun = [event["item"] for event in events if event["type"] == "response.output_item.added"]
    assert [item.get("arguments", item.get("input")) for item in begun] == ["", "", ""]
    inputs = [event.get("delta", event.get("input")) for event in events if event["type"].startswith("response.custom_tool_call_input")]
    assert inputs == [PATCH, PATCH]


@pytest.mark.parametrize("name", [None, 5, ["look"]])
def test_a_tool_whose_name_is_no_text_is_left_to_its_server(name: object) -> None:
    plain = {"type": "function", "name": name}
    assert KnownTools() == KnownTools.of({"tools": [{**plain, "type": "custom"}, {"type": "namespace", "name": "n", "tools": [plain]}]}, "responses")


def test_a_cut_call_of_a_custom_tool_is_marked() -> None:
    tools = KnownTools.of(REQUEST, "responses")
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "apply_patch", "arguments": '{"input": "*** Beg'}}
    whole = convert_answer("chat", "responses", {"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "length"}]}, tools=tools)
    cut = streamed(chunks([call], "length"), tools)[-1]["response"]
    for response in (whole, cut):
        [item] = response["output"]
        assert (response["status"], item["type"], item["status"], "arguments" in item) == ("incomplete", "custom_tool_call", "incomplete", False)


def chunks(calls: list[dict[str, Any]], reason: str = "tool_calls") -> list[dict[str, Any]]:
    """The chunks of a stream whose calls come in pieces."""
    deltas = []
    for call in calls:
        written = call["function"]["arguments"]
        deltas.append({**call, "function": {**call["function"], "arguments": ""}})
        deltas += [{"index": call["index"], "function": {"arguments": written[at : at + 5]}} for at in range(0, len(written), 5)]
    ended = {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    return [*({"choices": [{"index": 0, "delta": {"tool_calls": [delta]}}]} for delta in deltas), ended]


def streamed(given: list[dict[str, Any]], tools: KnownTools) -> list[dict[str, Any]]:
    """The events that chunks become, which end the call of a tool."""
    converter, monitor = StreamConverter("chat", "responses", tools=tools), StreamMonitor("responses")
    events = [event for chunk in given for event in converter.feed(event_of(chunk))] + converter.end()
    for event in events:
        monitor.feed(event)
    assert monitor.finish_reason in ("tool_calls", "length")
    return [json.loads(data_of(event)) for event in events]


def without_labels(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in ("id", "status")}
