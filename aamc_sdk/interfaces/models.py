"""Calling models: messages, answers, and the client that components call models through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs

if TYPE_CHECKING:
    from aamc_sdk.types import Candidate

Message = Mapping[str, Any]
"""A message of the provider's dialect; of OpenAI's by default: ``{"role": "user", "content": "..."}``."""


@attrs.frozen(kw_only=True)
class Usage:
    """Tokens of one call; None where they are unknown.

    Attributes:
        prompt_tokens: Tokens of the prompt, cached ones included.
        cached_tokens: Tokens of the prompt that were read from a cache.
        output_tokens: Tokens of the answer, reasoning included.
        reasoning_tokens: Tokens of the answer that were reasoning.
    """

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None


@attrs.frozen(kw_only=True)
class Completion:
    """A model's answer.

    Attributes:
        message: The answer as a message.
        usage: The tokens that it took.
        finish_reason: Why it ended, such as ``"stop"``.
        cost_usd: Cost in USD, NaN where it is unknown.
        latency_ms: Time until the whole answer.
        candidate: The candidate that answered.
        decision_id: The decision that chose it; None for a call without one.
    """

    message: Message
    usage: Usage = attrs.field(factory=Usage)
    finish_reason: str = "stop"
    cost_usd: float = float("nan")
    latency_ms: float = float("nan")
    candidate: str = ""
    decision_id: str | None = None

    @property
    def text(self) -> str:
        """The answer's text; ``""`` for an answer without any."""
        return str(self.message.get("content") or "")


@attrs.frozen(kw_only=True)
class Chunk:
    """A piece of a streamed answer.

    Attributes:
        content: The next piece of text.
        usage: The tokens of the whole call, on the last chunk; None before, or where the provider does not say.
        finish_reason: Why the answer ended, on the last chunk; None before.
    """

    content: str = ""
    usage: Usage | None = None
    finish_reason: str | None = None


class ModelCaller(Protocol):
    """Calls candidates by their endpoints: :class:`aamc_sdk.serving.ModelClient`, or a double in tests."""

    async def complete(self, candidate: Candidate, messages: Sequence[Message], *, decision_id: str | None = None, **options: Any) -> Completion:
        """Return a candidate's answer, priced; with a decision's id, the call is recorded as an attempt."""
