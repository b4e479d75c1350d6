"""Output items of OpenAI's responses."""

from __future__ import annotations

from typing import Any

from aamc_models.dialects.content import signed_text
from aamc_models.dialects.fields import JSON, items, mapping, objects, optional_text

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


def reasoning_item(block: JSON, identity: str) -> dict[str, Any]:
    """Return a block of thinking as a reasoning item: its signature is the encrypted content."""
    secret = block.get("data") if block.get("type") == "redacted_thinking" else block.get("signature")
    words = signed_text(block, "thinking_blocks")
    item: dict[str, Any] = {"id": identity, "type": "reasoning", "summary": [{"type": "summary_text", "text": words}] if words else []}
    secret = optional_text(secret, "thinking_blocks.signature")
    return {**item, "encrypted_content": secret} if secret else item


def text_part(words: str, logprobs: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return a part of a message with text."""
    return {"type": "output_text", "text": words, "annotations": [], "logprobs": logprobs or []}


def message_item(identity: str, parts: list[dict[str, Any]], status: str = "completed") -> dict[str, Any]:
    """Return a message of the assistant."""
    return {"id": identity, "type": "message", "role": "assistant", "status": status, "content": parts}


def call_item(call_id: str, name: str, arguments: str, identity: str = "", status: str = "completed") -> dict[str, Any]:
    """Return a call of a function."""
    item = {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
    return {"id": identity, **item, "status": status} if identity else item


def logprobs_from_chat(logprobs: object) -> list[dict[str, Any]]:
    """Return the log probabilities of a chat choice as those of a text part."""
    content = mapping(logprobs, "logprobs").get("content") if logprobs is not None else None
    return [_token(token) for _, token in objects(content, "logprobs.content")]


def _token(token: JSON) -> dict[str, Any]:
    top = [{**entry, "bytes": entry.get("bytes") or []} for _, entry in objects(token.get("top_logprobs"), "logprobs.content.top_logprobs")]
    return {**token, "bytes": token.get("bytes") or [], "top_logprobs": top}


def logprobs_to_chat(logprobs: object) -> dict[str, Any] | None:
    """Return the log probabilities of a text part as those of a chat choice; None without."""
    tokens = [token for _, token in objects(items(logprobs, "logprobs"), "logprobs")]
    return {"content": tokens, "refusal": None} if tokens else None


def response_object(identity: str, model: str, created: int, output: list[dict[str, Any]], status: str) -> dict[str, Any]:
    """Return a response with the fields that clients require."""
    return {
        "id": identity,
        "object": "response",
        "created_at": created,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
    }
