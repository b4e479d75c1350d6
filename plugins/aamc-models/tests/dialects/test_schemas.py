"""Schemas of tools and answers reach Anthropic and OpenAI in the subset that each accepts."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest
from aamc_models.dialects import convert_request
from openai import pydantic_function_tool
from openai.lib._parsing._completions import type_to_response_format_param
from pydantic import BaseModel, Field

ASK = [{"role": "user", "content": "Hi"}]
OPTIONAL = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
CLOSED = {**OPTIONAL, "required": ["a", "b"]}


class Pet(BaseModel):
    name: str = Field(min_length=1, max_length=9)
    born: str = Field(json_schema_extra={"format": "date"})
    code: str = Field(json_schema_extra={"format": "isbn"})


class Person(BaseModel):
    """Somebody."""

    age: int = Field(ge=0, le=150, description="In years.")
    share: float | None = Field(gt=0)
    tags: list[str] = Field(min_length=1, max_length=5)
    pets: list[Pet] = Field(min_length=2)
    best: Pet


def without_texts(schema: Any) -> Any:
    if isinstance(schema, list):
        return [without_texts(each) for each in schema]
    return {name: without_texts(value) for name, value in schema.items() if name != "description"} if isinstance(schema, dict) else schema


def test_the_schema_of_an_answer_has_what_anthropics_own_client_would_send() -> None:
    form = type_to_response_format_param(Person)
    converted = convert_request("chat", "messages", {"messages": ASK, "response_format": form})
    sent = converted.body["output_config"]["format"]["schema"]
    assert without_texts(anthropic.transform_schema(Person)) == without_texts(sent)
    assert sent["description"] == "Somebody."
    assert sent["properties"]["age"]["description"] == "In years.\n\n{maximum: 150, minimum: 0}"
    assert sent["properties"]["pets"]["description"] == "{minItems: 2}"
    left_out = ("exclusiveMinimum", "format", "maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum")
    assert converted.dropped == [f"response_format.{name}" for name in left_out]


def test_a_strict_tool_of_anthropics_has_such_a_schema_too() -> None:
    converted = convert_request("chat", "messages", {"messages": ASK, "tools": [pydantic_function_tool(Pet)]})
    (tool,) = converted.body["tools"]
    assert without_texts(anthropic.transform_schema(Pet)) == without_texts(tool["input_schema"])
    assert tool["strict"] is True
    assert converted.dropped == ["tools.format", "tools.maxLength", "tools.minLength"]


def test_objects_of_an_answer_are_closed_for_anthropic() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "object"}, "b": {"type": "object", "additionalProperties": {"type": "string"}}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    converted = convert_request("chat", "messages", {"messages": ASK, "response_format": form})
    closed = converted.body["output_config"]["format"]["schema"]
    assert [closed["additionalProperties"], *(each["additionalProperties"] for each in closed["properties"].values())] == [False] * 3
    assert converted.dropped == ["response_format.additionalProperties"]  # keys that the schema does not name


@pytest.mark.parametrize(
    ("parameters", "properties", "required", "dropped"),
    [
        ({**CLOSED, "required": [], "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, "ab", [], ["tools.anyOf"]),
        ({"oneOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}}]}, "ab", [], ["tools.oneOf"]),
        ({"allOf": [{"properties": {"a": {}}, "required": ["a"]}], "properties": {"c": {}}, "required": ["c"]}, "ac", ["a", "c"], ["tools.allOf"]),
        ({"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}, "a", [], []),
    ],
)
def test_a_tool_of_anthropics_has_no_alternatives_at_its_root(parameters: Any, properties: str, required: list[str], dropped: list[str]) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    converted = convert_request("chat", "messages", {"messages": ASK, "tools": tools})
    schema = converted.body["tools"][0]["input_schema"]
    assert not schema.keys() & {"anyOf", "oneOf", "allOf"}
    assert (schema["type"], "".join(schema["properties"]), schema.get("required", [])) == ("object", properties, required)
    assert converted.dropped == dropped


@pytest.mark.parametrize("target", ["chat", "responses"])
@pytest.mark.parametrize(("schema", "strict"), [(CLOSED, True), (OPTIONAL, False), ({"type": "object", "properties": {"o": OPTIONAL}}, False)])
def test_only_a_schema_that_openai_accepts_as_strict_is_sent_as_strict(target: str, schema: dict[str, Any], strict: bool) -> None:
    tools = [{"name": "f", "input_schema": schema, "strict": True}]
    output = {"format": {"type": "json_schema", "schema": schema}}
    converted = convert_request("messages", target, {"max_tokens": 99, "messages": ASK, "tools": tools, "output_config": output})
    form = converted.body["response_format"]["json_schema"] if target == "chat" else converted.body["text"]["format"]
    (tool,) = converted.body["tools"]
    assert (form["strict"], tool.get("function", tool)["strict"]) == (strict, strict)
    assert form["schema"] == schema
    assert converted.dropped == ([] if strict else ["output_config.format", "tools.strict"])


def test_a_tool_without_parameters_has_the_properties_that_openai_requires() -> None:
    body = {"max_tokens": 9, "messages": ASK, "tools": [{"name": "f", "input_schema": {"type": "object"}}]}
    assert convert_request("messages", "chat", body).body["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    "field", ["required", "properties", "anyOf", "$defs", "items", "format", "minItems", "additionalProperties", "description", "$ref"]
)
@pytest.mark.parametrize("value", [5, "a", [5, [], {}], {"a": 5}, None])
def test_a_schema_in_a_wrong_form_is_for_the_server_to_refuse(field: str, value: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False, field: value}
    function = {"name": "f", "parameters": schema, "strict": True}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    asked = {"messages": ASK, "response_format": form, "tools": [{"type": "function", "function": function}]}
    assert convert_request("chat", "messages", asked).body["tools"]
    own = {"tools": [{"name": "f", "input_schema": schema, "strict": True}], "output_config": {"format": {"type": "json_schema", "schema": schema}}}
    assert convert_request("messages", "chat", {"max_tokens": 9, "messages": ASK, **own}).body["tools"]
