"""Chat completions: their frame, and their first choice."""

from __future__ import annotations

from typing import Any

from aamc_models.dialects.content import chosen, creation_time, identity
from aamc_models.dialects.fields import JSON, items, mapping, objects, optional_text
from aamc_models.dialects.token_usage import reported_cost


def chat_answer(source: JSON, choices: list[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]:
    """Return a chat completion with the id, the model, the time and the reported cost of an answer in another dialect."""
    cost = reported_cost("chat", source)
    return {
        "id": identity(source.get("id"), "chatcmpl-"),
        "object": "chat.completion",
        "created": creation_time(source),
        "model": optional_text(source.get("model"), "model"),
        "choices": choices,
        "usage": usage if cost != cost else {**usage, "cost": cost},
    }


def first_choice(answer: JSON) -> dict[str, Any]:
    """Return the first choice of a chat completion."""
    choices = items(answer.get("choices"), "choices")
    return mapping(choices[0] if choices else None, "choices[0]")


def reasoning_of(message: JSON) -> str:
    """Return the reasoning of a chat message or delta, by the names that servers give it."""
    for name in ("reasoning_content", "reasoning"):
        if message.get(name) is not None:
            return optional_text(message[name], name)
    return ""


def named_answer(answer: JSON, model: str) -> dict[str, Any]:
    """Return a chat completion with another model's name, unless that is empty."""
    for field, choice in objects(answer.get("choices"), "choices"):
        mapping(choice.get("message"), f"{field}.message")
    return {**answer, **({"model": model} if model else chosen(answer, "model"))}
