"""Whole answers: between OpenAI's responses and chat."""

from __future__ import annotations

from typing import Any

from aamc_models.dialects import finish_reasons
from aamc_models.dialects.chat.answer import chat_answer, first_choice
from aamc_models.dialects.content import creation_time, identity, text_of
from aamc_models.dialects.fields import JSON, mapping, objects, optional_text, text
from aamc_models.dialects.messages.answer import thinking_blocks
from aamc_models.dialects.responses.items import (
    call_item,
    logprobs_from_chat,
    logprobs_to_chat,
    message_item,
    reasoning_item,
    response_object,
    text_part,
)
from aamc_models.dialects.responses.to_chat import thinking_block, tool_call
from aamc_models.dialects.token_usage import usage_object, usage_of


def answer_to_chat(answer: JSON) -> dict[str, Any]:
    """Return a response as a chat completion.

    Raises:
        DataError: A field has a wrong type.
    """
    texts: list[str] = []
    refusals: list[str] = []
    calls: list[dict[str, Any]] = []
    thinking: list[dict[str, Any]] = []
    logprobs: list[dict[str, Any]] = []
    for field, item in objects(answer.get("output"), "output"):
        kind = item.get("type")
        if kind == "message":
            for place, part in objects(item.get("content"), f"{field}.content"):
                texts.append(optional_text(part.get("text"), f"{place}.text"))
                refusals.append(optional_text(part.get("refusal"), f"{place}.refusal"))
                logprobs.extend((logprobs_to_chat(part.get("logprobs")) or {}).get("content", []))
        elif kind in ("function_call", "custom_tool_call"):
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
    probabilities = {"content": logprobs, "refusal": None} if logprobs else None
    reason = finish_reasons.from_responses(answer, bool(calls))
    choice = {"index": 0, "message": message, "logprobs": probabilities, "finish_reason": reason}
    return chat_answer(answer, [choice], usage_object("chat", usage_of("responses", answer)))


def answer_from_chat(answer: JSON, model: str) -> dict[str, Any]:
    """Return a chat completion as a response.

    Raises:
        DataError: A field has a wrong type.
    """
    choice = first_choice(answer)
    message = mapping(choice.get("message"), "choices[0].message")
    base = identity(answer.get("id"), "")
    output = [reasoning_item(block, f"rs_{base}_{index}") for index, block in enumerate(thinking_blocks(message))]
    words = text_of(message.get("content"), "choices[0].message.content")
    parts = [text_part(words, logprobs_from_chat(choice.get("logprobs")))] if words else []
    refusal = optional_text(message.get("refusal"), "choices[0].message.refusal")
    if refusal:
        parts.append({"type": "refusal", "refusal": refusal})
    if parts:
        output.append(message_item(f"msg_{base}_{len(output)}", parts))
    for field, call in objects(message.get("tool_calls"), "choices[0].message.tool_calls"):
        function = mapping(call.get("function"), f"{field}.function")
        name = text(function.get("name"), f"{field}.function.name")
        arguments = optional_text(function.get("arguments"), f"{field}.function.arguments")
        output.append(call_item(text(call.get("id"), f"{field}.id"), name, arguments, f"fc_{base}_{len(output)}"))
    status, details = finish_reasons.to_responses(choice.get("finish_reason"))
    name = model or optional_text(answer.get("model"), "model")
    response = response_object(f"resp_{base}", name, creation_time(answer), output, status)
    usage = mapping(answer.get("usage") or {}, "usage")
    counted = {**usage_object("responses", usage_of("chat", answer)), **({"cost": usage["cost"]} if "cost" in usage else {})}
    return {**response, "incomplete_details": details, "usage": counted}
