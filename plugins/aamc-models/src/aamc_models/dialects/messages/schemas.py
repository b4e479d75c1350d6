"""JSON schemas of tools and answers, which Anthropic and OpenAI accept in different subsets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aamc_models.dialects.content import chosen
from aamc_models.dialects.fields import JSON, object_or_empty, objects_or_empty

_KEYWORDS = frozenset(("$ref", "const", "default", "description", "enum", "properties", "required", "title", "type"))
"""Keywords that Anthropic accepts in the schema of an answer or a strict tool, besides those with schemas in them."""
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
_NAMED = ("$defs", "definitions", "properties")
"""Keywords with schemas by name."""
_ALTERNATIVES = ("allOf", "anyOf", "oneOf")


def strict_schema(schema: JSON, place: str, dropped: set[str]) -> dict[str, Any]:
    """Return a schema as Anthropic accepts it for an answer or a strict tool: without limits of numbers, texts and lists, and with closed objects.

    Keywords that it refuses go to the description, for the model to follow, and are named as dropped.
    """

    def converted(value: Any) -> Any:
        return strict_schema(value, place, dropped) if isinstance(value, dict) else value

    sent: dict[str, Any] = {}
    refused: dict[str, Any] = {}
    for name, value in (chosen(schema, "$ref", "$defs", "definitions") if "$ref" in schema else schema).items():  # as Anthropic's own client
        if name in _NAMED and isinstance(value, dict):
            sent[name] = {key: converted(inner) for key, inner in value.items()}
        elif name in _ALTERNATIVES and isinstance(value, list):
            sent["anyOf" if name == "oneOf" else name] = list(map(converted, value))
        elif name == "items" and isinstance(value, dict):
            sent[name] = converted(value)
        elif name in _KEYWORDS or (name == "format" and value in _FORMATS) or (name == "minItems" and value in (0, 1)):
            sent[name] = value
        elif name != "additionalProperties" or value is not False:
            refused[name] = value
    if sent.get("type") == "object" or "properties" in sent:
        sent["additionalProperties"] = False
    if refused:
        dropped.update(f"{place}.{name:.60}" for name in refused)
        limits = ", ".join(f"{name}: {value}" for name, value in refused.items())
        sent["description"] = f"{sent['description']}\n\n{{{limits}}}" if sent.get("description") else f"{{{limits}}}"
    return sent


def tool_schema(schema: JSON, dropped: set[str]) -> dict[str, Any]:
    """Return the schema of a tool without alternatives at its root, which Anthropic refuses: it has the properties of all of them.

    Those of ``allOf`` keep what they require.
    """
    found = {name: list(map(dict, objects_or_empty(schema.get(name)))) for name in _ALTERNATIVES if name in schema}
    if not found:
        return {"type": "object", **schema}
    dropped.update(f"tools.{name}" for name in found)
    parts = [*(part for parts in found.values() for part in parts), schema]
    required = [name for part in (*found.get("allOf", ()), schema) for name in _required(part)]
    rest = {name: value for name, value in schema.items() if name not in (*_ALTERNATIVES, "required")}
    properties = {name: inner for part in parts for name, inner in object_or_empty(part.get("properties")).items()}
    return {"type": "object", **rest, "properties": properties, **({"required": list(dict.fromkeys(required))} if required else {})}


def is_strict(schema: JSON) -> bool:
    """Return whether OpenAI accepts a schema for strict answers and calls: its objects are closed and require each of their properties."""
    return all(
        inner.get("additionalProperties") is False and set(object_or_empty(inner.get("properties"))) == set(_required(inner))
        for inner in _schemas(schema)
        if inner.get("type") == "object" or "properties" in inner
    )


def _required(schema: JSON) -> list[str]:
    names = schema.get("required")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _schemas(schema: Any) -> Iterator[JSON]:
    """Yield a schema and those in it."""
    if isinstance(schema, dict):
        fields = schema.items()  # a tracked object is read as a whole
        yield schema
        for name, value in fields:
            inner = value.values() if name in _NAMED and isinstance(value, dict) else value if isinstance(value, list) else [value]
            for each in inner if name in (*_NAMED, *_ALTERNATIVES, "items") else ():
                yield from _schemas(each)
