"""Parts of content that several dialects share."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import orjson

from aamc_models.dialects.fields import JSON, mapping, object_or_empty, objects, objects_or_empty, optional_text, text, to_json, wrong
from aamc_sdk.errors import DataError
from aamc_sdk.types import new_ids

T = TypeVar("T")
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.-]+)*?;base64,")
_BAD_ID = re.compile(r"[^a-zA-Z0-9_-]")
SYSTEM_ROLES = ("system", "developer")
"""Roles of messages that agents add anywhere, such as Claude Code after the results of tools."""


def is_set(value: object) -> bool:
    """Return whether a field holds something; null, false, 0 and empty values are how clients write a default."""
    return value is not None and value is not False and value not in (0, "", [], {})


def lookup(table: Mapping[str, T], value: object) -> T | None:
    """Return a table's entry for a value that may be of any type; None without."""
    return table.get(value) if isinstance(value, str) else None


def chosen(body: JSON, *names: str) -> dict[str, Any]:
    """Return those of the fields that are not null."""
    return {name: body[name] for name in names if body.get(name) is not None}


def choice_number(choice: JSON) -> int:
    """Return the index of a streamed choice; 0, that of the first one, where it is not a whole number."""
    index = choice.get("index")
    return index if type(index) is int else 0


def ignore(body: JSON, *names: str) -> None:
    """Read fields that mean nothing in the other dialect, so that they are not named as dropped."""
    for name in names:
        body.get(name)


def service_tier(body: JSON, tiers: Mapping[str, str], dropped: set[str]) -> dict[str, str]:
    """Return the field ``service_tier`` with the other dialect's name of the tier; none for a tier that it lacks."""
    given = body.get("service_tier")
    tier = lookup(tiers, given)
    if tier is None and is_set(given):
        dropped.add("service_tier")
    return {} if tier is None else {"service_tier": tier}


def plain_content(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Return one text as a string, which every server understands; other parts as they are."""
    if not parts:
        return ""
    return str(parts[0]["text"]) if len(parts) == 1 and parts[0].keys() == {"type", "text"} else parts


def check_sendable(sent: object, content: object, field: str) -> None:
    """Raise DataError if nothing of a user's content is sent: the model would answer an empty question, and the client pay."""
    if content and not sent:
        raise DataError(f"{field}.content has no part that can be sent to this model; send images and files as data, or add text")


def of_type(name: str, kind: object, field: str) -> str:
    """Return the name under which an object is reported as dropped for its type, such as ``tools.web_search``."""
    return f"{name}.{text(kind, f'{field}.type'):.40}"


def functions_of(body: JSON, dropped: set[str]) -> Iterator[tuple[str, dict[str, Any], JSON]]:
    """Yield the place and the function of each tool of a chat request, with the tool; ``functions`` are how old clients name them."""
    for field, tool in objects(body.get("tools"), "tools"):
        if tool.get("type", "function") != "function":
            dropped.add(of_type("tools", tool["type"], field))
        else:
            yield f"{field}.function", mapping(tool.get("function"), f"{field}.function"), tool
    yield from ((field, function, {}) for field, function in objects(body.get("functions"), "functions"))


OLD_CALL = "call_0"
"""The id of a ``function_call``, which has none; a message of the role ``function`` answers it."""


CALL_ITEMS = ("function_call", "custom_tool_call")
"""Types of the items of ``responses`` that are tool calls."""
ITEM = "response_item"
"""The field of an adapted tool call of chat that holds what its item in ``responses`` has of its own."""


class ToolCall(NamedTuple):
    """A tool call of a chat message; ``arguments`` are its JSON text or object, ``field`` its place, ``item`` the fields of its item in responses."""

    id: str
    name: str
    arguments: object
    field: str
    item: JSON


def made_id(call_id: object) -> Any:
    """Return the id of an answer's tool call: a new one where the server gave none, as clients answer a call by its id."""
    return call_id or f"call_{new_ids(1)[0][:24]}"


def calls_of(message: JSON, field: str) -> Iterator[ToolCall]:
    """Yield the tool calls of a chat message; ``function_call`` is how old clients name one."""
    for place, call in objects(message.get("tool_calls"), f"{field}.tool_calls"):
        is_custom = call.get("type") == "custom"
        function = mapping(call.get("custom" if is_custom else "function"), f"{place}.function")
        name = text(function.get("name"), f"{place}.function.name")
        arguments = function.get("input" if is_custom else "arguments")
        yield ToolCall(text(call.get("id"), f"{place}.id"), name, arguments, f"{place}.function.arguments", object_or_empty(call.get(ITEM)))
    if message.get("function_call") is not None:
        function = mapping(message["function_call"], f"{field}.function_call")
        name = text(function.get("name"), f"{field}.function_call.name")
        yield ToolCall(OLD_CALL, name, function.get("arguments"), f"{field}.function_call.arguments", {})


def chosen_tool(body: JSON) -> Any:
    """Return the ``tool_choice`` of a chat request, else the ``function_call`` of old clients; None without."""
    return next(iter(chosen(body, "tool_choice", "function_call").values()), None)


def result_id(message: JSON, field: str) -> str:
    """Return the id of the call that a chat message with a tool's result answers."""
    return OLD_CALL if message.get("role") == "function" else text(message.get("tool_call_id"), f"{field}.tool_call_id")


def has_block(message: JSON, *kinds: str) -> bool:
    """Return whether the content of a message has a block of one of these types."""
    return any(block.get("type") in kinds for block in objects_or_empty(message.get("content")))


def base64_of(url: str) -> tuple[str, str] | None:
    """Return the media type and the data of a data URL; None for another URL."""
    found = _DATA_URL.match(url)
    return (found[1] or "application/octet-stream", url[found.end() :]) if found else None


def image_url(part: JSON, field: str) -> tuple[str, str | None]:
    """Return the URL and the detail of a chat part with an image."""
    image = part.get("image_url")
    if isinstance(image, str):  # some clients leave the object out
        return image, None
    image = mapping(image, f"{field}.image_url")
    detail = image.get("detail")
    return text(image.get("url"), f"{field}.image_url.url"), detail if isinstance(detail, str) else None


def text_of(content: object, field: str, joint: str = "") -> str:
    """Return the texts of content joined: of a string, or of a list whose items have a ``text`` or ``refusal``; other items are left out."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise wrong(field, "a string or a list", content)
    texts = []
    for index, part in enumerate(content):
        part = {"text": part} if isinstance(part, str) else mapping(part, f"{field}[{index}]")
        texts.append(optional_text(part.get("text", part.get("refusal")), f"{field}[{index}].text"))
    return joint.join(piece for piece in texts if piece)


def arguments_of(arguments: object, field: str) -> dict[str, Any]:
    """Return a tool call's arguments as an object; text that is not a JSON object stands in it as ``arguments``."""
    if isinstance(arguments, dict):
        return arguments
    written = optional_text(arguments, field)
    if not written.strip():
        return {}
    try:
        value = orjson.loads(written)
    except ValueError:  # a model wrote it, and its next turn shall see what
        value = written
    return value if isinstance(value, dict) else {"arguments": value}


def arguments_text(arguments: object, field: str) -> str:
    """Return a tool call's arguments as text."""
    if isinstance(arguments, str):
        return arguments
    return to_json({} if arguments is None else arguments, field)


def safe_id(identity: str) -> str:
    """Return an id with only the characters that Anthropic accepts."""
    return _BAD_ID.sub("_", identity)


def identity(answer_id: object, prefix: str) -> str:
    """Return an answer's id with another prefix: a new one where the server gave none, as Azure's in the first chunk of a stream."""
    base = answer_id if isinstance(answer_id, str) and answer_id else new_ids(1)[0]
    return prefix + re.sub(r"^(chatcmpl|cmpl|msg|resp|gen)[-_]", "", base)


def creation_time(answer: JSON) -> int:
    """Return the time of an answer in any dialect, in seconds since the epoch; the present one where it has none, as Anthropic's answers."""
    created = answer.get("created", answer.get("created_at"))
    return int(created) if isinstance(created, int | float) and 1 <= created < 1e12 else int(time.time())


def signed_text(block: JSON, field: str) -> str:
    """Return the text of a thinking block; ``""`` for a redacted one."""
    return optional_text(block.get("thinking"), f"{field}.thinking")
