"""Conversions of requests and whole answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from aamc_models.dialects import completions
from aamc_models.dialects.chat import answer as chat_answer
from aamc_models.dialects.chat import request as chat_request
from aamc_models.dialects.content import Dropped
from aamc_models.dialects.fields import check_dialect, mapping
from aamc_models.dialects.messages import answer as messages_answer
from aamc_models.dialects.messages import from_chat as messages_from_chat
from aamc_models.dialects.messages import to_chat as messages_to_chat
from aamc_models.dialects.responses import answer as responses_answer
from aamc_models.dialects.responses import from_chat as responses_from_chat
from aamc_models.dialects.responses import to_chat as responses_to_chat

OUTPUT_LIMITS: Mapping[str, Sequence[str]] = {
    "chat": ("max_tokens", "max_completion_tokens"),
    "messages": ("max_tokens",),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
}
"""The fields that limit the tokens of an answer, by dialect."""
ANY_OUTPUT_LIMIT = ("max_completion_tokens", "max_tokens", "max_output_tokens")
"""The same of all dialects, as parameters of a candidate may have them."""
DEFAULT_MAX_TOKENS = 8192
"""The maximum tokens of an answer if nothing else limits them and the dialect requires a limit."""
_EFFORTS = ("reasoning_effort", "reasoning", "thinking")
"""Parameters that say how much a candidate thinks: a pool may hold the same model at two efforts, and the router has chosen one."""


@attrs.frozen
class Converted:
    """A request in another dialect.

    Attributes:
        body: The request.
        dropped: The fields that the other dialect cannot express, such as ``"logit_bias"``, in alphabetical order.
    """

    body: dict[str, Any]
    dropped: list[str] = attrs.field(factory=list)


def to_chat(dialect: str, body: Mapping[str, Any]) -> Converted:
    """Return a request as OpenAI chat, with the extensions that :func:`from_chat` understands (``thinking_blocks``, ``cache_control``).

    Raises:
        DataError: A field has a wrong type or value; the message names it.
    """
    check_dialect(dialect)
    mapping(body, "the body")
    dropped = Dropped()
    if dialect == "messages":
        converted = messages_to_chat.request_to_chat(body, dropped)
    elif dialect == "responses":
        converted = responses_to_chat.request_to_chat(body, dropped)
    elif dialect == "completions":
        converted = completions.request_to_chat(body, dropped)
    else:
        converted = chat_request.check_request(body)
    return Converted(converted, dropped.names())


def from_chat(
    dialect: str, body: Mapping[str, Any], *, max_tokens: int = DEFAULT_MAX_TOKENS, parameters: Mapping[str, Any] | None = None, reasons: bool = True
) -> Converted:
    """Return a canonical request in a dialect; for ``"chat"``, without the extensions.

    Args:
        dialect: The dialect to return.
        body: The canonical request.
        max_tokens: The maximum tokens of the answer if nothing else limits them and the dialect requires a limit, as ``messages`` does.
        parameters: The candidate's parameters, in the dialect to return, which a provider adds where the body has none. An effort among them
            has priority over that of the body; thinking that the API would refuse, as in the middle of tool calls, is switched off.
        reasons: Whether the model reasons; without it, a ``reasoning_effort`` is left out, since servers refuse it for other models.

    Raises:
        DataError: A field has a wrong type or value; the message names it.
    """
    check_dialect(dialect)
    mapping(body, "the body")
    dropped = Dropped()
    if body.get("reasoning_effort") is not None and (not reasons or any(name in (parameters or {}) for name in _EFFORTS)):
        body = {name: value for name, value in body.items() if name != "reasoning_effort"}
        dropped.add("reasoning_effort")
    if dialect == "messages":
        converted = messages_from_chat.request_from_chat(body, dropped, max_tokens, parameters or {})
    elif dialect == "responses":
        converted = responses_from_chat.request_from_chat(body, dropped)
    elif dialect == "completions":
        converted = completions.request_from_chat(body, dropped)
    else:
        converted = chat_request.plain_request(body, dropped)
    return Converted(converted, dropped.names())


def convert_request(
    source: str,
    target: str,
    body: Mapping[str, Any],
    *,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    parameters: Mapping[str, Any] | None = None,
    reasons: bool = True,
) -> Converted:
    """Return a request in another dialect, as :func:`to_chat` and :func:`from_chat` do; the same body if the dialects are the same.

    Raises:
        DataError: A field has a wrong type or value; the message names it.
    """
    check_dialect(target)
    if source == target:
        return Converted(dict(mapping(body, "the body")))
    canonical = to_chat(source, body)
    converted = from_chat(target, canonical.body, max_tokens=max_tokens, parameters=parameters, reasons=reasons)
    return Converted(converted.body, sorted({*canonical.dropped, *converted.dropped}))


def answer_to_chat(dialect: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole answer as an OpenAI chat completion.

    Raises:
        DataError: A field has a wrong type or value; the message names it.
    """
    check_dialect(dialect)
    mapping(answer, "the answer")
    if dialect == "messages":
        return messages_answer.answer_to_chat(answer)
    if dialect == "responses":
        return responses_answer.answer_to_chat(answer)
    if dialect == "completions":
        return completions.answer_to_chat(answer)
    return chat_answer.named_answer(answer, "")


def answer_from_chat(dialect: str, answer: Mapping[str, Any], model: str = "") -> dict[str, Any]:
    """Return a chat completion as a whole answer of a dialect.

    Args:
        dialect: The dialect to return.
        answer: The chat completion.
        model: The model's name in the returned answer; that of the chat completion when empty.

    Raises:
        DataError: A field has a wrong type or value; the message names it.
    """
    check_dialect(dialect)
    mapping(answer, "the answer")
    if dialect == "messages":
        return messages_answer.answer_from_chat(answer, model)
    if dialect == "responses":
        return responses_answer.answer_from_chat(answer, model)
    if dialect == "completions":
        return completions.answer_from_chat(answer, model)
    return chat_answer.named_answer(answer, model)


def convert_answer(source: str, target: str, answer: Mapping[str, Any], model: str = "") -> dict[str, Any]:
    """Return a whole answer in another dialect; the same answer if the dialects are the same and no model is given.

    Raises:
        DataError: A field has a wrong type or value; the message names it.
    """
    check_dialect(target)
    if source == target:
        return {**mapping(answer, "the answer"), **({"model": model} if model else {})}
    return answer_from_chat(target, answer_to_chat(source, answer), model)
