"""Names, ids and kinds of tools' calls that an answer of chat cannot give to a client of another dialect as they are.

Names in Anthropic's dialect may be longer than OpenAI's servers accept, as those of MCP servers in Claude Code, and its clients know a call in the
whole conversation by its id, while some servers count the calls of each answer. In responses, tools may be in a namespace, as those of MCP servers
in Codex, and take text in place of JSON. Old clients of chat, which send ``functions``, read only ``function_call``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import chain, count
from typing import Any

import attrs

from aamc_models.dialects.content import ITEM, safe_id
from aamc_models.dialects.fields import JSON, object_or_empty, objects, objects_or_empty, text

MAX_NAME = 64
"""Maximum characters of a name for OpenAI."""

_PLAIN_TOOLS = {"messages": (None, "custom"), "responses": ("function", "custom", "namespace")}
"""Types of tools that other dialects have too."""


@attrs.frozen
class KnownTools:
    """What a request says of tools, for the conversion of its answer.

    Attributes:
        names: The names that the conversion of a request of messages shortens, by the short ones.
        ids: The ids of the calls in its conversation.
        items: Type, name and namespace of the calls of tools that are no plain functions in responses, by their names in chat.
        has_functions: Whether its client sends ``functions``, and so reads an answer's first call alone, as ``function_call``.
    """

    names: Mapping[str, str] = attrs.field(factory=dict)
    ids: frozenset[str] = frozenset()
    items: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)
    has_functions: bool = False

    @classmethod
    def of(cls, body: JSON, dialect: str) -> KnownTools:
        """Return those of a request."""
        if dialect == "responses":
            tools = [(tool, namespace) for _, tool, namespace in tools_in_namespaces(body) if namespace or tool.get("type") == "custom"]
            named = [(name, tool, namespace) for tool, namespace in tools if isinstance(name := tool.get("name"), str)]
            return cls(items={function_name(name, namespace): _item(tool, namespace) for name, tool, namespace in named})
        if dialect != "messages":
            return cls(has_functions=dialect == "chat" and bool(body.get("functions")))
        names = [tool.get("name") for tool in objects_or_empty(body.get("tools"))]
        long = {short_name(name): name for name in names if isinstance(name, str) and len(name) > MAX_NAME}
        return cls(long, frozenset(_call_ids(body)))

    def adapt(self, chat: JSON) -> JSON:
        """Return a chat completion, or a chunk of one, whose calls are as its client reads them; an id of an earlier call gets a number."""
        if not (self.names or self.ids or self.items or self.has_functions):
            return chat
        choices = []
        for choice in objects_or_empty(chat.get("choices")):
            holders = {key: self._adapted(choice[key]) for key in ("message", "delta") if object_or_empty(choice.get(key)).get("tool_calls")}
            is_call = self.has_functions and choice.get("finish_reason") == "tool_calls"
            choices.append({**choice, **holders, **({"finish_reason": "function_call"} if is_call else {})})
        return {**chat, "choices": choices} if choices else chat

    def _adapted(self, message: JSON) -> dict[str, Any]:
        calls = []
        for call in objects_or_empty(message["tool_calls"]):
            own, function = dict(call), object_or_empty(call.get("function"))
            if isinstance(name := function.get("name"), str) and name in self.names:
                own["function"] = {**function, "name": self.names[name]}
            if isinstance(name, str) and name in self.items:
                own[ITEM] = self.items[name]
            if isinstance(given := call.get("id"), str) and safe_id(given) in self.ids:
                own["id"] = next(each for each in (f"{given}_{n}" for n in count(2)) if safe_id(each) not in self.ids)
            calls.append(own)
        if not self.has_functions:
            return {**message, "tool_calls": calls}
        first = next((call.get("function") for call in calls if call.get("index", 0) == 0), None)
        others = {name: value for name, value in message.items() if name != "tool_calls"}
        return others if first is None else {**others, "function_call": first}


def short_name(name: str) -> str:
    """Return a name as OpenAI accepts it: the end of a longer one is a hash."""
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 9]}_{blake2b(name.encode(errors='surrogatepass'), digest_size=4).hexdigest()}"


def tools_in_namespaces(body: JSON) -> Iterator[tuple[str, JSON, str]]:
    """Yield the place of each tool of a request of responses, the tool, and its namespace, ``""`` without one."""
    for field, tool in objects(body.get("tools"), "tools"):
        if tool.get("type") == "namespace":
            namespace = text(tool.get("name"), f"{field}.name")
            yield from ((place, each, namespace) for place, each in objects(tool.get("tools"), f"{field}.tools"))
        else:
            yield field, tool, ""


def has_only_server_tools(dialect: str, body: JSON) -> bool:
    """Return whether a request has tools, and only those that no other dialect has, such as a search by the server."""
    tools = objects_or_empty(body.get("tools")) if dialect in _PLAIN_TOOLS else []
    return bool(tools) and not any(tool.get("type") in _PLAIN_TOOLS[dialect] for tool in tools)


def function_name(name: str, namespace: str) -> str:
    """Return the name in chat of a tool of responses."""
    return short_name(f"{namespace}__{name}") if namespace else name


def _item(tool: JSON, namespace: str) -> dict[str, str]:
    item = {"type": "custom_tool_call" if tool.get("type") == "custom" else "function_call", "name": tool["name"]}
    return {**item, "namespace": namespace} if namespace else item


def _call_ids(body: JSON) -> Iterator[str]:
    messages = objects_or_empty(body.get("messages"))
    blocks = chain.from_iterable(objects_or_empty(message.get("content")) for message in messages if message.get("role") == "assistant")
    return (block["id"] for block in blocks if block.get("type") == "tool_use" and isinstance(block.get("id"), str))
