"""Messages of the system in the middle of a conversation, for models that know only its prompt."""

from __future__ import annotations

from itertools import chain
from typing import Any

from aamc_models.dialects.content import is_set


def with_reminders(messages: list[Any]) -> list[Any]:
    """Return messages of chat or of Anthropic's with those of the system as texts of the user's message beside them.

    The texts are in the envelope in which Claude Code writes them for models without such messages.
    """
    groups: list[list[Any]] = []  # joined at once: message by message would take hours for a large body
    joins = False
    for message in messages:
        is_reminder = isinstance(message, dict) and message.get("role") == "system"
        if is_reminder and not is_set(message.get("content")):
            continue
        each = {"role": "user", "content": _enveloped(message["content"])} if is_reminder else message
        if (is_reminder or joins) and groups and _is_users(groups[-1][-1]) and _is_users(each):
            groups[-1].append(each)
        else:
            groups.append([each])
        joins = is_reminder
    return [_joined(group) for group in groups]


def _is_users(message: object) -> bool:
    return isinstance(message, dict) and message.get("role") == "user" and isinstance(message.get("content"), str | list)


def _enveloped(content: object) -> Any:
    if isinstance(content, str):
        return f"<system-reminder>\n{content}\n</system-reminder>"
    parts = content if isinstance(content, list) else []
    return [{**part, "text": _enveloped(part["text"])} if isinstance(part, dict) and "text" in part else part for part in parts]


def _joined(group: list[Any]) -> Any:
    if len(group) == 1:
        return group[0]
    contents = [message["content"] for message in group]
    if all(isinstance(content, str) for content in contents):
        return {**group[0], "content": "\n\n".join(contents)}
    parts = (content if isinstance(content, list) else [{"type": "text", "text": content}] for content in contents)
    return {**group[0], "content": list(chain.from_iterable(parts))}
