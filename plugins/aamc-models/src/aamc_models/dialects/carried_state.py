"""State that servers of chat demand back, in the signatures of blocks of thinking.

It is Gemini's thought signatures, DeepSeek's reasoning, or OpenRouter's details of reasoning. Clients of other dialects return the ``signature`` of
such a block, or the ``encrypted_content`` of a reasoning item, as it is. The signature names the candidate: another one never gets its state.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from aamc_models.dialects.content import chosen, ignore, is_set, safe_id, signed_text
from aamc_models.dialects.fields import JSON, objects, objects_or_empty, to_json

CALL_STATE = ("provider_specific_fields", "extra_content")
"""Fields of a tool call with state of its server; Gemini's thought signature is in ``extra_content``."""
_TEXT_OF_DETAIL = {"reasoning.text": "text", "reasoning.summary": "summary"}
"""The fields with the text of details of reasoning, by their types."""
_MARK = "aamc"
"""The begin of such a signature; together with the JSON object after it, it is base64."""


def carried_signature(model: str, *, reasoning: bool = False, calls: Iterable[JSON] = (), details: Sequence[JSON] = ()) -> str:
    """Return the signature of a block of thinking that carries state; ``""`` without any.

    Args:
        model: The candidate.
        reasoning: Whether the thinking came as ``reasoning_content``. Servers with another name for it do not demand it, and refuse this one.
        calls: Tool calls of chat, or pieces of them; their ids must be known.
        details: The details of the reasoning, see :func:`details_of`.
    """
    states = {safe_id(call["id"]): chosen(call, *CALL_STATE) for call in calls if any(is_set(call.get(name)) for name in CALL_STATE)}
    if not (reasoning or states or details):
        return ""
    state = {"model": model, "reasoning": reasoning, "calls": states, **({"details": details} if details else {})}
    return _MARK + b64encode(to_json(state, "tool_calls").encode()).decode()


def details_of(message: JSON) -> list[dict[str, Any]]:
    """Return the details of the reasoning in a message or delta of chat: OpenRouter wants those of Gemini's models back, signed or encrypted."""
    return list(map(dict, objects_or_empty(message.get("reasoning_details"))))


def add_details(details: list[dict[str, Any]], pieces: Iterable[JSON]) -> None:
    """Add the details of a delta to those before: the pieces of a text come one by one, and its signature last."""
    for piece in pieces:
        last = details[-1] if details else {}
        if piece.get("type") not in _TEXT_OF_DETAIL or any(last.get(name) != piece.get(name) for name in ("type", "index")):
            details.append(dict(piece))
            continue
        name = _TEXT_OF_DETAIL[piece["type"]]
        details[-1] = {**last, **{field: value for field, value in piece.items() if value is not None}}
        details[-1][name] = f"{last.get(name) or ''}{piece.get(name) or ''}"


def carried_state(block: JSON) -> dict[str, Any] | None:
    """Return the state that a block of thinking carries; None where a server or a client has made its signature."""
    signature = block.get("signature") or block.get("data")
    if not isinstance(signature, str) or not signature.startswith(f"{_MARK}eyJ"):  # as JSON objects begin in base64
        return None
    try:
        state = orjson.loads(b64decode(signature[len(_MARK) :]))
    except ValueError:
        return None
    calls = state.get("calls") if isinstance(state, dict) else None
    is_state = isinstance(calls, dict) and all(isinstance(each, dict) for each in calls.values()) and isinstance(state.get("details", []), list)
    return state if is_state else None


def restored_state(message: JSON, model: str) -> tuple[dict[str, Any], bool]:
    """Return the fields of an assistant's message that its blocks of thinking carry for a candidate, and whether all of them are its blocks."""
    blocks = [block for _, block in objects(message.get("thinking_blocks"), "thinking_blocks")]
    own = [(block, state) for block in blocks if (state := carried_state(block)) is not None and state.get("model") == model]
    fields: dict[str, Any] = {}
    if any(state.get("reasoning") for _, state in own):
        fields["reasoning_content"] = "".join(signed_text(block, "thinking_blocks") for block, state in own if state.get("reasoning"))
    if details := [detail for _, state in own for detail in state.get("details", ())]:
        fields["reasoning_details"] = details
    calls = [call for _, call in objects(message.get("tool_calls"), "tool_calls")]
    states = {call_id: each for _, state in own for call_id, each in state["calls"].items()}
    if states and calls:
        fields["tool_calls"] = [{**call, **chosen(states.get(safe_id(call["id"]), {}), *CALL_STATE)} for call in calls]
    return fields, len(own) == len(blocks) > 0


def sendable_thinking(message: JSON, field: str, dropped: set[str]) -> list[dict[str, Any]]:
    """Return the blocks of thinking of an assistant's message that can be sent back: servers refuse one without its signature."""
    blocks = [block for _, block in objects(message.get("thinking_blocks"), f"{field}.thinking_blocks")]
    if blocks:
        ignore(message, "reasoning_content", "reasoning")  # the same thinking as text
    sendable = [dict(block) for block in blocks if (block.get("signature") or block.get("data")) and carried_state(block) is None]
    if len(sendable) < len(blocks):
        dropped.add("content.thinking")
    return sendable
