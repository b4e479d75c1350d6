"""Requests: from chat to Anthropic's messages."""

from __future__ import annotations

import re
from base64 import b64decode
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from typing import Any

from aamc_models.dialects.carried_state import sendable_thinking
from aamc_models.dialects.content import (
    SYSTEM_ROLES,
    ToolCall,
    arguments_of,
    base64_of,
    calls_of,
    chosen,
    chosen_tool,
    functions_of,
    ignore,
    image_url,
    is_set,
    lookup,
    of_type,
    plain_content,
    result_id,
    safe_id,
    service_tier,
)
from aamc_models.dialects.fields import JSON, items, mapping, number, objects, objects_or_empty, optional_text, text, whole_number, wrong
from aamc_models.dialects.messages.claude_rules import ClaudeRules, claude_rules
from aamc_models.dialects.messages.schemas import strict_schema, tool_schema
from aamc_models.dialects.messages.thinking import add_thinking, sampling_names, settle_sampling, thinking_budget
from aamc_sdk.errors import DataError

_TIERS = {"auto": "auto", "default": "standard_only"}
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_JSON_MODE = "Answer with one JSON object and nothing else."
_IMAGES = {"/9j/": "image/jpeg", "iVBORw0KGgo": "image/png", "R0lGOD": "image/gif", "UklGR": "image/webp"}
"""Types of images by the start of their data in base64."""
_STAND_IN = {"type": "text", "text": "."}
"""The block of a user's message that Anthropic requires and the request does not have."""
_REFUSED_USER = re.compile(r".*@.*|\+?[\d\s()-]{7,}|.{257,}", re.DOTALL)
"""Ids of users that Anthropic refuses: addresses, telephone numbers, and long ones."""


def request_from_chat(body: JSON, dropped: set[str], max_tokens: int, parameters: JSON, claude_model: str) -> dict[str, Any]:
    """Return a canonical request as one of Anthropic's messages, which a provider adds the candidate's parameters to."""
    rules = claude_rules(claude_model)
    limits = (body.get("max_completion_tokens"), body.get("max_tokens"), parameters.get("max_tokens"), max_tokens + thinking_budget(parameters))
    system, messages = _messages(body, dropped, rules)
    sent: dict[str, Any] = {
        **chosen(body, "model", "stream", "cache_control"),
        "max_tokens": whole_number(next(limit for limit in limits if limit is not None), "max_tokens"),
        "messages": messages,
        **_sampling(body, dropped, parameters, rules),
        **_stop(body, dropped),
        **_tools(body, messages, dropped, rules),
    }
    sent.update(_answer_form(body, system, dropped))
    if system:
        sent["system"] = plain_content(system)
    user = optional_text(body.get("safety_identifier"), "safety_identifier") or optional_text(body.get("user"), "user")
    if _REFUSED_USER.fullmatch(user):
        dropped.add("user")
    elif user:
        sent["metadata"] = {"user_id": user}
    sent.update(service_tier(body, _TIERS, dropped))
    if body.get("n") not in (None, 1):
        dropped.add("n")
    effort = body.get("reasoning_effort") if parameters.get("reasoning_effort") is None else parameters["reasoning_effort"]
    add_thinking(sent, effort, parameters, dropped, rules)
    ignore(mapping(body.get("stream_options") or {}, "stream_options"), "include_usage")  # usage always comes
    return sent


def _sampling(body: JSON, dropped: set[str], parameters: JSON, rules: ClaudeRules) -> dict[str, Any]:
    sampling: dict[str, Any] = {name: number(body[name], name) for name in ("temperature", "top_p") if body.get(name) is not None}
    sampling.update(chosen(body, "top_k"))
    if rules.is_adaptive:
        dropped.update(sampling_names({**parameters, **sampling}))
        return {}
    if sampling.get("temperature", 0) > 1:
        sampling["temperature"] = 1.0  # Anthropic's maximum; OpenAI's is 2
        dropped.add("temperature")
    if {"temperature", "top_p"} <= sampling.keys():  # Anthropic's models refuse both together
        del sampling["top_p"]
        dropped.add("top_p")
    settle_sampling(sampling, parameters, dropped)
    return sampling


def _stop(body: JSON, dropped: set[str]) -> dict[str, Any]:
    stop = body.get("stop")
    stops = [stop] if isinstance(stop, str) else [text(item, "stop") for item in items(stop, "stop")]
    accepted = [item for item in stops if item.strip()]
    if accepted != stops:
        dropped.add("stop")  # Anthropic refuses one of white space
    return {"stop_sequences": accepted} if accepted else {}


def _answer_form(body: JSON, system: list[dict[str, Any]], dropped: set[str]) -> dict[str, Any]:
    """Return the field for structured answers; JSON without a schema is asked for in the system prompt."""
    if body.get("response_format") is None:
        return {}
    form = mapping(body["response_format"], "response_format")
    kind = form.get("type")
    if kind == "json_schema":
        named = mapping(form.get("json_schema"), "response_format.json_schema")
        schema = mapping(named.get("schema"), "response_format.json_schema.schema")
        ignore(named, "name", "strict")  # a schema has no name there, and is always strict
        return {"output_config": {"format": {"type": "json_schema", "schema": strict_schema(schema, "response_format", dropped)}}}
    if kind == "json_object":
        system.append({"type": "text", "text": _JSON_MODE})
        dropped.add("response_format.json_object")
    elif kind != "text":
        raise wrong("response_format.type", "text, json_object or json_schema", kind)
    return {}


def _messages(body: JSON, dropped: set[str], rules: ClaudeRules) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the blocks of the system prompt and the messages; neighbours of one role become one message, as strict servers want it."""
    system: list[dict[str, Any]] = []
    messages: list[dict[str, Any]] = []
    role: object = None
    for field, message in objects(body.get("messages"), "messages"):
        role = message.get("role")
        if role in SYSTEM_ROLES:
            system.extend(_blocks(message.get("content"), f"{field}.content", dropped))
            continue
        if role == "assistant":
            blocks = _assistant(message, field, dropped)
        elif role == "user":
            blocks = _blocks(message.get("content"), f"{field}.content", dropped)
            if not blocks and any(part.get("type") not in ("text", "refusal") for part in objects_or_empty(message.get("content"))):
                raise DataError(f"{field}.content has no part that Anthropic's models read; ask a model of OpenAI's API, or add text or an image")
        elif role in ("tool", "function"):
            blocks = [_tool_result(message, field, dropped)]
        else:
            raise wrong(f"{field}.role", "system, developer, user, assistant or tool", role)
        sender = "assistant" if role == "assistant" else "user"
        if messages and messages[-1]["role"] == sender:
            messages[-1]["content"].extend(blocks)
        elif blocks:
            messages.append({"role": sender, "content": blocks})
    if role is not None:
        is_prefilled = role == "assistant"
        if is_prefilled and not rules.prefill:
            dropped.add("prefill")
        _complete(messages, continued=is_prefilled and rules.prefill)
    _make_ids_unique(messages)
    for message in messages:  # Anthropic wants the results of tools first
        message["content"] = plain_content(sorted(message["content"], key=lambda block: block["type"] != "tool_result"))
    return system, messages


def _make_ids_unique(messages: list[dict[str, Any]]) -> None:
    """Give each repeated id of a tool call, and its result, a number: some servers count the calls of each answer, and Anthropic refuses that."""
    taken: set[str] = set()
    numbers: Counter[str] = Counter()  # kept, as to count from 2 for each call would take hours for a large body
    open_calls: defaultdict[str, deque[str]] = defaultdict(deque)
    for block in (block for message in messages for block in message["content"]):
        if block["type"] == "tool_use":
            given = block["id"]
            while block["id"] in taken:
                numbers[given] += 1
                block["id"] = f"{given}_{numbers[given] + 1}"
            taken.add(block["id"])
            open_calls[given].append(block["id"])
        elif block["type"] == "tool_result":
            block["tool_use_id"] = open_calls[block["tool_use_id"]].popleft()


def _complete(messages: list[dict[str, Any]], *, continued: bool) -> None:
    """Add the user's messages that Anthropic requires at the start, and at the end unless the model continues the assistant's last one.

    They are missing if the request has only a system prompt, begins with a greeting of the assistant, or ends with an empty message.
    """
    if not messages or messages[0]["role"] == "assistant":
        messages.insert(0, {"role": "user", "content": [_STAND_IN]})
    if messages[-1]["role"] == "user":
        return
    last = messages[-1]["content"][-1]
    if not continued:
        messages.append({"role": "user", "content": [_STAND_IN]})
    elif last["type"] == "text":
        last["text"] = last["text"].rstrip()  # Anthropic refuses white space at its end


def _assistant(message: JSON, field: str, dropped: set[str]) -> list[dict[str, Any]]:
    blocks = [unnumbered(block) for block in sendable_thinking(message, field, dropped)]
    blocks.extend(_blocks(message.get("content"), f"{field}.content", dropped))
    if is_set(message.get("refusal")) and (refusal := text(message["refusal"], f"{field}.refusal")).strip():
        blocks.append({"type": "text", "text": refusal})
    blocks.extend(map(tool_use, calls_of(message, field)))
    return blocks


def unnumbered(block: JSON) -> dict[str, Any]:
    """Return a block of thinking without the ``index`` that it had in a stream of chat, which Anthropic refuses."""
    return {name: value for name, value in block.items() if name != "index"}


def tool_use(call: ToolCall) -> dict[str, Any]:
    """Return a tool call as a ``tool_use`` block."""
    return {"type": "tool_use", "id": safe_id(call.id), "name": call.name, "input": arguments_of(call.arguments, call.field)}


def _tool_result(message: JSON, field: str, dropped: set[str]) -> dict[str, Any]:
    content = message.get("content")
    result = {"type": "tool_result", "tool_use_id": safe_id(result_id(message, field)), **chosen(message, "cache_control")}
    return {**result, "content": content if isinstance(content, str) else _blocks(content, f"{field}.content", dropped)}


def _blocks(content: object, field: str, dropped: set[str]) -> list[dict[str, Any]]:
    """Return the blocks of content; texts that are empty or white space are left out, as Anthropic refuses them."""
    if content is None or isinstance(content, str):
        return [{"type": "text", "text": content}] if content and content.strip() else []
    blocks = (_block(part, place, dropped) for place, part in objects(content, field))
    return [block for block in blocks if block is not None]


def _block(part: JSON, field: str, dropped: set[str]) -> dict[str, Any] | None:
    kind, mark = part.get("type"), chosen(part, "cache_control")
    if kind in ("text", "refusal"):
        words = text(part.get(str(kind)), f"{field}.{kind}")
        return {"type": "text", "text": words, **mark} if words.strip() else None
    if kind == "image_url":
        url, detail = image_url(part, field)
        if detail not in (None, "auto"):
            dropped.add("image_url.detail")
        data = base64_of(url)
        source = _source(_image_type(*data), data[1]) if data else {"type": "url", "url": url}
        return {"type": "image", "source": source, **mark}
    if kind == "file":
        file = mapping(part.get("file"), f"{field}.file")
        data = base64_of(optional_text(file.get("file_data"), f"{field}.file.file_data"))
        document = _document_source(*data) if data else None
        if document:
            title = optional_text(file.get("filename"), f"{field}.file.filename")
            return {"type": "document", "source": document, **({"title": title} if title else {}), **mark}
        dropped.add("file.file_data" if data else "file.file_id")
        return None
    dropped.add(of_type("content", kind, field))
    return None


def _image_type(media_type: str, data: str) -> str:
    """Return the type of an image by its first bytes: Anthropic refuses a wrong one, as some clients give. Else it is the given one."""
    known = next((kind for begin, kind in _IMAGES.items() if data.startswith(begin)), media_type)
    return "image/jpeg" if known == "image/jpg" else known


def _source(media_type: str, data: str) -> dict[str, Any]:
    return {"type": "base64", "media_type": media_type, "data": data}


def _document_source(media_type: str, data: str) -> dict[str, Any] | None:
    """Return the source of a document: Anthropic takes PDF in base64, and others only as text; None for one that is not UTF-8 text."""
    if media_type == "application/pdf":
        return _source(media_type, data)
    try:
        return {"type": "text", "media_type": "text/plain", "data": b64decode(data).decode()}
    except ValueError:
        return None


def _tools(body: JSON, messages: list[dict[str, Any]], dropped: set[str], rules: ClaudeRules) -> dict[str, Any]:
    tools = [{**_tool(function, field, dropped), **chosen(tool, "cache_control")} for field, function, tool in functions_of(body, dropped)]
    if not tools:
        return _tools_of_history(messages)
    choice = _tool_choice(body, dropped)
    if choice and choice["type"] in ("any", "tool") and not rules.forced_tools:
        dropped.add("tool_choice.required" if choice["type"] == "any" else "tool_choice.function")
        choice = {"type": "auto"}
    if body.get("parallel_tool_calls") is False and (choice or {"type": "auto"})["type"] != "none":
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return {"tools": tools, "tool_choice": choice} if choice else {"tools": tools}


def _tool(function: JSON, field: str, dropped: set[str]) -> dict[str, Any]:
    schema = function.get("parameters")
    schema = tool_schema({"properties": {}} if schema is None else mapping(schema, f"{field}.parameters"), dropped)
    name = text(function.get("name"), f"{field}.name")
    tool = {"name": name, **chosen(function, "description"), "input_schema": schema}
    return {**tool, "input_schema": strict_schema(schema, "tools", dropped), "strict": True} if function.get("strict") is True else tool


def _tools_of_history(messages: Iterable[JSON]) -> dict[str, Any]:
    """Return tools for the names that were called before: Anthropic refuses calls in the history without a definition."""
    blocks = (block for message in messages if isinstance(message["content"], list) for block in message["content"])
    names = list(dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use"))
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in names]
    return {"tools": tools, "tool_choice": {"type": "none"}} if tools else {}


def _tool_choice(body: JSON, dropped: set[str]) -> dict[str, Any] | None:
    choice = chosen_tool(body)
    if choice is None:
        return None
    if isinstance(choice, str):
        if name := lookup(_CHOICES, choice):
            return {"type": name}
        raise wrong("tool_choice", "auto, required, none or an object", choice)
    choice = mapping(choice, "tool_choice")
    if choice.get("type") in ("allowed_tools", "custom"):
        dropped.add(f"tool_choice.{choice['type']}")
        return None
    function = mapping(choice.get("function"), "tool_choice.function") if "type" in choice else choice
    return {"type": "tool", "name": text(function.get("name"), "tool_choice.function.name")}
