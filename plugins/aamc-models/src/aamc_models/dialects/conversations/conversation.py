"""People's words in a request, the part that is classified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

import attrs

from aamc_models.dialects.content import SYSTEM_ROLES, is_set, text_of
from aamc_models.dialects.conversations.envelopes import EXAMPLES_END, without_envelopes
from aamc_models.dialects.conversations.side_requests import side_request
from aamc_models.dialects.fields import JSON, check_dialect, objects, objects_or_empty, text, wrong
from aamc_sdk.interfaces import ANY_OUTPUT_LIMIT

_TEXTS = ("text", "input_text", "output_text")
DRAWN_IMAGE = "image_generation_call"
IMAGE_TYPES = frozenset(("computer_screenshot", "image", DRAWN_IMAGE, "image_url", "input_image"))
"""Types of the parts and items that are images, in all dialects."""
_FILES = frozenset(("document", "file", "input_file", "input_audio", "audio_url", "video_url"))


@attrs.frozen(kw_only=True, slots=False)  # without slots, construction takes a third less time
class Conversation:
    """The content of a request without the words of programs.

    Attributes:
        human: The human messages, oldest first, without tool results and the envelopes of coding agents. Where nothing else is left, the last
            message without tool results, with its envelopes.
        first: The first human message, likewise.
        system: The system prompt, instructions of developers before the first message included.
        tools: Whether tools are offered.
        images: Whether an image is part of the conversation, results of tools and images that a model drew included.
        files: Whether a document, a recording or a video is, likewise.
        json: Whether the answer must be JSON.
        max_tokens: The maximum tokens of the answer; None without a limit.
        side_request: ``"title"`` or ``"summary"`` if a client asks for its own purposes, such as naming a chat, else ``""``.
    """

    human: tuple[str, ...]
    first: str = ""
    system: str = ""
    tools: bool = False
    images: bool = False
    files: bool = False
    json: bool = False
    max_tokens: int | None = None
    side_request: str = ""


def conversation_of(dialect: str, body: Mapping[str, Any]) -> Conversation:
    """Return the conversation of a request."""
    check_dialect(dialect)
    system: list[str] = []
    people: list[str] = []
    envelopes: list[str] = []
    kinds: set[str] = set()
    later: list[str] = []  # which agents add in the middle of a conversation
    has_begun = False
    for role, content, field in _messages(dialect, body):
        own_kinds = set(_kinds(content if isinstance(content, list) else [content]))
        kinds |= own_kinds
        if role in SYSTEM_ROLES:
            (later if has_begun else system).append(text_of(content, field, "\n"))
            continue
        has_begun = True
        if role == "user" and (texts := _texts(content, field)):
            if texts[0].startswith(EXAMPLES_END):
                people.clear()
            if spoken := _spoken(texts):
                people.append(spoken)
            elif "tool_result" not in own_kinds:
                envelopes.append("\n\n".join(texts))
    first = next(iter(people or envelopes), "")
    people = people or envelopes[-1:]
    limit = next((body[name] for name in ANY_OUTPUT_LIMIT if type(body.get(name)) is int), None)
    tools = is_set(body.get("tools")) or is_set(body.get("functions"))
    return Conversation(
        human=tuple(people),
        first=first,
        system="\n\n".join(system),
        tools=tools,
        images=not kinds.isdisjoint(IMAGE_TYPES) or _has_drawn_images(dialect, body),
        files=not kinds.isdisjoint(_FILES),
        json=_wants_json(body),
        max_tokens=limit,
        side_request=side_request("\n\n".join([*system, *later]), people[-1] if people else "", tools),
    )


def transcript_of(dialect: str, body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the role, ``"user"`` or ``"assistant"``, and the whole text of each message that has text.

    Envelopes of coding agents are left out of messages that have more text.
    """
    check_dialect(dialect)
    found = []
    for role, content, field in _messages(dialect, body):
        if role in ("user", "assistant") and (texts := _texts(content, field)):
            found.append((str(role), (role == "user" and _spoken(texts)) or "\n\n".join(texts)))
    return found


def new_messages(dialect: str, body: JSON) -> list[Any]:
    """Return what follows the model's last output in a request, which no prompt cache can have; the last message first."""
    entries = body.get({"completions": "prompt", "responses": "input"}.get(dialect, "messages"))
    return list(takewhile(_is_input, reversed(entries))) if isinstance(entries, list) else [entries]


def _is_input(entry: object) -> bool:
    if not isinstance(entry, Mapping):
        return True
    role, kind = entry.get("role"), entry.get("type")
    return role != "assistant" if role is not None else not isinstance(kind, str) or kind.endswith("_output")  # results of tools in responses


def _messages(dialect: str, body: JSON) -> Iterator[tuple[object, object, str]]:
    """Yield the role and the content of each message, and the name of the content's field."""
    if dialect == "completions":
        prompt = body.get("prompt")
        prompts = [prompt] if isinstance(prompt, str) else prompt if isinstance(prompt, list) else []
        yield from (("user", text, "prompt") for text in prompts if isinstance(text, str))  # the others are tokens
        return
    if dialect == "messages" and is_set(body.get("system")):
        yield "system", body["system"], "system"
    if dialect == "responses":
        if is_set(body.get("instructions")):
            yield "system", body["instructions"], "instructions"
        if isinstance(body.get("input"), str):
            yield "user", body["input"], "input"
            return
    name = "input" if dialect == "responses" else "messages"
    if name == "input" and body.get(name) is not None and not isinstance(body[name], list):
        raise wrong(name, "a string or a list", body[name])
    for field, message in objects(body.get(name), name):
        yield message.get("role"), message.get("content", message.get("output")), f"{field}.content"  # results of tools have an output


def _kinds(parts: list[Any]) -> Iterator[str]:
    """Yield the types of a message's parts, and of the parts of the tool results among them."""
    for part in parts:
        if isinstance(part, Mapping):
            kind, inner = part.get("type"), part.get("content")
            if isinstance(kind, str):
                yield kind
            if kind == "tool_result":
                yield from (one["type"] for one in objects_or_empty(inner) if isinstance(one.get("type"), str))


def _has_drawn_images(dialect: str, body: JSON) -> bool:
    """Return whether a model has drawn an image earlier: an item of responses, or a field of a message of chat, as OpenRouter has it."""
    messages = objects_or_empty(body.get("input" if dialect == "responses" else "messages"))
    return any(message.get("type") == DRAWN_IMAGE or message.get("images") for message in messages)


def _texts(content: object, field: str) -> list[str]:
    """Return the texts of a message but blank ones; tool results are left out."""
    if isinstance(content, list):
        found = [text(part.get("text"), f"{place}.text") for place, part in objects(content, field) if part.get("type") in _TEXTS]
    else:
        found = [text_of(content, field)]
    return [each for each in found if each and not each.isspace()]


def _spoken(texts: list[str]) -> str:
    """Return the texts of a human message without envelopes."""
    return "\n\n".join(filter(None, map(without_envelopes, texts)))


def _wants_json(body: JSON) -> bool:
    """Return whether a request wants its answer as JSON, in any dialect."""
    holders = ({"format": body.get("response_format")}, body.get("text"), body.get("output_config"))
    formats = [body.get("output_format"), *(holder.get("format") for holder in holders if isinstance(holder, dict))]
    return any(isinstance(form, dict) and form.get("type") in ("json_object", "json_schema") for form in formats)
