"""What ties a conversation to its model."""

from __future__ import annotations

from typing import Any

import pytest
from aamc_models.dialects import FOREIGN_STATE, convert_request, foreign_state, without_foreign_state

ASK = {"role": "user", "content": "Hi"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "sig"}
UNSIGNED = {"type": "thinking", "thinking": "hm", "signature": ""}
USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "42"}]}
SYSTEM = {"role": "system", "content": "Agents: a, b"}
"""As Claude Code writes it after a person's words or the results of tools."""
DEVELOPER = {"type": "message", "role": "developer", "content": "Be brief."}
CALL = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def messages(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [ASK, {"role": "assistant", "content": list(blocks)}, ASK]}


@pytest.mark.parametrize(
    ("dialect", "body", "kinds"),
    [
        ("chat", {"messages": [ASK]}, set()),
        ("messages", messages({"type": "text", "text": "a"}, USE), set()),
        ("messages", messages(THOUGHT), {"thinking"}),
        ("messages", messages({"type": "redacted_thinking", "data": "x"}), {"thinking"}),
        ("messages", messages(UNSIGNED), {"unsigned_thinking"}),
        ("messages", {"messages": [ASK, {"role": "assistant", "content": [USE]}, RESULT]}, {"open_tool_calls"}),
        ("messages", {"messages": [ASK], "container": "c"}, {"container"}),
        ("chat", {"messages": [ASK, {"role": "assistant", "tool_calls": [CALL]}]}, {"open_tool_calls"}),
        ("chat", {"messages": [ASK, {"role": "tool", "tool_call_id": "t", "content": "42"}]}, {"open_tool_calls"}),
        ("chat", {"messages": [{"role": "assistant", "content": "a", "thinking_blocks": [THOUGHT]}, ASK]}, {"thinking"}),
        ("chat", {"messages": [{"role": "assistant", "content": "a", "reasoning_details": [{}]}, ASK]}, {"encrypted_reasoning"}),
        ("responses", {"input": "Hi", "previous_response_id": "r"}, {"previous_response_id"}),
        ("responses", {"input": "Hi", "conversation": {"id": "c"}}, {"previous_response_id"}),
        ("responses", {"input": [{"type": "reasoning", "encrypted_content": "x"}, ASK]}, {"encrypted_reasoning"}),
        ("responses", {"input": [{"type": "reasoning", "summary": []}, ASK]}, {"unsigned_thinking"}),
        ("responses", {"input": [{"type": "item_reference", "id": "i"}, ASK]}, {"item_reference"}),
        ("responses", {"input": [{"type": "item_reference", "id": "rs_1"}, ASK]}, {"encrypted_reasoning"}),
        ("responses", {"input": [ASK, {"type": "function_call_output", "call_id": "t", "output": "42"}]}, {"open_tool_calls"}),
        ("messages", {"messages": [ASK, {"role": "assistant", "content": [USE]}, RESULT, SYSTEM]}, {"open_tool_calls"}),
        ("chat", {"messages": [ASK, {"role": "tool", "tool_call_id": "t", "content": "42"}, SYSTEM]}, {"open_tool_calls"}),
        ("responses", {"input": [{"type": "function_call_output", "call_id": "t", "output": "42"}, DEVELOPER]}, {"open_tool_calls"}),
        ("responses", {"input": [{"type": "reasoning", "encrypted_content": "x"}, DEVELOPER]}, {"encrypted_reasoning"}),
        ("messages", {"messages": [ASK, SYSTEM]}, set()),
        ("completions", {"prompt": "a"}, set()),
    ],
)
def test_state_is_named(dialect: str, body: dict[str, Any], kinds: set[str]) -> None:
    assert kinds == foreign_state(dialect, body)
    assert kinds <= set(FOREIGN_STATE)
    assert foreign_state(dialect, without_foreign_state(dialect, body)) <= {"open_tool_calls"}


def test_thinking_is_switched_off_in_the_middle_of_a_loop_that_loses_it() -> None:
    loop = {"messages": [ASK, {"role": "assistant", "content": [THOUGHT, USE]}, RESULT]}
    asked = {**loop, "thinking": {"type": "enabled", "budget_tokens": 2000}}
    assert without_foreign_state("messages", asked)["thinking"] == {"type": "disabled"}
    assert without_foreign_state("messages", {**asked, "messages": [*loop["messages"], SYSTEM]})["thinking"] == {"type": "disabled"}
    without = without_foreign_state("messages", loop)
    assert convert_request("messages", "messages", without, parameters={"thinking": asked["thinking"]}).body["thinking"] == {"type": "disabled"}
    assert "thinking" not in without
    later = {**asked, "messages": [*loop["messages"], {"role": "assistant", "content": "42"}, ASK]}
    assert asked["thinking"] == without_foreign_state("messages", later)["thinking"]


def test_a_message_of_thinking_alone_goes() -> None:
    assert without_foreign_state("messages", messages(THOUGHT))["messages"] == [ASK, ASK]


def test_white_space_that_another_model_wrote_before_a_call_goes_as_anthropic_refuses_it() -> None:
    portable = without_foreign_state("messages", messages({"type": "text", "text": "\n\n"}, USE))
    assert portable["messages"][1]["content"] == [USE]


def test_a_conversation_that_stays_keeps_the_state_of_its_open_loop() -> None:
    first = {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "a"}]}
    loop = {"role": "assistant", "content": [THOUGHT, USE]}
    kept = without_foreign_state("messages", {"messages": [ASK, first, ASK, loop, RESULT]}, earlier_only=True)["messages"]
    assert [ASK, {"role": "assistant", "content": [{"type": "text", "text": "a"}]}, ASK, loop, RESULT] == kept


def test_ids_of_items_go_as_the_server_looks_them_up() -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "t", "name": "f", "arguments": "{}", "status": "completed"}
    expected = [{"type": "function_call", "call_id": "t", "name": "f", "arguments": "{}"}]
    assert expected == without_foreign_state("responses", {"input": [call]})["input"]


def test_signatures_of_calls_go() -> None:
    call = {**CALL, "extra_content": {"google": {"thought_signature": "x"}}}
    body = {"messages": [ASK, {"role": "assistant", "content": "a", "tool_calls": [call]}]}
    assert {"encrypted_reasoning", "open_tool_calls"} == foreign_state("chat", body)
    assert without_foreign_state("chat", body)["messages"][1]["tool_calls"] == [CALL]
