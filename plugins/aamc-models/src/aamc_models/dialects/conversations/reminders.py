"""Messages of the system in the middle of a conversation, for models that know only its prompt."""

from __future__ import annotations

from typing import Any

from aamc_models.dialects.content import is_set


def with_reminders(messages: list[Any]) -> list[Any]:
    """Return messages of chat or of Anthropic's with those of the system as texts of the user's message beside them.

    The texts are in the envelope in which Claude Code writes them for models without such messages.
    """
    kept: list[Any] = []
    joins = False
    for message in messages:
        is_reminder = isinstance(message, dict) and message.get("role") == "system"
        if is_reminder and not is_set(message.get("content")):
            continue
        each = {"role": "user", "content": _enveloped(message["content"])} if is_reminder else message
        if (is_reminder or joins) and kept and _is_users(kept[-1]) and _is_users(each):
            kept[-1] = {**kept[-1], "content": _joined(kept[-1]["content"], each["content"])}
        else:
            kept.append(each)
        joins = is_reminder
    return kept


def _is_users(message: object) -> bool:
    return isinstance(message, dict) and message.get("role") == "user" and isinstance(message.get("content"), str | list)


def _enveloped(content: object) -> Any:
    if isinstance(content, str):
        return f"<system-reminder>\n{content}\n</system-reminder>"
    parts = content if isinstance(content, list) else []
    return [{**part, "text": _enveloped(part["text"])} if isinstance(part, dict) and "text" in part else part for part in parts]


def _joined(first: Any, second: Any) -> Any:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [part for content in (first, second) for part in (content if isinstance(content, list) else [{"type": "text", "text": content}])]
