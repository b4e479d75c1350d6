"""The page docs/reference/dialects.md says what the conversions do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aamc_models.dialects import convert_request

PAGE = Path(__file__).resolve().parents[4] / "docs" / "reference" / "dialects.md"
ASK = [{"role": "user", "content": "Hi"}]
FUNCTION = {"name": "f", "parameters": {"type": "object"}}
SCHEMA = {"type": "object", "additionalProperties": False}
CHAT: dict[str, Any] = {
    "max_tokens": 3000,
    "max_completion_tokens": 3000,
    "temperature": 0.5,
    "top_p": 0.5,
    "stop": ["END"],
    "stream": True,
    "n": 2,
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
    "reasoning_effort": "low",
    "logprobs": True,
    "top_logprobs": 3,
    "user": "anna",
    "safety_identifier": "anna",
    "service_tier": "default",
    "verbosity": "low",
    "seed": 7,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "logit_bias": {"1": 1},
    "metadata": {"a": "b"},
    "prompt_cache_key": "k",
    "prediction": {"type": "content", "content": "a"},
    "modalities": ["text", "audio"],
    "web_search_options": {"search_context_size": "low"},
}
MESSAGES: dict[str, Any] = {
    "system": "Be brief.",
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "stop_sequences": ["END"],
    "stream": True,
    "tools": [{"name": "f", "input_schema": SCHEMA}],
    "tool_choice": {"type": "any"},
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
    "metadata": {"user_id": "anna"},
    "service_tier": "standard_only",
    "container": "c",
    "mcp_servers": [{"type": "url"}],
    "context_management": {"edits": [1]},
    "inference_geo": "eu",
    "speed": "fast",
}
RESPONSES: dict[str, Any] = {
    "instructions": "Be brief.",
    "max_output_tokens": 3000,
    "temperature": 0.5,
    "top_p": 0.5,
    "stream": True,
    "tools": [{"type": "function", **FUNCTION}],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}, "verbosity": "low"},
    "reasoning": {"effort": "low"},
    "include": ["message.output_text.logprobs"],
    "user": "anna",
    "safety_identifier": "anna",
    "service_tier": "default",
    "prompt_cache_key": "k",
    "metadata": {"a": "b"},
    "max_tool_calls": 3,
    "truncation": "auto",
    "background": True,
}
TABLES = [
    ("chat", ["messages", "responses", "completions"], {"messages": ASK}, CHAT),
    ("messages", ["chat", "responses"], {"messages": ASK, "max_tokens": 3000}, MESSAGES),
    ("responses", ["chat", "messages"], {"input": "Hi"}, RESPONSES),
]
WITH_TOOLS = ("tool_choice", "parallel_tool_calls")


CLAUDE = "claude-opus-5-5"


def cell(source: str, target: str, body: dict[str, Any], name: str, value: Any, tools: Any) -> str:
    """What a field becomes: the fields of the target that it changes, or a dash if it is dropped."""
    before = {**body, "tools": tools} if name in WITH_TOOLS else body
    plain, converted = (convert_request(source, target, asked, claude_model=CLAUDE) for asked in (before, {**before, name: value}))
    dropped = [lost for lost in converted.dropped if lost not in plain.dropped]
    keys = sorted({*plain.body, *converted.body} - {"stream_options", "store"})
    changed = ", ".join(f"`{key}`" for key in keys if plain.body.get(key) != converted.body.get(key))
    if dropped and changed:
        return f"{changed}, without `{'`, `'.join(dropped)}`"
    return changed or ("—" if dropped else "nothing")


def table(source: str, targets: list[str], body: dict[str, Any], fields: dict[str, Any]) -> str:
    rows = [[f"`{name}`", *(cell(source, target, body, name, value, fields["tools"]) for target in targets)] for name, value in fields.items()]
    header = [source, *(f"in {target}" for target in targets)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows])


@pytest.mark.parametrize(("source", "targets", "body", "fields"), TABLES, ids=[entry[0] for entry in TABLES])
def test_the_table_says_what_becomes_of_each_field(source: str, targets: list[str], body: dict[str, Any], fields: dict[str, Any]) -> None:
    expected = table(source, targets, body, fields)
    assert expected in PAGE.read_text(encoding="utf-8"), f"the page lacks this table:\n{expected}"
