"""Calling models: messages, answers, and the client that components call models through."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs

from aamc_sdk.messages import check_type
from aamc_sdk.types import Candidate
from aamc_sdk.types.checks import is_amount, known

Message = Mapping[str, Any]
"""A message of the provider's dialect; of OpenAI's by default: ``{"role": "user", "content": "..."}``."""
ANY_OUTPUT_LIMIT = ("max_completion_tokens", "max_tokens", "max_output_tokens")
"""Names of the parameters that limit an answer's tokens, in all dialects. A request should have one: servers refuse two, or use the wrong one."""


def output_limit(parameters: Mapping[str, Any]) -> int | None:
    """Return the maximum tokens of an answer that parameters set, the largest of several; None without a whole number above 0."""
    limits = [limit for name in ANY_OUTPUT_LIMIT if type(limit := parameters.get(name)) is int and limit > 0]
    return max(limits, default=None)


def without_replaced_limits(parameters: Mapping[str, Any], request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a candidate's parameters; if a request limits the answer's tokens, under any name, without the candidate's own limits."""
    for name in ANY_OUTPUT_LIMIT:
        if request.get(name) is not None:
            return {own: value for own, value in parameters.items() if own not in ANY_OUTPUT_LIMIT}
    return parameters


@attrs.frozen(kw_only=True, slots=False)  # without slots, construction takes a third less time
class Usage:
    """Tokens of one call; None if unknown.

    Attributes:
        prompt_tokens: Tokens of the prompt, those read from and written to a cache included.
        cached_tokens: Tokens of the prompt that were read from a cache.
        cache_write_tokens: Tokens of the prompt that were written to a cache.
        cache_write_1h_tokens: Those of them that the cache keeps for an hour or longer.
        output_tokens: Tokens of the answer, reasoning included.
        reasoning_tokens: Tokens of the answer that were reasoning.
        at_list_prices: Whether list prices apply. They do not for another service tier or speed, audio, drawn images, or tools that the server bills.

    Raises:
        TypeError: ``at_list_prices`` is not a bool.
        ValueError: A count is not a whole number of at least 0.
    """

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    at_list_prices: bool = True

    def __attrs_post_init__(self) -> None:
        check_type(self.at_list_prices, bool, "at_list_prices must be true or false")
        for name, tokens in self.__dict__.items():
            if tokens is not None and name != "at_list_prices" and (type(tokens) is not int or tokens < 0):
                raise ValueError(f"{name} must be a whole number of tokens of at least 0, or None if unknown, not {tokens!r}")


@attrs.frozen(kw_only=True)
class Completion:
    """A model's answer.

    Attributes:
        message: The answer as a message.
        usage: The tokens that it took.
        finish_reason: Why it ended, such as ``"stop"``.
        cost_usd: Cost in USD, NaN if unknown.
        latency_ms: Time until the whole answer.
        candidate: The candidate that answered.
        decision_id: The decision that chose it; ``""`` for a call without one.

    Raises:
        TypeError: A value is of another type.
        ValueError: A cost or latency is not a number of at least 0, or infinite.
    """

    message: Message = attrs.field(hash=False)
    usage: Usage = attrs.field(factory=Usage)
    finish_reason: str = "stop"
    cost_usd: float = attrs.field(default=math.nan, eq=known)
    latency_ms: float = attrs.field(default=math.nan, eq=known)
    candidate: str = ""
    decision_id: str = ""

    def __attrs_post_init__(self) -> None:
        check_type(self.message, Mapping, 'a completion\'s message must be a mapping such as {"role": "assistant", "content": TEXT}')
        content = self.message.get("content")
        check_type(content, str | list | tuple | None, "the content of a completion's message must be a text")  # parts of a message are a list
        check_type(self.usage, Usage, "a completion's usage must be aamc_sdk.interfaces.Usage")
        check_type(self.finish_reason, str, "a completion's finish_reason must be a text such as 'stop'")
        _check_amount(self.cost_usd, "a completion's cost_usd")
        _check_amount(self.latency_ms, "a completion's latency_ms")

    @property
    def text(self) -> str:
        """The answer's text, that of its parts together; ``""`` without one."""
        content = self.message.get("content") or ""
        if isinstance(content, str):
            return content
        return "".join(text for part in content if isinstance(part, Mapping) and isinstance(text := part.get("text"), str))


@attrs.frozen(kw_only=True)
class Chunk:
    """A piece of a streamed answer.

    Attributes:
        content: The next piece of text.
        usage: Tokens so far; the last report counts. None if this chunk has none.
        finish_reason: Why the answer ended, on the last chunk; None before.
        cost_usd: Cost in USD that the provider reports for the whole call; NaN until it is reported, or if it never is.
        reasoning: The next piece of the model's reasoning, which is billed too.

    Raises:
        TypeError: A value is of another type.
        ValueError: The cost is not a number of at least 0, or infinite.
    """

    content: str = ""
    usage: Usage | None = None
    finish_reason: str | None = None
    cost_usd: float = attrs.field(default=math.nan, eq=known)
    reasoning: str = ""

    def __attrs_post_init__(self) -> None:
        check_type(self.content, str, "a chunk's content must be a text")
        check_type(self.reasoning, str, "a chunk's reasoning must be a text")
        check_type(self.usage, Usage | None, "a chunk's usage must be aamc_sdk.interfaces.Usage or None")
        check_type(self.finish_reason, str | None, "a chunk's finish_reason must be a text such as 'stop', or None")
        _check_amount(self.cost_usd, "a chunk's cost_usd")


def _check_amount(value: object, name: str) -> None:
    if not is_amount(value) or value == math.inf:
        raise ValueError(f"{name} must be a number of at least 0, or NaN where unknown, not {value!r:.80}")


class ModelCaller(Protocol):
    """Calls candidates by their endpoints: :class:`aamc_sdk.serving.ModelClient`, or a double in tests."""

    async def complete(self, candidate: Candidate, messages: Sequence[Message], *, decision_id: str | None = None, **options: Any) -> Completion:
        """Return a candidate's answer, priced; with a decision's id, the call is recorded as an attempt."""
