"""Requests: from chat to OpenAI's responses."""

from __future__ import annotations

from typing import Any

from aamc_models.dialects.carried_state import sendable_thinking
from aamc_models.dialects.content import (
    arguments_text,
    calls_of,
    chosen,
    chosen_tool,
    functions_of,
    ignore,
    image_url,
    is_set,
    of_type,
    result_id,
    text_of,
)
from aamc_models.dialects.fields import JSON, mapping, objects, optional_text, text, whole_number, wrong
from aamc_models.dialects.responses.answers import call_item, reasoning_item
from aamc_models.dialects.responses.to_chat import SAME

MINIMUM_TOKENS = 16
"""OpenAI accepts no smaller limit of the answer here."""
_SAME = (*SAME, "metadata", "top_logprobs")


def request_from_chat(body: JSON, dropped: set[str]) -> dict[str, Any]:
    """Return a canonical request as one of OpenAI's responses."""
    sent: dict[str, Any] = {**chosen(body, *_SAME), "input": _input(body, dropped), "store": body.get("store") is True}
    limits = chosen(body, "max_completion_tokens", "max_tokens")
    if limits:
        name, limit = next(iter(limits.items()))
        sent["max_output_tokens"] = max(whole_number(limit, name), MINIMUM_TOKENS)
        if limit < MINIMUM_TOKENS:
            dropped.add(name)
    include = ["message.output_text.logprobs"] if body.get("logprobs") is True else []
    if body.get("reasoning_effort") is not None:
        sent["reasoning"] = {"effort": text(body["reasoning_effort"], "reasoning_effort")}
        if body["reasoning_effort"] != "none":
            include.append("reasoning.encrypted_content")  # a tool loop goes on with it where nothing is stored
    if include:
        sent["include"] = include
    sent.update(_answer_form(body))
    sent.update(_tools(body, dropped))
    if body.get("n") not in (None, 1):
        dropped.add("n")
    ignore(mapping(body.get("stream_options") or {}, "stream_options"), "include_usage")  # usage always comes
    return sent


def _answer_form(body: JSON) -> dict[str, Any]:
    form: dict[str, Any] = chosen(body, "verbosity")
    if body.get("response_format") is not None:
        shape = mapping(body["response_format"], "response_format")
        kind = shape.get("type")
        if kind == "json_schema":
            named = mapping(shape.get("json_schema"), "response_format.json_schema")
            form["format"] = {"type": kind, "name": "answer", **chosen(named, "name", "description", "schema", "strict")}
        elif kind in ("json_object", "text"):
            form["format"] = {"type": kind}
        else:
            raise wrong("response_format.type", "text, json_object or json_schema", kind)
    return {"text": form} if form else {}


def _input(body: JSON, dropped: set[str]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    for field, message in objects(body.get("messages"), "messages"):
        role = message.get("role")
        if role == "assistant":
            sent.extend(_assistant(message, field, dropped))
        elif role in ("tool", "function"):
            output = message.get("content")
            output = output if isinstance(output, str) else _parts(output, f"{field}.content", dropped)
            sent.append({"type": "function_call_output", "call_id": result_id(message, field), "output": output})
        elif role in ("user", "system", "developer"):
            content = message.get("content")
            content = content if isinstance(content, str) else _parts(content, f"{field}.content", dropped)
            sent.append({"type": "message", "role": role, "content": content})
        else:
            raise wrong(f"{field}.role", "system, developer, user, assistant or tool", role)
    return sent


def _assistant(message: JSON, field: str, dropped: set[str]) -> list[dict[str, Any]]:
    """Return the items of an assistant's message: its reasoning where it can be sent back, its text, its tool calls."""
    sent = [reasoning_item(block, f"rs_{index}") for index, block in enumerate(sendable_thinking(message, field, dropped))]
    words = text_of(message.get("content"), f"{field}.content") + optional_text(message.get("refusal"), f"{field}.refusal")
    if words:
        sent.append({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": words}]})
    sent.extend(call_item(call.id, call.name, arguments_text(call.arguments, call.field)) for call in calls_of(message, field))
    return sent


def _parts(content: object, field: str, dropped: set[str]) -> list[dict[str, Any]]:
    parts = []
    for place, part in objects(content, field):
        kind = part.get("type")
        if part.get("cache_control") is not None:
            dropped.add("cache_control")
        if kind in ("text", "refusal"):
            parts.append({"type": "input_text", "text": text(part.get(str(kind)), f"{place}.{kind}")})
        elif kind == "image_url":
            url, detail = image_url(part, place)
            parts.append({"type": "input_image", "image_url": url, "detail": detail or "auto"})
        elif kind == "file":
            parts.append({"type": "input_file", **chosen(mapping(part.get("file"), f"{place}.file"), "filename", "file_data", "file_id")})
        else:
            dropped.add(of_type("content", kind, place))
    return parts


def _tools(body: JSON, dropped: set[str]) -> dict[str, Any]:
    tools = [
        {
            "type": "function",
            "name": text(function.get("name"), f"{field}.name"),
            **chosen(function, "description"),
            "parameters": function.get("parameters"),
            "strict": function.get("strict") is True,
        }
        for field, function, _ in functions_of(body, dropped)
    ]
    if not tools:
        return {}
    choice = chosen_tool(body)
    if choice is None:
        return {"tools": tools}
    if isinstance(choice, str):
        return {"tools": tools, "tool_choice": choice}
    choice = mapping(choice, "tool_choice")
    if choice.get("type", "function") != "function":
        dropped.add(of_type("tool_choice", choice["type"], "tool_choice"))
        return {"tools": tools}
    function = mapping(choice.get("function"), "tool_choice.function") if is_set(choice.get("function")) else choice
    return {"tools": tools, "tool_choice": {"type": "function", "name": text(function.get("name"), "tool_choice.function.name")}}
