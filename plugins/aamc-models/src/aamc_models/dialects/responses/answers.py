"""Whole answers of OpenAI's responses, and the items that they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aamc_models.dialects.chat import chat_answer, first_choice
from aamc_models.dialects.content import (
    CALL_ITEMS,
    arguments_of,
    arguments_text,
    calls_of,
    chosen,
    creation_time,
    identity,
    lookup,
    signed_text,
    text_of,
)
from aamc_models.dialects.fields import JSON, items, mapping, object_or_empty, objects, optional_text, wrong
from aamc_models.dialects.messages.answers import thinking_blocks
from aamc_models.dialects.responses.to_chat import thinking_block, tool_call
from aamc_models.dialects.token_usage import reported_usage, usage_object, usage_of

_TO_INCOMPLETE = {"length": "max_output_tokens", "model_length": "max_output_tokens", "content_filter": "content_filter"}
_UNFINISHED = ("cancelled", "failed", "in_progress", "queued")


def finish_reason_of(response: Mapping[str, Any], calls_tools: bool) -> str:
    """Return the ``finish_reason`` of a response."""
    if response.get("status") == "incomplete":
        reason = object_or_empty(response.get("incomplete_details")).get("reason")
        return "content_filter" if reason == "content_filter" else "length"
    return "tool_calls" if calls_tools else "stop"


def status_of(finish_reason: object) -> tuple[str, dict[str, str] | None]:
    """Return the ``status`` and the ``incomplete_details`` of a response."""
    reason = lookup(_TO_INCOMPLETE, finish_reason)
    return ("incomplete", {"reason": reason}) if reason else ("completed", None)


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


def call_item(call_id: str, name: str, arguments: str, identity: str = "", status: str = "completed", own: JSON | None = None) -> dict[str, Any]:
    """Return a call of a function, or of another tool with ``own`` fields; no arguments become an empty object, as clients read them as JSON."""
    item: dict[str, Any] = {"type": "function_call", "call_id": call_id, "name": name, **(own or {})}
    item |= {"input": input_of(arguments)} if item["type"] == "custom_tool_call" else {"arguments": arguments or "{}"}
    return {"id": identity, **item, "status": status} if identity else item


def input_of(arguments: str) -> str:
    """Return the text that a custom tool takes from the arguments of its function; all of them if the model wrote something else."""
    found = arguments_of(arguments, "arguments").get("input")
    return found if isinstance(found, str) else arguments


def logprobs_from_chat(logprobs: object) -> list[dict[str, Any]]:
    """Return the log probabilities of a chat choice as those of a text part."""
    content = mapping(logprobs, "logprobs").get("content") if logprobs is not None else None
    return [_token(token) for _, token in objects(content, "logprobs.content")]


def _token(token: JSON) -> dict[str, Any]:
    top = [{**entry, "bytes": entry.get("bytes") or []} for _, entry in objects(token.get("top_logprobs"), "logprobs.content.top_logprobs")]
    return {**token, "bytes": token.get("bytes") or [], "top_logprobs": top}


def logprobs_to_chat(logprobs: object) -> dict[str, Any] | None:
    """Return the log probabilities of a text part as those of a chat choice; None without."""
    tokens = [token for _, token in objects(logprobs, "logprobs")]
    return {"content": tokens, "refusal": None} if tokens else None


def response_object(identity: str, model: str, created: int, output: list[dict[str, Any]], status: str) -> dict[str, Any]:
    """Return a response with the fields that clients require; no server keeps it."""
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
        "store": False,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
    }


def answer_to_chat(answer: JSON) -> dict[str, Any]:
    """Return a response as a chat completion."""
    if answer.get("status") in _UNFINISHED:
        raise wrong("status", "completed or incomplete", answer["status"])
    texts: list[str] = []
    refusals: list[str] = []
    calls: list[dict[str, Any]] = []
    thinking: list[dict[str, Any]] = []
    logprobs: list[Any] = []
    for field, item in objects(answer.get("output"), "output"):
        kind = item.get("type")
        if kind == "message":
            for place, part in objects(item.get("content"), f"{field}.content"):
                texts.append(optional_text(part.get("text"), f"{place}.text"))
                refusals.append(optional_text(part.get("refusal"), f"{place}.refusal"))
                logprobs.extend(items(part.get("logprobs"), "logprobs"))
        elif kind in CALL_ITEMS:
            calls.append(tool_call(item, field))
        elif kind == "reasoning":
            thinking.append(thinking_block(item, field))
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts or not calls else None}
    if any(refusals):
        message["refusal"] = "".join(refusals)
    reasoning = "".join(block.get("thinking", "") for block in thinking)
    if reasoning:
        message["reasoning_content"] = reasoning
    if signed := [block for block in thinking if block.get("signature") or block.get("data")]:
        message["thinking_blocks"] = signed
    if calls:
        message["tool_calls"] = calls
    reason = finish_reason_of(answer, bool(calls))
    choice = {"index": 0, "message": message, "logprobs": logprobs_to_chat(logprobs), "finish_reason": reason}
    return chat_answer(answer, [choice], usage_object("chat", usage_of("responses", answer)))


def answer_from_chat(answer: JSON, model: str) -> dict[str, Any]:
    """Return a chat completion as a response."""
    choice = first_choice(answer)
    message = choice["message"]
    base = identity(answer.get("id"), "")
    output = [reasoning_item(block, f"rs_{base}_{index}") for index, block in enumerate(thinking_blocks(message, model))]
    words = text_of(message.get("content"), "choices[0].message.content")
    parts = [text_part(words, logprobs_from_chat(choice.get("logprobs")))] if words else []
    refusal = optional_text(message.get("refusal"), "choices[0].message.refusal")
    if refusal:
        parts.append({"type": "refusal", "refusal": refusal})
    if parts:
        output.append(message_item(f"msg_{base}_{len(output)}", parts))
    arguments = ""
    for call in calls_of(message, "choices[0].message"):
        arguments = arguments_text(call.arguments, call.field)
        output.append(call_item(call.id, call.name, arguments, f"fc_{base}_{len(output)}", own=call.item))
    status, details = status_of(choice.get("finish_reason"))
    if status == "incomplete" and output:  # its last item is cut: clients must not run such a call
        output[-1] |= {"status": status, **({"arguments": arguments} if "arguments" in output[-1] else {})}
    name = model or optional_text(answer.get("model"), "model")
    response = response_object(f"resp_{base}", name, creation_time(answer), output, status)
    counted = {**usage_object("responses", usage_of("chat", answer)), **chosen(reported_usage(answer), "cost")}
    return {**response, "incomplete_details": details, "usage": counted}
