"""Requests: from Anthropic's messages to chat."""

from __future__ import annotations

from typing import Any

from aamc_models.dialects.content import (
    arguments_text,
    check_sendable,
    chosen,
    ignore,
    is_set,
    lookup,
    of_type,
    plain_content,
    safe_id,
    service_tier,
    signed_text,
    text_of,
)
from aamc_models.dialects.fields import JSON, items, mapping, number, objects, optional_mapping, optional_text, text, whole_number, wrong
from aamc_models.dialects.known_tools import short_name
from aamc_models.dialects.messages.schemas import is_strict
from aamc_models.dialects.messages.thinking import THINKING_BLOCKS, effort_of

MAX_USER_ID = 64
"""OpenAI refuses a longer id of a user."""
_BILLING = "x-anthropic-billing-header:"
"""Start of a text that Claude Code writes for Anthropic before its system prompt. It differs in each request: no server could cache the prompt."""
_SAME = ("model", "stream", "temperature", "top_p", "top_k")
_TIERS = {"auto": "auto", "standard_only": "default"}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def request_to_chat(body: JSON, dropped: set[str]) -> dict[str, Any]:
    """Return a request of Anthropic's messages as canonical chat."""
    chat: dict[str, Any] = {**chosen(body, *_SAME), "messages": _messages(body, dropped)}
    for name in ("temperature", "top_p"):
        if name in chat:
            number(chat[name], name)
    if body.get("max_tokens") is not None:
        chat["max_tokens"] = whole_number(body["max_tokens"], "max_tokens")
    if is_set(body.get("stop_sequences")):
        chat["stop"] = [text(stop, "stop_sequences") for stop in items(body["stop_sequences"], "stop_sequences")]
    if body.get("stream") is True:
        chat["stream_options"] = {"include_usage": True}  # a client of this dialect always expects usage
    chat.update(_tools(body, dropped))
    chat.update(_effort_and_format(body, dropped))
    metadata = optional_mapping(body.get("metadata"), "metadata")
    user = optional_text(metadata.get("user_id"), "metadata.user_id")
    if 0 < len(user) <= MAX_USER_ID:
        chat["user"] = user
    elif user:
        dropped.add("metadata.user_id")
    chat.update(service_tier(body, _TIERS, dropped))
    return chat


def _messages(body: JSON, dropped: set[str]) -> list[dict[str, Any]]:
    chat: list[dict[str, Any]] = []
    prompt = body.get("system")
    if isinstance(prompt, list):
        prompt = [block for block in prompt if not (isinstance(block, dict) and str(block.get("text")).startswith(_BILLING))]
    if is_set(prompt):
        chat.append({"role": "system", "content": _content(prompt, "system", dropped)})
    for field, message in objects(body.get("messages"), "messages"):
        role = message.get("role")
        if role == "assistant":
            chat.append(_assistant(message, field, dropped))
        elif role == "user":
            chat.extend(_user(message, field, dropped))
        elif role == "system":
            chat.append({"role": "system", "content": _content(message.get("content"), f"{field}.content", dropped)})
        else:
            raise wrong(f"{field}.role", "user, assistant or system", role)
    if chat and chat[-1]["role"] == "assistant":
        dropped.add("prefill")
    return chat


def _user(message: JSON, field: str, dropped: set[str]) -> list[dict[str, Any]]:
    """Return a user's message: its tool results first, each a message of its own, as chat wants them."""
    content = message.get("content")
    if isinstance(content, str):
        return [{"role": "user", "content": content}]
    results: list[dict[str, Any]] = []
    rest: list[dict[str, Any]] = []
    for place, block in objects(content, f"{field}.content"):
        if block.get("type") == "tool_result":
            result, images = _tool_result(block, place, dropped)
            results.append(result)
            rest.extend(images)
        else:
            rest.extend(_part(block, place, dropped))
    check_sendable(rest or results, content, field)
    return [*results, {"role": "user", "content": plain_content(rest)}] if rest or not results else results


def _tool_result(block: JSON, field: str, dropped: set[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the message of a tool's result, and its parts that are not text, which chat has in a user's message only."""
    content = block.get("content")
    parts = [] if content is None or isinstance(content, str) else _parts(content, f"{field}.content", dropped)
    texts = [part for part in parts if part["type"] == "text"]
    if block.get("is_error") is True:
        dropped.add("tool_result.is_error")
    result = {
        "role": "tool",
        "tool_call_id": safe_id(text(block.get("tool_use_id"), f"{field}.tool_use_id")),
        "content": content if isinstance(content, str) else plain_content(texts),
        **chosen(block, "cache_control"),
    }
    return result, [part for part in parts if part["type"] != "text"]


def _assistant(message: JSON, field: str, dropped: set[str]) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, str):
        return {"role": "assistant", "content": content}
    chat, unknown = assistant_message(content, f"{field}.content")
    dropped.update(of_type("content", kind, place) for place, kind in unknown)
    for call in chat.get("tool_calls", ()):
        call["function"]["name"] = short_name(call["function"]["name"])
    return chat


def assistant_message(content: object, field: str) -> tuple[dict[str, Any], list[tuple[str, object]]]:
    """Return the chat message for an assistant's blocks, and the place and kind of each block that chat does not know."""
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    thinking: list[dict[str, Any]] = []
    unknown: list[tuple[str, object]] = []
    for place, block in objects(content, field):
        kind = block.get("type")
        if kind == "text":
            texts.append(text(block.get("text"), f"{place}.text"))
        elif kind == "tool_use":
            calls.append(tool_call(block, place))
        elif kind in THINKING_BLOCKS:
            thinking.append(dict(block))
        else:
            unknown.append((place, kind))
    chat: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts or not calls else None}
    if thinking:
        chat["reasoning_content"] = "".join(signed_text(block, field) for block in thinking)
        chat["thinking_blocks"] = thinking
    if calls:
        chat["tool_calls"] = calls
    return chat, unknown


def tool_call(block: JSON, field: str) -> dict[str, Any]:
    """Return a ``tool_use`` block as a tool call of chat."""
    function = {"name": text(block.get("name"), f"{field}.name"), "arguments": arguments_text(block.get("input"), f"{field}.input")}
    return {"id": safe_id(text(block.get("id"), f"{field}.id")), "type": "function", "function": function}


def _content(content: object, field: str, dropped: set[str]) -> str | list[dict[str, Any]]:
    return content if isinstance(content, str) else plain_content(_parts(content, field, dropped))


def _parts(content: object, field: str, dropped: set[str]) -> list[dict[str, Any]]:
    return [part for place, block in objects(content, field) for part in _part(block, place, dropped)]


def _part(block: JSON, field: str, dropped: set[str]) -> list[dict[str, Any]]:
    """Return the parts of chat for a block of content."""
    kind = block.get("type")
    mark = chosen(block, "cache_control")
    if kind == "text":
        return [{"type": "text", "text": text(block.get("text"), f"{field}.text"), **mark}]
    if kind == "tool_reference":  # all of a request's tools are sent, also those that a search shall find
        return [{"type": "text", "text": f"The tool {short_name(text(block.get('tool_name'), f'{field}.tool_name'))} is available.", **mark}]
    if kind == "search_result":
        title, found = optional_text(block.get("title"), f"{field}.title"), text_of(block.get("content"), f"{field}.content", "\n")
        return [{"type": "text", "text": f"{title}\n{found}", **mark}]
    if kind in ("image", "document"):
        source = mapping(block.get("source"), f"{field}.source")
        part = _image(source, field) if kind == "image" else _document(block, source, field)
        if part:
            return [{**part, **mark}]
        dropped.add(of_type(str(kind), source.get("type"), f"{field}.source"))
        return []
    dropped.add(of_type("content", kind, field))
    return []


def _data_url(source: JSON, field: str) -> str:
    media, data = text(source.get("media_type"), f"{field}.source.media_type"), text(source.get("data"), f"{field}.source.data")
    return f"data:{media};base64,{data}"


def _image(source: JSON, field: str) -> dict[str, Any] | None:
    if source.get("type") == "base64":
        return {"type": "image_url", "image_url": {"url": _data_url(source, field)}}
    if source.get("type") == "url":
        return {"type": "image_url", "image_url": {"url": text(source.get("url"), f"{field}.source.url")}}
    return None


def _document(block: JSON, source: JSON, field: str) -> dict[str, Any] | None:
    if source.get("type") == "base64":
        title = optional_text(block.get("title"), f"{field}.title")
        return {"type": "file", "file": {"filename": title or "document.pdf", "file_data": _data_url(source, field)}}
    if source.get("type") == "text":
        ignore(source, "media_type")
        return {"type": "text", "text": text(source.get("data"), f"{field}.source.data")}
    if source.get("type") == "content":
        return {"type": "text", "text": text_of(source.get("content"), f"{field}.source.content", "\n")}
    return None


def _tools(body: JSON, dropped: set[str]) -> dict[str, Any]:
    tools = []
    for field, tool in objects(body.get("tools"), "tools"):
        if tool.get("type") not in (None, "custom"):
            dropped.add(of_type("tools", tool["type"], field))
            continue
        schema = {"properties": {}, **mapping(tool.get("input_schema", {}), f"{field}.input_schema")}  # OpenAI refuses an object without them
        function = {"name": short_name(text(tool.get("name"), f"{field}.name")), **chosen(tool, "description", "strict"), "parameters": schema}
        if function.get("strict") is True and not is_strict(schema):
            function["strict"] = False
            dropped.add("tools.strict")
        tools.append({"type": "function", "function": function, **chosen(tool, "cache_control")})
    chat: dict[str, Any] = {"tools": tools} if tools else {}
    if body.get("tool_choice") is not None:
        choice = mapping(body["tool_choice"], "tool_choice")
        if choice.get("type") == "tool":
            name = short_name(text(choice.get("name"), "tool_choice.name"))
            if any(tool["function"]["name"] == name for tool in tools):
                chat["tool_choice"] = {"type": "function", "function": {"name": name}}
            else:
                dropped.add("tool_choice.tool")  # it was left out, as a tool that Anthropic's server runs
        elif kind := lookup(_CHOICES, choice.get("type")):
            chat["tool_choice"] = kind
        else:
            raise wrong("tool_choice.type", "auto, any, tool or none", choice.get("type"))
        if choice.get("disable_parallel_tool_use") is True:
            chat["parallel_tool_calls"] = False
    if not tools:
        dropped.update(chat.keys() & {"tool_choice"})
        return {}
    return chat


def _effort_and_format(body: JSON, dropped: set[str]) -> dict[str, Any]:
    chat: dict[str, Any] = {}
    if body.get("thinking") is not None:
        thinking = mapping(body["thinking"], "thinking")
        if thinking.get("type") == "enabled":
            chat["reasoning_effort"] = effort_of(whole_number(thinking.get("budget_tokens"), "thinking.budget_tokens"))
        elif thinking.get("type") in ("adaptive", "between_tools"):
            dropped.add(f"thinking.{thinking['type']}")
        elif thinking.get("type") != "disabled":
            raise wrong("thinking.type", "enabled, adaptive, between_tools or disabled", thinking.get("type"))
    output = optional_mapping(body.get("output_config"), "output_config")
    if output.get("effort") is not None:
        chat["reasoning_effort"] = text(output["effort"], "output_config.effort")
    shape = output["format"] if output.get("format") is not None else body.get("output_format")  # as older clients name it
    if shape is not None:
        shape = mapping(shape, "output_config.format")
        schema = mapping(shape.get("schema"), "output_config.format.schema")
        strict = is_strict(schema)
        if not strict:
            dropped.add("output_config.format")  # the format is not guaranteed
        chat["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": strict}}
    return chat
