"""Requests: from OpenAI's responses to chat."""

from __future__ import annotations

from typing import Any

from aamc_models.dialects.carried_state import carried_state
from aamc_models.dialects.content import CALL_ITEMS, arguments_text, check_sendable, chosen, is_set, of_type, plain_content
from aamc_models.dialects.fields import JSON, items, mapping, objects, optional_mapping, optional_text, text, to_json, whole_number, wrong
from aamc_models.dialects.known_tools import function_name, tools_in_namespaces
from aamc_sdk.errors import DataError

SAME = (
    "model",
    "stream",
    "temperature",
    "top_p",
    "parallel_tool_calls",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "service_tier",
)
"""Fields that requests have alike in chat and in responses."""
_STORED = {"previous_response_id": "the earlier conversation", "conversation": "the earlier conversation", "prompt": "the stored prompt"}
PARAGRAPH_BREAK = "\n\n"
"""The space between the summaries of one reasoning item."""
_CARRIED = ("message.output_text.logprobs", "reasoning.encrypted_content")


def request_to_chat(body: JSON, dropped: set[str]) -> dict[str, Any]:
    """Return a request of OpenAI's responses as canonical chat."""
    for name, stored in _STORED.items():
        if is_set(body.get(name)):
            raise DataError(f"{name} cannot be used here: the model has no access to {stored}; send all of it as input")
    chat: dict[str, Any] = {**chosen(body, *SAME), "messages": _messages(body, dropped)}
    if body.get("max_output_tokens") is not None:
        chat["max_tokens"] = whole_number(body["max_output_tokens"], "max_output_tokens")
    if body.get("stream") is True:
        chat["stream_options"] = {"include_usage": True}  # a client of this dialect always expects usage
    include = [text(name, "include") for name in items(body.get("include"), "include")]
    if _CARRIED[0] in include:
        chat.update(logprobs=True, **chosen(body, "top_logprobs"))
    for name in include:
        if name not in _CARRIED:
            dropped.add(f"include.{name:.60}")
    reasoning = optional_mapping(body.get("reasoning"), "reasoning")
    if reasoning.get("effort") is not None:
        chat["reasoning_effort"] = reasoning["effort"]
    chat.update(_answer_form(body))
    chat.update(_tools(body, dropped))
    if "tools" not in chat:
        chat.pop("parallel_tool_calls", None)  # OpenAI refuses it without tools
    if body.get("truncation") not in (None, "disabled"):
        dropped.add("truncation")
    return chat


def _answer_form(body: JSON) -> dict[str, Any]:
    form = optional_mapping(body.get("text"), "text")
    chat = chosen(form, "verbosity")
    if form.get("format") is not None:
        shape = mapping(form["format"], "text.format")
        if shape.get("type") == "json_schema":
            chat["response_format"] = {"type": "json_schema", "json_schema": chosen(shape, "name", "description", "schema", "strict")}
        elif shape.get("type") == "json_object":
            chat["response_format"] = {"type": "json_object"}
        elif shape.get("type") != "text":
            raise wrong("text.format.type", "text, json_object or json_schema", shape.get("type"))
    return chat


def _messages(body: JSON, dropped: set[str]) -> list[dict[str, Any]]:
    chat: list[dict[str, Any]] = []
    if is_set(body.get("instructions")):
        chat.append({"role": "system", "content": text(body["instructions"], "instructions")})
    given = body.get("input")
    if isinstance(given, str):
        return [*chat, {"role": "user", "content": given}]
    pending: list[dict[str, Any]] = []
    for field, item in objects(given, "input"):
        kind = item.get("type", "message")
        if kind == "reasoning":
            pending.append(thinking_block(item, field))
            continue
        is_call = kind in CALL_ITEMS
        if pending and not is_call and item.get("role") != "assistant":
            _end_thoughts(chat, pending, dropped)
        if is_call:
            _add_call(chat, tool_call(item, field), pending)
        elif kind in ("function_call_output", "custom_tool_call_output"):
            chat.extend(_result(item, field, dropped))
        elif kind == "message":
            message = _message(item, field, dropped)
            if message["role"] == "assistant":
                message.update(_thoughts(pending))
            chat.append(message)
        else:
            dropped.add(of_type("input", kind, field))
        pending = []
    if pending:
        _end_thoughts(chat, pending, dropped)
    return chat


def _end_thoughts(chat: list[dict[str, Any]], thoughts: list[dict[str, Any]], dropped: set[str]) -> None:
    """Add thinking that nothing of the model follows to its message before, if it carries state, which may come after a call; drop other thinking."""
    if chat and chat[-1]["role"] == "assistant" and all(carried_state(block) is not None for block in thoughts):
        chat[-1].setdefault("thinking_blocks", []).extend(thoughts)
    else:
        dropped.add("content.thinking")


def _thoughts(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    return {"reasoning_content": "".join(block.get("thinking", "") for block in blocks), "thinking_blocks": blocks} if blocks else {}


def _add_call(chat: list[dict[str, Any]], call: dict[str, Any], thoughts: list[dict[str, Any]]) -> None:
    """Add a tool call to the assistant's message before it, or as a new message where that is another's or thinking comes between."""
    if not chat or chat[-1]["role"] != "assistant" or any(carried_state(block) is None for block in thoughts):
        chat.append({"role": "assistant", "content": None, **_thoughts(thoughts)})
    elif thoughts:
        chat[-1].setdefault("thinking_blocks", []).extend(thoughts)
    chat[-1].setdefault("tool_calls", []).append(call)


def tool_call(item: JSON, field: str) -> dict[str, Any]:
    """Return an item with a call of a function or custom tool as a tool call of chat."""
    if item.get("type") == "custom_tool_call":
        arguments = to_json({"input": optional_text(item.get("input"), f"{field}.input")}, field)
    else:
        arguments = arguments_text(item.get("arguments"), f"{field}.arguments")
    name = function_name(text(item.get("name"), f"{field}.name"), optional_text(item.get("namespace"), f"{field}.namespace"))
    function = {"name": name, "arguments": arguments}
    return {"id": text(item.get("call_id"), f"{field}.call_id"), "type": "function", "function": function}


def thinking_block(item: JSON, field: str) -> dict[str, Any]:
    """Return a reasoning item as a block of thinking: its encrypted content is the signature."""
    pieces = [*objects(item.get("summary"), f"{field}.summary"), *objects(item.get("content"), f"{field}.content")]
    words = PARAGRAPH_BREAK.join(optional_text(piece.get("text"), f"{place}.text") for place, piece in pieces)
    secret = optional_text(item.get("encrypted_content"), f"{field}.encrypted_content")
    if secret and not words:
        return {"type": "redacted_thinking", "data": secret}
    return {"type": "thinking", "thinking": words, "signature": secret}


def _message(item: JSON, field: str, dropped: set[str]) -> dict[str, Any]:
    role, content = item.get("role"), item.get("content")
    if role not in ("user", "assistant", "system", "developer"):
        raise wrong(f"{field}.role", "user, assistant, system or developer", role)
    if isinstance(content, str):
        return {"role": role, "content": content}
    parts = [part for place, entry in objects(content, f"{field}.content") for part in _part(entry, place, dropped)]
    if role == "user":
        check_sendable(parts, content, field)
    if role == "assistant":
        return {"role": role, "content": "".join(str(part.get("text", "")) for part in parts)}
    return {"role": role, "content": plain_content(parts)}


def _part(part: JSON, field: str, dropped: set[str]) -> list[dict[str, Any]]:
    """Return the parts of chat for a part of an item's content."""
    kind = part.get("type")
    if kind in ("input_text", "output_text", "text", "summary_text"):
        return [{"type": "text", "text": text(part.get("text"), f"{field}.text")}]
    if kind == "refusal":
        return [{"type": "text", "text": text(part.get("refusal"), f"{field}.refusal")}]
    if kind == "input_image" and is_set(part.get("image_url")):
        return [{"type": "image_url", "image_url": {"url": text(part["image_url"], f"{field}.image_url"), **chosen(part, "detail")}}]
    if kind == "input_file" and is_set(part.get("file_data")):
        return [{"type": "file", "file": chosen(part, "filename", "file_data")}]
    if kind == "input_audio":
        return [{"type": "input_audio", "input_audio": mapping(part.get("input_audio"), f"{field}.input_audio")}]
    dropped.add(of_type("content", kind, field))
    return []


def _result(item: JSON, field: str, dropped: set[str]) -> list[dict[str, Any]]:
    """Return the message of a tool's result, and one with its images, which chat has in a user's message only."""
    identity, output = text(item.get("call_id"), f"{field}.call_id"), item.get("output")
    if isinstance(output, str):
        return [{"role": "tool", "tool_call_id": identity, "content": output}]
    parts = [part for place, entry in objects(output, f"{field}.output") for part in _part(entry, place, dropped)]
    result = {"role": "tool", "tool_call_id": identity, "content": plain_content([part for part in parts if part["type"] == "text"])}
    rest = [part for part in parts if part["type"] != "text"]
    return [result, {"role": "user", "content": rest}] if rest else [result]


def _tools(body: JSON, dropped: set[str]) -> dict[str, Any]:
    tools = []
    for field, tool, namespace in tools_in_namespaces(body):
        if tool.get("type") not in ("function", "custom"):
            dropped.add(of_type("tools", tool.get("type"), field))
            continue
        name = function_name(text(tool.get("name"), f"{field}.name"), namespace)
        function = _custom_function(tool, field, dropped) if tool["type"] == "custom" else chosen(tool, "description", "parameters", "strict")
        tools.append({"type": "function", "function": {"name": name, **function}})
    if not tools:
        return {}
    choice = body.get("tool_choice")
    chat: dict[str, Any] = {"tools": tools}
    if isinstance(choice, str):
        chat["tool_choice"] = choice
    elif choice is not None:
        choice = mapping(choice, "tool_choice")
        if choice.get("type") in ("function", "custom"):
            chat["tool_choice"] = {"type": "function", "function": {"name": text(choice.get("name"), "tool_choice.name")}}
        else:
            dropped.add(of_type("tool_choice", choice.get("type"), "tool_choice"))
    return chat


def _custom_function(tool: JSON, field: str, dropped: set[str]) -> dict[str, Any]:
    """Return the description and parameters of the function that stands for a custom tool: its one parameter is the tool's input."""
    description = optional_text(tool.get("description"), f"{field}.description")
    form = optional_mapping(tool.get("format"), f"{field}.format")
    if grammar := optional_text(form.get("definition"), f"{field}.format.definition"):
        description += f"{PARAGRAPH_BREAK}Grammar of the input ({optional_text(form.get('syntax'), f'{field}.format.syntax')}):\n{grammar}"
        dropped.add("tools.format")  # nothing makes the model keep to it
    parameters = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"], "additionalProperties": False}
    return {"description": description, "parameters": parameters} if description else {"parameters": parameters}
