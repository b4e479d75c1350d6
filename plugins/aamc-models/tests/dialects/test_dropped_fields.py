"""Whatever a client sends is sent on in the other dialect, or named as dropped: with every documented field of each dialect."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from aamc_models.dialects import convert_request

from aamc_sdk.errors import DataError

ASK: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object", "properties": {"at": {"type": "integer"}}}
MARK = {"type": "ephemeral"}
DATA = "data:image/png;base64,aGk="
CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "developer", "content": "Be brief.", "name": "boss"},
        {
            "role": "user",
            "name": "anna",
            "content": [
                {"type": "text", "text": "What is this?", "cache_control": MARK},
                {"type": "image_url", "image_url": {"url": DATA, "detail": "low"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "I look."}, {"type": "refusal", "refusal": "Not there."}],
            "name": "helper",
            "audio": {"id": "audio_1"},
            "reasoning_content": "Hm.",
            "annotations": [{"type": "url_citation", "url_citation": {"url": "https://example.com"}}],
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "look", "arguments": '{"at": 1}'},
                    "extra_content": {"google": {"thought_signature": "x"}},
                },
                {"id": "call_2", "type": "custom", "custom": {"name": "patch", "input": "***"}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "a cat"},
        {"role": "tool", "tool_call_id": "call_2", "content": "done"},
        {"role": "user", "content": "And here?"},
    ],
    "audio": {"voice": "ash", "format": "mp3"},
    "frequency_penalty": 0.5,
    "logit_bias": {"1": 1},
    "logprobs": True,
    "max_completion_tokens": 3000,
    "metadata": {"team": "a"},
    "modalities": ["text", "audio"],
    "n": 2,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "a"},
    "presence_penalty": 0.5,
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "reasoning_effort": "low",
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "description": "An answer.", "schema": SCHEMA, "strict": True}},
    "safety_identifier": "anna",
    "seed": 7,
    "service_tier": "flex",
    "stop": ["END"],
    "store": True,
    "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": True},
    "temperature": 0.5,
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "look"}}]}},
    "tools": [
        {"type": "function", "function": {"name": "look", "description": "Look.", "parameters": SCHEMA, "strict": True}},
        {"type": "custom", "custom": {"name": "patch", "description": "Patch.", "format": {"type": "text"}}},
    ],
    "top_logprobs": 3,
    "top_p": 0.97,
    "user": "anna@example.com",
    "verbosity": "low",
    "web_search_options": {"search_context_size": "low", "user_location": {"type": "approximate", "approximate": {"city": "Paris"}}},
    "later": {"than": "these tests"},
}
MESSAGES: dict[str, Any] = {
    "model": "m",
    "max_tokens": 3000,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": MARK}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?", "cache_control": MARK},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
                    "title": "d",
                    "context": "old",
                    "citations": {"enabled": True},
                },
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A text."}, "title": "e"},
                {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
                {
                    "type": "search_result",
                    "title": "t",
                    "source": "s",
                    "content": [{"type": "text", "text": "found"}],
                    "citations": {"enabled": True},
                },
                {"type": "container_upload", "file_id": "file_2"},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "c2VjcmV0"},
                {"type": "text", "text": "I look.", "citations": [{"type": "char_location", "cited_text": "a"}]},
                {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "a"}},
                {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": [{"type": "web_search_result", "url": "https://example.com"}]},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": 1}, "caller": {"type": "direct", "tool_id": "x"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "content": [{"type": "text", "text": "a cat"}],
                    "is_error": True,
                    "cache_control": MARK,
                },
                {"type": "text", "text": "And here?"},
            ],
        },
    ],
    "cache_control": MARK,
    "container": "c",
    "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
    "inference_geo": "eu",
    "mcp_servers": [{"type": "url", "url": "https://example.com", "name": "x"}],
    "metadata": {"user_id": "anna", "team": "a"},
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}, "task_budget": {"type": "tokens", "total": 9}},
    "service_tier": "priority",
    "speed": "fast",
    "stop_sequences": ["END"],
    "stream": True,
    "temperature": 0.5,
    "thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted"},
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "tools": [
        {
            "type": "custom",
            "name": "look",
            "description": "Look.",
            "input_schema": SCHEMA,
            "strict": True,
            "cache_control": MARK,
            "defer_loading": True,
            "eager_input_streaming": True,
            "allowed_callers": ["direct"],
            "input_examples": [{"at": 1}],
        },
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
    ],
    "top_k": 5,
    "top_p": 0.97,
    "later": {"than": "these tests"},
}
RESPONSES: dict[str, Any] = {
    "model": "m",
    "input": [
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": DATA, "detail": "low"},
                {"type": "input_image", "file_id": "file-1", "detail": "high"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
                {"type": "input_file", "file_url": "https://example.com/a.pdf"},
                {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}},
            ],
        },
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "a"}},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "c2ln"},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "phase": "commentary",
            "content": [
                {"type": "output_text", "text": "I look.", "annotations": [{"type": "url_citation", "url": "https://example.com"}], "logprobs": []},
                {"type": "refusal", "refusal": "Not there."},
            ],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": '{"at":1}', "namespace": "eyes"},
        {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "a cat"}]},
        {"type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": "***"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "done"},
        {"type": "message", "role": "user", "content": "And here?"},
    ],
    "background": True,
    "context_management": [{"type": "compaction", "compact_threshold": 9}],
    "include": ["message.output_text.logprobs", "web_search_call.action.sources"],
    "instructions": "Be brief.",
    "max_output_tokens": 3000,
    "max_tool_calls": 3,
    "metadata": {"team": "a"},
    "parallel_tool_calls": False,
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "reasoning": {"effort": "low", "summary": "auto"},
    "safety_identifier": "anna",
    "service_tier": "flex",
    "store": True,
    "stream": True,
    "stream_options": {"include_obfuscation": True},
    "temperature": 0.5,
    "text": {"format": {"type": "json_schema", "name": "a", "description": "An answer.", "schema": SCHEMA, "strict": True}, "verbosity": "low"},
    "tool_choice": {"type": "function", "name": "look"},
    "tools": [
        {"type": "function", "name": "look", "description": "Look.", "parameters": SCHEMA, "strict": True, "defer_loading": True},
        {"type": "custom", "name": "patch", "description": "Patch."},
        {"type": "web_search", "search_context_size": "low"},
    ],
    "top_logprobs": 3,
    "top_p": 0.97,
    "truncation": "auto",
    "user": "anna@example.com",
    "later": {"than": "these tests"},
}
COMPLETIONS: dict[str, Any] = {
    "model": "m",
    "prompt": "Once",
    "best_of": 3,
    "echo": True,
    "frequency_penalty": 0.5,
    "logit_bias": {"1": 1},
    "logprobs": 3,
    "max_tokens": 5,
    "n": 2,
    "presence_penalty": 0.5,
    "seed": 7,
    "stop": ["END"],
    "stream": True,
    "stream_options": {"include_usage": True},
    "suffix": "end",
    "temperature": 0.5,
    "top_p": 0.97,
    "user": "anna",
    "later": {"than": "these tests"},
}
WHOLE = {"chat": CHAT, "messages": MESSAGES, "responses": RESPONSES, "completions": COMPLETIONS}
PAIRS = [(source, target) for source in WHOLE for target in WHOLE if source != target and target != "completions"]
LABELS = ("type", "id", "index", "status")
SAME_IN_BOTH = {
    ("stream_options",),
    ("stream_options", "include_usage"),
    ("json_schema", "name"),
    ("json_schema", "strict"),
    ("format", "name"),
    ("format", "strict"),
}
"""Fields that the other dialect needs no word for: usage always comes, and a schema is nameless and strict."""
CANONICAL = {"include": "logprobs", "stop_sequences": "stop", "reasoning": "thinking", "redacted_thinking": "thinking"}
"""Names that differ in the canonical form."""


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of each field of a request, those of its parts too."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*place, key)
        yield from places(inner, (*place, key))


def words(body: Any, place: tuple[Any, ...]) -> set[str]:
    """Return the names of a field and of what holds it, and the types of these objects."""
    found, inner = set(), body
    for key in place:
        inner = inner[key]
        found.update([key] if isinstance(key, str) else [], [inner["type"]] if isinstance(inner, dict) and "type" in inner else [])
    return {CANONICAL.get(word, word) for word in found}


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_every_field_is_sent_or_named(source: str, target: str) -> None:
    whole = WHOLE[source]
    converted = convert_request(source, target, whole)
    named = {name.rpartition(".")[2] for name in converted.dropped} | set(converted.dropped)
    for place in [place for place in places(whole) if isinstance(place[-1], str)]:
        body = copy.deepcopy(whole)
        holder: Any = body
        for key in place[:-1]:
            holder = holder[key]
        removed = holder.pop(place[-1])
        if place[-1] in LABELS or place[-2:] in SAME_IN_BOTH or not removed:
            continue
        try:
            without = convert_request(source, target, body).body
        except DataError:  # it is required
            continue
        assert without != converted.body or words(whole, place) & named, f"{place} of {source} is neither sent in {target} nor named"


def test_what_a_server_writes_itself_and_defaults_are_not_named() -> None:
    answer = {"role": "assistant", "content": "Hi.", "refusal": None, "annotations": [], "audio": None, "tool_calls": None}
    assert convert_request("chat", "messages", {"messages": [*ASK, answer, *ASK]}).dropped == []
    item = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"}
    text = {"type": "output_text", "text": "Hi.", "annotations": [], "logprobs": []}
    assert convert_request("responses", "messages", {"input": [*ASK, {**item, "content": [text]}, *ASK], "truncation": "disabled"}).dropped == []
    schema = {"description": "d", "type": "object", "later": 1}
    assert convert_request("messages", "chat", {"messages": ASK, "tools": [{"name": "f", "input_schema": schema}]}).dropped == []
