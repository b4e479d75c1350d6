"""Whole answers: between Anthropic's messages and chat."""

from __future__ import annotations

from typing import Any

from aamc_models.dialects import finish_reasons
from aamc_models.dialects.chat.answer import chat_answer, first_choice, reasoning_of
from aamc_models.dialects.content import chosen, identity, is_set, text_of
from aamc_models.dialects.fields import JSON, mapping, objects, optional_text
from aamc_models.dialects.messages.from_chat import tool_use
from aamc_models.dialects.messages.to_chat import AssistantBlocks
from aamc_models.dialects.token_usage import usage_object, usage_of


def answer_to_chat(answer: JSON) -> dict[str, Any]:
    """Return an answer of Anthropic's messages as a chat completion."""
    blocks = AssistantBlocks.of(answer.get("content"), "content")
    said = "".join(blocks.texts) if blocks.texts or not blocks.calls else None
    message = {"role": "assistant", "content": said, **blocks.fields("content")}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reasons.from_messages(answer.get("stop_reason"))}
    if is_set(answer.get("stop_sequence")):
        choice["stop_reason"] = answer["stop_sequence"]
    return chat_answer(answer, [choice], usage_object("chat", usage_of("messages", answer)))


def answer_from_chat(answer: JSON, model: str) -> dict[str, Any]:
    """Return a chat completion as an answer of Anthropic's messages."""
    choice = first_choice(answer)
    message = mapping(choice.get("message"), "choices[0].message")
    content = thinking_blocks(message)
    words = text_of(message.get("content"), "choices[0].message.content") or optional_text(message.get("refusal"), "choices[0].message.refusal")
    if words:
        content.append({"type": "text", "text": words})
    calls = [tool_use(call, field) for field, call in objects(message.get("tool_calls"), "choices[0].message.tool_calls")]
    content.extend(calls)
    stop_reason, stop_sequence = finish_reasons.to_messages(choice.get("finish_reason"), bool(calls), choice.get("stop_reason"))
    return {
        "id": identity(answer.get("id"), "msg_"),
        "type": "message",
        "role": "assistant",
        "model": model or optional_text(answer.get("model"), "model"),
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": stop_sequence,
        "usage": {**usage_object("messages", usage_of("chat", answer)), **chosen(mapping(answer.get("usage") or {}, "usage"), "cost")},
    }


def thinking_blocks(message: JSON) -> list[dict[str, Any]]:
    """Return the blocks of thinking of a chat message; reasoning without a signature has an empty one."""
    blocks = [dict(block) for _, block in objects(message.get("thinking_blocks"), "thinking_blocks")]
    reasoning = reasoning_of(message)
    if not blocks and reasoning:
        blocks = [{"type": "thinking", "thinking": reasoning, "signature": ""}]
    return blocks
