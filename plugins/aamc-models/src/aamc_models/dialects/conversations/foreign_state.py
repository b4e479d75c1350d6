"""State in a request that ties the conversation to the model that answered before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aamc_models.dialects.carried_state import CALL_STATE, carried_state
from aamc_models.dialects.content import CALL_ITEMS, SYSTEM_ROLES, has_block, is_set, lookup, safe_id
from aamc_models.dialects.fields import JSON, check_dialect, mapping, objects, objects_or_empty
from aamc_models.dialects.messages.thinking import THINKING_BLOCKS, lacks_thinking, thinks

FOREIGN_STATE = ("open_tool_calls", "previous_response_id", "item_reference", "container", "encrypted_reasoning", "thinking", "unsigned_thinking")
"""The kinds of state that :func:`foreign_state` finds."""
_CHAT_STATE = ("thinking_blocks", "reasoning_details", "reasoning_content", "reasoning", "audio", "provider_specific_fields", "extra_content")
_STORED = ("previous_response_id", "conversation")
_SECRET_ITEMS = {"reasoning": "encrypted_reasoning", "compaction": "encrypted_reasoning", "item_reference": "item_reference"}
_RESULTS = ("function_call_output", "custom_tool_call_output")


def foreign_state(dialect: str, body: Mapping[str, Any]) -> frozenset[str]:
    """Return the kinds of state in a request that only the model or server of its earlier answers understands.

    - ``"previous_response_id"``: the earlier conversation lies at the server.
    - ``"encrypted_reasoning"``, ``"thinking"`` (signed blocks), ``"item_reference"``, ``"container"``: another model or server refuses them.
    - ``"open_tool_calls"``: the last message, other than the system's, is a tool's result, or a call without one.
    - ``"unsigned_thinking"``: blocks that a conversion made. They tie to no model, but Anthropic refuses them. One that carries the state of a tool
      call or details of reasoning is of the kind ``"thinking"`` or ``"encrypted_reasoning"`` too.
    """
    check_dialect(dialect)
    if dialect == "completions":
        return frozenset()
    if dialect == "responses":
        return frozenset(_response_state(body))
    found: set[str] = {"container"} if is_set(body.get("container")) else set()
    messages = [message for _, message in objects(body.get("messages"), "messages")]
    for message in messages:
        if message.get("role") == "assistant":
            found.update(_message_state(dialect, message))
    spoken = [message for message in messages if message.get("role") not in SYSTEM_ROLES]
    if spoken and _is_open(spoken[-1]):
        found.add("open_tool_calls")
    return frozenset(found)


def _message_state(dialect: str, message: JSON) -> set[str]:
    """Return the kinds of state in an assistant's message."""
    if dialect == "messages":
        blocks = [block for block in objects_or_empty(message.get("content")) if block.get("type") in THINKING_BLOCKS]
        is_encrypted = False
    else:
        blocks = [block for _, block in objects(message.get("thinking_blocks"), "thinking_blocks")]
        calls = objects_or_empty(message.get("tool_calls"))
        has_state = any(is_set(message.get(name)) for name in ("reasoning_details", *CALL_STATE))
        is_encrypted = has_state or any(name in call for call in calls for name in CALL_STATE)
    found = {kind for block in blocks for kind in _thinking_kinds(block, "thinking")}
    return found | {"encrypted_reasoning"} if is_encrypted else found


def _thinking_kinds(block: JSON, signed: str) -> set[str]:
    """Return the kinds of state of a block of thinking; one whose signature is not a conversion's is of the kind ``signed``."""
    state = carried_state(block)
    if state is None:
        return {signed if block.get("signature") or block.get("data") else "unsigned_thinking"}
    return {"unsigned_thinking", signed} if state["calls"] or state.get("details") else {"unsigned_thinking"}


def _is_open(message: JSON) -> bool:
    """Return whether a last message leaves tool calls open."""
    if message.get("role") in ("tool", "function") or is_set(message.get("tool_calls")):
        return True
    return has_block(message, "tool_result", "tool_use")


def last_call(dialect: str, entries: object) -> str | None:
    """Return the id of the last tool call in messages, or in items of responses; None without one.

    It is the same in an answer and in a request that continues it, whichever dialects both have.
    """
    for entry in reversed(objects_or_empty(entries)):
        calls = objects_or_empty([entry] if dialect == "responses" else entry.get("content" if dialect == "messages" else "tool_calls"))
        if dialect != "chat":
            calls = [each for each in calls if each.get("type") in ("tool_use", *CALL_ITEMS)]
        if calls:
            call_id = calls[-1].get("call_id" if dialect == "responses" else "id")
            return safe_id(call_id) if isinstance(call_id, str) else None
    return None


def _response_state(body: JSON) -> set[str]:
    found = {"previous_response_id"} if any(is_set(body.get(name)) for name in _STORED) else set()
    if not isinstance(body.get("input"), list):
        return found
    last: object = ""
    for _, item in objects(body["input"], "input"):
        if item.get("role") in SYSTEM_ROLES:
            continue
        last = item.get("type")
        is_reasoning = last == "item_reference" and str(item.get("id")).startswith("rs_")  # another model can go on without it
        secret = lookup(_SECRET_ITEMS, "reasoning" if is_reasoning else last)
        if last == "reasoning":
            found.update(_thinking_kinds({"signature": item.get("encrypted_content")}, "encrypted_reasoning"))
        elif secret and (last == "item_reference" or is_set(item.get("encrypted_content"))):
            found.add(secret)
    if last in (*CALL_ITEMS, *_RESULTS):
        found.add("open_tool_calls")
    return found


def without_foreign_state(dialect: str, body: Mapping[str, Any], *, earlier_only: bool = False, model: str = "") -> dict[str, Any]:
    """Return a request without such state; every text of the conversation, tool call and tool result stays.

    Anthropic refuses a budget of thinking in the middle of tool calls whose message does not begin with its thinking, so it is switched off there.

    Args:
        dialect: The request's dialect.
        body: The request.
        earlier_only: Keep state from after the last human message, for a conversation that stays on its model and was on another one before.
        model: The candidate that gets the request: thinking that carries its own state stays.
    """
    check_dialect(dialect)
    if dialect == "completions":
        return dict(body)
    name = "input" if dialect == "responses" else "messages"
    entries = [] if isinstance(body.get(name), str) else [dict(entry) for _, entry in objects(body.get(name), name)]
    begin = next((place + 1 for place in range(len(entries) - 1, -1, -1) if _is_human(entries[place])), 0) if earlier_only else len(entries)
    without = {"chat": _chat_message, "messages": _message_without_thinking, "responses": _item_without_state}[dialect]
    kept = [changed for entry in entries[:begin] if (changed := without(entry, model)) is not None] + entries[begin:]
    stored = () if earlier_only else _STORED if dialect == "responses" else ("container",) if dialect == "messages" else ()
    portable = {key: value for key, value in body.items() if key not in stored}
    if not isinstance(body.get(name), str):
        portable[name] = kept
    if dialect == "messages" and thinks(body) and body["thinking"]["type"] == "enabled" and lacks_thinking(kept):
        portable["thinking"] = {"type": "disabled"}
    return portable


def _is_human(message: JSON) -> bool:
    """Return whether a message is a person's, and no tool's result."""
    return message.get("role") == "user" and not _is_open(message)


def _chat_message(message: JSON, model: str) -> dict[str, Any]:
    if message.get("role") != "assistant":
        return dict(message)
    portable = {name: value for name, value in message.items() if name not in _CHAT_STATE}
    if isinstance(message.get("tool_calls"), list):
        calls = (mapping(call, "tool_calls") for call in message["tool_calls"])
        portable["tool_calls"] = [{name: value for name, value in call.items() if name not in CALL_STATE} for call in calls]
    return portable


def _message_without_thinking(message: JSON, model: str) -> dict[str, Any] | None:
    """Return a message of Anthropic's without thinking; None if it held nothing else.

    Nor does it keep texts of white space, which models of other dialects write before tool calls, and which Anthropic refuses.
    """
    content = message.get("content")
    if message.get("role") != "assistant" or not isinstance(content, list):
        return dict(message)
    kept = [block for block in content if not isinstance(block, dict) or _is_portable(block, model)]
    return {**message, "content": kept} if kept else None


def _is_portable(block: JSON, model: str) -> bool:
    """Return whether a candidate accepts a block: neither thinking of another one nor a text of white space."""
    if block.get("type") in THINKING_BLOCKS:
        return _is_own(block, model)
    return block.get("type") != "text" or not isinstance(block.get("text"), str) or bool(block["text"].strip())


def _is_own(block: JSON, model: str) -> bool:
    """Return whether thinking carries state of a candidate."""
    return bool(model) and (carried_state(block) or {}).get("model") == model


def _item_without_state(item: JSON, model: str) -> dict[str, Any] | None:
    """Return an item of responses without its id, by which the server looks it up; None for one that is nothing but state."""
    if item.get("type") == "reasoning" and _is_own({"signature": item.get("encrypted_content")}, model):
        return dict(item)
    if lookup(_SECRET_ITEMS, item.get("type")):
        return None
    own = item.get("type") in (None, "message", *CALL_ITEMS, *_RESULTS)
    return {name: value for name, value in item.items() if not (own and name in ("id", "status"))}
